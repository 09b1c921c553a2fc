"""Winograd's short convolutions: 3x3 filters with fewer multiplications.

F(2, 3) computes two neighbouring outputs of a filter of three from four inputs by four products
instead of six: `y = A' [(G w) (B' x)]`, with matrices of small constants (Lavin and Gray,
arXiv:1509.09308). In the plane, along both axes, 2.25 times fewer are left. At each of the 16
positions of a tile stands a matrix product over all tiles and maps. The filter gradient is the
transpose of this, with the same matrices.

F(4, 3) multiplies 4 times less; but its additions took XLA more time than that saves, and they
cost two digits.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jnn.rules.arithmetic import dot, mixed
from jnn.rules.convolution_products import (
    filter_delta,
    input_delta,
    padding_backwards,
    padding_of_filter,
    rotated,
    value,
)
from jnn.rules.convolution_windows import over_chunks, padded, samples, sum_over_chunks
from jnn.rules.product import Call
from jnn.rules.spatial import Pairs, Sizes, output_size

Grid = list[list[jax.Array]]  # An array for each position of a tile, (samples, *tiles, maps).


IMAGE = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])  # B'
FILTER = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])  # G
OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])  # A'


def three_by_three(call: Call) -> bool:
    """Whether the filter is 3x3 and dense, and moves by one pixel; not in half precision."""
    window = call.setting("size") if call.product == "conv.filter" else call.shape(1)[:-2]
    plain = call.setting("groups") == 1 and set(call.setting("dilation")) == {1}
    exact = call.arrays[0][1] in ("float32", "float64")
    return window == (3, 3) and plain and exact and call.setting("stride") == (1, 1)


def combined(matrix: np.ndarray, terms: list[jax.Array]) -> list[jax.Array]:
    """The matrix times a column of arrays; what is zero is left out, and 1 does not multiply."""

    def row(factors: np.ndarray) -> jax.Array:
        parts = [
            (t if abs(f) == 1 else t * abs(float(f)), f > 0)
            for f, t in zip(factors, terms, strict=True)
            if f
        ]
        parts.sort(key=lambda part: not part[1])
        total, positive = parts[0]
        total = total if positive else -total
        for part, positive in parts[1:]:
            total = total + part if positive else total - part
        return total

    return [row(factors) for factors in matrix]


def both_axes(matrix: np.ndarray, grid: Grid) -> Grid:
    """`M grid M'`, a grid of arrays."""
    columns = [combined(matrix, list(column)) for column in zip(*grid, strict=True)]
    return [combined(matrix, list(row)) for row in zip(*columns, strict=True)]


def tiles(x: jax.Array, count: Sizes) -> Grid:
    """B' x B: at each position of a tile, the image's numbers there, combined."""
    high, wide = count
    lines = combined(IMAGE, [x[:, i : i + 2 * high - 1 : 2] for i in range(4)])
    return [
        combined(IMAGE, [line[:, :, j : j + 2 * wide - 1 : 2] for j in range(4)]) for line in lines
    ]


def joined(grid: Grid) -> jax.Array:
    """The outputs of all tiles beside each other, (N, 2 tiles, 2 tiles, maps)."""
    n, high, wide, maps = grid[0][0].shape
    lines = [jnp.stack(row, 3).reshape(n, high, 2 * wide, maps) for row in grid]
    return jnp.stack(lines, 2).reshape(n, 2 * high, 2 * wide, maps)


def apart(delta: jax.Array) -> Grid:
    """The reverse."""
    return [[delta[:, i::2, j::2] for j in range(2)] for i in range(2)]


def _covering(room: Pairs, places: Sizes) -> tuple[Sizes, Pairs]:
    """How many tiles there are along each axis, and the padding under which they cover it."""
    both = tuple((before, after + o % 2) for (before, after), o in zip(room, places, strict=True))
    return tuple(-(-o // 2) for o in places), both


def _at_a_time(x: jax.Array, count: Sizes, maps: int) -> int:
    return samples(len(x), count[0] * count[1] * IMAGE.size * maps * x.dtype.itemsize)


@value.implementation("winograd", three_by_three)
def value_winograd(
    x: jax.Array, w: jax.Array, *, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int
) -> jax.Array:
    """`A' [(G w G') (B' x B)] A`, over a few samples at a time."""
    places = output_size(x.shape[1:-1], (3, 3), stride, padding)
    count, around = _covering(padding, places)
    kernels = both_axes(FILTER, [[w[i, j] for j in range(3)] for i in range(3)])

    def of_samples(x: jax.Array) -> jax.Array:
        seen = tiles(padded(x, around), count)
        products = [
            [dot(v, u) for v, u in zip(*rows, strict=True)]
            for rows in zip(seen, kernels, strict=True)
        ]
        return joined(both_axes(OUTPUT, products))[:, : places[0], : places[1]]

    return over_chunks(of_samples, (x,), _at_a_time(x, count, x.shape[-1] + w.shape[-1]))


@input_delta.implementation("winograd", three_by_three)
def input_winograd(
    delta: jax.Array, w: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """The value of delta, padded, and the rotated filter (H-72)."""
    around = padding_backwards(delta.shape[1:-1], (3, 3), size, stride, padding, dilation)
    return value_winograd(delta, rotated(w, 1), stride=stride, padding=around, dilation=dilation,
                          groups=groups)  # fmt: skip


@filter_delta.implementation("winograd", three_by_three)
def filter_winograd(
    x: jax.Array, delta: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """`G' [sum (B' x B) (A delta A')] G`, the transpose of the value in w."""
    places = delta.shape[1:-1]
    room = padding_of_filter(x.shape[1:-1], places, size, stride, padding, dilation)
    count, around = _covering(room, places)
    _, behind = _covering(((0, 0),) * 2, places)

    def of_samples(x: jax.Array, delta: jax.Array) -> jax.Array:
        seen = tiles(padded(x, around), count)
        spread = both_axes(OUTPUT.T, apart(padded(delta, behind)))
        return jnp.stack([
            jnp.stack([mixed(v, d) for v, d in zip(*rows, strict=True)])
            for rows in zip(seen, spread, strict=True)
        ])  # fmt: skip

    each = _at_a_time(x, count, x.shape[-1] + delta.shape[-1])
    u = sum_over_chunks(of_samples, (x, delta), each)
    dw = both_axes(FILTER.T, [list(row) for row in u])
    return jnp.stack([jnp.stack(row) for row in dw])
