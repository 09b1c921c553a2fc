"""Which numbers chance keeps, and how a backward knows them again: two products.

    dropout.mask(key)     True for each number that is kept
    dropout.saved(key)    the mask, and what the forward saves for `recalled` to tell it again

The setting of both is (shape, share, generator): kept is the number whose 32 random bits are below
`share` (M-76). They are the bits of `jax.random.bits(key, shape)`, whoever computes them.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors
from jnn.rules.core.product import Call, Product
from jnn.xla.platform import platforms

Setting = tuple[tuple[int, ...], int, str]  # The generator as `jax.random.key_impl` names it.

ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
PARITY = 0x1BD11BDA


def share_kept(rate: float) -> int:
    """How many of the 2^32 values of the bits keep a number: the rate to 2^-33."""
    return round((1 - rate) * 2**32)


def _is_threefry(call: Call) -> bool:
    return call.setting[2] == "threefry2x32"  # JAX's default.


def _is_countable(call: Call) -> bool:
    """Whether each number's bits depend on its place alone, and 32 bits count the places."""
    by_place = jax.config.jax_threefry_partitionable  # pyright: ignore[reportAttributeAccessIssue]
    return _is_threefry(call) and by_place and math.prod(call.setting[0]) < 2**32


def _key(random: Any, call: Call) -> tuple[jax.Array]:
    """A key of the call's kind, to try the products on."""
    return (jax.random.key(int(random.integers(2**31)), impl=call.setting[2]),)


mask = Product("dropout.mask", lambda call: "fused" if _is_countable(call) else "jax", _key)


@mask.implementation("jax")
def mask_by_jax(key: jax.Array, setting: Setting) -> jax.Array:
    """JAX's generator as it comes; on a CPU that is a loop over whole arrays of bits."""
    shape, share, _ = setting
    return jax.random.bits(key, shape, jnp.uint32) < jnp.uint32(share)


@mask.implementation("fused", suits=_is_countable)
def mask_fused(key: jax.Array, setting: Setting) -> jax.Array:
    """The same bits by plain arithmetic on each number's place, which XLA fuses: none is stored.

    The generator is Threefry-2x32 of 20 rounds (Salmon et al., 2011), in counter mode.
    """
    shape, share, _ = setting
    place = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        stride = jnp.uint32(math.prod(shape[axis + 1 :]))
        place += lax.broadcasted_iota(jnp.uint32, shape, axis) * stride
    one, other = jax.random.key_data(key)
    high, low = threefry(one, other, jnp.zeros_like(place), place)
    return (high ^ low) < jnp.uint32(share)


def threefry(
    key0: jax.Array, key1: jax.Array, x0: jax.Array, x1: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """64 random bits of a key of 64 for each counter (x0, x1), all uint32.

    >>> zero = jnp.uint32(0)
    >>> [f"{bits:08x}" for bits in threefry(zero, zero, zero, zero)]
    ['6b200159', '99ba4efe']
    """
    keys = key0, key1, key0 ^ key1 ^ jnp.uint32(PARITY)
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for i in range(5):
        for bits in ROTATIONS[i % 2]:
            x0 += x1
            x1 = x0 ^ (x1 << jnp.uint32(bits) | x1 >> jnp.uint32(32 - bits))
        x0, x1 = x0 + keys[(i + 1) % 3], x1 + keys[(i + 2) % 3] + jnp.uint32(i + 1)
    return x0, x1


def _default(call: Call) -> str:
    """Drawing again is free where it is fused; other generators store their bits on a CPU."""
    return "bytes" if call.platform == "cpu" and not _is_threefry(call) else "key"


def _told_twice(keep: Any) -> Any:
    """What `jnn.tune` runs of an implementation: the mask, and the mask as it is recalled."""

    def both(key: jax.Array, setting: Setting) -> Any:
        kept, told = keep(key, setting)
        rate = 1 - setting[1] / 2**32
        return kept, recalled(lax.optimization_barrier(told), kept, rate)

    return both


saved = Product("dropout.saved", _default, _key, tried=_told_twice)


@saved.implementation("key")
def save_key(key: jax.Array, setting: Setting) -> tuple[jax.Array, jax.Array]:
    """The key alone; the mask is drawn again."""
    return mask(key, setting=setting), key


@saved.implementation("bits")
def save_bits(key: jax.Array, setting: Setting) -> tuple[jax.Array, jax.Array]:
    """One bit a number, eight of a row in a byte."""
    kept = mask(key, setting=setting)
    return kept, jnp.packbits(kept.reshape(setting[0] or (1,)), axis=-1)


@saved.implementation("bytes")
def save_bytes(key: jax.Array, setting: Setting) -> tuple[jax.Array, jax.Array]:
    """One byte a number, the mask itself."""
    kept = mask(key, setting=setting)
    return kept, kept


def setting_of(x: jax.Array, key: jax.Array, rate: float) -> Setting:
    """The setting for numbers x of which each is dropped with probability `rate`."""
    return x.shape, share_kept(rate), str(jax.random.key_impl(key))


def kept_and_saved(key: jax.Array, setting: Setting) -> tuple[jax.Array, jax.Array]:
    """The mask, and what `recalled` tells it from; for several platforms at once the key."""
    if len(platforms()) > 1:  # A program for all of them saves one thing.
        return save_key(key, setting)
    return saved(key, setting=setting)


def recalled(told: jax.Array, x: jax.Array, rate: float) -> jax.Array:
    """The mask of numbers like x again, from any of what is saved."""
    if errors.is_key(told):
        return mask(told, setting=setting_of(x, told, rate))
    if told.dtype == jnp.bool_:
        return told
    count = x.shape[-1] if x.ndim else 1
    return jnp.unpackbits(told, axis=-1, count=count).astype(bool).reshape(x.shape)
