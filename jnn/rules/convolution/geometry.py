"""Where windows lie on an image: one record for convolution and pooling, an entry a spatial axis.

With n pixels, padding, a window whose ends lie `reach` pixels apart, and stride s, Delmas' output
size is o = (n + padding - reach) / s + 1 (D-35), and he lets no rest remain.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors

Sizes = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Geometry:
    """A window's places on an image: a constant of the program, and the setting of its products.

    Attributes:
      image: pixels of the image.
      window: entries of the window.
      stride: pixels from a place to the next.
      padding: zeros (before, after) the image; negative where it is cut.
      dilation: pixels from an entry of the window to the next.
      groups: into how many parts, which do not mix, maps are split.

    >>> g = Geometry((8, 8), (3, 3), (2, 2), ((0, 1), (0, 1)), (1, 1))
    >>> g.places, g.reach, g.backwards.padding
    ((4, 4), (3, 3), ((2, 1), (2, 1)))
    """

    image: Sizes
    window: Sizes
    stride: Sizes
    padding: Pairs
    dilation: Sizes
    groups: int = 1

    @property
    def axes(self) -> int:
        """How many spatial axes there are."""
        return len(self.image)

    @property
    def unit(self) -> bool:
        """Whether no place is skipped."""
        return set(self.stride) <= {1}

    @property
    def dense(self) -> bool:
        """Whether the window has no holes."""
        return set(self.dilation) <= {1}

    @property
    def reach(self) -> Sizes:
        """How many pixels the window spans."""
        return reach(self.window, self.dilation)

    @property
    def places(self) -> Sizes:
        """How many windows there are: o = (n + padding - reach) / s + 1 (D-35), rounded down."""
        return tuple(
            (n + before + after - r) // s + 1
            for n, r, s, (before, after) in zip(
                self.image, self.reach, self.stride, self.padding, strict=True
            )
        )

    @property
    def room(self) -> Pairs:
        """The padding of an image all of which is read: what no window reached is cut (H-76)."""
        return tuple(
            (before, r + (o - 1) * s - n - before)
            for r, o, s, n, (before, _) in zip(
                self.reach, self.places, self.stride, self.image, self.padding, strict=True
            )
        )

    @property
    def backwards(self) -> "Geometry":
        """Of the convolution, by the filter rotated, that leads deltas back to the image (H-72).

        Its image are the deltas with s - 1 zeros between them (H-75). They are padded by M - 1 on
        both sides without padding and stride; pixels that no window reached lie behind.
        """
        spread = tuple((o - 1) * s + 1 for o, s in zip(self.places, self.stride, strict=True))
        padding = tuple(
            (r - 1 - before, n + before - o)
            for o, r, n, (before, _) in zip(
                spread, self.reach, self.image, self.padding, strict=True
            )
        )
        return dataclasses.replace(self, image=spread, padding=padding, stride=(1,) * self.axes)

    def replaced(self, **fields: Any) -> "Geometry":
        """The same with other fields."""
        return dataclasses.replace(self, **fields)

    def padded(self, x: jax.Array, value: float = 0.0) -> jax.Array:
        """The image in its padding, filled with `value`."""
        return padded(x, self.padding, value=value)

    def views(self, x: jax.Array, axes: Any = None) -> list[tuple[Sizes, jax.Array]]:
        """Each place in the window, in C order, and the pixels that the windows see there.

        `x` is padded; along axes that are not named it stays as it is.
        """
        axes = range(self.axes) if axes is None else axes
        found, places = [], self.places
        for place in np.ndindex(*(self.window[axis] for axis in axes)):
            start, limit, stride = [0] * x.ndim, list(x.shape), [1] * x.ndim
            for axis, u in zip(axes, place, strict=True):
                start[axis + 1], stride[axis + 1] = u * self.dilation[axis], self.stride[axis]
                limit[axis + 1] = start[axis + 1] + (places[axis] - 1) * self.stride[axis] + 1
            found.append((place, lax.slice(x, start, limit, stride)))
        return found


def padded(
    x: jax.Array, padding: Pairs, spread: Sizes | None = None, value: float = 0.0
) -> jax.Array:
    """`value` around the spatial axes, or cuts where negative; `spread - 1` between pixels."""
    between = spread or (1,) * len(padding)
    if not any(map(any, padding)) and set(between) <= {1}:
        return x
    inner = [(before, after, s - 1) for (before, after), s in zip(padding, between, strict=True)]
    return lax.pad(x, jnp.asarray(value, x.dtype), [(0, 0, 0), *inner, (0, 0, 0)])


# From what a user gives to what a record holds.


def image_size(function: str, x: jax.Array) -> Sizes:
    """The spatial axes of images (N, *size, C)."""
    errors.floating(function, x=x)
    if x.ndim < 3:
        expected = "images (N, *size, C), with at least one spatial axis"
        errors.fail(function, "x", expected, errors.describe(x), "Channels come last.")
    return x.shape[1:-1]


def per_axis(function: str, argument: str, value: Any, axes: int) -> Sizes:
    """A positive integer, or one a spatial axis, as one a spatial axis."""
    values = tuple(value) if isinstance(value, tuple | list) else (value,) * axes
    if len(values) != axes:
        errors.fail(function, argument, f"an integer or {axes} of them", repr(value))
    for each in values:
        errors.positive_integer(function, argument, each)
    return tuple(int(each) for each in values)


def reach(window: Sizes, dilation: Sizes) -> Sizes:
    """How many pixels a window spans whose entries lie `dilation` apart."""
    return tuple((k - 1) * d + 1 for k, d in zip(window, dilation, strict=True))


def pairs(function: str, padding: Any, size: Sizes, reach: Sizes, stride: Sizes) -> Pairs:
    """The padding as (before, after) for each spatial axis.

    "valid" is none. "same" makes the output as large as the input over the stride, rounded up; an
    odd pixel goes behind.
    """
    if padding == "valid":
        return ((0, 0),) * len(size)
    if padding == "same":
        total = [
            max((-(-n // s) - 1) * s + r - n, 0)
            for n, r, s in zip(size, reach, stride, strict=True)
        ]
        return tuple((t // 2, t - t // 2) for t in total)
    return _explicit(function, padding, len(size))


def _explicit(function: str, padding: Any, axes: int) -> Pairs:
    """A padding that is given in pixels: one number, one an axis, or (before, after) an axis."""
    values = tuple(padding) if isinstance(padding, tuple | list) else (padding,) * axes
    both = tuple(tuple(v) if isinstance(v, tuple | list) else (v, v) for v in values)
    good = len(both) == axes and all(
        len(pair) == 2 and all(hasattr(p, "__index__") and p >= 0 for p in pair) for pair in both
    )
    if not good:
        errors.fail(
            function, "padding",
            f'"valid", "same", or pixels: an integer, or for each of {axes} axes an integer or a '
            "pair (before, after)", repr(padding),
        )  # fmt: skip
    return tuple((int(before), int(after)) for before, after in both)


RESTS = ("error", "drop")


def without_rest(
    function: str, rest: str, size: Sizes, reach: Sizes, stride: Sizes, padding: Pairs
) -> None:
    """Refuses windows that step over the edge where `rest` is "error", as Delmas does (D-35).

    With "drop" the pixels that no window reaches are left out.
    """
    errors.choice(function, "rest", rest, RESTS)
    for axis, (n, r, s, (before, after)) in enumerate(
        zip(size, reach, stride, padding, strict=True), 1
    ):
        left = n + before + after - r
        if left % s and rest == "error":
            errors.fail(
                function, "stride", f"a divisor of the {left} pixels that the window of {r} can "
                f"move along axis {axis}", s,
                f'Pad {s - left % s} more, or leave {left % s} out by rest="drop".',
            )  # fmt: skip


def fitted(
    function: str, padding: Any, rest: str, size: Sizes, reach: Sizes, stride: Sizes
) -> Pairs:
    """The padding as pairs, once it is known that the window fits; "same" always does."""
    both = pairs(function, padding, size, reach, stride)
    for axis, (n, r, (before, after)) in enumerate(zip(size, reach, both, strict=True), 1):
        if n + before + after < r:
            errors.fail(
                function, "x", f"at least {r} pixels long on axis {axis}, as the window is",
                f"{n} with padding ({before}, {after})", "Pad it, or take a smaller window.",
            )  # fmt: skip
    errors.choice(function, "rest", rest, RESTS)
    without_rest(function, "drop" if padding == "same" else rest, size, reach, stride, both)
    return both


def transposed_size(size: Sizes, reach: Sizes, stride: Sizes, padding: Any) -> tuple[Sizes, Any]:
    """The image that gives so many windows, and its padding as pairs.

    "same" is that of an image `stride` times as large, other paddings fit exactly.
    """
    if padding == "same":
        image = tuple(n * s for n, s in zip(size, stride, strict=True))
        return image, pairs("conv_transpose", "same", image, reach, stride)
    both = pairs("conv_transpose", padding, size, reach, stride)
    return tuple(
        (n - 1) * s + r - before - after
        for n, r, s, (before, after) in zip(size, reach, stride, both, strict=True)
    ), both
