"""Losses of regression, one value a sample: each is a function of the error y - t, summed over it.

A reduction over the samples is the caller's to choose: `.mean()` (D-19, T-7) or `.sum()` (Borasi
§1.1). The setting `outputs` and the argument `weights` say how the n outputs of a sample count:
`sum_i w_i f(y_i - t_i)`, and divided by n where `outputs="mean"` (D-22, D-23).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.core.rule import Example, Rule, rule

Term = Callable[..., tuple[jax.Array, jax.Array]]


def _error(y, t):
    return as_wide(y) - as_wide(t)


def _factor(e, weights, outputs):
    """What each output's term is multiplied by."""
    factor = 1 / e.shape[-1] if outputs == "mean" else 1.0
    return factor if weights is None else factor * jnp.broadcast_to(as_wide(weights), e.shape)


def _reduce(terms, weights, outputs, dtype):
    return (_factor(terms, weights, outputs) * terms).sum(-1).astype(dtype)


def _check(function: str):
    def check(y, t, weights, *, outputs):
        errors.floating(function, y=y, t=t, **({} if weights is None else {"weights": weights}))
        if y.ndim == 0 or y.shape[-1] == 0:
            errors.fail(function, "y", "of shape (..., n), n outputs a sample", errors.describe(y))
        errors.shape(function, "t", t, y.shape, "Axes of size 1 are not broadcast: reshape it.")
        if weights is not None:
            errors.shape(function, "weights", weights, y.shape[-1:], "One weight an output.")
        errors.choice(function, "outputs", outputs, ("sum", "mean"))

    return check


def _ordinary(weighted: bool, outputs: str):
    def make(random: np.random.Generator) -> Example:
        shape = tuple(random.integers(1, 5, random.integers(1, 4)))
        weights = random.uniform(0.5, 2, shape[-1]) if weighted else None
        return Example(
            random.normal(size=shape), random.normal(size=shape), weights, outputs=outputs
        )

    return make


def _extreme(random: np.random.Generator) -> Example:
    return Example(1e4 * random.normal(size=(3, 4)), random.normal(size=(3, 4)))


def _of_error(of: Rule) -> Callable[[Term], Term]:
    """Completes a rule of (y, t, weights) from `term(e, **settings) = f(e), f'(e)`."""

    def complete(term: Term) -> Term:
        def forward(y, t, weights, **settings: Any):
            value = of.parts.definition(y, t, weights, **settings)
            return value, (_error(y, t).astype(y.dtype), weights)

        def backward(saved, v, /, *, outputs, **settings: Any):
            e, weights = saved
            e, v = as_wide(e), as_wide(v)[..., None]
            value, slope = term(e, **settings)
            dy = v * _factor(e, weights, outputs) * slope
            dw = v * _factor(e, None, outputs) * value
            return dy, -dy, None if weights is None else dw.sum(range(dw.ndim - 1))

        def tangent(primals, tangents, *, outputs, **settings: Any):
            (y, t, weights), (dy, dt, dw) = primals, tangents
            e = _error(y, t)
            value, slope = term(e, **settings)
            terms = _factor(e, weights, outputs) * slope * (as_wide(dy) - as_wide(dt))
            if weights is not None:
                terms = terms + _factor(e, dw, outputs) * value
            return of.parts.definition(y, t, weights, outputs=outputs, **settings), terms.sum(-1)

        of.forward(forward)
        of.backward(backward)
        of.tangent(tangent)
        of.check(_check(of.name))
        for weighted in (False, True):
            for outputs in ("sum", "mean"):
                of.example(_ordinary(weighted, outputs))
        of.extreme(_extreme)
        return term

    return complete


@rule
def squared_error(
    y: jax.Array, t: jax.Array, weights: jax.Array | None = None, *, outputs: str = "sum"
) -> jax.Array:
    """The squared distance `sum_i (y_i - t_i)^2` (Borasi §1.1, D-15): without a half.

    With the cotangent v of its sample, `dy = 2 v (y - t)`, `dt = -dy` (B-10, H-31).

    Saves: one hidden tensor, weights. The error y - t is all that the derivative needs of y and t.

    Args:
      y: predictions, (..., n); the last axis is reduced, also if it has size 1.
      t: targets of the same shape.
      weights: one number an output, (n,) (D-23).
      outputs: "sum", or "mean" for the 1/n of D-22.

    >>> jnn.squared_error(jnp.array([[1.0, 3.0]]), jnp.zeros((1, 2)), outputs="mean").tolist()
    [5.0]
    """
    return _reduce(jnp.square(_error(y, t)), weights, outputs, y.dtype)


squared_error.squares = 2.0


@_of_error(squared_error)
def squared_error_term(e):
    return jnp.square(e), 2 * e


@rule
def half_squared_error(
    y: jax.Array, t: jax.Array, weights: jax.Array | None = None, *, outputs: str = "sum"
) -> jax.Array:
    """Half the squared distance, `sum_i (y_i - t_i)^2 / 2` (D-21, H-20..23, H-105, X-95).

    With the cotangent v of its sample, `dy = v (y - t)`, `dt = -dy`: the delta of a linear output
    (H-23). X-77, 85, 95 and 113 print the half here and there, and X-85 the error as y - y^.

    Saves: one hidden tensor, weights. The error y - t is all that the derivative needs of y and t.

    Args:
      y: predictions, (..., n); the last axis is reduced, also if it has size 1.
      t: targets of the same shape.
      weights: one number an output, (n,) (D-23).
      outputs: "sum", or "mean" for the 1/n of D-22.

    >>> jax.grad(jnn.half_squared_error)(jnp.array([1.0, 3.0]), jnp.zeros(2)).tolist()
    [1.0, 3.0]
    """
    return _reduce(jnp.square(_error(y, t)) / 2, weights, outputs, y.dtype)


half_squared_error.squares = 1.0


@_of_error(half_squared_error)
def half_squared_error_term(e):
    return jnp.square(e) / 2, e


@rule
def absolute_error(
    y: jax.Array, t: jax.Array, weights: jax.Array | None = None, *, outputs: str = "sum"
) -> jax.Array:
    """The absolute error `sum_i |y_i - t_i|`, whose minimiser is a median.

    With the cotangent v of its sample, `dy = v sign(y - t)`, `dt = -dy`. At the kink, y = t, the
    derivative is 0 by choice.

    Saves: one hidden tensor, weights. The error y - t is all that the derivative needs of y and t.

    Args:
      y: predictions, (..., n); the last axis is reduced, also if it has size 1.
      t: targets of the same shape.
      weights: one number an output, (n,) (D-23).
      outputs: "sum", or "mean" for the 1/n of D-22.

    >>> jax.grad(jnn.absolute_error)(jnp.array([1.0, 3.0]), jnp.array([1.0, 5.0])).tolist()
    [0.0, -1.0]
    """
    e = _error(y, t)
    return _reduce(e * jnp.sign(e), weights, outputs, y.dtype)  # Its slope at 0 is 0.


@_of_error(absolute_error)
def absolute_error_term(e):
    return jnp.abs(e), jnp.sign(e)


@absolute_error.kink
def absolute_error_kink(random: np.random.Generator) -> Example:
    y = random.normal(size=(3, 2))
    return Example(y, y)


@rule
def huber(
    y: jax.Array,
    t: jax.Array,
    weights: jax.Array | None = None,
    *,
    delta: float = 1.0,
    outputs: str = "sum",
) -> jax.Array:
    """Huber's loss, half the square of small errors and `delta (|e| - delta / 2)` of large ones.

    With the cotangent v of its sample, `dy = v clip(y - t, -delta, delta)`, `dt = -dy`: errors
    beyond delta pull no harder (the robust least squares of Treister's contents, §4).

    Saves: one hidden tensor, weights. The error y - t is all that the derivative needs of y and t.

    Args:
      y: predictions, (..., n); the last axis is reduced, also if it has size 1.
      t: targets of the same shape.
      weights: one number an output, (n,) (D-23).
      delta: the error from which on the loss grows linearly.
      outputs: "sum", or "mean" for the 1/n of D-22.

    >>> jax.grad(jnn.huber)(jnp.array([0.5, 300.0]), jnp.zeros(2)).tolist()
    [0.5, 1.0]
    """
    e = jnp.abs(_error(y, t))
    small = jnp.minimum(e, delta)
    return _reduce(jnp.square(small) / 2 + delta * (e - small), weights, outputs, y.dtype)


@_of_error(huber)
def huber_term(e, *, delta):
    inside = jnp.clip(e, -delta, delta)
    return inside * (e - inside / 2), inside


@huber.check
def huber_check(y, t, weights, *, delta, outputs):
    _check("huber")(y, t, weights, outputs=outputs)
    errors.number("huber", "delta", delta, low=0)


huber.example(lambda random: Example(*random.normal(size=(2, 3, 4)), delta=0.3))
