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
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jnn.arithmetic import dot, widen
from jnn.rules.convolution.products import (
    filter_delta,
    input_delta,
    padding_backwards,
    padding_of_filter,
    rotated,
    value,
)
from jnn.rules.convolution.spatial import Pairs, Sizes, output_size, reach
from jnn.rules.convolution.views import (
    against,
    over_samples,
    padded,
    sum_over_samples,
    views,
)
from jnn.rules.core.product import Call

Value = Callable[..., jax.Array]


def one_group(call: Call) -> bool:
    """Whether all maps mix."""
    return call.setting("groups") == 1


def one_group_unit_stride(call: Call) -> bool:
    """Whether all maps mix, and no place is skipped: an input delta is then such a convolution."""
    return one_group(call) and set(call.setting("stride")) == {1}


def patches(
    x: jax.Array, window: Sizes, places: Sizes, stride: Sizes, dilation: Sizes
) -> jax.Array:
    """What a filter sees at each place, (N, *places, entries C)."""
    return jnp.concatenate(views(x, window, places, stride, dilation), -1)


def rows(x: jax.Array, window: Sizes, places: Sizes, stride: Sizes, dilation: Sizes) -> jax.Array:
    """Patches along the last axis alone, (N, *size but the last, places, entries C)."""
    first = x.shape[1:-2]
    ones = (1,) * len(first)
    return patches(
        x, (*ones, window[-1]), (*first, places[-1]), (*ones, stride[-1]), (*ones, dilation[-1])
    )


@value.implementation("im2col", one_group)
def value_im2col(
    x: jax.Array, w: jax.Array, *, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int
) -> jax.Array:
    """All patches of a few samples, and one product with the filter as a matrix."""
    window = w.shape[:-2]
    places = output_size(x.shape[1:-1], reach(window, dilation), stride, padding)
    matrix = w.reshape(-1, w.shape[-1])

    def of_samples(x: jax.Array) -> jax.Array:
        return dot(patches(padded(x, padding), window, places, stride, dilation), matrix)

    return over_samples(of_samples, (x,), math.prod(places) * len(matrix))


@value.implementation("rows", one_group)
def value_rows(
    x: jax.Array, w: jax.Array, *, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int
) -> jax.Array:
    """Patches along the last axis, and the sum of a product for each other entry of the filter."""
    window = w.shape[:-2]
    places = output_size(x.shape[1:-1], reach(window, dilation), stride, padding)
    matrices = w.reshape(-1, window[-1] * w.shape[-2], w.shape[-1])

    def of_samples(x: jax.Array) -> jax.Array:
        wide = rows(padded(x, padding), window, places, stride, dilation)
        seen = leading_views(wide, window, places, stride, dilation)
        terms = (dot(widen(v), widen(m)) for v, m in zip(seen, matrices, strict=True))
        return jnp.asarray(sum(terms), x.dtype)

    return over_samples(of_samples, (x,), _row_size(x, places, padding) * matrices.shape[1])


@value.implementation("shifted_rows", one_group)
def value_shifted_rows(
    x: jax.Array, w: jax.Array, *, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int
) -> jax.Array:
    """Patches along the last axis, one product for all other entries, and their shifted sum."""
    window, (inputs, outputs) = w.shape[:-2], w.shape[-2:]
    places = output_size(x.shape[1:-1], reach(window, dilation), stride, padding)
    matrix = w.reshape(-1, window[-1] * inputs, outputs).swapaxes(0, 1)
    entries = matrix.shape[1]

    def of_samples(x: jax.Array) -> jax.Array:
        wide = rows(padded(x, padding), window, places, stride, dilation)
        z = dot(widen(wide), widen(matrix).reshape(len(matrix), -1))
        parts = jnp.split(z, entries, -1)
        terms = (
            leading_views(part, window, places, stride, dilation)[i] for i, part in enumerate(parts)
        )
        return jnp.asarray(sum(terms), x.dtype)

    numbers = len(matrix) + entries * outputs
    return over_samples(of_samples, (x,), _row_size(x, places, padding) * numbers)


def leading_views(
    x: jax.Array, window: Sizes, places: Sizes, stride: Sizes, dilation: Sizes
) -> list[jax.Array]:
    """`views` along all spatial axes but the last, which has its places already."""
    return views(
        x, (*window[:-1], 1), places, (*stride[:-1], 1), (*dilation[:-1], 1)
    )  # fmt: skip


def _row_size(x: jax.Array, places: Sizes, padding: Pairs) -> int:
    leading = zip(x.shape[1:-2], padding, strict=False)
    return math.prod(n + before + after for n, (before, after) in leading) * places[-1]


def _backwards(function: Value) -> Value:
    """The input delta by a value: delta padded, against the filter rotated (H-72); stride 1."""

    def input_by_value(
        delta: jax.Array, w: jax.Array, *,
        size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
    ) -> jax.Array:  # fmt: skip
        window = w.shape[:-2]
        around = padding_backwards(delta.shape[1:-1], window, size, stride, padding, dilation)
        return function(
            delta, rotated(w, groups),
            stride=stride, padding=around, dilation=dilation, groups=groups,
        )  # fmt: skip

    return input_by_value


for _name, _function in [
    ("im2col", value_im2col), ("rows", value_rows), ("shifted_rows", value_shifted_rows),
]:  # fmt: skip
    input_delta.implementation(_name, one_group_unit_stride)(_backwards(_function))


@input_delta.implementation("spread", one_group)
def input_spread(
    delta: jax.Array, w: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """Each delta times the whole filter in one product, and these windows added up, axis by axis.

    No zero is multiplied: a "valid" convolution pads delta to twice its size and more (H-72).
    """
    *window, _, outputs = w.shape
    axes = len(window)
    # The last axis' entries outermost: it is added up first, and what it adds lies together.
    matrix = w.transpose(*reversed(range(axes)), axes, axes + 1).reshape(-1, outputs).T

    def of_samples(delta: jax.Array) -> jax.Array:
        z = dot(widen(delta), widen(matrix))
        for a in reversed(range(axes)):
            spread = tuple(stride[a] if i == a else 1 for i in range(axes))
            length = (delta.shape[1 + a] - 1) * stride[a] + 1
            terms = []
            for u, part in enumerate(jnp.split(z, window[a], -1)):
                first = u * dilation[a] - padding[a][0]  # Where the first delta lies, H-75.
                room = (first, size[a] - length - first)
                terms.append(padded(part, tuple(room if i == a else (0, 0) for i in range(axes)),
                                    spread))  # fmt: skip
            z = sum(terms[1:], terms[0])
        return z.astype(delta.dtype)

    return over_samples(of_samples, (delta,), math.prod(delta.shape[1:-1]) * matrix.shape[1])


@filter_delta.implementation("im2col", one_group)
def filter_im2col(
    x: jax.Array, delta: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """The patches of a few samples, transposed, times delta; added up over the samples."""
    places = delta.shape[1:-1]
    room = padding_of_filter(x.shape[1:-1], places, size, stride, padding, dilation)

    def of_samples(x: jax.Array, delta: jax.Array) -> jax.Array:
        seen = patches(padded(x, room), size, places, stride, dilation)
        return against(seen, delta)

    each = math.prod(places) * math.prod(size) * x.shape[-1]
    dw = sum_over_samples(of_samples, (x, delta), each)
    return dw.reshape(*size, x.shape[-1], -1).astype(x.dtype)


@filter_delta.implementation("rows", one_group)
def filter_rows(
    x: jax.Array, delta: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """Patches along the last axis, and a product for each other entry of the filter."""
    places = delta.shape[1:-1]
    room = padding_of_filter(x.shape[1:-1], places, size, stride, padding, dilation)

    def of_samples(x: jax.Array, delta: jax.Array) -> jax.Array:
        wide = rows(padded(x, room), size, places, stride, dilation)
        seen = leading_views(wide, size, places, stride, dilation)
        return jnp.stack([against(v, delta) for v in seen])

    each = _row_size(x, places, room) * size[-1] * x.shape[-1]
    dw = sum_over_samples(of_samples, (x, delta), each)
    return dw.reshape(*size, x.shape[-1], -1).astype(x.dtype)


@filter_delta.implementation("wide_delta", one_group_unit_stride)
def filter_wide_delta(
    x: jax.Array, delta: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """Delta shifted along the last axis, side by side, and a product for each other entry."""
    places, maps = delta.shape[1:-1], delta.shape[-1]
    room = padding_of_filter(x.shape[1:-1], places, size, stride, padding, dilation)
    length = (size[-1] - 1) * dilation[-1]

    def of_samples(x: jax.Array, delta: jax.Array) -> jax.Array:
        still = ((0, 0),) * (len(size) - 1)
        shifts = [u * dilation[-1] for u in range(size[-1])]
        wide = jnp.concatenate([padded(delta, (*still, (s, length - s))) for s in shifts], -1)
        whole = (*places[:-1], places[-1] + length)
        seen = leading_views(padded(x, room), size, whole, stride, dilation)
        return jnp.stack([against(v, wide) for v in seen])

    each = math.prod(places) * size[-1] * maps
    dw = sum_over_samples(of_samples, (x, delta), each)
    dw = dw.reshape(*size[:-1], x.shape[-1], size[-1], maps)
    return jnp.moveaxis(dw, -2, -3).astype(x.dtype)
