"""Images made larger or smaller, by the nearest pixel or between neighbours."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.convolution.geometry import Sizes, image_size, per_axis
from jnn.rules.core.rule import Example, ExampleMaker, rule
from jnn.rules.images.taps import Taps, mapped
from jnn.types import Setting

# How new pixels may lie on old ones, by method; the first is the default.
ALIGNMENTS = {"nearest": ("starts", "centres"), "linear": ("centres", "corners")}


@rule
def resize(
    x: jax.Array, *, size: Setting, method: str = "nearest", align: str | None = None
) -> jax.Array:
    """Images with `size` pixels along each axis, in 1, 2 or 3 dimensions.

    Each axis is mapped by itself (M-100), of n pixels to m. New pixel i looks at place p of the old
    ones: `p = i n / m` where the starts of both rows of pixels are aligned, `p = (i + 1/2) n / m -
    1/2` where the pixels' centres are, `p = i (n - 1) / (m - 1)` where the first and the last
    pixels are. "nearest" takes one pixel, "linear" weighs the two around p (M-101); beyond the
    first and the last centre it is that pixel. There is no filter against aliasing: where an image
    shrinks, pixels are left out.

    The defaults are those of `F.interpolate` in PyTorch, given a size: "nearest" aligns starts,
    "linear" (its "bilinear", "trilinear") centres; "nearest" with centres is its "nearest-exact".
    `jax.image.resize` aligns centres always, so its "nearest" differs where m is no multiple of n,
    and its "linear" is ours with `antialias=False`, and ours anyway where no axis shrinks.

    On the way back each pixel gets from the new ones that looked at it what they weighed it by, the
    transposed map (M-102), which is a gather too.

    Saves: nothing.

    Args:
      x: images, (N, *size, C).
      size: pixels along each axis, one number or one an axis.
      method: "nearest" or "linear".
      align: "starts" or "centres" for the nearest, "centres" or "corners" for linear; None for the
        first of both.

    >>> x = jnp.array([0.0, 4.0]).reshape(1, 2, 1)
    >>> jnn.rules.resize(x, size=4).ravel().tolist()
    [0.0, 0.0, 4.0, 4.0]
    >>> jnn.rules.resize(x, size=4, method="linear").ravel().tolist()
    [0.0, 1.0, 3.0, 4.0]
    """
    to = _resizing(x, size, method, align)
    y = x if method == "nearest" else as_wide(x)
    for axis, (n, m) in enumerate(zip(to.image, to.size, strict=True), 1):
        first, part = _looked_at(n, m, method, to.align)
        if method == "nearest":
            y = jnp.take(y, first, axis)
        else:
            low, high = (jnp.take(y, k, axis) for k in (first, np.minimum(first + 1, n - 1)))
            part = jnp.asarray(part, y.dtype).reshape(m, *(1,) * (y.ndim - axis - 1))
            part = jnp.broadcast_to(part, low.shape)
            y = low * (1 - part) + high * part
    return y.astype(x.dtype)


@resize.forward
def resize_forward(x, *, size, method, align):
    to = _resizing(x, size, method, align)
    return mapped(x, to.maps), to  # M-100


@resize.backward
def resize_backward(to, delta, *, size, method, align):
    return (mapped(delta, [taps.transposed for taps in to.maps]),)  # M-102


@resize.tangent
def resize_tangent(primals, tangents, *, size, method, align):
    (x,), (dx,) = primals, tangents
    maps = _resizing(x, size, method, align).maps
    return mapped(x, maps), mapped(dx, maps)


@resize.check
def resize_check(x, *, size, method, align):
    to = _resizing(x, size, method, align)
    return {"size": to.size, "align": to.align}


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Resizing:
    """From how many pixels an axis to how many, and in which way."""

    image: Sizes
    size: Sizes
    method: str
    align: str

    @property
    def maps(self) -> list[Taps]:
        """The map of each axis."""
        pairs = zip(self.image, self.size, strict=True)
        return [_map(n, m, self.method, self.align) for n, m in pairs]


def _resizing(x: jax.Array, size: Setting, method: str, align: str | None) -> Resizing:
    image = image_size("resize", x)
    errors.choice("resize", "method", method, ALIGNMENTS)
    align = ALIGNMENTS[method][0] if align is None else align
    errors.choice("resize", "align", align, ALIGNMENTS[method])
    return Resizing(image, per_axis("resize", "size", size, len(image)), method, align)


@functools.lru_cache(maxsize=256)
def _map(n: int, m: int, method: str, align: str) -> Taps:
    first, part = _looked_at(n, m, method, align)
    rows = np.arange(m)
    if method == "nearest":
        return Taps(m, n, rows, first, np.ones(m))
    between = part > 0  # M-101: the pixel at or before the place, and the next
    return Taps(
        m,
        n,
        np.concatenate([rows, rows[between]]),
        np.concatenate([first, first[between] + 1]),
        np.concatenate([1 - part, part[between]]),
    )


def _looked_at(n: int, m: int, method: str, align: str) -> tuple[np.ndarray, np.ndarray]:
    """The old pixel that each new one looks at, and for "linear" how far behind its centre."""
    i = np.arange(m)
    if align == "starts":
        place, unit = i * n, m
    elif method == "nearest":
        place, unit = (2 * i + 1) * n, 2 * m  # The pixel in which the new centre lies.
    elif align == "centres":
        place, unit = np.clip((2 * i + 1) * n - m, 0, 2 * m * (n - 1)), 2 * m
    else:
        place, unit = i * (n - 1), max(m - 1, 1)
    return place // unit, place % unit / unit


def _example(image: Sizes, **settings: Any) -> ExampleMaker:
    def make(random: np.random.Generator) -> Example:
        return Example(random.normal(size=(random.integers(1, 3), *image, 2)), **settings)

    return make


for _image, _settings in (
    ((3, 4), {"size": (6, 7)}),
    ((5, 4), {"size": (3, 9), "method": "linear"}),
    ((7,), {"size": 4, "align": "centres"}),
    ((3, 2, 4), {"size": (2, 3, 4), "method": "linear", "align": "corners"}),
):
    resize.example(_example(_image, **_settings))


@resize.extreme
def resize_extreme(random: np.random.Generator) -> Example:
    return Example(1e4 * random.normal(size=(2, 3, 4, 1)), size=5, method="linear")
