"""Depthwise convolutions as sums of shifted products.

Where each filter reads one map there is nothing to contract: a matrix product has no use, and an
image shifted, multiplied and added once for each entry of the filter is all there is to do. XLA
fuses these into one pass, vectors along the maps.
"""

import jax
import jax.numpy as jnp

from jnn.rules.arithmetic import widen
from jnn.rules.convolution_products import filter_delta, input_delta, padding_backwards, value
from jnn.rules.convolution_windows import padded, sum_over_chunks, views
from jnn.rules.product import Call
from jnn.rules.spatial import Pairs, Sizes, output_size, reach


def one_map_a_filter(call: Call) -> bool:
    """Whether there are as many groups as input maps."""
    if call.product == "conv.filter":
        return call.shape(0)[-1] == call.setting("groups")
    return call.shape(1)[-2] == 1


@value.implementation("shifted", one_map_a_filter)
def value_shifted(
    x: jax.Array, w: jax.Array, *, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int
) -> jax.Array:
    """`y[p, c, m] = sum_u x[s p + d u, c] w[u, c, m]`, with m of the maps that read map c."""
    window = w.shape[:-2]
    places = output_size(x.shape[1:-1], reach(window, dilation), stride, padding)
    entries = widen(w).reshape(-1, groups, w.shape[-1] // groups)
    seen = views(padded(widen(x), padding), window, places, stride, dilation)
    y = sum(_times(v[..., None], entry) for v, entry in zip(seen, entries, strict=True))
    return jnp.reshape(y, (len(x), *places, w.shape[-1])).astype(x.dtype)


@input_delta.implementation("shifted", one_map_a_filter)
def input_shifted(
    delta: jax.Array, w: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """H-72 map by map: delta, spread by the stride and padded, against the rotated filter."""
    window = w.shape[:-2]
    around = padding_backwards(delta.shape[1:-1], window, size, stride, padding, dilation)
    entries = widen(w).reshape(-1, groups, w.shape[-1] // groups)[::-1]
    seen = views(padded(widen(delta), around, stride), window, size, (1,) * len(size), dilation)
    terms = (
        _times(v.reshape(*v.shape[:-1], *entry.shape), entry).sum(-1)
        for v, entry in zip(seen, entries, strict=True)
    )
    return jnp.asarray(sum(terms), delta.dtype)


@filter_delta.implementation("shifted", one_map_a_filter)
def filter_shifted(
    x: jax.Array, delta: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """H-78 map by map, a sample at a time: all products, added along the first axis at once."""
    places, maps = delta.shape[1:-1], (groups, delta.shape[-1] // groups)

    def of_samples(x: jax.Array, delta: jax.Array) -> jax.Array:
        delta = widen(delta).reshape(*delta.shape[:-1], *maps)
        seen = views(widen(x), size, places, stride, dilation)
        return jnp.stack([(v[..., None] * delta).sum((0, 1)) for v in seen])

    room = [  # What no window reached is left out.
        (before, (k - 1) * d + (o - 1) * s + 1 - n - before)
        for k, d, o, s, n, (before, _) in zip(
            size, dilation, places, stride, x.shape[1:-1], padding, strict=True
        )
    ]
    dw = sum_over_chunks(of_samples, padded(x, tuple(room)), delta, 1)
    dw = dw.sum(range(1, dw.ndim - 2))
    return dw.reshape(*size, 1, delta.shape[-1]).astype(x.dtype)


def _times(x: jax.Array, entry: jax.Array) -> jax.Array:
    """An image times a number for each (map, map that reads it)."""
    return x * jnp.broadcast_to(entry, (*x.shape[:-2], *entry.shape))
