"""Group normalisation: the channels of a group, of one sample; instance normalisation."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.core.rule import Example, rule
from jnn.rules.normal.statistics import (
    apart,
    check_norm,
    inverse,
    moments,
    scaled,
    sums_of_samples,
    through,
)


@rule
def group_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    shift: jax.Array | None = None,
    *,
    groups: int,
    epsilon: float = 1e-5,
) -> jax.Array:
    """Each group of channels of a sample with mean 0 and variance 1, scaled and shifted (M-14).

        y = n scale + shift,    n = (x - mean) r,    r = 1 / sqrt(variance + epsilon)

    Mean and variance are those of neighbouring channels, C / groups of them, over all axes between
    batch and channels. With as many groups as channels it is instance normalisation. With
    a = scale delta, and such means,

        dx     = r (a - mean(a) - n mean(n a))
        dscale = sum n delta        dshift = sum delta        (of a channel, over samples too)

    All four sums come from two: of delta and of n delta, for each sample and channel (M-15).

    Saves: x, scale, two numbers a group. They are r and the mean, less the group's first entry.

    Args:
      x: samples, (N, *size, C).
      scale: one number a channel, (C,), or None for 1.
      shift: one number a channel, (C,), or None for 0.
      groups: into how many, all of one size, the channels are split.
      epsilon: added to the variance.

    >>> x = jnp.array([[1.0, 3.0, 4.0, 0.0]])
    >>> jnn.rules.group_norm(x, groups=2).round(3).tolist()
    [[-1.0, 1.0, 1.0, -1.0]]
    """
    places, each = math.prod(x.shape[1:-1]), x.shape[-1] // groups
    wide = as_wide(x).reshape(len(x), places, groups, each)
    mean = wide.mean((1, 3), keepdims=True)
    variance = ((wide - mean) ** 2).mean((1, 3), keepdims=True)
    n = ((wide - mean) / jnp.sqrt(variance + epsilon)).reshape(x.shape)
    return scaled(n, scale, shift).astype(x.dtype)


@group_norm.forward
def group_norm_forward(x, scale, shift, *, groups, epsilon):
    n, r, rest = _normal(x, groups, epsilon)
    of_groups = tuple(a[..., :: x.shape[-1] // groups] for a in (rest, r))
    return scaled(n, scale, shift).astype(x.dtype), (x, scale, *of_groups)  # M-1


@group_norm.backward
def group_norm_backward(saved, delta, *, groups, epsilon):
    x, scale, *of_groups = saved
    rest, r = (jnp.repeat(a, x.shape[-1] // groups, -1) for a in of_groups)
    n = apart(x, _centre(x, groups), rest) * jnp.broadcast_to(r, x.shape)
    delta = as_wide(delta)
    # A GPU's compiler else sums over samples anew, and stores n delta for that.
    total, total_n = lax.optimization_barrier((sums_of_samples(delta), sums_of_samples(n * delta)))
    of_v, of_nv = (_mean(scaled(a, scale), x, groups) for a in (total, total_n))  # M-15
    dx = through(n, r, scaled(delta, scale), of_nv, of_v)  # M-7
    return dx, *(a.reshape(-1, x.shape[-1]).sum(0) for a in (total_n, total))  # M-6


@group_norm.tangent
def group_norm_tangent(primals, tangents, *, groups, epsilon):
    (x, scale, shift), (dx, dscale, dshift) = primals, tangents
    n, r, _ = _normal(x, groups, epsilon)
    v = as_wide(dx)
    of_v, of_nv = (_mean(sums_of_samples(a), x, groups) for a in (v, n * v))
    dy = scaled(through(n, r, v, of_nv, of_v), scale, dshift)  # M-8
    if scale is not None:
        dy = dy + scaled(n, dscale)
    return scaled(n, scale, shift).astype(x.dtype), dy


@group_norm.check
def group_norm_check(x, scale, shift, *, groups, epsilon):
    check_norm("group_norm", x, scale, shift, epsilon, 2)
    errors.positive_integer("group_norm", "groups", groups)
    if x.shape[-1] % groups:
        errors.fail("group_norm", "groups", f"a divisor of the {x.shape[-1]} channels", groups)


def _normal(x, groups, epsilon):
    """n, r, and the mean less the centre; the last two for each channel."""
    found = moments(x, _centre(x, groups), lambda a: _mean(sums_of_samples(a), x, groups))
    r = inverse(found.variance, epsilon)
    return apart(x, found.centre, found.rest) * jnp.broadcast_to(r, x.shape), r, found.rest


def _centre(x: jax.Array, groups: int) -> jax.Array:
    """The first entry of each group, for each of its channels; the axes stay."""
    each = x.shape[-1] // groups
    entry = x[(slice(None), *[slice(1)] * (x.ndim - 2), slice(None, None, each))]
    return jnp.repeat(entry, each, -1)


def _mean(totals: jax.Array, x: jax.Array, groups: int) -> jax.Array:
    """For each channel the mean of its group, from the sums of channels."""
    each = x.shape[-1] // groups
    count = each * math.prod(x.shape[1:-1])
    sums = totals.reshape(*totals.shape[:-1], groups, each).sum(-1)
    return jnp.repeat(sums / sums.dtype.type(count), each, -1)


def _example(shape: Any, scaled: bool = True, shifted: bool = True, mean: float = 2.0, **settings):
    def make(random: np.random.Generator) -> Example:
        scale, shift = random.uniform(0.5, 2, shape[-1]), random.normal(size=shape[-1])
        x = mean + random.normal(size=shape)
        return Example(x, scale if scaled else None, shift if shifted else None, **settings)

    return make


@group_norm.example
def group_norm_example(random: np.random.Generator) -> Example:
    groups, each = map(int, random.integers(1, 4, 2))
    sizes = random.integers(1, 4, random.integers(2, 4))
    return _example((*sizes, groups * each), groups=groups)(random)


group_norm.example(_example((2, 3, 4), shifted=False, groups=4))  # Instances.
group_norm.example(_example((2, 2, 2, 4), scaled=False, groups=1))
group_norm.example(_example((3, 6), scaled=False, shifted=False, groups=2, epsilon=1e-2))
group_norm.extreme(_example((2, 3, 4), groups=2, mean=1e4))


@group_norm.extreme
def group_norm_constant(random: np.random.Generator) -> Example:
    """Groups without variance, and one of zeros."""
    x = np.array([[1e4, 1e4, 0.0, 0.0], [1.0, 2.0, 3.0, 3.0]])
    return Example(x, random.normal(size=4), random.normal(size=4), groups=2)
