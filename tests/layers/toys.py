"""Layers with a state and with chance, to see what combinators make of both."""

import jax
import jax.numpy as jnp

import jnn


@jnn.layer
def noisy(rate: float = 0.3):
    """Drops entries at random in training."""

    def apply(params, state, x, *, key=None, train=False):
        if not train:
            return x, state
        kept = jax.random.bernoulli(key, 1 - rate, x.shape)  # pyright: ignore[reportArgumentType]
        return jnp.where(kept, x, jnp.zeros_like(x)), state

    return (lambda key, x: ((), ())), apply


@jnn.layer
def centred():
    """Subtracts a running mean, which training moves, and counts its calls."""

    def init(key, x):
        return jnp.ones(x.shape[-1:], x.dtype), (jnp.zeros(x.shape[-1:]), jnp.zeros((), jnp.int32))

    def apply(params, state, x, *, key=None, train=False):
        mean, calls = state
        if train:
            mean, calls = 0.9 * mean + 0.1 * jax.lax.stop_gradient(x.mean(0)), calls + 1
        shifted = (x - jnp.broadcast_to(mean, x.shape)) * jnp.broadcast_to(params, x.shape)
        return shifted, (mean, calls)

    return init, apply
