"""Max pooling: the largest of each window."""

import functools
import itertools
import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.rules.core.product import Call, Product
from jnn.rules.core.rule import Example, rule
from jnn.rules.pooling.windows import Windows, image_example, on
from jnn.types import Padding, Setting
from jnn.xla.platform import is_for

TIES = ("first", "split", "all")


@rule
def max_pool(
    x: jax.Array,
    *,
    window: Setting,
    stride: Setting | None = None,
    padding: Padding = "valid",
    rest: str = "drop",
    ties: str = "first",
) -> jax.Array:
    """The largest pixel of each window, channel by channel (H-98, X-141), in 1, 2 or 3 dimensions.

    Padding never wins.

    On the way back delta goes to the pixel that won (H-99, H-100, Table 7). H-100's indicator marks
    every tie and so multiplies delta: among four equal pixels its total is 4 instead of 1, and
    rectified maps tie often. Hence `ties`: "first" gives delta to the first of the equal pixels, in
    row-major order, as JAX does; "split" shares it among them; "all" is H-100 to the letter. Where
    windows overlap, a pixel gets the sum of what each window gives it. The largest of a window with
    NaN in it is NaN, and its winner means nothing.

    No scatter: the way back compares and selects, so that its bits are the same on every run.

    Saves: x, y, 1 hidden tensor. By default the hidden tensor alone, the winner's place in its
    window in as few bytes as hold it (one up to 256 places); for the other ties x and y. On a TPU
    x, in which an operation of its own finds the winners again.

    Args:
      x: images, (N, *size, C).
      window: pixels along each axis, one number or one an axis.
      stride: from window to window, one number or one an axis; None for the window, which tiles.
      padding: "valid" for none, "same" for as many windows as pixels over the stride, rounded up,
        or pixels: one number, one an axis, or a pair (before, after) an axis.
      rest: of pixels behind the last whole window: "drop" leaves them out, which is Hedberg's
        floor, "error" refuses them. (A convolution refuses by default: Delmas' rule, D-35.)
      ties: "first", "split" or "all".

    >>> x = jnp.array([[1.0, 5.0], [5.0, 2.0]]).reshape(1, 2, 2, 1)
    >>> jnn.rules.max_pool(x, window=2).ravel().tolist()
    [5.0]
    >>> jax.grad(lambda x: jnn.rules.max_pool(x, window=2).sum())(x).ravel().tolist()
    [0.0, 1.0, 0.0, 0.0]
    """
    seen = on("max_pool", x, window, stride, padding, rest)
    if ties == "first":
        return lax.reduce_window(
            x, -jnp.inf, lax.max, (1, *seen.window, 1), (1, *seen.stride, 1),
            ((0, 0), *seen.padding, (0, 0)),
        )  # fmt: skip
    views = jnp.stack([view for _, view in seen.views(seen.padded(x, -jnp.inf))])
    if ties == "split":
        return views.max(0)  # Its derivative is shared among equals.
    y = lax.stop_gradient(views.max(0))
    equal = jnp.isfinite(views) & (views == jnp.broadcast_to(y, views.shape))
    moves = views - lax.stop_gradient(views)  # Zero, with the slope of each.
    return y + jnp.where(equal, moves, jnp.zeros_like(moves)).sum(0)


@max_pool.forward
def max_pool_forward(x, *, window, stride, padding, rest, ties):
    seen = on("max_pool", x, window, stride, padding, rest)
    if ties == "first" and is_for("tpu"):
        y = max_pool.parts.definition(x, window=window, stride=stride, padding=padding, rest=rest)
        return y, (seen, x)
    y, winner = largest(x, setting=seen)
    return y, (seen, winner if ties == "first" else (x, y))


@max_pool.backward
def max_pool_backward(saved, delta, *, window, stride, padding, rest, ties):
    seen, saved = saved
    if ties == "first":
        found = errors.is_floating(saved)  # The image, and no winners.
        return ((selected if found else returned)(saved, delta, seen),)
    x, y = saved
    if ties == "split":
        delta = delta / _ties(x, y, seen)
    x = seen.on_blocks(x)

    def term(place, y, delta):  # H-100: delta where the pixel is the window's largest
        won = (x == y) & seen.inside(place)
        return jnp.where(won, delta, jnp.zeros_like(delta))

    return (seen.back(term, y, delta),)


def selected(x: jax.Array, delta: jax.Array, seen: Windows) -> jax.Array:
    """The same where a machine has an operation for it: the first of the largest gets delta."""
    return lax.select_and_scatter_add_p.bind(
        delta, x, select_prim=lax.ge_p, window_dimensions=(1, *seen.window, 1),
        window_strides=(1, *seen.stride, 1), padding=((0, 0), *seen.padding, (0, 0)),
    )  # fmt: skip


def returned(winner: jax.Array, delta: jax.Array, seen: Windows) -> jax.Array:
    """On the image, the delta of each window at its winner."""

    def given(place, winner, delta):  # H-99, H-100: delta for the winner, else 0
        code = _code(seen, place).astype(winner.dtype)
        return jnp.where(winner == code, delta, jnp.zeros_like(delta))

    return seen.back(given, winner, delta)


@max_pool.tangent
def max_pool_tangent(primals, tangents, *, window, stride, padding, rest, ties):
    (x,), (dx,) = primals, tangents
    seen = on("max_pool", x, window, stride, padding, rest)
    if ties == "first":
        y, _, dy = _largest(x, seen, _stages(seen), dx)
        return y, dy
    y, _ = _largest(x, seen, _stages(seen))
    pixels = zip(seen.views(seen.padded(x, -jnp.inf)), seen.views(seen.padded(dx, 0)), strict=True)
    dy = sum((jnp.where(v == y, dv, jnp.zeros_like(dv)) for (_, v), (_, dv) in pixels),
             jnp.zeros_like(y))  # fmt: skip
    return y, dy / _ties(x, y, seen) if ties == "split" else dy


@max_pool.check
def max_pool_check(x, *, window, stride, padding, rest, ties):
    errors.choice("max_pool", "ties", ties, TIES)
    seen = on("max_pool", x, window, stride, padding, rest)
    # What depends on the image is settled here; from here on `rest` has done its part.
    return {"window": seen.window, "stride": seen.stride, "padding": seen.padding, "rest": "drop"}


# How the largest are found.

FEW = 16  # So many places in a window are compared at once.


def _default(call: Call) -> str:
    if math.prod(call.setting.window) <= FEW:
        return "at_once"
    return "tiles" if _tile(call) else "by_axes"


def _tile(call: Call) -> bool:
    seen: Windows = call.setting
    return seen.window == seen.stride and not any(map(any, seen.padding))


largest = Product("max_pool.value", _default)


@largest.implementation("at_once")
def at_once(x: jax.Array, seen: Windows) -> Any:
    """All places in the window, in one pass."""
    return _largest(x, seen, [range(len(seen.window))])


@largest.implementation("by_axes")
def by_axes(x: jax.Array, seen: Windows) -> Any:
    """Axis by axis, from the last: a window of w x w takes 2 w comparisons."""
    return _largest(x, seen, _by_axis(seen))


@largest.implementation("tiles", _tile)
def tiles(x: jax.Array, seen: Windows) -> Any:
    """Windows that tile as axes of their own: two reductions, of values and of winners' codes."""
    whole = [len(x), *(o * w for o, w in zip(seen.places, seen.window, strict=True)), x.shape[-1]]
    pairs = zip(seen.places, seen.window, strict=True)
    split = (len(x), *(n for pair in pairs for n in pair), x.shape[-1])
    x = lax.slice(x, [0] * x.ndim, whole).reshape(split)
    axes = tuple(range(2, x.ndim - 1, 2))
    y = x.max(axes, keepdims=True)
    dtype = _code_type(seen)
    code = _code(seen, [lax.broadcasted_iota(dtype, x.shape, axis) for axis in axes])
    none = jnp.full_like(code, np.iinfo(dtype).max)
    return y.squeeze(axes), jnp.where(x == y, code, none).min(axes)


def _stages(seen: Windows) -> list[range]:
    few = math.prod(seen.window) <= FEW
    return [range(len(seen.window))] if few else _by_axis(seen)


def _by_axis(seen: Windows) -> list[range]:
    return [range(axis, axis + 1) for axis in reversed(range(len(seen.window)))]


def _largest(x: jax.Array, seen: Windows, stages: list[range], *others: jax.Array) -> Any:
    """The largest of each window, the code of its place, and `others` at that place.

    A later pixel wins only if it is larger, so the first of equals does. Before any has won, the
    winner is the first pixel that is not padding: it stands where all are -inf.
    """
    best, *rows = seen.padded(x, -jnp.inf), *(seen.padded(other, 0.0) for other in others)
    code = jnp.zeros((1,) * x.ndim, _code_type(seen))
    for axes in stages:
        codes = seen.views(code, axes) if code.size > 1 else itertools.repeat(((), code))
        views = zip(codes, *(seen.views(each, axes) for each in (best, *rows)), strict=False)
        (_, here), (_, best), *rest = next(views)
        code = jnp.broadcast_to(here, best.shape) + _first(seen, axes, best, here.dtype)
        rows = [view for _, view in rest]
        for (_, here), (place, value), *rest in views:
            step = sum(u * _radix(seen)[axis] for axis, u in zip(axes, place, strict=True))
            wins = value > best
            here = jnp.broadcast_to(here, best.shape) + here.dtype.type(step)
            code = jnp.where(wins, here, code)
            rows = [jnp.where(wins, view, row) for (_, view), row in zip(rest, rows, strict=True)]
            best = jnp.maximum(best, value)  # NaN stays.
    return best, code, *rows


def _radix(seen: Windows) -> tuple[int, ...]:
    """What a step along each axis adds to the code of a place.

    As wide as whole blocks, so that a place in a block but not in the window has a code of its own.
    """
    wide = [d * s for d, s in zip(seen.depth, seen.stride, strict=True)]
    return tuple(math.prod(wide[axis + 1 :]) for axis in range(len(wide)))


def _code(seen: Windows, place: list[jax.Array]) -> jax.Array:
    """The code of a place in the window."""
    first, *rest = (u * k for u, k in zip(place, _radix(seen), strict=True))
    return functools.reduce(operator.add, rest, first)


def _code_type(seen: Windows) -> np.dtype:
    places = math.prod(d * s for d, s in zip(seen.depth, seen.stride, strict=True))
    return np.min_scalar_type(places - 1)


def _first(seen: Windows, axes, value: jax.Array, dtype: np.dtype) -> jax.Array:
    """The code of the first pixel of each window that is not padding, along some axes."""
    total = np.zeros((1,) * value.ndim, dtype)
    for axis in axes:
        shape = [1] * value.ndim
        shape[axis + 1] = -1
        first = np.maximum(-seen.starts(axis), 0) * _radix(seen)[axis]
        total = total + first.astype(dtype).reshape(shape)
    return jnp.broadcast_to(total, value.shape)


def _ties(x: jax.Array, y: jax.Array, seen: Windows) -> jax.Array:
    """How many pixels of each window are as large as its largest; at least 1."""
    views = (view for _, view in seen.views(seen.padded(x, -jnp.inf)))
    count = sum(((view == y).astype(y.dtype) for view in views), jnp.zeros_like(y))
    return jnp.maximum(count, jnp.ones_like(count))


for _settings in (
    {"size": (5, 4), "channels": 4, "window": 2},  # A row remains.
    {"size": (5, 6), "channels": 1, "window": 3, "stride": 2, "padding": "same"},
    {"size": (7,), "channels": 2, "window": 3, "stride": 1, "ties": "split"},
    {"size": (3, 4, 2), "channels": 1, "window": 2, "ties": "all"},
):
    max_pool.example(image_example(**_settings))


@max_pool.example
def max_pool_example_large(random: np.random.Generator) -> Example:
    return Example(random.normal(size=(1, 6, 5, 1)), window=5, stride=1)


@max_pool.extreme
def max_pool_extreme(random: np.random.Generator) -> Example:
    x = 1e4 * random.normal(size=(2, 4, 4, 1))
    x[0] = -1e4  # All equal.
    return Example(x, window=2, padding=((1, 1), (0, 0)))


def _tied(ties: str):
    def make(random: np.random.Generator) -> Example:
        x = np.array([[1.0, 1.0, 0.0, 2.0], [1.0, 1.0, 2.0, 0.0], [0.0, 3.0, 0.0, 0.0]])
        return Example(x.reshape(1, 3, 4, 1), window=2, stride=1, ties=ties)

    return make


for _choice in ("first", "split", "all"):
    max_pool.kink(_tied(_choice))
