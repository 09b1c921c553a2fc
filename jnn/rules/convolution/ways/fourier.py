"""Convolutions as products of Fourier transforms, for large filters.

A correlation along each axis is a product of transforms, one of them conjugate. Its cost does not
grow with the filter; a padded image is long enough that nothing wraps around into what is kept.
"""

import math

import jax
import jax.numpy as jnp

from jnn.arithmetic import as_wide
from jnn.rules.convolution.geometry import Geometry, Sizes, padded
from jnn.rules.convolution.products import filter_delta, input_delta, value
from jnn.rules.core.product import Call


def large(call: Call) -> bool:
    """Whether the filter is large, dense, and has no holes."""
    g: Geometry = call.setting
    return math.prod(g.window) >= 25 and g.groups == 1 and g.dense and g.axes <= 3


def _transform(x: jax.Array, length: Sizes, first: int) -> jax.Array:
    return jnp.fft.rfftn(as_wide(x), length, axes=range(first, first + len(length)))


def _inverse(x: jax.Array, length: Sizes, first: int) -> jax.Array:
    return jnp.fft.irfftn(x, length, axes=range(first, first + len(length)))


@value.implementation("fourier", large)
def value_fourier(x: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """The image's transform times the filter's, conjugate; of the result, what the stride keeps."""
    x = g.padded(x)
    length = x.shape[1:-1]
    z = jnp.einsum("n...c,...co->n...o", _transform(x, length, 1),
                   jnp.conj(_transform(w, length, 0)))  # fmt: skip
    kept = [slice(0, (o - 1) * s + 1, s) for o, s in zip(g.places, g.stride, strict=True)]
    return _inverse(z, length, 1)[:, *kept].astype(x.dtype)


@input_delta.implementation("fourier", large)
def input_fourier(delta: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """Delta, spread by the stride, times the filter: the true convolution."""
    length = tuple(n + sum(pair) for n, pair in zip(g.image, g.padding, strict=True))
    spread = padded(delta, ((0, 0),) * g.axes, g.stride)
    z = jnp.einsum("n...o,...co->n...c", _transform(spread, length, 1), _transform(w, length, 0))
    kept = [slice(before, before + n) for n, (before, _) in zip(g.image, g.padding, strict=True)]
    return _inverse(z, length, 1)[:, *kept].astype(delta.dtype)


@filter_delta.implementation("fourier", large)
def filter_fourier(x: jax.Array, delta: jax.Array, g: Geometry) -> jax.Array:
    """The image's transform times that of delta, spread by the stride, conjugate."""
    x = padded(x, g.room)
    length = x.shape[1:-1]
    spread = padded(delta, ((0, 0),) * g.axes, g.stride)
    z = jnp.einsum("n...c,n...o->...co", _transform(x, length, 1),
                   jnp.conj(_transform(spread, length, 1)))  # fmt: skip
    return _inverse(z, length, 0)[tuple(map(slice, g.window))].astype(x.dtype)
