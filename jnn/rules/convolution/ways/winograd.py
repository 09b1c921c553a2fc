"""Winograd's short convolutions: small filters with fewer multiplications.

F(m, r) computes m neighbouring outputs of a filter of r entries from m + r - 1 inputs by as many
products, where the definition takes m r: `y = A' [(G w) (B' x)]`, with matrices of constants (Lavin
and Gray, arXiv:1509.09308). In the plane, along both axes, F(2, 3) multiplies 2.25 times less,
F(2, 5) 2.78 times, F(4, 3) 4 times. At each position of a tile stands a matrix product over all
tiles and maps. The filter gradient is the transpose of this, with the same matrices.

Behind this polynomials are interpolated, and the points decide how much rounding costs. Tiles of
four have 0, 1 and -1; tiles of six 0 and the roots of 1/2 and 2. In float32, F(2, 3) is then within
2e-6 of the largest entry, F(4, 3) within 4e-6; at the usual 0, 1, -1, 2, -2 it would be 1e-5.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn.arithmetic import as_wide, wide
from jnn.rules.convolution.geometry import Geometry, Pairs, Sizes, padded
from jnn.rules.convolution.products import filter_delta, input_delta, rotated, value
from jnn.rules.core.chunks import over_samples, sum_over_samples
from jnn.rules.core.halves import widened_once
from jnn.rules.core.product import Call, Function


class Short(NamedTuple):
    """The matrices of F(m, r)."""

    image: np.ndarray  # B', (m + r - 1, m + r - 1).
    filter: np.ndarray  # G, (m + r - 1, r).
    output: np.ndarray  # A', (m, m + r - 1).


POINTS = {4: (0, 1, -1), 6: (0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))}  # By a tile's size.


@functools.cache
def short(m: int, r: int) -> Short:
    """F(m, r), interpolated at its points and at infinity (Toom and Cook).

    >>> matrices = short(2, 3)
    >>> matrices.image.astype(int).tolist()
    [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]
    >>> matrices.filter.tolist()
    [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]]
    """
    points = np.array(POINTS[m + r - 1])
    powers = np.vander(points, increasing=True)
    others = [np.delete(points, i) for i in range(len(points))]
    slopes = np.array([np.prod(p - q) for p, q in zip(points, others, strict=True)])
    image = np.array([*(np.append(np.poly(q)[::-1], 0) for q in others), np.poly(points)[::-1]])
    image[:-1] *= np.sign(slopes)[:, None]
    image[abs(image) < 1e-12] = 0  # What rounding leaves where terms cancel.
    return Short(
        image=image,
        filter=np.vstack([powers[:, :r] / abs(slopes)[:, None], np.eye(r)[-1]]),
        output=np.hstack([powers[:, :m].T, np.eye(m)[:, -1:]]),
    )


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


def summed(matrix: np.ndarray, terms: list[jax.Array]) -> jax.Array:
    """The same stacked, a sum a row: the fewest operations."""
    return jnp.stack(combined(matrix, terms))


def weighted(matrix: np.ndarray, terms: list[jax.Array]) -> jax.Array:
    """The same stacked, one sum for all rows: half the time to compile, zeros multiplied."""
    shape = len(matrix), *terms[0].shape
    columns = jnp.asarray(matrix.T, terms[0].dtype).reshape(len(terms), -1, *(1,) * terms[0].ndim)
    parts = (
        jnp.broadcast_to(column, shape) * jnp.broadcast_to(term[None], shape)
        for column, term in zip(columns, terms, strict=True)
    )
    return functools.reduce(jnp.add, parts)


def both_axes(matrix: np.ndarray, grid: jax.Array) -> jax.Array:
    """`M grid M'` of the first two axes, which change their places: one matrix product."""
    rows, columns = matrix.shape
    both = np.kron(matrix, matrix).reshape(rows, rows, columns, columns).swapaxes(2, 3)
    product = jnp.dot(
        jnp.asarray(both.reshape(rows**2, columns**2), grid.dtype),
        grid.reshape(columns**2, -1),
        precision=lax.Precision.HIGHEST,
    )
    return product.reshape(rows, rows, *grid.shape[2:])


def of_tiles(matrix: np.ndarray, x: jax.Array, count: Sizes, step: int) -> jax.Array:
    """`M x M'` of each tile x, `step` pixels apart, as (points, tiles of all samples, maps).

    Points lead, and that of the second axis before that of the first: so each half is one loop over
    arrays that lie as they are read, and no axis changes its place.
    """
    n, height, width, maps = x.shape
    high, wide = ((c - 1) * step + 1 for c in count)
    each = range(matrix.shape[1])
    x = x.reshape(n, height, width * maps)
    x = weighted(matrix, [x[:, i : i + high : step] for i in each])
    x = x.reshape(len(matrix) * n * count[0], width, maps)
    x = summed(matrix, [x[:, j : j + wide : step] for j in each])
    return x.reshape(len(matrix) ** 2, n * math.prod(count), maps)


def to_places(matrix: np.ndarray, products: jax.Array, samples: int, count: Sizes) -> jax.Array:
    """`M p M'` of each tile's products, in the order of `of_tiles`, side by side as images."""
    m, t = matrix.shape
    (high, wide), maps = count, products.shape[-1]
    x = both_axes(matrix, products.reshape(t, t, *products.shape[1:]))
    x = x.reshape(m, m, samples, high, wide, maps).transpose(2, 3, 0, 4, 1, 5)
    return x.reshape(samples, high * m, wide * m, maps)


def _covering(room: Pairs, places: Sizes, m: int) -> tuple[Sizes, Pairs]:
    """How many tiles there are along each axis, and the padding under which they cover it."""
    both = tuple((before, after + -o % m) for (before, after), o in zip(room, places, strict=True))
    return tuple(-(-o // m) for o in places), both


def value_winograd(x: jax.Array, w: jax.Array, g: Geometry, *, m: int) -> jax.Array:
    """`A' [(G w G') (B' x B)] A`, over a few samples at a time."""
    image, weights, output = short(m, len(w))
    height, width = g.places
    count, around = _covering(g.padding, g.places, m)
    kernels = both_axes(weights, as_wide(w)).reshape(-1, *w.shape[2:])

    def of_samples(x: jax.Array) -> jax.Array:
        seen = of_tiles(image, padded(widened_once(x), around), count, m)
        products = jnp.einsum("ptc,pco->pto", seen, kernels)
        z = to_places(output, products, len(x), count)[:, :height, :width]
        return z.astype(x.dtype)

    return over_samples(of_samples, (x,), _numbers(count, image, x, w))


def input_winograd(delta: jax.Array, w: jax.Array, g: Geometry, *, m: int) -> jax.Array:
    """The value of delta, padded, and the rotated filter (H-72)."""
    return value_winograd(delta, rotated(w, 1), g.backwards, m=m)


def filter_winograd(x: jax.Array, delta: jax.Array, g: Geometry, *, m: int) -> jax.Array:
    """`G' [sum (B' x B) (A delta A')] G`, the transpose of the value in w."""
    image, weights, output = short(m, g.window[0])
    count, around = _covering(g.room, g.places, m)
    _, behind = _covering(((0, 0),) * 2, g.places, m)

    def of_samples(x: jax.Array, delta: jax.Array) -> jax.Array:
        seen = of_tiles(image, padded(widened_once(x), around), count, m)
        spread = of_tiles(output.T, padded(widened_once(delta), behind), count, m)
        return jnp.einsum("ptc,pto->pco", seen, spread)

    u = sum_over_samples(of_samples, (x, delta), _numbers(count, image, x, delta))
    dw = both_axes(weights.T, u.reshape(len(image), len(image), *u.shape[1:]))
    return dw.astype(x.dtype)


def _numbers(count: Sizes, image: np.ndarray, x: jax.Array, y: jax.Array) -> int:
    """How many numbers of a sample's tiles should lie in the cache: half of them do well.

    A chunk has 16 or 36 products, and to begin one costs more than to read from farther away.
    """
    numbers = math.prod(count) * image.size * (x.shape[-1] + y.shape[-1]) // 2
    return numbers * wide(x.dtype).itemsize // x.dtype.itemsize


def _suits(call: Call, m: int) -> bool:
    """Whether the filter is square and dense, and moves by one pixel."""
    g: Geometry = call.setting
    square = g.window in {(n + 1 - m,) * 2 for n in POINTS} and g.window[0] > 1
    return square and g.groups == 1 and g.dense and g.unit


def _with(function: Function, m: int) -> Function:
    return functools.update_wrapper(functools.partial(function, m=m), function)


for _name, _m in (("winograd", 2), ("winograd4", 4)):
    for _product, _function in (
        (value, value_winograd), (input_delta, input_winograd), (filter_delta, filter_winograd),
    ):  # fmt: skip
        _product.implementation(_name, functools.partial(_suits, m=_m))(_with(_function, _m))
