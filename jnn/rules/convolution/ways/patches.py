"""Convolutions as matrix products, over a few samples at a time.

An image's patches, laid out as the rows of a matrix, turn a convolution into one product; but that
matrix is as many times larger than the image as the filter has entries. So it is made for a few
samples only, and is used while it lies in the cache; or patches are made along the last axis
alone, and a product taken for each other entry of the filter ("rows"), or all these products at
once and their results shifted and added ("shifted_rows"). In the filter gradient delta may be
widened instead of the image ("wide_delta"); in the input's, each delta is spread over its window
("spread").
"""

import math
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp

from jnn.arithmetic import as_wide, contract, outer_sum, wide_contract
from jnn.rules.convolution.geometry import Geometry, padded
from jnn.rules.convolution.products import filter_delta, input_delta, rotated, value
from jnn.rules.core.chunks import over_samples, sum_over_samples
from jnn.rules.core.halves import is_widened, moved, widened_once
from jnn.rules.core.product import Call

Value = Callable[[jax.Array, jax.Array, Geometry], jax.Array]


def one_group(call: Call) -> bool:
    """Whether all maps mix."""
    return call.setting.groups == 1


def one_group_unit_stride(call: Call) -> bool:
    """Whether all maps mix, and no place is skipped: an input delta is then such a convolution."""
    return one_group(call) and call.setting.unit


def against(seen: jax.Array, delta: jax.Array) -> jax.Array:
    """`sum seen delta'` over samples and places as one axis; over several, XLA is slower.

    It is faster, too, where the first factor is the narrower one.
    """
    seen, delta = (a.reshape(-1, a.shape[-1]) for a in (seen, delta))
    wide = seen.shape[-1] > delta.shape[-1]
    return _sum(delta, seen).T if wide else _sum(seen, delta)


def _sum(a: jax.Array, b: jax.Array) -> jax.Array:
    if not is_widened(a.dtype):
        return outer_sum(as_wide(a), as_wide(b))
    # XLA multiplies bfloat16 only by rows: left to itself it widens a factor that is not turned.
    return wide_contract(moved(jnp.transpose, a), b)


def patches(x: jax.Array, g: Geometry, axes: Iterable[int] | None = None) -> jax.Array:
    """What a filter sees of a padded image at each place, side by side in the last axis."""
    return jnp.concatenate([view for _, view in g.views(x, axes)], -1)


def rows(x: jax.Array, g: Geometry) -> jax.Array:
    """Patches along the last axis alone, (N, *size but the last, places, entries C)."""
    return patches(x, g, (g.axes - 1,))


def leading(x: jax.Array, g: Geometry) -> list[jax.Array]:
    """Views along all spatial axes but the last, which has its places already."""
    return [view for _, view in g.views(x, range(g.axes - 1))]


@value.implementation("im2col", one_group)
def value_im2col(x: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """All patches of a few samples, and one product with the filter as a matrix."""
    matrix = w.reshape(-1, w.shape[-1])

    def of_samples(x: jax.Array) -> jax.Array:
        return contract(moved(lambda x: patches(g.padded(x), g), x), matrix)

    return over_samples(of_samples, (x,), math.prod(g.places) * len(matrix))


@value.implementation("rows", one_group)
def value_rows(x: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """Patches along the last axis, and the sum of a product for each other entry of the filter."""
    matrices = w.reshape(-1, g.window[-1] * w.shape[-2], w.shape[-1])

    def of_samples(x: jax.Array) -> jax.Array:
        seen = leading(moved(lambda x: rows(g.padded(x), g), x), g)
        terms = (wide_contract(v, m) for v, m in zip(seen, matrices, strict=True))
        return jnp.asarray(sum(terms), x.dtype)

    return over_samples(of_samples, (x,), _row_size(g) * matrices.shape[1])


@value.implementation("shifted_rows", one_group)
def value_shifted_rows(x: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """Patches along the last axis, one product for all other entries, and their shifted sum."""
    inputs, outputs = w.shape[-2:]
    matrix = w.reshape(-1, g.window[-1] * inputs, outputs).swapaxes(0, 1)
    entries = matrix.shape[1]

    def of_samples(x: jax.Array) -> jax.Array:
        seen = moved(lambda x: rows(g.padded(x), g), x)
        z = wide_contract(seen, matrix.reshape(len(matrix), -1))
        terms = (leading(part, g)[i] for i, part in enumerate(jnp.split(z, entries, -1)))
        return jnp.asarray(sum(terms), x.dtype)

    return over_samples(of_samples, (x,), _row_size(g) * (len(matrix) + entries * outputs))


def _row_size(g: Geometry) -> int:
    """Numbers of one map in `rows`, without the entries."""
    high = (n + before + after for n, (before, after) in zip(g.image, g.padding, strict=True))
    return math.prod([*high][:-1]) * g.places[-1]


def _backwards(function: Value) -> Value:
    """The input delta by a value: delta padded, against the filter rotated (H-72); stride 1."""

    def input_by_value(delta: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
        return function(delta, rotated(w, g.groups), g.backwards)

    return input_by_value


for _name, _function in [
    ("im2col", value_im2col), ("rows", value_rows), ("shifted_rows", value_shifted_rows),
]:  # fmt: skip
    input_delta.implementation(_name, one_group_unit_stride)(_backwards(_function))


@input_delta.implementation("spread", one_group)
def input_spread(delta: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """Each delta times the whole filter in one product, and these windows added up, axis by axis.

    No zero is multiplied: a "valid" convolution pads delta to twice its size and more (H-72).
    """
    axes = g.axes
    # The last axis' entries outermost: it is added up first, and what it adds lies together.
    matrix = w.transpose(*reversed(range(axes)), axes, axes + 1).reshape(-1, w.shape[-1]).T

    def of_samples(delta: jax.Array) -> jax.Array:
        z = wide_contract(delta, matrix)
        for a in reversed(range(axes)):
            spread = tuple(g.stride[a] if i == a else 1 for i in range(axes))
            length = (g.places[a] - 1) * g.stride[a] + 1
            terms = []
            for u, part in enumerate(jnp.split(z, g.window[a], -1)):
                first = u * g.dilation[a] - g.padding[a][0]  # Where the first delta lies, H-75.
                room = (first, g.image[a] - length - first)
                terms.append(padded(part, tuple(room if i == a else (0, 0) for i in range(axes)),
                                    spread))  # fmt: skip
            z = sum(terms[1:], terms[0])
        return z.astype(delta.dtype)

    return over_samples(of_samples, (delta,), math.prod(g.places) * matrix.shape[1])


@filter_delta.implementation("im2col", one_group)
def filter_im2col(x: jax.Array, delta: jax.Array, g: Geometry) -> jax.Array:
    """The patches of a few samples, transposed, times delta; added up over the samples."""

    def of_samples(x: jax.Array, delta: jax.Array) -> jax.Array:
        return against(moved(lambda x: patches(padded(x, g.room), g), x), delta)

    each = math.prod(g.places) * math.prod(g.window) * x.shape[-1]
    dw = sum_over_samples(of_samples, (x, delta), each)
    return dw.reshape(*g.window, x.shape[-1], -1).astype(x.dtype)


@filter_delta.implementation("rows", one_group)
def filter_rows(x: jax.Array, delta: jax.Array, g: Geometry) -> jax.Array:
    """Patches along the last axis, and a product for each other entry of the filter."""

    def of_samples(x: jax.Array, delta: jax.Array) -> jax.Array:
        seen = leading(moved(lambda x: rows(padded(x, g.room), g), x), g)
        return jnp.stack([against(v, delta) for v in seen])

    each = _row_size(g.replaced(padding=g.room)) * g.window[-1] * x.shape[-1]
    dw = sum_over_samples(of_samples, (x, delta), each)
    return dw.reshape(*g.window, x.shape[-1], -1).astype(x.dtype)


@filter_delta.implementation("wide_delta", one_group_unit_stride)
def filter_wide_delta(x: jax.Array, delta: jax.Array, g: Geometry) -> jax.Array:
    """Delta shifted along the last axis, side by side, and a product for each other entry."""
    maps, length = delta.shape[-1], g.reach[-1] - 1

    def of_samples(x: jax.Array, delta: jax.Array) -> jax.Array:
        x, delta = widened_once(x), widened_once(delta)
        still = ((0, 0),) * (g.axes - 1)
        shifts = [u * g.dilation[-1] for u in range(g.window[-1])]
        wide = jnp.concatenate([padded(delta, (*still, (s, length - s))) for s in shifts], -1)
        return jnp.stack([against(v, wide) for v in leading(padded(x, g.room), g)])

    each = math.prod(g.places) * g.window[-1] * maps
    dw = sum_over_samples(of_samples, (x, delta), each)
    dw = dw.reshape(*g.window[:-1], x.shape[-1], g.window[-1], maps)
    return jnp.moveaxis(dw, -2, -3).astype(x.dtype)
