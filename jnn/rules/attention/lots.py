"""Which probabilities of attention are left out by chance, told by their places alone.

The bits of query i, key j and a head are those of a counter, so that any block of them is drawn by
itself, and drawn again in the backward: none are stored.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jnn.rules.pointwise import chance

Seed = jax.Array | None


def seed_of(key: Any, rate: float) -> tuple[jax.Array, ...]:
    """What products are given of a random key: two words; nothing where nothing is left out."""
    if chance.share_kept(rate) == 2**32:
        return ()
    return (jax.random.bits(key, (2,), jnp.uint32),)


def dropped(
    p: jax.Array, seed: Seed, rate: float, i: jax.Array, j: jax.Array, time: int
) -> jax.Array:
    """Probabilities, or what multiplies them, with those left out as 0 and the others scaled.

    Args:
      p: (batch, key heads, group, queries, keys).
      seed: two words, or None: then p is returned.
      rate: the share that is left out.
      i: the places of these queries.
      j: the places of these keys.
      time: how many queries there are in all.
    """
    if seed is None:
        return p
    share = chance.share_kept(rate)
    heads = jnp.arange(math.prod(p.shape[:3]), dtype=jnp.uint32).reshape(*p.shape[:3], 1, 1)
    rows = heads * jnp.uint32(time) + i.astype(jnp.uint32).reshape(1, 1, 1, -1, 1)
    columns = j.astype(jnp.uint32).reshape(1, 1, 1, 1, -1)
    rows, columns = (jnp.broadcast_to(a, p.shape) for a in (rows, columns))
    high, low = chance.threefry(seed[0], seed[1], rows, columns)
    kept = (high ^ low) < jnp.uint32(share)  # M-110
    return jnp.where(kept, p * (1 / (1 - rate) if share else 0.0), jnp.zeros_like(p))
