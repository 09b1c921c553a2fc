"""Windows laid on an image at equal distances: what they see, and the way back.

Of an axis of n pixels behind `before` pixels of padding, window o sees the pixels s o - before + u
with u = 0 ... w - 1. Back at pixel q = s g + p - before, with p < s, those windows o = g - a see it
for which u = s a + p < w. So what comes back lies on a grid of blocks of s pixels, and is a sum
over a alone, ceil(w / s) terms an axis: one where windows tile. No scatter is needed.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.rules.convolution.geometry import (
    Geometry,
    Sizes,
    image_size,
    padded,
    pairs,
    per_axis,
    without_rest,
)
from jnn.rules.core.rule import Example, ExampleMaker
from jnn.types import Padding, Setting

FEW = 4  # So many pixels of an axis are added up one by one; more are reduced.


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Windows(Geometry):
    """Windows that are pooled, map by map: the geometry of a convolution without holes or groups.

    What remains behind the last whole window is left out.
    """

    @property
    def depth(self) -> Sizes:
        """How many windows at most see a pixel: ceil(w / s)."""
        return tuple(-(-w // s) for w, s in zip(self.window, self.stride, strict=True))

    @property
    def blocks(self) -> Sizes:
        """Blocks of s pixels that cover the image and the padding before it."""
        return tuple(
            -(-(n + before) // s)
            for n, s, (before, _) in zip(self.image, self.stride, self.padding, strict=True)
        )

    @property
    def counts(self) -> np.ndarray:
        """How many pixels of the image each window sees, of shape (*places, 1)."""
        counts = np.ones(())
        for axis in range(len(self.image)):
            pixels = self.starts(axis)[:, None] + np.arange(self.window[axis])
            seen = ((pixels >= 0) & (pixels < self.image[axis])).sum(1)
            counts = counts[..., None] * seen
        return counts[..., None]

    def starts(self, axis: int) -> np.ndarray:
        """The first pixel of each window along an axis; negative in the padding."""
        return self.stride[axis] * np.arange(self.places[axis]) - self.padding[axis][0]

    def sums(self, x: jax.Array) -> jax.Array:
        """The sum of each window; pixels of the padding are zero."""
        x = self.padded(x)
        for axis, (w, s, o) in enumerate(
            zip(self.window, self.stride, self.places, strict=True), 1
        ):
            if w > FEW and (w == s or o == 1):
                x = lax.slice_in_dim(x, 0, o * w, axis=axis)
                x = x.reshape(*x.shape[:axis], o, w, *x.shape[axis + 1 :]).sum(axis + 1)
            else:
                x = sum((view for _, view in self.views(x, (axis - 1,))), jnp.zeros((), x.dtype))
        return x

    def back(self, term: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
        """The sum over windows that see a pixel of `term(place, *arrays)`, on the image.

        `arrays` hold a number a window, the last one what comes back. They are given to `term` with
        an axis of size 1 behind each spatial one, to be broadcast along the pixels of a block; so
        is `place`, u, an array an axis. A term must be zero where u is no place in the window.
        """
        total = jnp.zeros((), arrays[-1].dtype)
        for a, near in self._near(arrays):
            place = [s * i + p for s, i, p in zip(self.stride, a, self._pixels(), strict=True)]
            total = total + term(place, *(x.reshape(self._split(x.shape, 1)) for x in near))
        return self._image(total)

    def inside(self, place: list[jax.Array]) -> jax.Array:
        """Whether `place`, in the form that `back` gives it, is one in the window."""
        return functools.reduce(operator.and_, map(operator.lt, place, self.window))

    def on_blocks(self, x: jax.Array) -> jax.Array:
        """The image in the form that `back` sums: (N, blocks, s, blocks, s, ..., C)."""
        lying = tuple(
            (before, g * s - before - n)
            for g, s, n, (before, _) in zip(
                self.blocks, self.stride, self.image, self.padding, strict=True
            )
        )
        x = padded(x, lying)
        return x.reshape(self._split((x.shape[0], *self.blocks, x.shape[-1]), None))

    def _near(self, arrays: Any) -> Iterator[tuple[tuple[int, ...], list[jax.Array]]]:
        """For each a, the arrays at g - a for every block g; zero where there is no window."""
        room = tuple(
            (a - 1, g - o) for a, g, o in zip(self.depth, self.blocks, self.places, strict=True)
        )
        arrays = [padded(x, room) for x in arrays]
        for a in np.ndindex(*self.depth):
            start = [0, *(d - 1 - i for d, i in zip(self.depth, a, strict=True)), 0]
            sizes = (arrays[0].shape[0], *self.blocks, arrays[0].shape[-1])
            limit = [i + n for i, n in zip(start, sizes, strict=True)]
            yield a, [lax.slice(x, start, limit) for x in arrays]

    def _pixels(self) -> Iterator[jax.Array]:
        """The pixels of a block, an array an axis, to be broadcast against the form of `back`."""
        for axis, s in enumerate(self.stride):
            shape = [1] * (2 + 2 * len(self.stride))
            shape[2 + 2 * axis] = s
            yield jnp.arange(s).reshape(shape)

    def _split(self, shape: Sizes, behind: int | None) -> Sizes:
        """`shape` with an axis behind each spatial one, of that size or of the stride's."""
        n, *blocks, c = shape
        both = ((g, behind or s) for g, s in zip(blocks, self.stride, strict=True))
        return n, *(k for pair in both for k in pair), c

    def _image(self, x: jax.Array) -> jax.Array:
        """From blocks to pixels, without the padding."""
        long = (g * s for g, s in zip(self.blocks, self.stride, strict=True))
        x = x.reshape(x.shape[0], *long, x.shape[-1])
        before = [0, *(pair[0] for pair in self.padding), 0]
        size = (x.shape[0], *self.image, x.shape[-1])
        return lax.slice(x, before, [i + n for i, n in zip(before, size, strict=True)])


def windows(
    function: str,
    image: Sizes,
    window: Setting,
    stride: Setting | None,
    padding: Padding,
    rest: str = "drop",
    names: tuple[str, str] = ("window", "stride"),
) -> Windows:
    """The windows on an image that the settings of `function` mean, checked."""
    axes = len(image)
    sizes = per_axis(function, names[0], window, axes)
    steps = sizes if stride is None else per_axis(function, names[1], stride, axes)
    around = pairs(function, padding, image, sizes, steps)
    for n, w, (before, after) in zip(image, sizes, around, strict=True):
        if n + before + after < w:
            expected = f"at most the image with its padding, {n + before + after} pixels"
            errors.fail(function, names[0], expected, w, "Take a smaller one, or pad.")
        if max(before, after) >= w:
            expected = f"less than the window of {w}, so that each sees a pixel of the image"
            errors.fail(function, "padding", expected, max(before, after))
    rest = "drop" if padding == "same" else rest
    without_rest(function, rest, image, sizes, steps, around)
    return Windows(tuple(image), sizes, steps, around, (1,) * axes)


def on(function: str, x: jax.Array, *settings: Any, **others: Any) -> Windows:
    """The windows on images (N, *size, C)."""
    return windows(function, image_size(function, x), *settings, **others)


def image_example(size: Sizes, channels: int, **settings: Any) -> ExampleMaker:
    """A maker of examples for a rule of images alone."""

    def make(random: np.random.Generator) -> Example:
        batch = random.integers(1, 3)
        return Example(random.normal(size=(batch, *size, channels)), **settings)

    return make
