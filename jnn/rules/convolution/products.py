"""The three products of a convolution, and how XLA's own convolution computes each.

    conv.value(x, w)        y[p] = sum_u x[s p + d u - before] w[u]
    conv.input(delta, w)    the cotangent of x: the same sum read backwards
    conv.filter(x, delta)   the cotangent of w

Images are (N, *size, C) and filters (*window, C / groups, O), in one, two or three dimensions. All
else is in the `Geometry`, the setting of all three. Implementations of one product differ in cost
only; `defaults` says which runs where.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnn.arithmetic import as_wide
from jnn.rules.convolution.defaults import default
from jnn.rules.convolution.geometry import Geometry
from jnn.rules.core.product import Product
from jnn.xla.platform import is_for

value = Product("conv.value", default)
input_delta = Product("conv.input", default)
filter_delta = Product("conv.filter", default)


@value.implementation("lax")
def value_lax(x: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """XLA's convolution as it comes."""
    return correlate(
        x, w, (images(g.axes), filters(g.axes), images(g.axes)), window_strides=g.stride,
        padding=g.padding, rhs_dilation=g.dilation, feature_group_count=g.groups,
    )  # fmt: skip


@input_delta.implementation("lax")
def input_lax(delta: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """H-63..74: delta padded by M - 1, correlated with the filter rotated by 180 degrees.

    H-75: with a stride, after zeros are inserted between the deltas, which XLA does not store.
    """
    return correlate(
        delta, rotated(w, g.groups), (images(g.axes), filters(g.axes), images(g.axes)),
        window_strides=(1,) * g.axes, lhs_dilation=g.stride, rhs_dilation=g.dilation,
        padding=g.backwards.padding, feature_group_count=g.groups,
    )  # fmt: skip


@input_delta.implementation("exchanged", suits=lambda call: call.setting.groups == 1)
def input_exchanged(delta: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """The same, inputs and outputs of the filter exchanged by name and not in memory.

    So XLA knows it on a GPU for what cuDNN calls a backward, which needs no zeros between deltas.
    """
    spatial, inward = tuple(range(g.axes)), (g.axes, g.axes + 1)
    return correlate(
        delta, lax.rev(w, spatial), (images(g.axes), (*inward, *spatial), images(g.axes)),
        window_strides=(1,) * g.axes, lhs_dilation=g.stride, rhs_dilation=g.dilation,
        padding=g.backwards.padding,
    )  # fmt: skip


@filter_delta.implementation("lax")
def filter_lax(x: jax.Array, delta: jax.Array, g: Geometry) -> jax.Array:
    """H-76..79: the image correlated with delta, whose entries lie a stride apart."""
    spatial = tuple(range(1, g.axes + 1))
    samples_last = (g.axes + 1, 0, *spatial)  # What was a channel is a sample, and the reverse.
    window = (g.axes, g.axes + 1, *range(g.axes))
    return correlate(
        x, delta, (samples_last, samples_last, window), window_strides=g.dilation,
        rhs_dilation=g.stride, batch_group_count=g.groups, padding=g.room,
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
        a, b = as_wide(a), as_wide(b)
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
