"""Convolutions as products of Fourier transforms, for large filters.

A correlation along each axis is a product of transforms, one of them conjugate. Its cost does not
grow with the filter; a padded image is long enough that nothing wraps around into what is kept.
"""

import math

import jax
import jax.numpy as jnp

from jnn.arithmetic import widen
from jnn.rules.convolution.products import filter_delta, input_delta, padding_of_filter, value
from jnn.rules.convolution.spatial import Pairs, Sizes, output_size
from jnn.rules.convolution.views import padded
from jnn.rules.core.product import Call


def large(call: Call) -> bool:
    """Whether the filter is large, dense, and has no holes."""
    window = call.setting("size") if call.product == "conv.filter" else call.shape(1)[:-2]
    plain = call.setting("groups") == 1 and set(call.setting("dilation")) == {1}
    return math.prod(window) >= 25 and plain and len(window) <= 3


def _transform(x: jax.Array, length: Sizes, first: int) -> jax.Array:
    return jnp.fft.rfftn(widen(x), length, axes=range(first, first + len(length)))


def _inverse(x: jax.Array, length: Sizes, first: int) -> jax.Array:
    return jnp.fft.irfftn(x, length, axes=range(first, first + len(length)))


@value.implementation("fourier", large)
def value_fourier(
    x: jax.Array, w: jax.Array, *, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int
) -> jax.Array:
    """The image's transform times the filter's, conjugate; of the result, what the stride keeps."""
    x = padded(x, padding)
    length = x.shape[1:-1]
    z = jnp.einsum("n...c,...co->n...o", _transform(x, length, 1),
                   jnp.conj(_transform(w, length, 0)))  # fmt: skip
    places = output_size(length, w.shape[:-2], stride, ((0, 0),) * len(length))
    kept = [slice(0, (o - 1) * s + 1, s) for o, s in zip(places, stride, strict=True)]
    return _inverse(z, length, 1)[:, *kept].astype(x.dtype)


@input_delta.implementation("fourier", large)
def input_fourier(
    delta: jax.Array, w: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """Delta, spread by the stride, times the filter: the true convolution."""
    length = tuple(n + sum(pair) for n, pair in zip(size, padding, strict=True))
    spread = padded(delta, ((0, 0),) * len(size), stride)
    z = jnp.einsum("n...o,...co->n...c", _transform(spread, length, 1), _transform(w, length, 0))
    kept = [slice(before, before + n) for n, (before, _) in zip(size, padding, strict=True)]
    return _inverse(z, length, 1)[:, *kept].astype(delta.dtype)


@filter_delta.implementation("fourier", large)
def filter_fourier(
    x: jax.Array, delta: jax.Array, *,
    size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int,
) -> jax.Array:  # fmt: skip
    """The image's transform times that of delta, spread by the stride, conjugate."""
    places = delta.shape[1:-1]
    x = padded(x, padding_of_filter(x.shape[1:-1], places, size, stride, padding, dilation))
    length = x.shape[1:-1]
    spread = padded(delta, ((0, 0),) * len(size), stride)
    z = jnp.einsum("n...c,n...o->...co", _transform(x, length, 1),
                   jnp.conj(_transform(spread, length, 1)))  # fmt: skip
    return _inverse(z, length, 0)[tuple(map(slice, size))].astype(x.dtype)
