"""Pooling to a given number of windows, which overlap where the image is no multiple of it.

Of n pixels and m windows, window i sees the pixels from `floor(i n / m)` to before
`ceil((i + 1) n / m)` (M-103), as in PyTorch. Where m divides n the windows tile.
"""

import dataclasses
import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn.arithmetic import as_wide
from jnn.rules.convolution.geometry import Sizes, image_size, per_axis
from jnn.rules.core.rule import Example, ExampleMaker, rule
from jnn.rules.images.taps import Taps, mapped, taken
from jnn.types import Setting


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Shares:
    """How many windows share an image's pixels, axis by axis."""

    image: Sizes
    windows: Sizes

    @property
    def means(self) -> list[Taps]:
        """For each axis the map that takes the mean of each window."""
        return [_means(n, m) for n, m in zip(self.image, self.windows, strict=True)]

    @property
    def wide(self) -> Sizes:
        """The pixels of the widest window along each axis."""
        return tuple(
            max(end - start for start, end in _bounds(n, m))
            for n, m in zip(self.image, self.windows, strict=True)
        )

    def step(self, axis: int) -> int:
        """What a step along an axis adds to the code of a place in a window."""
        return math.prod(self.wide[axis + 1 :])

    @property
    def none(self) -> int:
        """A code that no place has."""
        return math.prod(self.wide)

    @property
    def code_type(self) -> np.dtype:
        """The smallest type that holds all codes, and one more."""
        return np.min_scalar_type(self.none + 1)


def _bounds(n: int, m: int) -> list[tuple[int, int]]:
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]  # M-103


@functools.lru_cache(maxsize=256)
def _means(n: int, m: int) -> Taps:
    seen = [(i, q, 1 / (end - start)) for i, (start, end) in enumerate(_bounds(n, m))
            for q in range(start, end)]  # fmt: skip
    rows, columns, values = map(np.array, zip(*seen, strict=True))
    return Taps(m, n, rows, columns, values)


def _shares(function: str, x: jax.Array, size: Setting) -> Shares:
    image = image_size(function, x)
    return Shares(image, per_axis(function, "size", size, len(image)))


def _views(x: jax.Array, shares: Shares) -> Any:
    """Each window, in C order, and its pixels, (N, pixels, C)."""
    bounds = (_bounds(n, m) for n, m in zip(shares.image, shares.windows, strict=True))
    for window in itertools.product(*bounds):
        start, end = zip(*window, strict=True)
        view = lax.slice(x, (0, *start, 0), (len(x), *end, x.shape[-1]))
        yield view.reshape(len(x), math.prod(view.shape[1:-1]), x.shape[-1])


@rule
def adaptive_mean_pool(x: jax.Array, *, size: Setting) -> jax.Array:
    """The mean of each of `size` windows along each axis, in 1, 2 or 3 dimensions.

    Window i of m on n pixels sees those from `floor(i n / m)` to before `ceil((i + 1) n / m)`, as
    in PyTorch's `nn.AdaptiveAvgPool2d`: where m does not divide n, neighbours share a pixel.

    The mean of a window is that along its axes one after the other (M-104), so delta comes back by
    the transposed maps, to each pixel from all windows that see it (M-105).

    Saves: nothing.

    Args:
      x: images, (N, *size, C).
      size: windows along each axis, one number or one an axis; 1 is global pooling.

    >>> x = jnp.array([0.0, 2.0, 4.0]).reshape(1, 3, 1)
    >>> jnn.rules.adaptive_mean_pool(x, size=2).ravel().tolist()
    [1.0, 3.0]
    >>> jax.grad(lambda x: jnn.rules.adaptive_mean_pool(x, size=2).sum())(x).ravel().tolist()
    [0.5, 1.0, 0.5]
    """
    shares = _shares("adaptive_mean_pool", x, size)
    means = [view.mean(1) for view in _views(as_wide(x), shares)]
    return jnp.stack(means, 1).reshape(len(x), *shares.windows, x.shape[-1]).astype(x.dtype)


@adaptive_mean_pool.forward
def adaptive_mean_pool_forward(x, *, size):
    shares = _shares("adaptive_mean_pool", x, size)
    return mapped(x, shares.means), shares  # M-104


@adaptive_mean_pool.backward
def adaptive_mean_pool_backward(shares, delta, *, size):
    return (mapped(delta, [taps.transposed for taps in shares.means]),)  # M-105


@adaptive_mean_pool.tangent
def adaptive_mean_pool_tangent(primals, tangents, *, size):
    (x,), (dx,) = primals, tangents
    means = _shares("adaptive_mean_pool", x, size).means
    return mapped(x, means), mapped(dx, means)


@adaptive_mean_pool.check
def adaptive_mean_pool_check(x, *, size):
    return {"size": _shares("adaptive_mean_pool", x, size).windows}


@rule
def adaptive_max_pool(x: jax.Array, *, size: Setting) -> jax.Array:
    """The largest pixel of each of `size` windows along each axis, in 1, 2 or 3 dimensions.

    The windows are those of `adaptive_mean_pool`. Of equal pixels the first in row-major order
    wins, and delta goes to it; a pixel that wins in several windows gets the sum (M-106). The
    largest of a window with NaN in it is NaN, and its winner means nothing.

    No scatter: on the way back each pixel looks at the few windows that see it.

    Saves: 1 hidden tensor, the winner's place in its window in as few bytes as hold it.

    Args:
      x: images, (N, *size, C).
      size: windows along each axis, one number or one an axis; 1 is global pooling.

    >>> x = jnp.array([0.0, 7.0, 4.0]).reshape(1, 3, 1)
    >>> jnn.rules.adaptive_max_pool(x, size=2).ravel().tolist()
    [7.0, 7.0]
    >>> jax.grad(lambda x: jnn.rules.adaptive_max_pool(x, size=2).sum())(x).ravel().tolist()
    [0.0, 2.0, 0.0]
    """
    shares = _shares("adaptive_max_pool", x, size)

    def largest(view: jax.Array) -> jax.Array:
        first = lax.stop_gradient(view).argmax(1, keepdims=True)
        return jnp.take_along_axis(view, first, 1).squeeze(1)

    tops = [largest(view) for view in _views(x, shares)]
    return jnp.stack(tops, 1).reshape(len(x), *shares.windows, x.shape[-1]).astype(x.dtype)


@adaptive_max_pool.forward
def adaptive_max_pool_forward(x, *, size):
    shares = _shares("adaptive_max_pool", x, size)
    y, winner = _largest(x, shares)
    return y, (shares, winner)


@adaptive_max_pool.backward
def adaptive_max_pool_backward(saved, delta, *, size):
    shares, winner = saved
    axes = range(len(shares.image))
    seen = [_seen_by(n, m) for n, m in zip(shares.image, shares.windows, strict=True)]
    total = jnp.zeros((), delta.dtype)
    for choice in itertools.product(*(range(windows.shape[1]) for windows, _ in seen)):
        given, won, place = delta, winner, []
        for axis, k in zip(axes, choice, strict=True):
            windows, places = seen[axis]
            given, won = (taken(each, windows[:, k], axis + 1) for each in (given, won))
            place.append(places[:, k])
        code = jnp.asarray(_codes(place, shares)[None, ..., None])
        mine = won == jnp.broadcast_to(code, won.shape)
        total = total + jnp.where(mine, given, jnp.zeros_like(given))  # M-106
    return (total,)


@adaptive_max_pool.tangent
def adaptive_max_pool_tangent(primals, tangents, *, size):
    (x,), (dx,) = primals, tangents
    y, _, dy = _largest(x, _shares("adaptive_max_pool", x, size), dx)
    return y, dy


@adaptive_max_pool.check
def adaptive_max_pool_check(x, *, size):
    return {"size": _shares("adaptive_max_pool", x, size).windows}


def _largest(x: jax.Array, shares: Shares, *others: jax.Array) -> Any:
    """The largest of each window, the code of its place, and `others` at that place.

    Axis by axis from the last, so that of equals the first in row-major order has the least code.
    """
    none, code = jnp.asarray(shares.none, shares.code_type), None
    for axis in reversed(range(len(shares.image))):
        pixels = _pixels(shares.image[axis], shares.windows[axis])
        along, behind = axis + 1, axis + 2
        x, *along_too = (taken(each, pixels, along) for each in (x, *others))
        steps = lax.broadcasted_iota(none.dtype, x.shape, behind) * shares.step(axis)
        code = steps if code is None else steps + taken(code, pixels, along)
        top = x.max(behind, keepdims=True)
        winner = jnp.where(x == top, code, none).min(behind, keepdims=True)
        won = code == winner
        others = tuple(jnp.where(won, each, jnp.zeros_like(each)).sum(behind) for each in along_too)
        x, code = top.squeeze(behind), winner.squeeze(behind)
    return x, code, *others


def _codes(place: list[np.ndarray], shares: Shares) -> np.ndarray:
    """The code of each pixel, whose place in a window has an entry for each pixel of an axis."""
    place = list(np.ix_(*place))
    code = sum(p * shares.step(axis) for axis, p in enumerate(place))
    there = functools.reduce(np.logical_and, (p >= 0 for p in place))
    return np.where(there, code, shares.none + 1).astype(shares.code_type)


@functools.lru_cache(maxsize=256)
def _pixels(n: int, m: int) -> np.ndarray:
    """The pixels of each window, (m, widest); the last stands again where a window is narrower."""
    bounds = np.array(_bounds(n, m))
    widest = (bounds[:, 1] - bounds[:, 0]).max()
    return np.minimum(bounds[:, :1] + np.arange(widest), bounds[:, 1:] - 1)


@functools.lru_cache(maxsize=256)
def _seen_by(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """The windows that see each pixel and its place in each, (n, most); -1 where there is none."""
    found = [[(i, q - start) for i, (start, end) in enumerate(_bounds(n, m)) if start <= q < end]
             for q in range(n)]  # fmt: skip
    most = max(map(len, found))
    padded = np.array([each + [(0, -1)] * (most - len(each)) for each in found])
    return padded[..., 0], padded[..., 1]


def _example(image: Sizes, size: Setting) -> ExampleMaker:
    def make(random: np.random.Generator) -> Example:
        return Example(random.normal(size=(random.integers(1, 3), *image, 2)), size=size)

    return make


for _pool in (adaptive_mean_pool, adaptive_max_pool):
    _pool.example(_example((5, 4), (3, 2)))
    _pool.example(_example((7, 3), (3, 5)))  # More windows than pixels.
    _pool.example(_example((23,), 2))
    _pool.example(_example((3, 2, 2), (2, 1, 2)))


@adaptive_mean_pool.extreme
def adaptive_mean_pool_extreme(random: np.random.Generator) -> Example:
    return Example(1e4 * random.normal(size=(2, 5, 4, 1)), size=3)


@adaptive_max_pool.extreme
def adaptive_max_pool_extreme(random: np.random.Generator) -> Example:
    x = 1e4 * random.normal(size=(2, 5, 4, 1))
    x[0] = -1e4  # All equal.
    return Example(x, size=3)


@adaptive_max_pool.kink
def adaptive_max_pool_kink(random: np.random.Generator) -> Example:
    x = np.array([[1.0, 1.0, 0.0, 2.0], [1.0, 1.0, 2.0, 0.0], [0.0, 3.0, 0.0, 0.0]])
    return Example(x.reshape(1, 3, 4, 1), size=(2, 3))
