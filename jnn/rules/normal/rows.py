"""Layer and RMS normalisation: each row by itself, the last axis."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn.arithmetic import as_wide
from jnn.rules.core.rule import Example, rule
from jnn.rules.normal.statistics import (
    apart,
    check_norm,
    inverse,
    moments,
    of_rows,
    scaled,
    sum_of_channels,
    through,
)
from jnn.xla.platform import is_for


@rule
def layer_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    shift: jax.Array | None = None,
    *,
    epsilon: float = 1e-5,
) -> jax.Array:
    """Each row with mean 0 and variance 1, scaled and shifted (M-1..7, M-10).

        y = n scale + shift,    n = (x - mean) r,    r = 1 / sqrt(variance + epsilon)

    With a = scale delta, and means of rows,

        dx     = r (a - mean(a) - n mean(n a))
        dscale = sum n delta        dshift = sum delta        (over rows)

    Saves: x, scale, two numbers a row. They are r and the mean, less the row's first entry.

    Args:
      x: rows, (..., features).
      scale: one number a feature, (features,), or None for 1.
      shift: one number a feature, (features,), or None for 0.
      epsilon: added to the variance.

    >>> jnn.rules.layer_norm(jnp.array([[1.0, 3.0], [4.0, 0.0]])).round(3).tolist()
    [[-1.0, 1.0], [1.0, -1.0]]
    """
    wide = as_wide(x)
    mean = of_rows(wide)
    n = (wide - mean) / jnp.sqrt(of_rows((wide - mean) ** 2) + epsilon)
    return scaled(n, scale, shift).astype(x.dtype)


@layer_norm.forward
def layer_norm_forward(x, scale, shift, *, epsilon):
    n, r, rest = _normal(x, epsilon)
    return scaled(n, scale, shift).astype(x.dtype), (x, scale, rest, r)  # M-1


@layer_norm.backward
def layer_norm_backward(saved, delta, *, epsilon):
    x, scale, rest, r = saved
    if not is_for("cpu"):  # A GPU's compiler else keeps n, in float32.
        x = lax.optimization_barrier(x)
    n = apart(x, x[..., :1], rest) * jnp.broadcast_to(r, x.shape)
    delta = as_wide(delta)
    v = scaled(delta, scale)
    dx = through(n, r, v, of_rows(n * v), of_rows(v))  # M-7
    return dx, sum_of_channels(n * delta), sum_of_channels(delta)  # M-10


@layer_norm.tangent
def layer_norm_tangent(primals, tangents, *, epsilon):
    (x, scale, shift), (dx, dscale, dshift) = primals, tangents
    n, r, _ = _normal(x, epsilon)
    v = as_wide(dx)
    dy = scaled(through(n, r, v, of_rows(n * v), of_rows(v)), scale, dshift)  # M-8
    if scale is not None:
        dy = dy + scaled(n, dscale)
    return scaled(n, scale, shift).astype(x.dtype), dy


@layer_norm.check
def layer_norm_check(x, scale, shift, *, epsilon):
    check_norm("layer_norm", x, scale, shift, epsilon, 1)


def _normal(x, epsilon):
    """n, r, and the mean less the first entry."""
    found = moments(x, x[..., :1], of_rows)
    r = inverse(found.variance, epsilon)
    return apart(x, found.centre, found.rest) * jnp.broadcast_to(r, x.shape), r, found.rest


@rule
def rms_norm(x: jax.Array, scale: jax.Array | None = None, *, epsilon: float = 1e-6) -> jax.Array:
    """Each row over its root mean square, scaled (M-11..13).

        y = n scale,    n = x r,    r = 1 / sqrt(mean(x^2) + epsilon)

    With a = scale delta, and means of rows,

        dx = r (a - n mean(n a))        dscale = sum n delta    (over rows)

    Saves: x, scale, one number a row. It is r.

    Args:
      x: rows, (..., features).
      scale: one number a feature, (features,), or None for 1.
      epsilon: added to the mean square.

    >>> x = jnp.array([[3.0, 3.0, 3.0, 3.0], [0.0, 0.0, 2.0, 0.0]])
    >>> jnn.rules.rms_norm(x).round(3).tolist()
    [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 2.0, 0.0]]
    """
    wide = as_wide(x)
    return scaled(wide / jnp.sqrt(of_rows(wide**2) + epsilon), scale).astype(x.dtype)


@rms_norm.forward
def rms_norm_forward(x, scale, *, epsilon):
    wide = as_wide(x)
    r = inverse(of_rows(wide**2), epsilon)  # M-11
    return scaled(wide * r, scale).astype(x.dtype), (x, scale, r)


@rms_norm.backward
def rms_norm_backward(saved, delta, *, epsilon):
    x, scale, r = saved
    n, delta = as_wide(x) * r, as_wide(delta)
    v = scaled(delta, scale)
    return through(n, r, v, of_rows(n * v)), sum_of_channels(n * delta)  # M-13


@rms_norm.tangent
def rms_norm_tangent(primals, tangents, *, epsilon):
    (x, scale), (dx, dscale) = primals, tangents
    y, (*_, r) = rms_norm_forward(x, scale, epsilon=epsilon)
    n, v = as_wide(x) * r, as_wide(dx)
    dy = scaled(through(n, r, v, of_rows(n * v)), scale)  # M-12
    return y, dy if scale is None else dy + scaled(n, dscale)


@rms_norm.check
def rms_norm_check(x, scale, *, epsilon):
    check_norm("rms_norm", x, scale, None, epsilon, 1)


def _example(parameters: int, given: tuple[int, ...], shape: Any = None, mean: float = 2.0):
    def make(random: np.random.Generator) -> Example:
        sizes = shape or (*random.integers(1, 4, random.integers(0, 3)), random.integers(3, 7))
        drawn = random.uniform(0.5, 2, (parameters, sizes[-1]))
        some = [a if i in given else None for i, a in enumerate(drawn)]
        return Example(mean + random.normal(size=sizes), *some)

    return make


layer_norm.example(_example(2, (0, 1)))
layer_norm.example(_example(2, (0,)))
layer_norm.example(_example(2, (1,), (3, 4)))
layer_norm.example(_example(2, ()))
layer_norm.extreme(_example(2, (0, 1), (3, 5), mean=1e4))
rms_norm.example(_example(1, (0,)))
rms_norm.example(_example(1, ()))
rms_norm.extreme(_example(1, (0,), (3, 5), mean=1e4))


@layer_norm.extreme
def layer_norm_constant(random: np.random.Generator) -> Example:
    """Rows without variance, and one of zeros."""
    return Example(np.array([[1e4] * 3, [0.0] * 3]), random.normal(size=3), random.normal(size=3))


@rms_norm.extreme
def rms_norm_zero(random: np.random.Generator) -> Example:
    """A row of zeros, where only epsilon is left."""
    return Example(np.array([[0.0] * 3, [1e-3, 0.0, -1e-3]]), random.normal(size=3))
