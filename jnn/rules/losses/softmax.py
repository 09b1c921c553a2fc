"""Softmax, its logarithm and the logarithm of its denominator, along any axes.

All of them subtract the largest entry before they take exponentials (Treister's safe exp, §2.1): no
exponential overflows, and the largest of them is 1. So their sum is 1 + o, and what counts where
the largest entry leads by far is o, the sum of the others: in float32 a sum with 1 in it rounds it
away from a margin of 16 on (M-61). Entries of -inf have probability 0 and gradient 0; where all
entries are -inf there is no softmax, and it is NaN.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide, wide
from jnn.rules.core.rule import Example, rule
from jnn.xla.platform import is_for

Axis = int | tuple[int, ...] | None


def row_maximum(x: jax.Array, axis: Axis) -> jax.Array:
    """The largest entry, with its axes kept, as a constant to subtract; 0 where it is infinite."""
    m = lax.stop_gradient(x.max(axis, keepdims=True, initial=-jnp.inf))
    return jnp.where(jnp.isfinite(m), m, jnp.zeros_like(m))


def others(x: jax.Array, m: jax.Array, axis: Axis) -> jax.Array:
    """The sum of the exponentials without the largest, which is 1: o, not 1 + o (M-61).

    Axes are kept. Where several are the largest, all but one of them count; where there is none,
    because all are -inf, o is -1.
    """
    top = (x == m).astype(x.dtype)
    return (jnp.exp(x - m) - top).sum(axis, keepdims=True) + (top.sum(axis, keepdims=True) - 1)


def shares(x: jax.Array, m: jax.Array, s: jax.Array, of: jax.Array) -> jax.Array:
    """`p of`, where p is the softmax of `x` and `of` has one number a row.

    p is had from two numbers a row: the largest entry, and the sum of the exponentials.
    """
    return jnp.exp(as_wide(x) - m) * (of / s)


@rule
def softmax(x: jax.Array, *, axis: Axis = -1) -> jax.Array:
    """Probabilities `p_a = e^x_a / sum_b e^x_b` (D-20, H-24, X-38..44, T-10).

    Its Jacobian is symmetric, `dp_a/dx_b = p_a (d_ab - p_b)` (D-31, X-66..72). The matrix is never
    formed: backward and tangent are the one map `v -> p (v - p . v)`.

    Saves: y. It determines the derivative.

    Args:
      x: logits; half precisions are computed in float32.
      axis: the axis or axes over which the probabilities sum to 1; None for all.

    >>> jnn.rules.softmax(jnp.array([1e4, 1e4, -jnp.inf])).tolist()
    [0.5, 0.5, 0.0]
    """
    e = jnp.exp(as_wide(x) - row_maximum(as_wide(x), axis))
    return (e / e.sum(axis, keepdims=True)).astype(x.dtype)


@softmax.forward
def softmax_forward(x, *, axis):
    y = softmax.parts.definition(x, axis=axis)
    return y, y


@softmax.backward
def softmax_backward(y, delta, *, axis):
    if y.dtype != wide(y.dtype):  # Else XLA keeps the forward's copy in float32 instead.
        y = lax.optimization_barrier(y)
    return (_symmetric(y, delta, axis),)


@softmax.tangent
def softmax_tangent(primals, tangents, *, axis):
    y, _ = softmax_forward(*primals, axis=axis)
    return y, _symmetric(y, tangents[0], axis)


def _symmetric(y, v, axis):
    """The Jacobian times v, p (v - p . v), which does not change when a constant leaves v.

    So p . v is subtracted twice. What the first leaves is small where p is near 1, and there the
    second takes away what the rounding of p has put in: about 1e-7 |v|, more than all the rest.
    Where a pass over memory is what it costs, and sums that read the same are one pass, the v of
    the p that is above 1/2 leaves, and p . v is that of the others, of which none is near 1.
    """
    p, v = as_wide(y), as_wide(v)
    if is_for("cpu"):
        v = v - (p * v).sum(axis, keepdims=True)
        return p * (v - (p * v).sum(axis, keepdims=True))  # D-31, X-72
    leads = p > 0.5
    p_rest = jnp.where(leads, jnp.zeros_like(p), p)
    lead = jnp.where(leads, v, jnp.zeros_like(v)).sum(axis, keepdims=True)
    rest = (p_rest * v).sum(axis, keepdims=True) - lead * p_rest.sum(axis, keepdims=True)
    return p * ((v - lead) - rest)  # D-31, X-72; of the p that leads all that is left is -rest


@rule
def log_softmax(x: jax.Array, *, axis: Axis = -1) -> jax.Array:
    """Log-probabilities `y = x - log sum e^x`, exact where the probability itself underflows.

    With `p = e^y`, the cotangent of x is `delta - p sum(delta)` and the tangent `v - p . v`. All
    three keep their digits where one p is near 1 (M-61..65).

    Saves: x, two numbers a row. From y, p would be off by the rounding of y, which grows with |y|.

    Args:
      x: logits; half precisions are computed in float32.
      axis: the axis or axes over which the probabilities sum to 1; None for all.

    >>> jnn.rules.log_softmax(jnp.array([1e4, 0.0])).tolist()
    [0.0, -10000.0]
    """
    d, o = from_largest(as_wide(x), axis)
    return (d - jnp.log1p(o)).astype(x.dtype)


def from_largest(x: jax.Array, axis: Axis) -> tuple[jax.Array, jax.Array]:
    """`x - x_a` with a the largest entry, and the sum of the exponentials of all but that.

    x_a leaves at the place a, so that autodiff, too, never adds 1 and o.
    """
    axes = _axes(x, axis)
    flat = jnp.moveaxis(x, axes, range(-len(axes), 0))
    kept = flat.shape[: flat.ndim - len(axes)]
    flat = flat.reshape(*kept, math.prod(flat.shape[flat.ndim - len(axes) :]))
    a = lax.stop_gradient(flat).argmax(-1)[..., None]
    top = a == lax.broadcasted_iota(a.dtype, flat.shape, flat.ndim - 1)
    x_a = jnp.take_along_axis(flat, a, -1)
    none = lax.stop_gradient(x_a - x_a)  # 0, and NaN where x_a is infinite.
    d = jnp.where(top, none, flat - x_a)
    o = jnp.where(top, none, jnp.exp(d)).sum(-1)
    d = d.reshape(*kept, *(x.shape[i] for i in axes))
    return jnp.moveaxis(d, range(-len(axes), 0), axes), jnp.expand_dims(o, axes)


@log_softmax.forward
def log_softmax_forward(x, *, axis):
    z = as_wide(x)
    m = row_maximum(z, axis)
    o = others(z, m, axis)
    return (z - m - jnp.log1p(o)).astype(x.dtype), (x, m, o)  # M-62


@log_softmax.backward
def log_softmax_backward(saved, delta, *, axis):
    x, m, o = saved
    x, delta = as_wide(x), as_wide(delta)
    top, e = x == m, jnp.exp(x - m)
    leads, rest = _apart(delta, top, axis)
    at_top = (delta * o + ((delta - e * leads) - e * rest)) / (1 + o)  # M-64
    return (jnp.where(top, at_top, delta - e * ((leads + rest) / (1 + o))),)  # M-63


@log_softmax.tangent
def log_softmax_tangent(primals, tangents, *, axis):
    y, (x, m, o) = log_softmax_forward(*primals, axis=axis)
    x, v = as_wide(x), as_wide(tangents[0])
    top = x == m
    leads, rest = _apart(jnp.exp(x - m) * v, top, axis)
    at_top = (v * o + ((v - leads) - rest)) / (1 + o)  # M-65
    return y, jnp.where(top, at_top, v - (leads + rest) / (1 + o))


def _apart(v, top, axis):
    """The sum over the largest entries, and that over the rest."""
    zero = jnp.zeros_like(v)
    parts = jnp.where(top, v, zero), jnp.where(top, zero, v)
    return tuple(part.sum(axis, keepdims=True) for part in parts)


@rule
def logsumexp(x: jax.Array, *, axis: Axis = -1, keepdims: bool = False) -> jax.Array:
    """The smooth maximum `y = log sum e^x`, whose gradient is the softmax of x.

    Where all entries are -inf, so is the value, and the gradient is 0 by choice.

    Saves: x, two numbers a row. From y, p would be off by the rounding of y, which grows with |y|.

    Args:
      x: logits; half precisions are computed in float32.
      axis: the axis or axes that are summed over; None for all.
      keepdims: whether the summed axes stay, with size 1.

    >>> jnn.rules.logsumexp(jnp.array([1e4, 1e4])).item() - 1e4
    0.693359375
    """
    m = row_maximum(as_wide(x), axis)
    y = m + jnp.log1p(others(as_wide(x), m, axis))
    return (y if keepdims else y.squeeze(_axes(x, axis))).astype(x.dtype)


@logsumexp.forward
def logsumexp_forward(x, *, axis, keepdims):
    m = row_maximum(as_wide(x), axis)
    o = others(as_wide(x), m, axis)
    y = m + jnp.log1p(o)  # M-62
    y = (y if keepdims else y.squeeze(_axes(x, axis))).astype(x.dtype)
    return y, (x, m, jnp.where(o == -1, jnp.ones_like(o), 1 + o))


@logsumexp.backward
def logsumexp_backward(saved, delta, *, axis, keepdims):
    x, m, s = saved
    delta = as_wide(delta) if keepdims else jnp.expand_dims(as_wide(delta), _axes(x, axis))
    return (shares(x, m, s, delta),)


@logsumexp.tangent
def logsumexp_tangent(primals, tangents, *, axis, keepdims):
    y, (x, m, s) = logsumexp_forward(*primals, axis=axis, keepdims=keepdims)
    v = shares(x, m, s, jnp.ones_like(s)) * as_wide(tangents[0])
    return y, v.sum(axis, keepdims=keepdims)


def _axes(x: jax.Array, axis: Axis) -> tuple[int, ...]:
    """The axes as a sorted tuple of numbers from 0."""
    if axis is None:
        return tuple(range(x.ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted(a % x.ndim for a in axes))


def _check(function: str):
    def check(x, *, axis, **settings):
        errors.floating(function, x=x)
        axes = () if axis is None else axis if isinstance(axis, tuple) else (axis,)
        for a in axes:
            if not hasattr(a, "__index__") or not -x.ndim <= a < x.ndim:
                expected = f"an axis of `x` {errors.describe(x)}, a tuple of them, or None"
                errors.fail(function, "axis", expected, repr(axis))
        if len({a % x.ndim for a in axes}) < len(axes):
            errors.fail(function, "axis", "different axes", repr(axis))
        return {"axis": _axes(x, axis)}  # One form, so that equal calls share one program.

    return check


def _ordinary(axis: Axis, low: int, **settings: bool):
    def make(random: np.random.Generator) -> Example:
        shape = random.integers(1, 6, random.integers(low, 5))
        return Example(2 * random.normal(size=shape), axis=axis, **settings)

    return make


def _extreme(random: np.random.Generator) -> Example:
    wide, level = 1e4 * random.normal(size=(3, 4)), np.full((2, 4), -1e4)
    return Example(np.concatenate([wide, level, 1e4 + random.normal(size=(2, 4))]))


def _masked(random: np.random.Generator) -> Example:
    x = random.normal(size=(4, 5))
    return Example(np.where(np.eye(4, 5, dtype=bool), -np.inf, x))


for _rule in (softmax, log_softmax, logsumexp):
    _rule.check(_check(_rule.name))
    for _axis, _low in ((-1, 1), (0, 1), ((0, -1), 2), (None, 0)):
        _rule.example(_ordinary(_axis, _low))
    _rule.extreme(_extreme)
softmax.extreme(_masked)
logsumexp.extreme(_masked)
logsumexp.example(_ordinary(-1, 1, keepdims=True))
