"""A convolution, rectified and max pooled, a few samples at a time.

A network's memory is what lies between its layers. The value of a convolution is needed no more
once it is rectified and pooled, nor is its delta once image and filter have theirs; but as rules of
their own these layers hand each other whole arrays. Here each lives for as many samples as the
cache holds.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn.rules.convolution.conv import (
    conv,
    conv_check,
    conv_tangent,
    sum_of_bias,
    with_bias,
)
from jnn.rules.convolution.products import filter_delta, input_delta, value
from jnn.rules.convolution.spatial import output_size, reach
from jnn.rules.convolution.views import over_chunks, samples, sum_over_chunks
from jnn.rules.core.rule import Example, rule
from jnn.rules.pointwise.activation import relu
from jnn.rules.pooling.max import largest, max_pool, max_pool_tangent, returned
from jnn.rules.pooling.windows import Windows, windows
from jnn.types import Padding, Setting
from jnn.xla.platform import for_each, is_for


@rule
def rectified_conv(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array | None = None,
    *,
    pool: Setting = 1,
    stride: Setting = 1,
    padding: Padding = "valid",
    fit: str = "exact",
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
    there is pooling, the hidden tensor is the winners' places, a byte each.

    Args:
      x: images, (N, *size, C).
      w: filters, (*window, C / groups, O).
      b: biases, (O,), or None.
      pool: pixels of the windows that are pooled, which tile, one number or one an axis; 1 for
        none. Pixels behind the last whole window are left out.
      stride: as `conv` takes it; and so are the others.
      padding: see `conv`.
      fit: see `conv`.
      dilation: see `conv`.
      groups: see `conv`.

    >>> x, w = jnp.ones((8, 28, 28, 1)), jnp.ones((5, 5, 1, 6))
    >>> jnn.rules.rectified_conv(x, w, pool=2).shape
    (8, 12, 12, 6)
    """
    settings: Any = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    z = conv.parts.definition(x, w, b, fit=fit, **settings)
    y = relu.parts.definition(z)
    pools = _pools(_windows(x, w, pool, settings))
    return max_pool.parts.definition(y, window=pool) if pools else y


@rectified_conv.forward
def rectified_conv_forward(x, w, b, *, pool, fit, **window):
    seen = _windows(x, w, pool, window)

    def of_samples(x):
        z = with_bias(value(x, w, **window), b)
        if not _pools(seen):
            return relu.parts.definition(z), None
        y, winner = largest(z, **_of(seen, x).settings)
        return relu.parts.definition(y), winner  # Rising, it may as well come last.

    def whole(x):
        return over_chunks(of_samples, (x,), _at_a_time(seen, x))

    y, winner = for_each(whole, x)
    return y, (x, w, y, winner)


@rectified_conv.backward
def rectified_conv_backward(saved, delta, *, pool, fit, **window):
    x, w, *rest = saved
    seen = _windows(x, w, pool, window)
    rest = (*(a for a in rest if a is not None), delta)

    def behind(y, *others):
        delta = _live(y, others[-1])
        return returned(others[0], delta, _of(seen, delta)) if _pools(seen) else delta

    def to_input(*rest):
        return input_delta(behind(*rest), w, size=x.shape[1:-1], **window)

    def to_parameters(x, *rest):
        dw = filter_delta(x, behind(*rest), size=w.shape[: x.ndim - 2], **window)  # H-78
        return dw, sum_of_bias(_live(rest[0], rest[-1]))  # H-81, by what the windows hand back

    # Two loops, so that a first layer, whose dx nobody asks for, computes none.
    dx = for_each(lambda *a: over_chunks(to_input, a, _at_a_time(seen, x)), *rest)  # H-72
    return dx, *for_each(lambda *a: sum_over_chunks(to_parameters, a, _at_a_time(seen, x)),
                         x, *rest)  # fmt: skip


@rectified_conv.tangent
def rectified_conv_tangent(primals, tangents, *, pool, **window):
    z, dz = conv_tangent(primals, tangents, connections=None, **window)
    y, dy = relu.parts.definition(z), _live(z, dz)
    seen = windows("rectified_conv", z, pool, None, "valid", names=("pool", "pool"))
    if not _pools(seen):
        return y, dy
    return max_pool_tangent((y,), (dy,), window=seen.window, stride=seen.stride,
                            padding=seen.padding, ties="first")  # fmt: skip


def _live(y: jax.Array, delta: jax.Array) -> jax.Array:
    """What comes back through the rectifier (X-139)."""
    return jnp.where(y > 0, delta, jnp.zeros_like(delta))


def _windows(x: jax.Array, w: jax.Array, pool: Setting, window: dict[str, Any]) -> Windows:
    """The windows on the convolution's value."""
    span = reach(w.shape[: x.ndim - 2], window["dilation"])
    places = output_size(x.shape[1:-1], span, window["stride"], window["padding"])
    z: Any = jax.ShapeDtypeStruct((len(x), *places, w.shape[-1]), x.dtype)
    return windows("rectified_conv", z, pool, None, "valid", names=("pool", "pool"))


def _of(seen: Windows, x: jax.Array) -> Windows:
    """The same on as many samples as `x` has."""
    return Windows((len(x), *seen.shape[1:]), seen.window, seen.stride, seen.padding)


def _pools(seen: Windows) -> bool:
    return math.prod(seen.window) > 1


def _at_a_time(seen: Windows, x: jax.Array) -> int:
    """Samples, all of them off the CPU, where a loop of small programs is slow."""
    if not is_for("cpu"):
        return max(1, len(x))
    return samples(x, math.prod(seen.shape[1:]))


@rectified_conv.check
def rectified_conv_check(x, w, b, *, pool, **window):
    window = conv_check(x, w, b, connections=None, **window)
    del window["connections"]
    return window | {"pool": _windows(x, w, pool, window).window}


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
