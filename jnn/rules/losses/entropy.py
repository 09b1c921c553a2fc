"""Cross-entropies, one value a sample: of probabilities, and fused with the sigmoid on logits.

A reduction over the samples is the caller's to choose: `.mean()` (D-19, T-7) or `.sum()` (X-61).

The logarithm of a probability is guarded: below 2^-100 it goes on along its tangent line, to -70.3
at 0. So value and derivative fit each other, both are finite, and `0 log 0` is 0. In float16, which
does not hold 2^100, the slope is at most its largest number.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.core.rule import Example, rule
from jnn.rules.losses import labels

_LEAST = 2.0**-100


def _log(p: jax.Array) -> jax.Array:
    """The guarded logarithm; its derivative is `1 / max(p, 2^-100)`."""
    return jnp.where(p > _LEAST, jnp.log(_guarded(p)), p / _LEAST + (math.log(_LEAST) - 1))


def _log1m(p: jax.Array) -> jax.Array:
    """The guarded logarithm of 1 - p, exact where p is small."""
    below = jnp.where(p < 1, p, jnp.zeros_like(p))
    return jnp.where(p < 1, jnp.log1p(-below), (1 - p) / _LEAST + (math.log(_LEAST) - 1))


def _guarded(p: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
    """What p is divided by: not so small that the slope 1/p overflows in `dtype`."""
    least = max(_LEAST, 1 / float(jnp.finfo(dtype).max))
    return jnp.maximum(p, jnp.full_like(p, least))


@rule
def binary_cross_entropy(p: jax.Array, t: jax.Array) -> jax.Array:
    """The entropies of n yes-or-no answers, `-sum_i t_i log p_i + (1 - t_i) log(1 - p_i)`.

    X-26..37, T-5..9, D-21. With the cotangent v of its sample,

        dp = v (p - t) / (p (1 - p))    dt = v (log(1 - p) - log p)

    H-32 prints the first for any activation with values "positive or zero"; at 0 and 1 it has
    poles. Here both logarithms go on along their tangents below 2^-100: an answer that is certain
    and wrong costs 70.3 with a slope of 2^100, and one that is right 0 with a slope of 1. On logits
    use `sigmoid_cross_entropy`, which needs no such guard. T-MLE prints `log(1 - p)` with the
    factor y; 1 - y is meant.

    Saves: p, t.

    Args:
      p: probabilities, (..., n); the last axis is summed.
      t: targets of the same shape: probabilities, booleans or integers 0 and 1.

    >>> round(jnn.binary_cross_entropy(jnp.array([0.8]), jnp.array([1.0])).item(), 4)
    0.2231
    """
    q, t = as_wide(p), t.astype(as_wide(p).dtype)
    return -(t * _log(q) + (1 - t) * _log1m(q)).sum(-1).astype(p.dtype)


@binary_cross_entropy.forward
def binary_cross_entropy_forward(p, t):
    return binary_cross_entropy.parts.definition(p, t), (p, t)


@binary_cross_entropy.backward
def binary_cross_entropy_backward(saved, delta):
    p, t = saved
    v = as_wide(delta)[..., None]
    dp, dt = _binary_slopes(p, t)
    return v * dp, v * dt if errors.is_floating(t) else None


@binary_cross_entropy.tangent
def binary_cross_entropy_tangent(primals, tangents):
    (p, t), (dp, dt) = primals, tangents
    of_p, of_t = _binary_slopes(p, t)
    dy = of_p * as_wide(dp) + (of_t * as_wide(dt) if errors.is_floating(t) else 0)
    return binary_cross_entropy.parts.definition(p, t), dy.sum(-1)


def _binary_slopes(p, t):
    q, t = as_wide(p), t.astype(as_wide(p).dtype)
    # H-32: (p - t) / (p (1 - p))
    of_p = (1 - t) / _guarded(1 - q, p.dtype) - t / _guarded(q, p.dtype)
    return of_p, _log1m(q) - _log(q)


@binary_cross_entropy.check
def binary_cross_entropy_check(p, t):
    errors.floating("binary_cross_entropy", p=p)
    labels.per_class("binary_cross_entropy", "p", p, t)


@rule
def cross_entropy(p: jax.Array, t: jax.Array) -> jax.Array:
    """The entropy of targets t under probabilities p, `-sum_i t_i log p_i` (X-22..25, H-24, H-27).

    With the cotangent v of its sample, `dp = -v t / p` and `dt = -v log p`. H-28 offers -t/y as the
    output delta, though it is the derivative by y alone: for the delta at the logits, the whole
    softmax Jacobian must follow (H-30, which holds only when summed over i and for targets that sum
    to 1). `softmax_cross_entropy` does both in one. Below 2^-100 the logarithm goes on along its
    tangent, so that a class with p = 0 costs 70.3, with a slope of 2^100.

    Saves: p, t.

    Args:
      p: probabilities, (..., n).
      t: class indices, (...), or one-hot or soft targets, (..., n). A class index outside
        0 ... n - 1 gives NaN.

    >>> p = jnp.array([[0.5, 0.5], [1.0, 0.0]])
    >>> jnn.cross_entropy(p, jnp.array([0, 0])).tolist()
    [0.6931471824645996, -0.0]
    """
    q = as_wide(p)
    if labels.are_indices(p, t):
        y = -labels.validity(q, t) * _log(labels.pick_class(q, t))
    else:
        y = -(t.astype(q.dtype) * _log(q)).sum(-1)
    return y.astype(p.dtype)


@cross_entropy.forward
def cross_entropy_forward(p, t):
    return cross_entropy.parts.definition(p, t), (p, t)


@cross_entropy.backward
def cross_entropy_backward(saved, delta):
    p, t = saved
    v = as_wide(delta)[..., None]
    dt = -v * _log(as_wide(p)) if errors.is_floating(t) else None
    return v * _slopes(p, t), dt


@cross_entropy.tangent
def cross_entropy_tangent(primals, tangents):
    (p, t), (dp, dt) = primals, tangents
    dy = _slopes(p, t) * as_wide(dp)
    if errors.is_floating(t):
        dy = dy - as_wide(dt) * _log(as_wide(p))
    return cross_entropy.parts.definition(p, t), dy.sum(-1)


def _slopes(p, t):
    """H-28: -t / y, one number a class."""
    q = as_wide(p)
    if not labels.are_indices(p, t):
        return -t.astype(q.dtype) / _guarded(q, p.dtype)
    row = -labels.validity(q, t) / _guarded(labels.pick_class(q, t), p.dtype)
    row = jnp.broadcast_to(row[..., None], q.shape)
    return jnp.where(labels.is_class(q, t), row, 0 * row)  # NaN, too, where there is no class.


@cross_entropy.check
def cross_entropy_check(p, t):
    labels.check_labels("cross_entropy", "p", p, t)


@rule
def sigmoid_cross_entropy(logits: jax.Array, t: jax.Array) -> jax.Array:
    """Binary cross-entropy of `y = sigmoid(logits)`, fused: stable and unguarded (H-26, T-9, X-29).

    `sum_i log(1 + e^x_i) - t_i x_i`, in terms that are never negative. With the cotangent v of its
    sample, `dx = v (y - t)` (H-26 Remark 1, X-61, T-14) and `dt = -v x`. The difference y - t keeps
    its digits where y is near 0 or 1.

    Saves: logits, t.

    Args:
      logits: (..., n); the last axis is summed, also if it has size 1.
      t: targets of the same shape: probabilities, booleans or integers 0 and 1.

    >>> logits, t = jnp.array([0.0, 1e4]), jnp.array([1, 1])
    >>> jax.grad(jnn.sigmoid_cross_entropy)(logits, t).tolist()
    [-0.5, 0.0]
    """
    x, t = as_wide(logits), t.astype(as_wide(logits).dtype)
    return (t * _softplus(-x) + (1 - t) * _softplus(x)).sum(-1).astype(logits.dtype)


@sigmoid_cross_entropy.forward
def sigmoid_cross_entropy_forward(logits, t):
    x, u = as_wide(logits), t.astype(as_wide(logits).dtype)
    # log(1 + e^x) - t x, where e^x cannot overflow.
    terms = jnp.where(x < 0, -u * x, (1 - u) * x) + jnp.log1p(jnp.exp(_minus_abs(x)))
    return terms.sum(-1).astype(logits.dtype), (logits, t)


@sigmoid_cross_entropy.backward
def sigmoid_cross_entropy_backward(saved, delta):
    logits, t = saved
    v = as_wide(delta)[..., None]
    return v * _y_minus_t(logits, t), -v * as_wide(logits) if errors.is_floating(t) else None


@sigmoid_cross_entropy.tangent
def sigmoid_cross_entropy_tangent(primals, tangents):
    (logits, t), (dx, dt) = primals, tangents
    y, _ = sigmoid_cross_entropy_forward(logits, t)
    dy = _y_minus_t(logits, t) * as_wide(dx)
    if errors.is_floating(t):
        dy = dy - as_wide(logits) * as_wide(dt)
    return y, dy.sum(-1)


def _softplus(x: jax.Array) -> jax.Array:
    return jnp.logaddexp(x, jnp.zeros_like(x))


def _minus_abs(x: jax.Array) -> jax.Array:
    """-|x|, differentiable on one side of 0, so that what is smooth there stays so."""
    return jnp.where(x < 0, x, -x)


def _y_minus_t(logits, t):
    """H-26, Remark 1, from the smaller of y and 1 - y."""
    x, t = as_wide(logits), t.astype(as_wide(logits).dtype)
    less = lax.logistic(_minus_abs(x))
    return jnp.where(x < 0, less - t, (1 - t) - less)


@sigmoid_cross_entropy.check
def sigmoid_cross_entropy_check(logits, t):
    errors.floating("sigmoid_cross_entropy", logits=logits)
    labels.per_class("sigmoid_cross_entropy", "logits", logits, t)


# Examples.


def _shape(random: np.random.Generator) -> tuple[int, ...]:
    return tuple(random.integers(1, 5, random.integers(1, 4)))


@cross_entropy.example
def cross_entropy_example_indices(random: np.random.Generator) -> Example:
    shape = _shape(random)
    return Example(random.uniform(0.05, 1, shape), random.integers(0, shape[-1], shape[:-1]))


@cross_entropy.example
def cross_entropy_example_one_hot(random: np.random.Generator) -> Example:
    p = random.uniform(0.05, 1, (3, 4))
    return Example(p, np.arange(4) == random.integers(0, 4, 3)[:, None])


@binary_cross_entropy.example
@cross_entropy.example
def probabilities_example(random: np.random.Generator) -> Example:
    shape = _shape(random)
    return Example(random.uniform(0.05, 0.95, shape), random.uniform(0, 1, shape))


@binary_cross_entropy.example
@sigmoid_cross_entropy.example
def binary_example_boolean(random: np.random.Generator) -> Example:
    return Example(random.uniform(0.05, 0.95, (3, 2)), random.uniform(size=(3, 2)) < 0.5)


@binary_cross_entropy.extreme
@cross_entropy.extreme
def certain_and_right(random: np.random.Generator) -> Example:
    p = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    return Example(p, p)


@sigmoid_cross_entropy.example
def sigmoid_cross_entropy_example(random: np.random.Generator) -> Example:
    shape = _shape(random)
    return Example(2 * random.normal(size=shape), random.uniform(0, 1, shape))


@sigmoid_cross_entropy.extreme
def sigmoid_cross_entropy_extreme(random: np.random.Generator) -> Example:
    logits = np.array([1e4, -1e4, 90.0, -90.0, 0.0])
    return Example(np.stack([logits] * 3), np.stack([logits > 0, logits < 0, logits > 1e3]) * 1.0)
