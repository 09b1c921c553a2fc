"""Mean and variance, and how a cotangent comes back through what they normalise.

All is computed in float32 at least, and relative to a centre: a number near the mean, of which only
differences are summed. So a mean that is large beside the deviation costs no digits: neither in the
variance, nor in `x - mean`, where the mean itself, rounded, would be off by its last digit.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide

Mean = Callable[[jax.Array], jax.Array]  # Over what is normalised together; the axes stay.


class Moments(NamedTuple):
    """What is known of numbers that are normalised together; the axes of x stay.

    Attributes:
      centre: a number near the mean.
      rest: the mean less the centre.
      variance: the mean square of what differs from the mean.
    """

    centre: jax.Array
    rest: jax.Array
    variance: jax.Array


def moments(x: jax.Array, centre: jax.Array, mean: Mean) -> Moments:
    """Mean and variance of x about a centre, in two passes of which none cancels."""
    centre = as_wide(centre)
    rest = mean(_less(as_wide(x), centre))  # M-3
    return Moments(centre, rest, mean(apart(x, centre, rest) ** 2))  # M-4


def apart(x: jax.Array, centre: jax.Array, rest: jax.Array) -> jax.Array:
    """`x - mean`, right to the rounding of the difference (M-5)."""
    return _less(_less(as_wide(x), as_wide(centre)), rest)


def inverse(variance: jax.Array, epsilon: float) -> jax.Array:
    """One over the deviation, `r = 1 / sqrt(variance + epsilon)` of M-1."""
    return lax.rsqrt(variance + variance.dtype.type(epsilon))


def through(
    n: jax.Array, r: jax.Array, v: jax.Array, of_nv: jax.Array, of_v: jax.Array | None = None
) -> jax.Array:
    """`r (v - mean(v) - n mean(n v))`, given both means: M-7, and its own transpose, M-8.

    Without the mean of v where no mean was subtracted: M-13.
    """
    left = v if of_v is None else _less(v, of_v)
    return _spread(r, v) * (left - n * _spread(of_nv, v))


def scaled(n: jax.Array, scale: jax.Array | None, shift: jax.Array | None = None) -> jax.Array:
    """`n scale + shift`, one number of each a channel; None for 1 and for 0."""
    if scale is not None:
        n = n * _by_channel(scale, n)
    return n if shift is None else n + _by_channel(shift, n)


def of_rows(a: jax.Array) -> jax.Array:
    """The mean of each row, which are the last axis."""
    return a.mean(-1, keepdims=True)


def sums_of_samples(a: jax.Array) -> jax.Array:
    """The sum of each channel, for each sample; all axes stay."""
    return a.sum(tuple(range(1, a.ndim - 1)), keepdims=True)


def sum_of_channels(a: jax.Array) -> jax.Array:
    """The sum of each channel, a number each.

    First within samples, then over them: cores share that, and partial sums round less.
    """
    return sums_of_samples(a).reshape(-1, a.shape[-1]).sum(0) if a.ndim > 1 else a


def check_norm(
    function: str, x: jax.Array, scale: jax.Array | None, shift: jax.Array | None, epsilon: float,
    ranks: int,
) -> None:  # fmt: skip
    """What all normalisations ask of their arguments: at least so many axes, parameters that fit.

    >>> check_norm("batch_norm", jnp.ones((4, 3)), jnp.ones(4), None, 1e-5, 2)
    Traceback (most recent call last):
    ...
    ValueError: batch_norm: `scale` must be of shape (3,), got float32[4]. One number a channel.
    """
    given = {"scale": scale, "shift": shift}
    given = {name: a for name, a in given.items() if a is not None}
    errors.floating(function, x=x, **given)
    if x.ndim < ranks:
        errors.fail(function, "x", f"an array of rank {ranks} at least", errors.describe(x),
                    "Channels are the last axis.")  # fmt: skip
    for name, a in given.items():
        errors.shape(function, name, a, x.shape[-1:], "One number a channel.")
    errors.number(function, "epsilon", epsilon, low=0)


def _less(a: jax.Array, b: jax.Array) -> jax.Array:
    return a - _spread(b, a)


def _spread(a: jax.Array, like: jax.Array) -> jax.Array:
    return jnp.broadcast_to(a, like.shape)


def _by_channel(a: jax.Array, n: jax.Array) -> jax.Array:
    return jnp.broadcast_to(a.astype(n.dtype), n.shape)
