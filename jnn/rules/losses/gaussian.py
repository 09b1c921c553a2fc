"""The likelihood of targets under normal distributions whose variance is predicted too."""

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.core.rule import Example, rule


@rule
def gaussian_nll(
    y: jax.Array, t: jax.Array, variance: jax.Array, *, epsilon: float = 1e-6
) -> jax.Array:
    """`sum_i (log s_i + (y_i - t_i)^2 / s_i) / 2` with the variance `s = max(variance, epsilon)`.

    That is -log of the normal density without its constant. With the cotangent v of its sample and
    e = y - t,

        dy = v e / s    dt = -dy    ds = v (1 - e^2 / s) / (2 s)

    A variance below epsilon has no derivative, and by choice none at epsilon.

    Saves: y, t, variance.

    Args:
      y: predicted means, (..., n); the last axis is reduced.
      t: targets of the same shape.
      variance: predicted variances of the same shape.
      epsilon: the least variance.

    >>> y, t, variance = jnp.array([1.0]), jnp.array([3.0]), jnp.array([4.0])
    >>> [d.tolist() for d in jax.grad(jnn.gaussian_nll, (0, 2))(y, t, variance)]
    [[-0.5], [0.0]]
    """
    e, s, _ = _read(y, t, variance, epsilon)
    return ((jnp.log(s) + jnp.square(e) / s) / 2).sum(-1).astype(y.dtype)


def _read(y, t, variance, epsilon):
    """The error, the variance that counts, and whether it is the one that was predicted."""
    s = as_wide(variance)
    moves = ~(s <= epsilon)  # A NaN stays one.
    return as_wide(y) - as_wide(t), jnp.where(moves, s, jnp.asarray(epsilon, s.dtype)), moves


@gaussian_nll.forward
def gaussian_nll_forward(y, t, variance, *, epsilon):
    value = gaussian_nll.parts.definition(y, t, variance, epsilon=epsilon)
    return value, (y, t, variance)


@gaussian_nll.backward
def gaussian_nll_backward(saved, delta, *, epsilon):
    e, s, moves = _read(*saved, epsilon=epsilon)
    v = as_wide(delta)[..., None]
    dy = v * e / s
    return dy, -dy, jnp.where(moves, v * (1 - e * e / s) / (2 * s), 0)


@gaussian_nll.tangent
def gaussian_nll_tangent(primals, tangents, *, epsilon):
    e, s, moves = _read(*primals, epsilon=epsilon)
    dy, dt, ds = map(as_wide, tangents)
    slope = jnp.where(moves, (1 - e * e / s) / (2 * s), 0)
    along = (e / s * (dy - dt) + slope * ds).sum(-1)
    return gaussian_nll.parts.definition(*primals, epsilon=epsilon), along


@gaussian_nll.check
def gaussian_nll_check(y, t, variance, *, epsilon):
    errors.floating("gaussian_nll", y=y, t=t, variance=variance)
    if y.ndim == 0:
        errors.fail("gaussian_nll", "y", "of shape (..., n)", errors.describe(y))
    errors.shape("gaussian_nll", "t", t, y.shape)
    errors.shape("gaussian_nll", "variance", variance, y.shape,
                 "For one variance of all outputs use jnp.broadcast_to.")  # fmt: skip
    errors.number("gaussian_nll", "epsilon", epsilon, low=0)


@gaussian_nll.example
def gaussian_nll_example(random: np.random.Generator) -> Example:
    shape = tuple(random.integers(1, 5, random.integers(1, 4)))
    y, t = random.normal(size=(2, *shape))
    return Example(y, t, random.uniform(0.3, 2, shape))


@gaussian_nll.extreme
def gaussian_nll_extreme(random: np.random.Generator) -> Example:
    y, t = random.normal(size=(2, 3, 4))
    return Example(y, t, np.full((3, 4), 1e-12), epsilon=1e-3)
