"""Initialisers: functions `(key, shape, dtype) -> array` that draw the first parameters.

A weight array is (..., in, out): (in, out) for `dense`, (height, width, in, out) for a convolution.
Its fan-in counts the inputs that one output sums, its fan-out the outputs that one input reaches;
both include the window.

Why the variance matters (X §4.5.3): through each layer z = sum over fan-in of w x, the variance of
the signal is multiplied by `fan_in Var(w)`, and on the way back that of the cotangent by
`fan_out Var(w) E[s'(z)^2]`. After L layers the factor is a power: any base but one vanishes or
explodes. (No weights save the logistic function, whose s' is at most 1/4.)

An initialiser with settings is a function that returns one: `dense(10, weights=normal(0.01))`.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.arithmetic import wide
from jnn.types import Key, Shape
from jnn.value import constructor

Initialiser = Callable[[Key, Shape, Any], jax.Array]


def zeros(key: Key, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
    """All zero: for biases. Weights would stay equal to each other for ever.

    >>> jnn.initialisers.zeros(jax.random.key(0), (2,)).tolist()
    [0.0, 0.0]
    """
    return jnp.zeros(shape, dtype)


@constructor
def constant(value: float) -> Initialiser:
    """All equal to `value`.

    >>> jnn.initialisers.constant(0.5)(jax.random.key(0), (2,), jnp.float32).tolist()
    [0.5, 0.5]
    """

    def draw(key: Key, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
        return jnp.full(shape, value, dtype)

    return draw


@constructor
def uniform(bound: float) -> Initialiser:
    """Uniform in [-bound, bound): mean 0, variance `bound^2 / 3`.

    >>> w = jnn.initialisers.uniform(0.1)(jax.random.key(0), (200, 100), jnp.float32)
    >>> round(float(abs(w).max()), 2)
    0.1
    """
    errors.number("uniform", "bound", bound, low=0)

    def draw(key: Key, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw


@constructor
def normal(deviation: float) -> Initialiser:
    """Normal with mean 0 and the given standard deviation, not truncated.

    >>> w = jnn.initialisers.normal(0.1)(jax.random.key(0), (200, 100), jnp.float32)
    >>> round(float(w.std()), 2)
    0.1
    """
    errors.number("normal", "deviation", deviation, low=0)

    def draw(key: Key, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
        return deviation * jax.random.normal(key, shape, dtype)

    return draw


def lecun_uniform(key: Key, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
    """Uniform with variance `1 / fan_in`; see `lecun_normal`.

    >>> w = jnn.initialisers.lecun_uniform(jax.random.key(0), (400, 100), jnp.float32)
    >>> round(float(w.std()), 2)
    0.05
    """
    return uniform(math.sqrt(3 / _fans("lecun_uniform", shape)[0]))(key, shape, dtype)


def lecun_normal(key: Key, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
    """Normal with variance `1 / fan_in`, which keeps the variance of the signal on its way forward.

    For activations that are the identity near 0 (tanh), and for selu.

    >>> w = jnn.initialisers.lecun_normal(jax.random.key(0), (400, 100), jnp.float32)
    >>> round(float(w.std()), 2)
    0.05
    """
    return normal(math.sqrt(1 / _fans("lecun_normal", shape)[0]))(key, shape, dtype)


def he_uniform(key: Key, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
    """Uniform with variance `2 / fan_in`; see `he_normal`.

    >>> w = jnn.initialisers.he_uniform(jax.random.key(0), (400, 100), jnp.float32)
    >>> round(float(w.std()), 2)
    0.07
    """
    return uniform(math.sqrt(6 / _fans("he_uniform", shape)[0]))(key, shape, dtype)


def he_normal(key: Key, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
    """Normal with variance `2 / fan_in`, which keeps the signal's mean square through relu.

    A rectifier halves the mean square of what is symmetric about 0; the 2 restores it.

    >>> w = jnn.initialisers.he_normal(jax.random.key(0), (400, 400), jnp.float32)
    >>> round(float((jax.nn.relu(jnp.ones(400) @ w) ** 2).mean()))
    1
    """
    return normal(math.sqrt(2 / _fans("he_normal", shape)[0]))(key, shape, dtype)


def glorot_uniform(key: Key, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
    """Uniform with variance `2 / (fan_in + fan_out)`; see `glorot_normal`. The default of `dense`.

    >>> w = jnn.initialisers.glorot_uniform(jax.random.key(0), (200, 100), jnp.float32)
    >>> bool(abs(w).max() <= (6 / 300) ** 0.5)
    True
    """
    return uniform(math.sqrt(6 / sum(_fans("glorot_uniform", shape))))(key, shape, dtype)


def glorot_normal(key: Key, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
    """Normal with variance `2 / (fan_in + fan_out)`.

    Forward wants `1 / fan_in`, backward `1 / fan_out`; this is their harmonic mean, which keeps
    both, for activations that are the identity near 0, where the two fans are equal.

    >>> w = jnn.initialisers.glorot_normal(jax.random.key(0), (300, 500), jnp.float32)
    >>> round(float(w.std()), 2)
    0.05
    """
    return normal(math.sqrt(2 / sum(_fans("glorot_normal", shape))))(key, shape, dtype)


@constructor
def orthogonal(gain: float = 1.0) -> Initialiser:
    """A random (in, out) matrix with orthonormal rows or columns, the fewer of the two, by `gain`.

    Leading axes join the inputs. A square one keeps every length exactly, forward and backward,
    through any number of linear layers: not only the average, as a variance does.

    >>> w = jnn.initialisers.orthogonal()(jax.random.key(0), (3, 2), jnp.float32)
    >>> jnp.round(w.T @ w, 5).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def draw(key: Key, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
        _fans("orthogonal", shape)
        inputs, outputs = math.prod(shape[:-1]), shape[-1]
        tall = (max(inputs, outputs), min(inputs, outputs))
        q, r = jnp.linalg.qr(jax.random.normal(key, tall, wide(dtype)))
        # The signs of diag(R) make Q unique, hence uniform over the orthogonal matrices.
        q = q * jnp.broadcast_to(jnp.where(jnp.diagonal(r) < 0, -1, 1).astype(q.dtype), q.shape)
        q = q if inputs >= outputs else q.T
        return (gain * q).reshape(shape).astype(dtype)

    return draw


def check_initialisers(function: str, **initialisers: Any) -> None:
    """Each is callable; `function` takes them, and errors name it.

    >>> jnn.initialisers.check_initialisers("dense", weights=0.1)
    Traceback (most recent call last):
    ...
    TypeError: dense: `weights` must be an initialiser (key, shape, dtype) -> array, got 0.1. ...
    """
    for argument, initialiser in initialisers.items():
        if not callable(initialiser):
            expected = "an initialiser (key, shape, dtype) -> array"
            remedy = "For example jnn.initialisers.he_normal."
            errors.fail(function, argument, expected, repr(initialiser), remedy, TypeError)


def _fans(function: str, shape: Shape) -> tuple[int, int]:
    """Inputs that one output sums, and outputs that one input reaches; at least one each."""
    if len(shape) < 2:
        remedy = "For biases take zeros, constant, uniform or normal."
        errors.fail(function, "shape", "(..., in, out)", shape, remedy)
    window = math.prod(shape[:-2])
    return max(window * shape[-2], 1), max(window * shape[-1], 1)


__getattr__ = errors.renamed("jnn.initialisers", check="check_initialisers")
