"""Convolution over a sparse connection table: its three products, link by link.

Where each map reads a few out of many there is little to contract. The first map that each output
reads, filtered by itself, is a depthwise convolution; so is the second, and so on; their sum is the
value. The input's delta is such a sum over the maps that each input feeds.

A link by itself takes some thirty times as long as one among all in a matrix product. On two cores
the three products of 512 maps that read 4 each (3x3, 32x16x16) took 47, 81 and 66 ms, those of a
full table 200, 210 and 285; of 128 maps that read 2 each 6, 9 and 4 ms against 16, 19 and 17.
"""

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn.rules.convolution import products
from jnn.rules.convolution.connections import Connections
from jnn.rules.convolution.geometry import Geometry
from jnn.rules.core.chunks import over_samples
from jnn.rules.core.product import Product


class Layers(NamedTuple):
    """Links of a table, at most one a result in each layer.

    Results with most links come first: those of a layer are the first few of the layer before.
    """

    order: tuple[int, ...]
    sources: tuple[tuple[int, ...], ...]

    def links(self) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Sources and results of each layer, the last layer first."""
        return ((read, self.order[: len(read)]) for read in reversed(self.sources))


@functools.lru_cache(maxsize=256)
def layers(connections: Connections, backwards: bool = False) -> Layers:
    """The links to each output map, D_i, in layers; `backwards` those of each input map, C_j."""
    read = connections.outputs if backwards else connections.inputs
    order = sorted(range(len(read)), key=lambda i: -len(read[i]))
    most = len(read[order[0]])
    sources = tuple(tuple(read[i][k] for i in order if len(read[i]) > k) for k in range(most))
    return Layers(tuple(order), sources)


def cost_of_links(links: int, entries: int) -> int:
    """Of all three products, a place of the image, in multiplications of a matrix product."""
    return links * (300 + 70 * entries)


def value(x: jax.Array, kernels: jax.Array, connections: Connections, g: Geometry) -> jax.Array:
    """H-60, H-61."""
    return _through(products.value, x, kernels, connections.numbers(), layers(connections), g)


def input_delta(
    delta: jax.Array, kernels: jax.Array, connections: Connections, g: Geometry
) -> jax.Array:
    """H-63..74, the sum over C_j."""
    found = layers(connections, backwards=True)
    return _through(products.input_delta, delta, kernels, connections.numbers().T, found, g)


def _through(
    product: Product, x: jax.Array, kernels: jax.Array, number: np.ndarray, found: Layers,
    g: Geometry,
) -> jax.Array:  # fmt: skip
    """The sum over the links, layer by layer, over a few samples at a time."""

    def of_samples(x: jax.Array) -> jax.Array:
        parts = (
            product(
                pick_maps(x, read), kernels[..., None, number[read, fed]],
                setting=g.replaced(groups=len(read)),
            )
            for read, fed in found.links()
        )  # fmt: skip
        return added(parts, found)

    return over_samples(of_samples, (x,), math.prod(x.shape[1:]))


def filter_delta(
    x: jax.Array, delta: jax.Array, connections: Connections, g: Geometry
) -> jax.Array:
    """H-76..79, one filter a link."""
    number, found = connections.numbers(), layers(connections)
    parts = [
        products.filter_delta(
            pick_maps(x, read), pick_maps(delta, fed), setting=g.replaced(groups=len(read))
        )[..., 0, :]
        for read, fed in found.links()
    ]
    order = np.concatenate([number[read, fed] for read, fed in found.links()])
    return pick_maps(jnp.concatenate(parts, -1), np.argsort(order).tolist())


def added(parts: Iterable[jax.Array], found: Layers) -> jax.Array:
    """The sum of the layers, the last and shortest first; results then in their own order."""
    total = None
    for part in parts:
        part = part if total is None else part + longer(total, part.shape[-1])
        # Stored one by one: XLA would fuse all layers into one loop, which runs far slower.
        total = lax.optimization_barrier(part)
    return pick_maps(longer(total, len(found.order)), np.argsort(found.order).tolist())


def longer(x: Any, count: int) -> jax.Array:
    """So many maps, zero behind those that are there."""
    room = [(0, 0)] * (x.ndim - 1) + [(0, count - x.shape[-1])]
    return jnp.pad(x, room) if room[-1][1] else x


def pick_maps(x: Any, maps: Sequence[int]) -> jax.Array:
    """Those maps of the last axis, by a slice where they follow each other."""
    first, count = maps[0], len(maps)
    if list(maps) == list(range(first, first + count)):
        return x[..., first : first + count]
    return jnp.asarray(x).at[..., np.array(maps)].get(mode="promise_in_bounds")
