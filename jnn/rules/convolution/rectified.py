"""A convolution, rectified and max pooled, a few samples at a time.

A network's memory is what lies between its layers. The value of a convolution is needed no more
once it is rectified and pooled, nor is its delta once image and filter have theirs; but as rules of
their own these layers hand each other whole arrays. Here each lives for as many samples as the
cache holds.
"""

import math
from typing import Any

import jax
import numpy as np

from jnn import errors
from jnn.rules.convolution.conv import (
    FIT,
    conv,
    conv_check,
    conv_tangent,
    geometry,
    sum_of_bias,
    with_bias,
)
from jnn.rules.convolution.geometry import Geometry
from jnn.rules.convolution.products import filter_delta, input_delta, value
from jnn.rules.core.chunks import over_chunks, samples_at_once, sum_over_chunks
from jnn.rules.core.rule import Example, rule
from jnn.rules.pointwise.elementwise import live, signs
from jnn.rules.pointwise.piecewise import rectified, relu
from jnn.rules.pooling.max import largest, max_pool, max_pool_tangent, returned
from jnn.rules.pooling.windows import Windows, windows
from jnn.types import Padding, Setting
from jnn.xla.order import late
from jnn.xla.platform import for_each, is_for


@rule
@errors.gone(**FIT)
def rectified_conv(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array | None = None,
    *,
    pool: Setting = 1,
    stride: Setting = 1,
    padding: Padding = "valid",
    rest: str = "error",
    dilation: Setting = 1,
    groups: int = 1,
) -> jax.Array:
    """`max_pool(relu(conv(x, w, b)))` in one, with far less memory; the same to rounding.

    The derivative is theirs: with z the convolution, y the result,

        dz = delta at each window's winner where y > 0, else 0     (H-99, H-100, X-139)
        dx, dw, db as of `conv`, of dz                             (H-63..81)

    On a CPU neither z nor dz is ever there as a whole: both are made for a few samples, and used
    while they lie in the cache. As at the kinks of its parts, the derivative is 0 where z is 0, and
    of equal pixels the first wins.

    Saves: x, w, y, 1 hidden tensor. Only y is new, and that the next layer keeps anyway; where
    there is pooling, the hidden tensor is the winners' places, a byte each. On a TPU of y the signs
    alone, a bit each.

    Args:
      x: images, (N, *size, C).
      w: filters, (*window, C / groups, O).
      b: biases, (O,), or None.
      pool: pixels of the windows that are pooled, which tile, one number or one an axis; 1 for
        none. Pixels behind the last whole window are left out.
      stride: as `conv` takes it; and so are the others.
      padding: see `conv`.
      rest: see `conv`; what `pool` leaves is dropped.
      dilation: see `conv`.
      groups: see `conv`.

    >>> x, w = jnp.ones((8, 28, 28, 1)), jnp.ones((5, 5, 1, 6))
    >>> jnn.rules.rectified_conv(x, w, pool=2).shape
    (8, 12, 12, 6)
    """
    settings: Any = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    z = conv.parts.definition(x, w, b, rest=rest, **settings)
    y = relu.parts.definition(z)
    return y if set(np.ravel(pool)) == {1} else max_pool.parts.definition(y, window=pool)


@rectified_conv.forward
def rectified_conv_forward(x, w, b, *, pool, **settings):
    g = geometry(x, w, **settings)
    seen = _windows(g, pool)

    def of_samples(x):
        z = with_bias(value(x, w, setting=g), b)
        if not _pools(seen):
            return rectified(z), None
        y, winner = largest(z, setting=seen)
        return rectified(y), winner  # Rising, it may as well come last.

    def whole(x):
        return over_chunks(of_samples, (x,), at_a_time(x, w, g))

    y, winner = for_each(whole, x)
    return y, (g, seen, x, w, signs(y), winner)


@rectified_conv.backward
def rectified_conv_backward(saved, delta, **settings):
    g, seen, x, w, *rest = saved
    w = late(delta, w)
    rest = (*(a for a in rest if a is not None), delta)

    def behind(y, *others):
        delta = live(y, others[-1])
        return returned(others[0], delta, seen) if _pools(seen) else delta

    def to_input(*rest):
        return input_delta(behind(*rest), w, setting=g)

    def to_parameters(x, *rest):
        dw = filter_delta(x, behind(*rest), setting=g)  # H-78
        return dw, sum_of_bias(live(rest[0], rest[-1]))  # H-81, by what the windows hand back

    # Two loops, so that a first layer, whose dx nobody asks for, computes none.
    dx = for_each(lambda *a: over_chunks(to_input, a, at_a_time(x, w, g)), *rest)  # H-72
    return dx, *for_each(lambda *a: sum_over_chunks(to_parameters, a, at_a_time(x, w, g)),
                         x, *rest)  # fmt: skip


@rectified_conv.tangent
def rectified_conv_tangent(primals, tangents, *, pool, **settings):
    z, dz = conv_tangent(primals, tangents, connections=None, **settings)
    y, dy = relu.parts.definition(z), live(z, dz)
    seen = _windows(geometry(*primals[:2], **settings), pool)
    if not _pools(seen):
        return y, dy
    return max_pool_tangent((y,), (dy,), window=seen.window, stride=seen.stride,
                            padding=seen.padding, rest="drop", ties="first")  # fmt: skip


def _windows(g: Geometry, pool: Setting) -> Windows:
    """The windows on the convolution's value."""
    return windows("rectified_conv", g.places, pool, None, "valid", names=("pool", "pool"))


def _pools(seen: Windows) -> bool:
    return math.prod(seen.window) > 1


def at_a_time(x: jax.Array, w: jax.Array, g: Geometry) -> int:
    """Samples, all of them off the CPU, where a loop of small programs is slow."""
    if not is_for("cpu"):
        return max(1, len(x))
    return samples_at_once(x, math.prod(g.places) * w.shape[-1])


@rectified_conv.check
def rectified_conv_check(x, w, b, *, pool, **settings):
    found = conv_check(x, w, b, connections=None, **settings)
    del found["connections"]
    g = geometry(x, w, rest=settings["rest"], **found)
    return found | {"pool": _windows(g, pool).window}


def _example(x, w, biases: int, **settings):
    def make(random: np.random.Generator) -> Example:
        args = (random.normal(size=size) for size in (x, w, biases))
        return Example(*args, **settings)

    return make


rectified_conv.example(_example((3, 7, 6, 2), (3, 3, 2, 3), 3, pool=2, padding=1))
rectified_conv.example(_example((3, 3, 3), (3, 3, 3), 3, padding=1))


@rectified_conv.extreme
def rectified_conv_extreme(random: np.random.Generator) -> Example:
    x = 1e4 * random.normal(size=(2, 4, 4, 2))
    return Example(x, np.zeros((3, 3, 2, 2)), 1e4 * random.normal(size=2), padding=1, pool=2)


@rectified_conv.kink
def rectified_conv_kink(random: np.random.Generator) -> Example:
    """All zero, and equal."""
    return Example(np.ones((1, 4, 4, 1)), np.zeros((1, 1, 1, 2)), np.array([0.0, 1.0]), pool=2)
