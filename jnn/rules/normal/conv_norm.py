"""Convolution and batch normalisation as one rule, which keeps what the convolution reads.

Batch normalisation saves the value of the convolution before it. Where that reads few maps and
makes many, as a network's first layer does, its value is many times what it was made of, and is
made again in no time.
"""

import jax
import numpy as np

from jnn.rules.convolution.conv import (
    conv,
    conv_backward,
    conv_check,
    conv_tangent,
    geometry,
    with_bias,
)
from jnn.rules.convolution.products import value
from jnn.rules.core.rule import Example, rule
from jnn.rules.normal.batch import (
    Names,
    batch_norm,
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_tangent,
    check_batch,
)
from jnn.types import Padding, Setting
from jnn.xla.order import late


@rule
def conv_norm(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array | None = None,
    scale: jax.Array | None = None,
    shift: jax.Array | None = None,
    *,
    epsilon: float = 1e-5,
    axis_name: Names = None,
    stride: Setting = 1,
    padding: Padding = "valid",
    rest: str = "error",
    dilation: Setting = 1,
    groups: int = 1,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`batch_norm(conv(x, w, b), scale, shift)` in one, from x alone (M-113, M-114).

    With z the convolution's value, which is computed again in the backward,

        dz, dscale, dshift  as of `batch_norm`, of z and delta
        dx, dw, db          as of `conv`, of dz

    That costs one more convolution: what it saves in memory is worth it where few maps are read.

    Saves: x, w, b, scale, 3 wide tensors, of one number a map each: those of `batch_norm`.

    Args:
      x: images, (N, *size, C).
      w: filters, (*window, C / groups, O).
      b: biases, (O,), or None; the norm takes them away again, but the mean has them.
      scale: one number a map, (O,), or None for 1.
      shift: one number a map, (O,), or None for 0.
      epsilon: as `batch_norm` takes it.
      axis_name: see `batch_norm`.
      stride: as `conv` takes it; and so are the others.
      padding: see `conv`.
      rest: see `conv`.
      dilation: see `conv`.
      groups: see `conv`.

    Returns:
      y, and mean and variance of the convolution's value as `batch_norm` has them.

    >>> x, w = jnp.ones((8, 16, 16, 3)), jnp.ones((3, 3, 3, 6))
    >>> y, mean, _ = jnn.rules.conv_norm(x, w)
    >>> y.shape, mean.tolist()
    ((8, 14, 14, 6), [27.0, 27.0, 27.0, 27.0, 27.0, 27.0])
    """
    z = conv.parts.definition(x, w, b, stride=stride, padding=padding, rest=rest,
                              dilation=dilation, groups=groups)  # fmt: skip
    return batch_norm.parts.definition(z, scale, shift, epsilon=epsilon, axis_name=axis_name)


conv_norm.wide_outputs = 1, 2
conv_norm.value_again = True


@conv_norm.forward
def conv_norm_forward(x, w, b, scale, shift, *, epsilon, axis_name, **settings):
    g = geometry(x, w, **settings)
    z = with_bias(value(x, w, setting=g), b)  # M-113
    y, (_, _, found) = batch_norm_forward(z, scale, shift, epsilon=epsilon, axis_name=axis_name)
    return y, (g, x, w, b, scale, found)


@conv_norm.backward
def conv_norm_backward(saved, delta, *, epsilon, axis_name, **settings):
    g, x, w, b, scale, found = saved
    z = with_bias(value(late(delta[0], x), w, setting=g), b)
    dz, *of_norm = batch_norm_backward(
        (z, scale, found), delta, epsilon=epsilon, axis_name=axis_name
    )
    return *conv_backward((x, w, g), dz.astype(x.dtype), connections=None), *of_norm  # M-114


@conv_norm.tangent
def conv_norm_tangent(primals, tangents, *, epsilon, axis_name, **settings):
    (*of_conv, scale, shift), (*along, dscale, dshift) = primals, tangents
    z, dz = conv_tangent(of_conv, along, connections=None, **settings)
    return batch_norm_tangent(
        (z, scale, shift), (dz, dscale, dshift), epsilon=epsilon, axis_name=axis_name
    )


@conv_norm.check
def conv_norm_check(x, w, b, scale, shift, *, epsilon, axis_name, **settings):
    found = conv_check(x, w, b, connections=None, **settings)
    del found["connections"]
    g = geometry(x, w, rest=settings["rest"], **found)
    z = jax.ShapeDtypeStruct((len(x), *g.places, w.shape[-1]), x.dtype)
    return found | check_batch("conv_norm", z, scale, shift, epsilon, axis_name)


def _example(x, w, given: str = "b scale shift", **settings):
    def make(random: np.random.Generator) -> Example:
        maps = w[-1]
        drawn = {"b": random.normal(size=maps), "scale": random.uniform(0.5, 2, maps),
                 "shift": random.normal(size=maps)}  # fmt: skip
        others = (a if name in given.split() else None for name, a in drawn.items())
        return Example(random.normal(size=x), random.normal(size=w), *others, **settings)

    return make


conv_norm.example(_example((3, 5, 4, 2), (3, 3, 2, 3), padding=1))
conv_norm.example(_example((4, 6, 4), (3, 2, 2), "shift", stride=3, groups=2, rest="drop"))
conv_norm.example(_example((2, 4, 3, 2), (1, 1, 2, 2), "scale", epsilon=1e-2))


@conv_norm.extreme
def conv_norm_constant(random: np.random.Generator) -> Example:
    """Filters of zeros: maps without variance."""
    x = 1e3 * random.normal(size=(2, 4, 4, 2))
    return Example(x, np.zeros((3, 3, 2, 2)), None, np.array([1.0, 2.0]), np.zeros(2))
