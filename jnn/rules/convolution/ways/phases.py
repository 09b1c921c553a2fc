"""Other roads to XLA's own convolution, which is slow on some.

On a CPU it leaves its fast path where a stride spreads the deltas ("phases") and where there are
groups ("by_group"), and takes a slower one where a padding is equal on both sides ("overrun").
"""

import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jnn.rules.convolution.geometry import Geometry, padded
from jnn.rules.convolution.products import (
    filter_delta,
    filter_lax,
    input_delta,
    input_lax,
    rotated,
    value,
    value_lax,
)
from jnn.rules.core.chunks import over_samples
from jnn.rules.core.product import Call


def strided(call: Call) -> bool:
    """Whether places are skipped, by a filter without holes."""
    return not call.setting.unit and call.setting.dense


def unit_stride(call: Call) -> bool:
    """Whether no place is skipped, in the plane, where this was seen."""
    return call.setting.stride == (1, 1)


@input_delta.implementation("phases", strided)
def input_phases(delta: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """H-75 without its zeros: pixels that lie a stride apart are a convolution of their own.

    Pixel r + s m of the padded image gets `sum_v delta[m - v] w[r + s v]`: every s-th entry of the
    filter, from the r-th. The s results of each axis are put between each other.
    """
    axes, deltas, stride = g.axes, g.places, g.stride
    counts = tuple(
        -(-(before + n) // s) for n, s, (before, _) in zip(g.image, stride, g.padding, strict=True)
    )
    parts = []
    for first in itertools.product(*map(range, stride)):
        part = w[tuple(slice(r, None, s) for r, s in zip(first, stride, strict=True))]
        window = part.shape[:axes]
        around = tuple((k - 1, c - o) for k, c, o in zip(window, counts, deltas, strict=True))
        phase = g.replaced(image=deltas, window=window, stride=(1,) * axes, padding=around)
        parts.append(
            value_lax(delta, rotated(part, g.groups), phase)
            if all(window)  # Else the filter is shorter than the stride, and there is nothing.
            else jnp.zeros((len(delta), *counts, w.shape[-2] * g.groups), delta.dtype)
        )
    between = jnp.stack(parts, -2).reshape(*parts[0].shape[:-1], *stride, parts[0].shape[-1])
    order = [0, *(i for a in range(axes) for i in (1 + a, 1 + axes + a)), 2 * axes + 1]
    whole = between.transpose(order).reshape(
        len(delta), *(c * s for c, s in zip(counts, stride, strict=True)), parts[0].shape[-1]
    )
    cut = tuple(
        (-before, before + n - c * s)
        for n, s, c, (before, _) in zip(g.image, stride, counts, g.padding, strict=True)
    )
    return padded(whole, cut)


@value.implementation("overrun", unit_stride)
def value_overrun(x: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """One pixel of padding more on the far sides, and one place less of the result."""
    around = tuple((before, after + 1) for before, after in g.padding)
    larger = g.replaced(padding=around)
    return over_samples(lambda x: value_lax(x, w, larger)[:, :-1, :-1], (x,),
                        math.prod(g.places) * w.shape[-1])  # fmt: skip


@input_delta.implementation("overrun", unit_stride)
def input_overrun(delta: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """The input delta of an image that is one pixel larger."""
    larger = tuple(n + 1 for n in g.image)
    cut = tuple((before, after - 1) for before, after in g.padding)  # The places stay.
    larger = g.replaced(image=larger, padding=cut)
    return over_samples(lambda delta: input_lax(delta, w, larger)[:, :-1, :-1], (delta,),
                        math.prod(g.image) * w.shape[-2])  # fmt: skip


def grouped(call: Call) -> bool:
    """Whether there are groups, and few enough to take them one by one."""
    return 1 < call.setting.groups <= 16


def _by_group(
    function: Callable[..., jax.Array], a: jax.Array, b: jax.Array, g: Geometry
) -> jax.Array:
    parts = zip(jnp.split(a, g.groups, -1), jnp.split(b, g.groups, -1), strict=True)
    alone = g.replaced(groups=1)
    return jnp.concatenate([function(*part, alone) for part in parts], -1)


@value.implementation("by_group", grouped)
def value_by_group(x: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """A convolution for each group."""
    return _by_group(value_lax, x, w, g)


@input_delta.implementation("by_group", grouped)
def input_by_group(delta: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """The input delta of each group."""
    return _by_group(input_lax, delta, w, g)


@filter_delta.implementation("by_group", grouped)
def filter_by_group(x: jax.Array, delta: jax.Array, g: Geometry) -> jax.Array:
    """The filter gradient of each group."""
    return _by_group(filter_lax, x, delta, g)
