"""Other roads to XLA's own convolution, which is slow on some.

On a CPU it leaves its fast path where a stride spreads the deltas ("phases") and where there are
groups ("by_group"), and takes a slower one where a padding is equal on both sides ("overrun").
"""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jnn.rules.convolution.products import (
    filter_delta,
    filter_lax,
    input_delta,
    input_lax,
    rotated,
    value,
    value_lax,
)
from jnn.rules.convolution.spatial import Pairs, Sizes
from jnn.rules.convolution.views import padded
from jnn.rules.core.product import Call


def strided(call: Call) -> bool:
    """Whether places are skipped, by a filter without holes."""
    return set(call.setting("stride")) != {1} and set(call.setting("dilation")) == {1}


def unit_stride(call: Call) -> bool:
    """Whether no place is skipped, in the plane, where this was seen."""
    return call.setting("stride") == (1, 1)


@input_delta.implementation("phases", strided)
def input_phases(
    delta: jax.Array, w: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """H-75 without its zeros: pixels that lie a stride apart are a convolution of their own.

    Pixel r + s m of the padded image gets `sum_v delta[m - v] w[r + s v]`: every s-th entry of the
    filter, from the r-th. The s results of each axis are put between each other.
    """
    axes, deltas, one = len(size), delta.shape[1:-1], (1,) * len(size)
    counts = tuple(
        -(-(before + n) // s) for n, s, (before, _) in zip(size, stride, padding, strict=True)
    )
    parts = []
    for first in itertools.product(*map(range, stride)):
        part = w[tuple(slice(r, None, s) for r, s in zip(first, stride, strict=True))]
        window = part.shape[:axes]
        around = tuple((k - 1, c - o) for k, c, o in zip(window, counts, deltas, strict=True))
        parts.append(
            value_lax(delta, rotated(part, groups), stride=one, padding=around, dilation=one,
                      groups=groups)
            if all(window)  # Else the filter is shorter than the stride, and there is nothing.
            else jnp.zeros((len(delta), *counts, w.shape[-2] * groups), delta.dtype)
        )  # fmt: skip
    between = jnp.stack(parts, -2).reshape(*parts[0].shape[:-1], *stride, parts[0].shape[-1])
    order = [0, *(i for a in range(axes) for i in (1 + a, 1 + axes + a)), 2 * axes + 1]
    whole = between.transpose(order).reshape(
        len(delta), *(c * s for c, s in zip(counts, stride, strict=True)), parts[0].shape[-1]
    )
    cut = tuple(
        (-before, before + n - c * s)
        for n, s, c, (before, _) in zip(size, stride, counts, padding, strict=True)
    )
    return padded(whole, cut)


@value.implementation("overrun", unit_stride)
def value_overrun(
    x: jax.Array, w: jax.Array, *, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int
) -> jax.Array:
    """One pixel of padding more on the far sides, and one place less of the result."""
    around = tuple((before, after + 1) for before, after in padding)
    y = value_lax(x, w, stride=stride, padding=around, dilation=dilation, groups=groups)
    return y[:, :-1, :-1]


@input_delta.implementation("overrun", unit_stride)
def input_overrun(
    delta: jax.Array, w: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """The input delta of an image that is one pixel larger."""
    larger = tuple(n + 1 for n in size)
    return input_lax(delta, w, size=larger, stride=stride, padding=padding, dilation=dilation,
                     groups=groups)[:, :-1, :-1]  # fmt: skip


def grouped(call: Call) -> bool:
    """Whether there are groups, and few enough to take them one by one."""
    return 1 < call.setting("groups") <= 16


def _by_group(function: Callable[..., jax.Array], a: jax.Array, b: jax.Array, settings: Any) -> Any:
    groups = settings["groups"]
    parts = zip(jnp.split(a, groups, -1), jnp.split(b, groups, -1), strict=True)
    return jnp.concatenate([function(*part, **settings | {"groups": 1}) for part in parts], -1)


@value.implementation("by_group", grouped)
def value_by_group(x: jax.Array, w: jax.Array, **settings: Any) -> jax.Array:
    """A convolution for each group."""
    return _by_group(value_lax, x, w, settings)


@input_delta.implementation("by_group", grouped)
def input_by_group(delta: jax.Array, w: jax.Array, **settings: Any) -> jax.Array:
    """The input delta of each group."""
    return _by_group(input_lax, delta, w, settings)


@filter_delta.implementation("by_group", grouped)
def filter_by_group(x: jax.Array, delta: jax.Array, **settings: Any) -> jax.Array:
    """The filter gradient of each group."""
    return _by_group(filter_lax, x, delta, settings)
