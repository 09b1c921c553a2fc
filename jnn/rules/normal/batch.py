"""Batch normalisation: each channel over the whole batch, wherever it lies."""

import math
from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.core.rule import Example, rule
from jnn.rules.normal.statistics import (
    Moments,
    apart,
    check_norm,
    inverse,
    moments,
    scaled,
    sum_of_channels,
    through,
)
from jnn.xla.control import differing
from jnn.xla.order import late

Names = Hashable | tuple[Hashable, ...] | None


@rule
def batch_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    shift: jax.Array | None = None,
    *,
    epsilon: float = 1e-5,
    axis_name: Names = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Each channel of a batch with mean 0 and variance 1, scaled and shifted (M-1..9, M-21).

        y = n scale + shift,    n = (x - mean) r,    r = 1 / sqrt(variance + epsilon)

    Mean and variance are those of the channel, the last axis, over all other axes; both are
    returned. The variance is the mean square: biased, divided by the count m, not by m - 1.

    With a = scale delta, and the cotangents dmean and dvariance of the other two outputs,

        dx     = r (a - mean(a) - n mean(n a)) + dmean / m + 2 (x - mean) dvariance / m
        dscale = sum n delta        dshift = sum delta

    Accurate where the mean is far larger than the deviation, in values and in derivatives: sums are
    those of differences from a centre, the mean of the first sample.

    A batch that `jit` lays out on several devices is one batch. Under `shard_map`, and under `vmap`
    with a named axis, each device normalises its own part, unless `axis_name` says otherwise.

    Saves: x, scale, three numbers a channel. They are the centre, the rest of the mean, and the
    variance.

    Args:
      x: samples, (N, *size, C).
      scale: one number a channel, (C,), or None for 1.
      shift: one number a channel, (C,), or None for 0.
      epsilon: added to the variance.
      axis_name: under `shard_map`, the mesh axis, or a tuple of some, over which the batch is
        shared out: mean and variance are then those of the whole batch.

    Returns:
      y, mean, variance. The last two are (C,), in float32 at least.

    >>> x = jnp.array([[1.0, 4.0], [3.0, 0.0]])
    >>> y, mean, variance = jnn.rules.batch_norm(x)
    >>> y.round(3).tolist(), mean.tolist(), variance.tolist()
    ([[-1.0, 1.0], [1.0, -1.0]], [2.0, 2.0], [1.0, 4.0])
    """
    wide, axes = as_wide(x), tuple(range(x.ndim - 1))

    def over(a: jax.Array) -> jax.Array:
        mean = a.mean(axes, keepdims=True)
        return lax.pmean(mean, axis_name) if axis_name else mean

    mean = over(wide)
    variance = over((wide - mean) ** 2)  # M-2
    y = scaled((wide - mean) / jnp.sqrt(variance + epsilon), scale, shift)
    return y.astype(x.dtype), mean.ravel(), variance.ravel()


batch_norm.wide_outputs = 1, 2


@batch_norm.forward
def batch_norm_forward(x, scale, shift, *, epsilon, axis_name):
    batch = Shared(x, axis_name)
    found = batch.moments(x)
    n = apart(x, found.centre, found.rest) * inverse(found.variance, epsilon)
    y = scaled(n, scale, shift).astype(x.dtype)  # M-1
    return (y, *mean_and_variance(found)), (x, scale, found)


@batch_norm.backward
def batch_norm_backward(saved, delta, *, epsilon, axis_name):
    x, scale, found = saved
    dy, dmean, dvariance = delta
    x = late(dy, x)  # Else XLA keeps n, beside x.
    v, batch = as_wide(dy), Shared(x, axis_name)
    r = inverse(found.variance, epsilon)
    n = apart(x, found.centre, found.rest) * r
    dshift, dscale = sum_of_channels(v), sum_of_channels(n * v)  # M-6
    dx = batch.back(n, r, v, scale, dshift, dscale, dmean, dvariance)
    return dx, dscale, dshift


@batch_norm.tangent
def batch_norm_tangent(primals, tangents, *, epsilon, axis_name):
    (x, scale, shift), (dx, dscale, dshift) = primals, tangents
    batch = Shared(x, axis_name)
    found = batch.moments(x)
    r = inverse(found.variance, epsilon)
    n, v = apart(x, found.centre, found.rest) * r, as_wide(dx)
    of_v, of_nv = batch.mean(v), batch.mean(n * v)
    dy = scaled(through(n, r, v, of_nv, of_v), scale, dshift)  # M-8
    if scale is not None:
        dy = dy + scaled(n, dscale)
    y = scaled(n, scale, shift).astype(x.dtype)
    return (y, *mean_and_variance(found)), (dy, of_v.ravel(), 2 * (of_nv / r).ravel())


@batch_norm.check
def batch_norm_check(x, scale, shift, *, epsilon, axis_name):
    return check_batch("batch_norm", x, scale, shift, epsilon, axis_name)


def check_batch(
    function: str, x: Any, scale: Any, shift: Any, epsilon: float, axis_name: Names
) -> dict[str, Any]:
    """Holds the arguments to what batch normalisation takes; the settings in canonical form."""
    check_norm(function, x, scale, shift, epsilon, 2)
    if not math.prod(x.shape[:-1]):
        errors.fail(function, "x", "a batch of one sample at least", errors.describe(x),
                    "Nothing has no mean.")  # fmt: skip
    names = axis_name if isinstance(axis_name, tuple) else (axis_name,) if axis_name else ()
    return {"axis_name": names}


class Shared:
    """What a batch has in common: its moments, the count of its numbers, on however many devices.

    Args:
      x: this device's part.
      names: of the axes over which the batch is shared out.
    """

    def __init__(self, x: jax.Array, names: tuple[Hashable, ...]):
        self.names, self.shape = names, (*[1] * (x.ndim - 1), x.shape[-1])
        # Whether JAX itself keeps account of what differs among devices, and sums what comes back.
        self.accounted = bool(differing(x) & {*names})
        devices = math.prod(lax.axis_size(name) for name in names)
        self.count = math.prod(x.shape[:-1]) * devices

    def sum(self, total: jax.Array) -> jax.Array:
        """The total of all devices, from that of this one."""
        return lax.psum(total, self.names) if self.names else total

    def mean(self, a: jax.Array) -> jax.Array:
        """The mean of each channel; the axes stay."""
        return self.of(sum_of_channels(a))

    def of(self, total: jax.Array) -> jax.Array:
        """The mean, from this device's total."""
        return (self.sum(total) / total.dtype.type(self.count)).reshape(self.shape)

    def moments(self, x: jax.Array) -> Moments:
        """Mean and variance of each channel, about the mean of the first sample (M-21)."""
        sample = as_wide(x[:1])
        centre = sample.mean(tuple(range(x.ndim - 1)), keepdims=True)
        if self.names:
            centre = lax.pmean(centre, self.names)
        return moments(x, centre, self.mean)

    def back(
        self, n: jax.Array, r: jax.Array, v: jax.Array, scale: jax.Array | None,
        total: jax.Array, total_n: jax.Array, dmean: jax.Array, dvariance: jax.Array,
    ) -> jax.Array:  # fmt: skip
        """dx, from v = delta and the totals of v and of n v on this device."""
        dx = scaled(through(n, r, v, self.of(total_n), self.of(total)), scale)  # M-7
        if self.names and not self.accounted:
            dmean, dvariance = self.sum(dmean), self.sum(dvariance)
        dmean, dvariance = (a.reshape(self.shape) / a.dtype.type(self.count)
                            for a in (dmean, dvariance))  # fmt: skip
        # M-9: x - mean = n / r
        return dx + (n * jnp.broadcast_to(2 * dvariance / r, n.shape)
                     + jnp.broadcast_to(dmean, n.shape))  # fmt: skip


def mean_and_variance(found: Moments) -> tuple[jax.Array, jax.Array]:
    """Mean and variance, a number a channel each."""
    return (found.centre + found.rest).ravel(), found.variance.ravel()


def _example(shape: Any = None, scaled: bool = True, shifted: bool = True, **settings: Any):
    def make(random: np.random.Generator) -> Example:
        sizes = shape or (random.integers(2, 5), *random.integers(1, 4, random.integers(1, 4)))
        scale, shift = random.uniform(0.5, 2, sizes[-1]), random.normal(size=sizes[-1])
        x = 2 + random.normal(size=sizes)
        return Example(x, scale if scaled else None, shift if shifted else None, **settings)

    return make


batch_norm.example(_example())
batch_norm.example(_example((4, 3), shifted=False, epsilon=1e-2))
batch_norm.example(_example((2, 3, 2, 2), scaled=False))
batch_norm.example(_example((3, 2), scaled=False, shifted=False))


@batch_norm.extreme
def batch_norm_far(random: np.random.Generator) -> Example:
    """A mean of 1e4 deviations."""
    return Example(1e4 + random.normal(size=(6, 4)), random.normal(size=4), random.normal(size=4))


@batch_norm.extreme
def batch_norm_constant(random: np.random.Generator) -> Example:
    """A channel without variance."""
    x = random.normal(size=(3, 2, 2)) * np.array([1.0, 0.0]) + 1e4
    return Example(x, np.array([1.0, 2.0]), np.zeros(2))
