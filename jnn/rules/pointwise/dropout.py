"""Dropout: numbers left out by chance while a network is trained."""

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.core.rule import Example, rule
from jnn.rules.core.sharded import laid_out_like
from jnn.rules.pointwise import chance


@rule
def dropout(x: jax.Array, key: jax.Array, *, rate: float) -> jax.Array:
    """X with each number left out with probability `rate`, the others by `1 / (1 - rate)`.

    With 32 random bits a number, `b = jax.random.bits(key, x.shape)`, and a mask m of 0 and 1,

        m = [b < 2^32 (1 - rate)]    y = m x / (1 - rate)    dx = m delta / (1 - rate)

    (M-75..78): the expectation of y is x. The probability is the rate to 2^-33; to the 2^-23 that
    it has itself, m is `jax.random.bernoulli(key, 1 - rate, x.shape)`. What is left out is 0 even
    where x is NaN or infinite, and takes no cotangent. A rate of 0 is the identity; of 1, as in
    PyTorch, y and dx are 0.

    Saves: key. The mask is drawn again in the backward, as part of its loop: no bits are stored,
    in either direction. A generator that cannot be fused, as "rbg" on a CPU, would have to store
    them, so that one byte a number is saved there; the product `dropout.saved` can be told to save
    the key, one bit a number or one byte.

    The mask depends on the key and on each number's place in x: under `jit`, `checkpoint` and
    `scan`, and however x is laid out on a mesh, it is the same. Inside `shard_map` a place is one
    among those of the device: fold `lax.axis_index` into the key.

    Args:
      x: any floating array.
      key: one random key; for one a sample map over both by `jax.vmap`.
      rate: the probability of being left out, between 0 and 1.

    >>> jnn.rules.dropout(jnp.ones(8), jax.random.key(1), rate=0.5).tolist()
    [2.0, 0.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0]
    """
    if _is_certain(rate):
        return _scaled(x, rate)
    kept = jax.random.bits(key, x.shape, jnp.uint32) < jnp.uint32(chance.share_kept(rate))  # M-76
    return _selected(kept, x, rate)  # M-75


@dropout.forward
def dropout_forward(x, key, *, rate):
    if _is_certain(rate):
        return _scaled(x, rate), ()
    key = _typed(key)
    kept, saved = chance.kept_and_saved(key, chance.setting_of(x, key, rate))
    return _selected(kept, x, rate), saved


@dropout.backward
def dropout_backward(saved, delta, *, rate):
    if _is_certain(rate):
        return _scaled(delta, rate), None
    kept = chance.recalled(saved, delta, rate)
    return _selected(kept, delta, rate), None  # M-77


@dropout.tangent
def dropout_tangent(primals, tangents, *, rate):
    (x, key), (dx, _) = primals, tangents
    if _is_certain(rate):
        return _scaled(x, rate), _scaled(dx, rate)
    key = _typed(key)
    kept = chance.mask(key, setting=chance.setting_of(x, key, rate))
    return _selected(kept, x, rate), _selected(kept, dx, rate)  # M-78


def _typed(key):
    return key if errors.is_key(key) else jax.random.wrap_key_data(key)


def _is_certain(rate) -> bool:
    """Whether no bits are needed: nothing is left out, or everything."""
    return chance.share_kept(rate) in (0, 2**32)


def _selected(kept, x, rate):
    """What is kept, scaled, and 0 elsewhere: selected, so that a NaN that is left out is gone."""
    return jnp.where(laid_out_like(kept, x), _scaled(x, rate), jnp.zeros_like(x))


def _scaled(x, rate):
    """By the true scale, which half precisions do not hold; of rate 1 nothing."""
    if rate == 0:
        return x
    if chance.share_kept(rate) == 0:
        return jnp.zeros_like(x)
    return (as_wide(x) * (1 / (1 - rate))).astype(x.dtype)


@dropout.check
def dropout_check(x, key, *, rate):
    errors.floating("dropout", x=x)
    errors.number("dropout", "rate", rate, low=0, high=1)
    if not is_one_key(key):
        several = errors.is_key(key) or getattr(key, "dtype", None) == jnp.uint32
        remedy = "For one a sample: jax.vmap(lambda x, key: jnn.rules.dropout(x, key, rate=rate))."
        errors.fail("dropout", "key", "one random key, e.g. jax.random.key(0)",
                    errors.describe(key), remedy if several else "", TypeError)  # fmt: skip
    return {"rate": float(rate)}


def is_one_key(key) -> bool:
    """Whether it is a random key, of the old kind or the new, and not several."""
    if errors.is_key(key):
        return key.shape == ()
    old = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0)))
    return hasattr(key, "dtype") and (key.shape, key.dtype) == (old.shape, old.dtype)


def _example(rate: float, old: bool = False):
    def make(random: np.random.Generator) -> Example:
        shape = tuple(random.integers(1, 5, random.integers(1, 4)))
        key = jax.random.key(int(random.integers(2**31)))
        key = np.asarray(jax.random.key_data(key)) if old else key
        return Example(random.normal(size=shape), key, rate=rate)

    return make


dropout.example(_example(0.5))
dropout.example(_example(0.1))
dropout.example(_example(0.3, old=True))
dropout.example(_example(0.0))


@dropout.example
def dropout_everything(random: np.random.Generator) -> Example:
    return Example(random.normal(size=(2, 3)), jax.random.key(0), rate=1.0)


@dropout.extreme
def dropout_extreme(random: np.random.Generator) -> Example:
    return Example(1e4 * random.normal(size=(4, 5)), jax.random.key(0), rate=0.75)
