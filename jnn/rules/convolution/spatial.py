"""Where a window lies on an image: strides, paddings and sizes, an entry a spatial axis.

With n pixels, padding, a window whose ends lie `reach` pixels apart, and stride s, Delmas' output
size is o = (n + padding - reach) / s + 1 (D-35), and he lets no rest remain.
"""

from typing import Any

from jnn import errors

Sizes = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


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
    return explicit(function, padding, len(size))


def explicit(function: str, padding: Any, axes: int) -> Pairs:
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


def fitted(
    function: str, padding: Any, fit: str, size: Sizes, reach: Sizes, stride: Sizes
) -> Pairs:
    """The padding as pairs, once it is known that the window fits.

    With `fit="exact"` a window that steps over the edge is an error, as it is to Delmas; with
    "floor" the pixels that no window reaches are left out. "same" always fits.
    """
    errors.choice(function, "fit", fit, ("exact", "floor"))
    both = pairs(function, padding, size, reach, stride)
    for axis, (n, r, s, (before, after)) in enumerate(
        zip(size, reach, stride, both, strict=True), 1
    ):
        room = n + before + after - r
        if room < 0:
            errors.fail(
                function, "x", f"at least {r} pixels long on axis {axis}, as the window is",
                f"{n} with padding ({before}, {after})", "Pad it, or take a smaller window.",
            )  # fmt: skip
        if room % s and fit == "exact" and padding != "same":
            errors.fail(
                function, "stride", f"a divisor of the {room} pixels that the window of {r} can "
                f"move along axis {axis}", s,
                f'Pad {s - room % s} more, or leave {room % s} out by fit="floor".',
            )  # fmt: skip
    return both


def output_size(size: Sizes, reach: Sizes, stride: Sizes, padding: Pairs) -> Sizes:
    """How many windows there are: o = (n + padding - reach) / s + 1 (D-35), rounded down."""
    return tuple(
        (n + before + after - r) // s + 1
        for n, r, s, (before, after) in zip(size, reach, stride, padding, strict=True)
    )


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
