"""The three products of a convolution, and how XLA's own convolution computes each.

    conv.value(x, w)        y[p] = sum_u x[s p + d u - before] w[u]
    conv.input(delta, w)    the cotangent of x: the same sum read backwards
    conv.filter(x, delta)   the cotangent of w

Images are (N, *size, C) and filters (*window, C / groups, O), in one, two or three dimensions.
`stride`, `padding`, `dilation` have an entry a spatial axis, `size` is what the result has there:
the image of "conv.input", the window of "conv.filter". Implementations of one product differ in
cost only; `defaults` says which runs where.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnn.arithmetic import widen
from jnn.rules.convolution.defaults import default
from jnn.rules.convolution.spatial import Pairs, Sizes, reach
from jnn.rules.core.product import Product
from jnn.xla.platform import is_for

value = Product("conv.value", default)
input_delta = Product("conv.input", default)
filter_delta = Product("conv.filter", default)


@value.implementation("lax")
def value_lax(
    x: jax.Array, w: jax.Array, *, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int
) -> jax.Array:
    """XLA's convolution as it comes."""
    axes = len(stride)
    return correlate(
        x, w, (images(axes), filters(axes), images(axes)),
        window_strides=stride, padding=padding, rhs_dilation=dilation, feature_group_count=groups,
    )  # fmt: skip


@input_delta.implementation("lax")
def input_lax(
    delta: jax.Array, w: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """H-63..74: delta padded by M - 1, correlated with the filter rotated by 180 degrees.

    H-75: with a stride, after zeros are inserted between the deltas, which XLA does not store.
    """
    axes = len(stride)
    deltas, window = delta.shape[1:-1], w.shape[:axes]
    return correlate(
        delta, rotated(w, groups), (images(axes), filters(axes), images(axes)),
        window_strides=(1,) * axes, lhs_dilation=stride, rhs_dilation=dilation,
        padding=padding_backwards(deltas, window, size, stride, padding, dilation),
        feature_group_count=groups,
    )  # fmt: skip


@filter_delta.implementation("lax")
def filter_lax(
    x: jax.Array, delta: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """H-76..79: the image correlated with delta, whose entries lie a stride apart."""
    axes = len(stride)
    spatial = tuple(range(1, axes + 1))
    samples_last = (axes + 1, 0, *spatial)  # What was a channel is a sample, and the reverse.
    window = (axes, axes + 1, *range(axes))
    places = delta.shape[1:-1]
    return correlate(
        x, delta, (samples_last, samples_last, window),
        window_strides=dilation, rhs_dilation=stride, batch_group_count=groups,
        padding=padding_of_filter(x.shape[1:-1], places, size, stride, padding, dilation),
    )  # fmt: skip


def images(axes: int) -> tuple[int, ...]:
    """Where batch, channels and space lie in an image: 0, the last, and between."""
    return (0, axes + 1, *range(1, axes + 1))


def filters(axes: int) -> tuple[int, ...]:
    """Where output, input and space lie in a filter: the last, the one before, and first."""
    return (axes + 1, axes, *range(axes))


def correlate(a: jax.Array, b: jax.Array, layout: Any, **settings: Any) -> jax.Array:
    """XLA's convolution in the operands' dtype, half precisions summed in float32.

    GPU and TPU sum so by themselves; on a CPU the operands are widened.
    """
    dtype = a.dtype
    if is_for("cpu"):
        a, b = widen(a), widen(b)
    numbers = lax.ConvDimensionNumbers(*layout)
    return lax.conv_general_dilated(a, b, dimension_numbers=numbers, **settings).astype(dtype)


def rotated(w: jax.Array, groups: int) -> jax.Array:
    """The filter rotated by 180 degrees (H-72), its inputs and outputs exchanged in each group."""
    *window, inputs, outputs = w.shape
    axes = tuple(range(len(window)))
    w = jnp.flip(w, axes).reshape(*window, inputs, groups, outputs // groups)
    return (
        jnp.moveaxis(w, -1, -3)
        .swapaxes(-1, -2)
        .reshape(*window, outputs // groups, groups * inputs)
    )


def padding_backwards(
    deltas: Sizes, window: Sizes, size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes
) -> Pairs:
    """How the deltas, spread by the stride, are padded so that an image of `size` results.

    M - 1 on both sides without padding and stride (H-72); pixels that no window reached, after.
    """
    return tuple(
        (r - 1 - before, n + before - (o - 1) * s - 1)
        for o, r, n, s, (before, _) in zip(
            deltas, reach(window, dilation), size, stride, padding, strict=True
        )
    )


def padding_of_filter(
    image: Sizes, deltas: Sizes, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes
) -> Pairs:
    """The padding of an image all of which is read: what no window reached is cut off (H-76)."""
    return tuple(
        (before, r - 1 + (o - 1) * s + 1 - n - before)
        for r, o, s, n, (before, _) in zip(
            reach(window, dilation), deltas, stride, image, padding, strict=True
        )
    )
