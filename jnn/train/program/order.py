"""The order of an epoch's samples, and the keys that it and the steps draw from."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def keys(key: jax.Array, epoch: jax.Array | int) -> tuple[jax.Array, jax.Array]:
    """The keys of an epoch of a run: of its order, and of its steps."""
    order_key, step_key = jax.random.split(jax.random.fold_in(key, epoch))
    return order_key, step_key


def order(key: jax.Array, n: int) -> jax.Array:
    """A random order of n samples: random bits are sorted, twice, and one order put into the other.

    Up to 2^16 samples a number holds the bits above and the sample below, since XLA's sort of one
    array is several times as fast as that of pairs. Where bits are equal the samples stay in order,
    which the second sort, of samples in random order, makes good.
    """
    if n > 2**16:
        return jax.random.permutation(key, n)
    low = jnp.uint32(2 ** (n - 1).bit_length() - 1)
    numbered = jax.random.bits(key, (2, n)) & ~low | jnp.arange(n, dtype=jnp.uint32)[None]
    first, second = (lax.sort(numbered, dimension=1) & low).astype(jnp.int32)
    return first.at[second].get(mode="promise_in_bounds")


def rows(data: Any, index: jax.Array) -> Any:
    """The rows of that index, which is known to be right: unchecked, they are copied whole."""
    return jax.tree.map(lambda a: a.at[index].get(mode="promise_in_bounds"), data)


def stacked(data: Any, count: int, size: int) -> Any:
    """The first batches, stacked."""
    return jax.tree.map(lambda a: a[: count * size].reshape(count, size, *a.shape[1:]), data)


def length(data: Any) -> int:
    """How many samples there are."""
    return len(jax.tree.leaves(data)[0])
