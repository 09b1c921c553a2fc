"""Batch normalisation, rectifier and convolution as one rule, which keeps nothing in between.

In a residual network most of the memory is what the convolutions read: images that were normalised
and rectified. They are two cheap operations away from the images before the norm, which are there
anyway; so here they are made for a few samples at a time, in the forward and again in the backward.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jnn.arithmetic import as_wide
from jnn.rules.convolution.conv import (
    conv,
    conv_check,
    conv_tangent,
    geometry,
    sum_of_bias,
    with_bias,
)
from jnn.rules.convolution.products import filter_delta, input_delta, value
from jnn.rules.convolution.rectified import at_a_time
from jnn.rules.core.chunks import over_chunks, sum_over_chunks
from jnn.rules.core.rule import Example, rule
from jnn.rules.normal.batch import (
    Names,
    Shared,
    batch_norm,
    batch_norm_tangent,
    check_batch,
    mean_and_variance,
)
from jnn.rules.normal.statistics import apart, inverse, scaled, sum_of_channels, sums_of_samples
from jnn.rules.pointwise.elementwise import live
from jnn.rules.pointwise.piecewise import relu
from jnn.types import Padding, Setting
from jnn.xla.order import late
from jnn.xla.platform import for_each


@rule
def norm_relu_conv(
    x: jax.Array,
    scale: jax.Array | None,
    shift: jax.Array | None,
    w: jax.Array,
    b: jax.Array | None = None,
    *,
    epsilon: float = 1e-5,
    axis_name: Names = None,
    stride: Setting = 1,
    padding: Padding = "valid",
    rest: str = "error",
    dilation: Setting = 1,
    groups: int = 1,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`conv(relu(batch_norm(x, scale, shift)), w, b)` in one, from x alone (M-16..20).

    With z the normalised image and u the rectified one, which are both made again from x,

        du         = cotangent of the convolution's image      (H-63..75)
        dz         = du where z > 0, else 0                    (X-139)
        dx, dscale, dshift  as of `batch_norm`, of dz
        dw, db              as of `conv`, of u and delta

    On a CPU u is there for a few samples at a time. As at the rectifier's kink, the derivative is 0
    where z is 0.

    Saves: x, scale, shift, w, three numbers a channel. They are those of `batch_norm`.

    Args:
      x: images before the norm, (N, *size, C).
      scale: one number a channel, (C,), or None for 1.
      shift: one number a channel, (C,), or None for 0.
      w: filters, (*window, C / groups, O).
      b: biases, (O,), or None.
      epsilon: as `batch_norm` takes it.
      axis_name: see `batch_norm`.
      stride: as `conv` takes it; and so are the others.
      padding: see `conv`; its zeros are those of the rectified image.
      rest: see `conv`.
      dilation: see `conv`.
      groups: see `conv`.

    Returns:
      y, and mean and variance of x as `batch_norm` has them.

    >>> x, w = jnp.ones((8, 16, 16, 4)), jnp.ones((3, 3, 4, 6))
    >>> y, mean, _ = jnn.rules.norm_relu_conv(x, jnp.ones(4), jnp.zeros(4), w, padding="same")
    >>> y.shape, mean.tolist()
    ((8, 16, 16, 6), [1.0, 1.0, 1.0, 1.0])
    """
    z, mean, variance = batch_norm.parts.definition(
        x, scale, shift, epsilon=epsilon, axis_name=axis_name
    )
    y = conv.parts.definition(relu.parts.definition(z), w, b, stride=stride, padding=padding,
                              rest=rest, dilation=dilation, groups=groups)  # fmt: skip
    return y, mean, variance


norm_relu_conv.wide_outputs = 1, 2


@norm_relu_conv.forward
def norm_relu_conv_forward(x, scale, shift, w, b, *, epsilon, axis_name, **settings):
    g, found = geometry(x, w, **settings), Shared(x, axis_name).moments(x)

    def of_samples(x):
        _, z = _normalised(x, scale, shift, found, epsilon)
        return with_bias(value(relu.parts.definition(z), w, setting=g), b)  # M-16

    y = for_each(lambda x: over_chunks(of_samples, (x,), at_a_time(x, w, g)), x)
    return (y, *mean_and_variance(found)), (g, x, scale, shift, w, found)


@norm_relu_conv.backward
def norm_relu_conv_backward(saved, delta, *, epsilon, axis_name, **settings):
    g, x, scale, shift, w, found = saved
    delta, dmean, dvariance = delta
    w = late(delta, w)

    def to_norm(x, delta):
        n, z = _normalised(x, scale, shift, found, epsilon)
        dz = live(z, input_delta(delta, w, setting=g))  # M-17
        v = as_wide(dz)
        return dz, sums_of_samples(v), sums_of_samples(n * v)  # M-18

    def to_parameters(x, delta):
        _, z = _normalised(x, scale, shift, found, epsilon)
        u = relu.parts.definition(z)
        return filter_delta(u, delta, setting=g), sum_of_bias(delta)  # M-20

    chunk = at_a_time(x, w, g)
    dz, *totals = for_each(lambda *a: over_chunks(to_norm, a, chunk), x, delta)
    dshift, dscale = map(sum_of_channels, totals)
    n, _ = _normalised(late(dz, x), scale, shift, found, epsilon)
    dx = Shared(x, axis_name).back(n, inverse(found.variance, epsilon), as_wide(dz), scale,
                                  dshift, dscale, dmean, dvariance)  # fmt: skip  # M-19
    dw, db = for_each(lambda *a: sum_over_chunks(to_parameters, a, chunk), x, delta)
    return dx, dscale, dshift, dw, db


@norm_relu_conv.tangent
def norm_relu_conv_tangent(primals, tangents, *, epsilon, axis_name, **settings):
    (*of_norm, w, b), (*along, dw, db) = primals, tangents
    (z, *moments), (dz, *others) = batch_norm_tangent(
        of_norm, along, epsilon=epsilon, axis_name=axis_name
    )
    u, du = relu.parts.definition(z), live(z, dz.astype(z.dtype))
    y, dy = conv_tangent((u, w, b), (du, dw, db), connections=None, **settings)
    return (y, *moments), (dy, *others)


def _normalised(x, scale, shift, found, epsilon):
    """n, and what the rectifier reads."""
    n = apart(x, found.centre, found.rest)
    n = n * jnp.broadcast_to(inverse(found.variance, epsilon), n.shape)
    return n, scaled(n, scale, shift).astype(x.dtype)


@norm_relu_conv.check
def norm_relu_conv_check(x, scale, shift, w, b, *, epsilon, axis_name, **settings):
    found = conv_check(x, w, b, connections=None, **settings)
    del found["connections"]
    return found | check_batch("norm_relu_conv", x, scale, shift, epsilon, axis_name)


def _example(x, w, biases: int | None = None, kept: tuple[int, ...] = (0, 1), **settings):
    def make(random: np.random.Generator) -> Example:
        of_norm = random.uniform(0.5, 2, x[-1]), random.normal(size=x[-1])
        of_norm = (a if i in kept else None for i, a in enumerate(of_norm))
        b = None if biases is None else random.normal(size=biases)
        return Example(1 + random.normal(size=x), *of_norm, random.normal(size=w), b, **settings)

    return make


norm_relu_conv.example(_example((3, 5, 4, 2), (3, 3, 2, 3), 3, padding=1))
norm_relu_conv.example(_example((4, 6, 4), (3, 2, 2), kept=(1,), stride=3, groups=2, rest="drop"))
norm_relu_conv.example(_example((2, 4, 3, 2), (1, 1, 2, 2), 2, kept=(0,), epsilon=1e-2))


@norm_relu_conv.extreme
def norm_relu_conv_far(random: np.random.Generator) -> Example:
    """A mean of 1e4 deviations."""
    x = 1e4 + random.normal(size=(3, 4, 4, 2))
    return Example(x, np.array([1.0, 2.0]), np.zeros(2), random.normal(size=(3, 3, 2, 2)))


@norm_relu_conv.kink
def norm_relu_conv_kink(random: np.random.Generator) -> Example:
    """All equal, so that the rectifier reads zeros, and ones beside them."""
    w = np.array([[[[1.0, 2.0], [-1.0, 3.0]]]])
    return Example(np.ones((2, 2, 1, 2)), np.ones(2), np.array([0.0, 1.0]), w, epsilon=1.0)
