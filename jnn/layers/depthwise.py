"""Convolutions of each map by itself: drawn filters, alone or mixed after, and known ones."""

from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jnn import errors, rules
from jnn.layers.combinators.rows import serial
from jnn.layers.convolution import ConvParams, conv, convolving, expect, grouped
from jnn.layers.core.initialisers import Initialiser, check_initialisers, glorot_uniform, zeros
from jnn.layers.core.layer import (
    Apply,
    Init,
    Layer,
    check_dtype,
    fed,
    layer,
    pure,
    without_parameters,
)
from jnn.rules.convolution.conv import FIT
from jnn.rules.core.rule import Rule
from jnn.rules.pointwise.activation import activation as chosen
from jnn.types import Batch, Key, Padding, Params, Setting, Shape


@layer
@errors.gone(**FIT)
def depthwise_conv(
    size: Setting,
    *,
    multiplier: int = 1,
    stride: Setting = 1,
    padding: Padding = "valid",
    rest: str = "error",
    dilation: Setting = 1,
    activation: str | Rule | None = None,
    bias: bool = True,
    weights: Initialiser = glorot_uniform,
    biases: Initialiser = zeros,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """A convolution of each map by itself, to `multiplier` maps: Hedberg's one to one table.

    >>> net = jnn.depthwise_conv(3, padding="same")
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 28, 28, 4)))
    >>> params.w.shape, net(params, jnp.zeros((8, 28, 28, 4))).shape
    ((3, 3, 1, 4), (8, 28, 28, 4))
    """
    errors.positive_integer("depthwise_conv", "multiplier", multiplier)
    check_initialisers("depthwise_conv", weights=weights, biases=biases)
    check_dtype("depthwise_conv", dtype)
    step = chosen("depthwise_conv", "identity" if activation is None else activation)

    def draw(key: Key, window: Shape, maps: int, dtype: Any) -> jax.Array:
        n = multiplier * maps
        return grouped("depthwise_conv", key, weights, window, maps, n, maps, dtype)

    def apply(params: ConvParams, x: jax.Array) -> jax.Array:
        expect("depthwise_conv", params)
        x = fed(x, params.w, dtype)
        return step(rules.conv(x, *params, stride=stride, padding=padding, rest=rest,
                               dilation=dilation, groups=x.shape[-1]))  # fmt: skip

    return convolving("depthwise_conv", size, draw, biases if bias else None, None, dtype), pure(
        apply
    )


def separable_conv(
    n: int,
    size: Setting,
    *,
    stride: Setting = 1,
    padding: Padding = "valid",
    activation: str | Rule | None = None,
    weights: Initialiser = glorot_uniform,
    dtype: DTypeLike | None = None,
) -> Layer:
    """Each map filtered by itself, then maps mixed pixel by pixel: two layers in a row.

    >>> jnn.separable_conv(16, 3)
    serial(depthwise_conv(3, bias=False), conv(16, 1))
    """
    apart = depthwise_conv(
        size, stride=stride, padding=padding, bias=False, weights=weights, dtype=dtype
    )
    return serial(apart, conv(n, 1, activation=activation, weights=weights, dtype=dtype))


_BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256

# As they lie on the image, unflipped. Averages sum to 1 and keep a plain area as it is, the others
# to 0 and show it black; sharpen and emboss add the image itself.
IMAGE_FILTERS = MappingProxyType({
    "identity": np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], float),
    "box_blur": np.full((3, 3), 1 / 9),
    "gaussian_blur": _BINOMIAL,
    "motion_blur": np.eye(7) / 7,
    "sharpen": np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], float),
    "unsharp_mask": 2 * np.pad([[1.0]], 2) - _BINOMIAL,
    "edges_x": np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], float),  # Sobel's.
    "edges_y": np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], float),
    "laplace": np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], float),
    "outline": np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], float),
    "emboss": np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], float),
})  # fmt: skip


@layer
def image_filter(kernel: str | np.ndarray, *, padding: Padding = "same") -> tuple[Init, Apply]:
    """A known filter on each channel of an image by itself: blur, edges, emboss (T §5).

    It has no parameters; gradients flow through it to the image, by the backward of `conv`. The
    filter is laid on the image as it stands, unflipped (a correlation).

    Args:
      kernel: a name in `jnn.layers.IMAGE_FILTERS`, or the numbers, (height, width).
      padding: "same" keeps the image's size, black around it; or as `jnn.rules.conv` takes it.

    >>> net = jnn.layers.image_filter("edges_x", padding="valid")
    >>> ramp = jnp.broadcast_to(jnp.arange(5.0)[:, None], (1, 3, 5, 1))
    >>> net((), ramp)[0, 0, :, 0].tolist()  # The slope, times 8.
    [8.0, 8.0, 8.0]
    """
    if isinstance(kernel, str):
        errors.choice("image_filter", "kernel", kernel, IMAGE_FILTERS)
        kernel = IMAGE_FILTERS[kernel]
    kernel = np.asarray(kernel)
    errors.rank("image_filter", "kernel", kernel, 2)

    def apply(params: Params, x: Batch) -> Batch:
        del params
        errors.rank("image_filter", "x", x, 4)
        channels = x.shape[-1]
        w = jnp.broadcast_to(jnp.asarray(kernel, x.dtype)[..., None, None],
                             (*kernel.shape, 1, channels))  # fmt: skip
        return rules.conv(x, w, None, padding=padding, groups=channels)

    return without_parameters, pure(apply)
