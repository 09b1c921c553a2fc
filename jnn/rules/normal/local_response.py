"""Normalisation of each channel by its neighbours, as in AlexNet."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.core.rule import Example, rule


@rule
def local_response_norm(
    x: jax.Array, *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> jax.Array:
    """Each channel over a power of its neighbours' mean square: `y = x d^-beta` (M-107).

    `d_c = bias + alpha / size sum of x_j^2` over the `size` channels from `c - size // 2` on, of
    which those that do not exist count as 0. That is PyTorch's `nn.LocalResponseNorm` (its `k` is
    `bias`), which divides alpha by the size; AlexNet's paper and TensorFlow's op do not.

    A channel is in the denominator of its neighbours too: with `r_c = delta_c x_c d_c^(-beta - 1)`,

        dx_j = delta_j d_j^-beta - 2 alpha beta / size x_j sum of r_c over all c that see j  (M-109)

    Saves: x. d is computed again: a sum of few squares costs less than a tensor.

    Args:
      x: inputs, (..., channels).
      size: how many channels a sum has.
      alpha: weight of the mean square.
      beta: the exponent.
      bias: what is added to it; above 0.

    >>> x = jnp.array([0.0, 3.0, 0.0])
    >>> jnn.rules.local_response_norm(x, size=1, alpha=1.0, beta=0.5, bias=7.0).tolist()
    [0.0, 0.75, 0.0]
    """
    z, channels = as_wide(x), x.shape[-1]
    squares = jnp.pad(z * z, [(0, 0)] * (x.ndim - 1) + [(size // 2, (size - 1) // 2)])
    sums = sum(squares[..., u : u + channels] for u in range(size))
    return (z / (bias + alpha / size * sums) ** beta).astype(x.dtype)


@local_response_norm.forward
def local_response_norm_forward(x, *, size, alpha, beta, bias):
    z = as_wide(x)
    d = bias + alpha / size * _sums(z * z, size // 2, size)
    return (z * d**-beta).astype(x.dtype), x  # M-107


@local_response_norm.backward
def local_response_norm_backward(x, delta, *, size, alpha, beta, bias):
    z, v = as_wide(x), as_wide(delta)
    d = bias + alpha / size * _sums(z * z, size // 2, size)
    v = v * d**-beta
    # c sees j from size // 2 before it to (size - 1) // 2 behind it, so j is seen the other way.
    others = _sums(v * z / d, (size - 1) // 2, size)
    return ((v - 2 * alpha * beta / size * z * others).astype(x.dtype),)  # M-109


@local_response_norm.tangent
def local_response_norm_tangent(primals, tangents, *, size, alpha, beta, bias):
    (x,), (dx,) = primals, tangents
    z, v = as_wide(x), as_wide(dx)
    d = bias + alpha / size * _sums(z * z, size // 2, size)
    power = d**-beta
    dd = 2 * alpha / size * _sums(z * v, size // 2, size)
    dy = power * (v - beta * z * dd / d)  # M-108
    return (z * power).astype(x.dtype), dy.astype(x.dtype)


@local_response_norm.check
def local_response_norm_check(x, *, size, alpha, beta, bias):
    name = "local_response_norm"
    errors.floating(name, x=x)
    if x.ndim < 1:
        errors.fail(name, "x", "an array with channels on the last axis", errors.describe(x))
    errors.positive_integer(name, "size", size)
    for setting, value in (("alpha", alpha), ("beta", beta), ("bias", bias)):
        errors.number(name, setting, value, low=0)
    if bias == 0:
        errors.fail(name, "bias", "above 0", bias, "Else channels that are 0 give 0 / 0.")


def _sums(x: jax.Array, before: int, size: int) -> jax.Array:
    """The sum of `size` neighbours along the last axis, from `before` before each on."""
    none = [(0, 0, 0)] * (x.ndim - 1)
    x = lax.pad(x, jnp.zeros((), x.dtype), [*none, (before, size - 1 - before, 0)])
    channels = x.shape[-1] - size + 1
    views = (lax.slice_in_dim(x, u, u + channels, axis=-1) for u in range(size))
    return sum(views, jnp.zeros((), x.dtype))


@local_response_norm.example
def local_response_norm_example(random: np.random.Generator) -> Example:
    *batch, channels = random.integers(1, 4, random.integers(1, 4))
    x = 2 * random.normal(size=(*batch, channels + 3))
    return Example(x, size=4, alpha=0.5, beta=0.6, bias=0.3)


@local_response_norm.example
def local_response_norm_example_wide(random: np.random.Generator) -> Example:
    return Example(random.normal(size=(2, 3)), size=5, alpha=2.0)  # Wider than the channels.


@local_response_norm.extreme
def local_response_norm_extreme(random: np.random.Generator) -> Example:
    return Example(1e4 * random.normal(size=(2, 8)) * (random.uniform(size=(2, 8)) < 0.5))
