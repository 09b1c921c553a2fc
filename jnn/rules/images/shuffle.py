"""Channels as pixels, and pixels as channels."""

import math

import jax
import numpy as np

from jnn import errors
from jnn.rules.convolution.geometry import image_size, per_axis
from jnn.rules.core.rule import Example, rule
from jnn.types import Setting


@rule
def pixel_shuffle(x: jax.Array, *, factor: Setting) -> jax.Array:
    """Images `factor` times as large along each axis, of that many fewer channels.

    Channel `c r^2 + i r + j` of a pixel becomes channel c of the pixel i down and j across in a
    block of r x r: with `factor` r, (N, H, W, C r^2) becomes (N, r H, r W, C); likewise in 1 or 3
    dimensions. Channels are counted as PyTorch's `nn.PixelShuffle` counts them, so that the filters
    of the convolution before it convert by transposing alone. (TensorFlow's `depth_to_space` counts
    `(i r + j) C + c`.)

    It is a permutation, so delta comes back by its inverse, `pixel_unshuffle`.

    Saves: nothing.

    Args:
      x: images, (N, *size, C), of as many channels as factors divide.
      factor: along each axis, one number or one an axis.

    >>> x = jnp.arange(4.0).reshape(1, 1, 1, 4)
    >>> jnn.rules.pixel_shuffle(x, factor=2)[0, :, :, 0].tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    return _shuffled(x, per_axis("pixel_shuffle", "factor", factor, x.ndim - 2))


@rule
def pixel_unshuffle(x: jax.Array, *, factor: Setting) -> jax.Array:
    """The inverse of `pixel_shuffle`: blocks of pixels become channels, as in PyTorch's.

    Saves: nothing.

    Args:
      x: images, (N, *size, C), of as many pixels an axis as its factor divides.
      factor: along each axis, one number or one an axis.

    >>> x = jnp.arange(4.0).reshape(1, 2, 2, 1)
    >>> jnn.rules.pixel_unshuffle(x, factor=2).shape
    (1, 1, 1, 4)
    """
    return _unshuffled(x, per_axis("pixel_unshuffle", "factor", factor, x.ndim - 2))


def _shuffled(x: jax.Array, factor: tuple[int, ...]) -> jax.Array:
    n, *image, channels = x.shape
    axes = len(image)
    x = x.reshape(n, *image, channels // math.prod(factor), *factor)
    # (N, H, W, C, r, r) to (N, H, r, W, r, C).
    pairs = (k for axis in range(axes) for k in (1 + axis, 2 + axes + axis))
    x = x.transpose(0, *pairs, 1 + axes)
    return x.reshape(n, *(h * r for h, r in zip(image, factor, strict=True)), x.shape[-1])


def _unshuffled(x: jax.Array, factor: tuple[int, ...]) -> jax.Array:
    n, *image, channels = x.shape
    axes = len(image)
    blocks = tuple(h // r for h, r in zip(image, factor, strict=True))
    x = x.reshape(n, *(k for pair in zip(blocks, factor, strict=True) for k in pair), channels)
    # (N, H, r, W, r, C) to (N, H, W, C, r, r).
    x = x.transpose(0, *range(1, 2 * axes, 2), 2 * axes + 1, *range(2, 2 * axes + 1, 2))
    return x.reshape(n, *blocks, channels * math.prod(factor))


# Each is the other's transpose.


@pixel_shuffle.forward
def pixel_shuffle_forward(x, *, factor):
    return _shuffled(x, factor), None


@pixel_shuffle.backward
def pixel_shuffle_backward(_, delta, *, factor):
    return (_unshuffled(delta, factor),)


@pixel_shuffle.tangent
def pixel_shuffle_tangent(primals, tangents, *, factor):
    (x,), (dx,) = primals, tangents
    return _shuffled(x, factor), _shuffled(dx, factor)


@pixel_shuffle.check
def pixel_shuffle_check(x, *, factor):
    factor = per_axis("pixel_shuffle", "factor", factor, len(image_size("pixel_shuffle", x)))
    if x.shape[-1] % math.prod(factor):
        expected = f"images of a multiple of {math.prod(factor)} channels"
        errors.fail("pixel_shuffle", "x", expected, errors.describe(x), "A block of pixels each.")
    return {"factor": factor}


@pixel_unshuffle.forward
def pixel_unshuffle_forward(x, *, factor):
    return _unshuffled(x, factor), None


@pixel_unshuffle.backward
def pixel_unshuffle_backward(_, delta, *, factor):
    return (_shuffled(delta, factor),)


@pixel_unshuffle.tangent
def pixel_unshuffle_tangent(primals, tangents, *, factor):
    (x,), (dx,) = primals, tangents
    return _unshuffled(x, factor), _unshuffled(dx, factor)


@pixel_unshuffle.check
def pixel_unshuffle_check(x, *, factor):
    image = image_size("pixel_unshuffle", x)
    factor = per_axis("pixel_unshuffle", "factor", factor, len(image))
    if any(h % r for h, r in zip(image, factor, strict=True)):
        expected = f"images of which {factor} divides the size"
        errors.fail("pixel_unshuffle", "x", expected, errors.describe(x), "Pad or cut it.")
    return {"factor": factor}


@pixel_shuffle.example
def pixel_shuffle_example(random: np.random.Generator) -> Example:
    h, w, c = random.integers(1, 4, 3)
    return Example(random.normal(size=(2, h, w, 6 * c)), factor=(2, 3))


@pixel_shuffle.example
def pixel_shuffle_example_in_one_dimension(random: np.random.Generator) -> Example:
    return Example(random.normal(size=(2, 3, 8)), factor=4)


@pixel_unshuffle.example
def pixel_unshuffle_example(random: np.random.Generator) -> Example:
    h, w, c = random.integers(1, 4, 3)
    return Example(random.normal(size=(2, 2 * h, 3 * w, c)), factor=(2, 3))


@pixel_unshuffle.example
def pixel_unshuffle_example_in_three_dimensions(random: np.random.Generator) -> Example:
    return Example(random.normal(size=(2, 2, 4, 2, 3)), factor=2)


@pixel_shuffle.extreme
def pixel_shuffle_extreme(random: np.random.Generator) -> Example:
    return Example(1e30 * random.normal(size=(2, 1, 2, 4)), factor=2)


@pixel_unshuffle.extreme
def pixel_unshuffle_extreme(random: np.random.Generator) -> Example:
    return Example(1e30 * random.normal(size=(2, 2, 4, 1)), factor=2)
