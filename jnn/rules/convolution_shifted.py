"""Depthwise convolutions as sums of shifted products.

Where each filter reads one map there is nothing to contract: a matrix product has no use, and an
image shifted, multiplied and added once for each entry of the filter is all there is to do. XLA
fuses these into one pass, vectors along the maps.
"""

import jax
import jax.numpy as jnp

from jnn.rules.arithmetic import widen
from jnn.rules.convolution_products import (
    filter_delta,
    input_delta,
    padding_backwards,
    padding_of_filter,
    value,
)
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
    """`y[p, i] = sum_u x[s p + d u, j] w[u, i]`, with j the one map that map i reads."""
    window, outputs = w.shape[:-2], w.shape[-1]
    places = output_size(x.shape[1:-1], reach(window, dilation), stride, padding)
    wide = jnp.repeat(padded(widen(x), padding), outputs // groups, -1)
    seen = views(wide, window, places, stride, dilation)
    return _weighted(seen, widen(w).reshape(-1, outputs)).astype(x.dtype)


@input_delta.implementation("shifted", one_map_a_filter)
def input_shifted(
    delta: jax.Array, w: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """H-72 map by map: delta, spread by the stride and padded, against the rotated filter."""
    window, outputs = w.shape[:-2], w.shape[-1]
    around = padding_backwards(delta.shape[1:-1], window, size, stride, padding, dilation)
    wide = padded(widen(delta), around, stride)
    seen = views(wide, window, size, (1,) * len(size), dilation)
    dx = _weighted(seen, widen(w).reshape(-1, outputs)[::-1])
    if outputs > groups:
        dx = dx.reshape(*dx.shape[:-1], groups, outputs // groups).sum(-1)
    return dx.astype(delta.dtype)


@filter_delta.implementation("shifted", one_map_a_filter)
def filter_shifted(
    x: jax.Array, delta: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """H-78 map by map, a sample at a time: all products, added along the first axis at once."""
    places, outputs = delta.shape[1:-1], delta.shape[-1]
    room = padding_of_filter(x.shape[1:-1], places, size, stride, padding, dilation)

    def of_samples(x: jax.Array, delta: jax.Array) -> jax.Array:
        wide = jnp.repeat(padded(widen(x), room), outputs // groups, -1)
        seen = views(wide, size, places, stride, dilation)
        delta = widen(delta)
        return jnp.stack([(v * delta).sum((0, 1)) for v in seen])

    dw = sum_over_chunks(of_samples, (x, delta), 1)
    dw = dw.sum(range(1, dw.ndim - 1))
    return dw.reshape(*size, 1, outputs).astype(x.dtype)


def _weighted(seen: list[jax.Array], weights: jax.Array) -> jax.Array:
    terms = (v * jnp.broadcast_to(u, v.shape) for v, u in zip(seen, weights, strict=True))
    return jnp.asarray(sum(terms))
