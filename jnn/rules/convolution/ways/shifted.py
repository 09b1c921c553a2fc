"""Depthwise convolutions as sums of shifted products.

Where each filter reads one map there is nothing to contract: a matrix product has no use, and an
image shifted, multiplied and added once for each entry of the filter is all there is to do. XLA
fuses these into one pass, vectors along the maps; of a few samples at a time, so that an image in
its padding is never there as a whole.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from jnn.arithmetic import as_wide, wide
from jnn.rules.convolution.geometry import Geometry, Pairs, Sizes, padded
from jnn.rules.convolution.products import filter_delta, input_delta, value
from jnn.rules.core.chunks import over_samples, sum_over_chunks
from jnn.rules.core.product import Call

SAMPLES, BANDS = 4, 4  # So many products are added up before their sum is stored.


def one_map_a_filter(call: Call) -> bool:
    """Whether there are as many groups as input maps."""
    if call.product == "conv.filter":
        return call.shape(0)[-1] == call.setting.groups
    return call.shape(1)[-2] == 1


@value.implementation("shifted", one_map_a_filter)
def value_shifted(x: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """`y[p, i] = sum_u x[s p + d u, j] w[u, i]`, with j the one map that map i reads."""
    outputs = w.shape[-1]

    def of_samples(x: jax.Array) -> jax.Array:
        seen = g.views(_wide(x, g.padding, outputs // g.groups))
        return _weighted(seen, as_wide(w).reshape(-1, outputs)).astype(x.dtype)

    return over_samples(of_samples, (x,), _numbers(g.places, outputs))


@input_delta.implementation("shifted", one_map_a_filter)
def input_shifted(delta: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """H-72 map by map: delta, spread by the stride and padded, against the rotated filter."""
    outputs, back = w.shape[-1], g.backwards

    def of_samples(delta: jax.Array) -> jax.Array:
        seen = back.views(_wide(delta, back.padding, 1, g.stride))
        dx = _weighted(seen, as_wide(w).reshape(-1, outputs)[::-1])
        if outputs > g.groups:
            dx = dx.reshape(*dx.shape[:-1], g.groups, outputs // g.groups).sum(-1)
        return dx.astype(delta.dtype)

    return over_samples(of_samples, (delta,), _numbers(g.image, outputs))


@filter_delta.implementation("shifted", one_map_a_filter)
def filter_shifted(x: jax.Array, delta: jax.Array, g: Geometry) -> jax.Array:
    """H-78 map by map: views times delta, added up across samples and across bands of rows.

    So many terms at a time are added before they are stored. They lie apart in memory, and maps
    stay beside each other in vectors; what is left over space is summed once, at the end.
    """
    outputs = delta.shape[-1]
    chunk = min(len(x), SAMPLES)
    bands = max(n for n in range(1, BANDS + 1) if g.places[0] % n == 0)

    def apart(x: jax.Array) -> list[jax.Array]:
        return [part for band in jnp.split(x, bands, 1) for part in band]

    def of_samples(x: jax.Array, delta: jax.Array) -> list[jax.Array]:
        seen = g.views(_wide(x, g.room, outputs // g.groups))
        none = jnp.zeros((g.places[0] // bands, *delta.shape[2:]), wide(x.dtype))
        deltas = apart(as_wide(delta))
        return [sum((v * d for v, d in zip(apart(s), deltas, strict=True)), none) for _, s in seen]

    sums = sum_over_chunks(of_samples, (x, delta), chunk)
    dw = jnp.stack([s.sum(range(s.ndim - 1)) for s in sums])
    return dw.reshape(*g.window, 1, outputs).astype(x.dtype)


def _numbers(places: Sizes, maps: int) -> int:
    # Image, image in its padding and result are there at once.
    return 4 * math.prod(places) * maps


def _wide(x: jax.Array, padding: Pairs, repeats: int, spread: Sizes | None = None) -> jax.Array:
    """The image padded, each map so many times."""
    wide = lax.optimization_barrier(
        padded(as_wide(x), padding, spread)
    )  # Else each view pads anew.
    return jnp.repeat(wide, repeats, -1)


def _weighted(seen: list[tuple[Sizes, jax.Array]], weights: jax.Array) -> jax.Array:
    terms = (v * jnp.broadcast_to(u, v.shape) for (_, v), u in zip(seen, weights, strict=True))
    return jnp.asarray(sum(terms))
