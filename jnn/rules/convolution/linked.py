"""Convolution over a connection table: its three products, from those of smaller convolutions.

The table is divided into blocks of output maps, each an ordinary convolution of the input maps that
they read between them, so that most of what the table leaves out is not computed. Convolutions of
few maps run far below a machine's rate, however: LeNet-5's table as 16 blocks took 8 times as long
as all of it at once, with zeros for the filters that are not there. So outputs that read much alike
share a block, as long as that is cheaper, and a table that no division makes cheaper is one. Where
links are few and far between, `sparse` takes them one by one.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnn.rules.convolution import products, sparse
from jnn.rules.convolution.connections import Connections
from jnn.rules.convolution.geometry import Geometry, Sizes
from jnn.rules.convolution.sparse import pick_maps


class Block(NamedTuple):
    """Output maps that are computed together: group by group, their inputs and they themselves."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    groups: int = 1


MOST = 32  # Blocks; each is compiled.
SPARE = 16  # Maps, in and out, whose work a block wastes: what a vector holds.
PICK = 256  # Multiplications that take as long as to fetch a number of one map.


@functools.lru_cache(maxsize=256)
def blocks(connections: Connections, entries: int) -> tuple[Block, ...]:
    """The blocks in which a table is computed, of filters of so many entries.

    Links that are not there are zeros in a block. None at all, where links one by one cost less.
    """
    together: dict[tuple[int, ...], list[int]] = {}
    for output, read in enumerate(connections.inputs):
        together.setdefault(read, []).append(output)
    found = [Block(read, tuple(fed)) for read, fed in together.items()]
    if len({len(fed) for fed in together.values()}) == 1 and {len(b.inputs) for b in found} == {1}:
        # Each map reads one, and each feeds as many: a depthwise convolution.
        read = tuple(i for b in found for i in b.inputs)
        fed = tuple(o for b in found for o in b.outputs)
        return (Block(read, fed, len(found)),)
    inputs, outputs = connections.table.shape
    found = _merged(connections.table, found, entries)
    apart = sum(_cost(len(b.inputs), len(b.outputs), _fetched(b, inputs), entries) for b in found)
    whole = _cost(inputs, outputs, 0, entries)
    if sparse.cost_of_links(connections.links, entries) < min(apart, whole):
        return ()
    return (Block(tuple(range(inputs)), tuple(range(outputs))),) if apart > whole else tuple(found)


def _cost(inputs: Any, outputs: Any, fetched: Any, entries: int) -> Any:
    """Of blocks, all three products, a place of the image, in multiplications."""
    return 3 * entries * (inputs + SPARE) * (outputs + SPARE) + PICK * fetched


def _fetched(block: Block, maps: int) -> int:
    """How many numbers a place a block's products fetch: none of maps that follow each other.

    Value and filter gradient fetch its inputs, two products its deltas; the input's delta is put
    among all maps.
    """
    apart = [x[-1] - x[0] + 1 > len(x) for x in (block.inputs, block.outputs)]
    return apart[0] * (2 * len(block.inputs) + maps) + apart[1] * 2 * len(block.outputs)


def _merged(table: np.ndarray, found: list[Block], entries: int) -> list[Block]:
    """Blocks, two at a time, as one, those first of which that saves most, until none saves.

    Where there are too many, those are merged that lose least.
    """
    reads = np.array([table[:, b.outputs[0]] for b in found], np.float32)
    fed = [list(b.outputs) for b in found]

    def saved(i: int) -> np.ndarray:
        """By the i-th and each other block as one."""
        sizes, counts = reads.sum(1), np.array(list(map(len, fed)))
        union = sizes + sizes[i] - reads @ reads[i]

        def cost(inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
            return _cost(inputs, outputs, 2 * inputs + 2 * outputs + len(table), entries)

        apart = cost(sizes, counts)
        gain = apart + apart[i] - cost(union, counts + counts[i])
        gain[[i, *(k for k, outputs in enumerate(fed) if not outputs)]] = -np.inf
        return gain

    gains = np.stack([saved(i) for i in range(len(fed))])
    for left in range(len(fed), 1, -1):
        i, j = divmod(int(gains.argmax()), len(fed))
        if gains[i, j] <= 0 and left <= MOST:
            break
        reads[i], fed[i], fed[j] = np.maximum(reads[i], reads[j]), fed[i] + fed[j], []
        gains[j] = gains[:, j] = -np.inf
        gains[i] = gains[:, i] = saved(i)
    return [
        Block(tuple(np.flatnonzero(read).tolist()), tuple(sorted(outputs)))
        for read, outputs in zip(reads, fed, strict=True)
        if outputs
    ]


def value(x: jax.Array, w: jax.Array, connections: Connections, g: Geometry) -> jax.Array:
    """H-60, H-61: block by block, maps then in their order."""
    kernels, _ = per_link(w, connections, x.ndim - 2)
    division = blocks(connections, math.prod(kernels.shape[:-1]))
    if not division:
        return sparse.value(x, kernels, connections, g)
    parts = [
        products.value(
            pick_maps(x, block.inputs), kernel(kernels, connections, block),
            setting=g.replaced(groups=block.groups),
        )
        for block in division
    ]  # fmt: skip
    order = [o for block in division for o in block.outputs]
    return pick_maps(jnp.concatenate(parts, -1), np.argsort(order).tolist())


def input_delta(delta: jax.Array, w: jax.Array, connections: Connections, g: Geometry) -> jax.Array:
    """H-63..74: what each block hands back, added up where maps are shared, that is over C_j."""
    kernels, _ = per_link(w, connections, delta.ndim - 2)
    division, total = blocks(connections, math.prod(kernels.shape[:-1])), 0.0
    if not division:
        return sparse.input_delta(delta, kernels, connections, g)
    for block in division:
        part = products.input_delta(
            pick_maps(delta, block.outputs), kernel(kernels, connections, block),
            setting=g.replaced(groups=block.groups),
        )  # fmt: skip
        total = total + spread(part, block.inputs, len(connections.table))
    return jnp.asarray(total, delta.dtype)


def filter_delta(
    x: jax.Array, delta: jax.Array, shape: Sizes, connections: Connections, g: Geometry
) -> jax.Array:
    """H-76..79, one filter a link; of one filter a map, their sum over D_i (H-80)."""
    division = blocks(connections, math.prod(g.window))
    computed = _by_blocks if division else sparse.filter_delta
    dw = computed(x, delta, connections, g)
    return dw if len(shape) == g.axes + 1 else sum_by_map(dw, connections)


def _by_blocks(x: jax.Array, delta: jax.Array, connections: Connections, g: Geometry) -> jax.Array:
    parts, places = [], {}
    for block in blocks(connections, math.prod(g.window)):
        part = products.filter_delta(
            pick_maps(x, block.inputs), pick_maps(delta, block.outputs),
            setting=g.replaced(groups=block.groups),
        )  # fmt: skip
        start = sum(p.shape[-1] for p in parts)
        for place, link in enumerate(links(connections, block).ravel()):
            places[int(link)] = start + place  # That of no link is never asked for.
        parts.append(part.reshape(*g.window, -1))
    return pick_maps(
        jnp.concatenate(parts, -1), [places[link] for link in range(connections.links)]
    )


def filters_of_all(w: jax.Array, connections: Connections, axes: int) -> jax.Array:
    """Filters between all maps, (*window, C, O), zero where there is no link."""
    kernels, _ = per_link(w, connections, axes)
    into, out = connections.indices()
    zeros = jnp.zeros((*w.shape[:axes], *connections.table.shape), w.dtype)
    return zeros.at[..., into, out].set(kernels)


def per_link(w: jax.Array, connections: Connections, axes: int) -> tuple[jax.Array, bool]:
    """One filter a link, (*window, links), and whether maps share theirs."""
    if w.ndim == axes + 1:
        return w, False
    return pick_maps(w.reshape(*w.shape[:axes], -1), connections.indices()[1].tolist()), True


def kernel(kernels: jax.Array, connections: Connections, block: Block) -> jax.Array:
    """The filters of a block, (*window, inputs a group, outputs); zero where there is no link."""
    chosen = links(connections, block)
    found = jnp.take(kernels, chosen.ravel(), axis=-1, mode="fill", fill_value=0)
    return found.reshape(*kernels.shape[:-1], *chosen.shape)


def links(connections: Connections, block: Block) -> np.ndarray:
    """The number of the link from each input to each output of a block, group beside group."""
    number = connections.numbers()
    inputs = np.reshape(block.inputs, (block.groups, -1))
    outputs = np.reshape(block.outputs, (block.groups, -1))
    return np.concatenate(
        [number[np.ix_(i, o)] for i, o in zip(inputs, outputs, strict=True)], axis=1
    )


def sum_by_map(dw: jax.Array, connections: Connections) -> jax.Array:
    """The sum over the links of each output map, which follow each other; (*window, 1, O)."""
    counts = connections.table.sum(0)
    ends = np.cumsum(counts)
    sums = [dw[..., e - n : e].sum(-1) for n, e in zip(counts, ends, strict=True)]
    return jnp.stack(sums, -1)[..., None, :]


def spread(x: jax.Array, maps: tuple[int, ...], count: int) -> jax.Array:
    """The reverse of `pick`: so many maps, zero where none of these is. A gather, no scatter."""
    if maps == tuple(range(maps[0], maps[0] + len(maps))):
        return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(maps[0], count - maps[-1] - 1)])
    place = np.full(count, len(maps))
    place[list(maps)] = np.arange(len(maps))
    return jnp.take(x, place, axis=-1, mode="fill", fill_value=0)
