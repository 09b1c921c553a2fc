"""Sequences of different lengths in one array, and what says where they are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jnn import errors

# What a layer sees: each place of a sequence by itself; sequences as they are; arrays alone.
ONE, ALL, ARRAYS = "one", "all", "arrays"


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Ragged:
    """Sequences as layers hand them on inside of `jnn.ragged`.

    Attributes:
      x: (batch, time, ...).
      mask: booleans (batch, time): where the sequences are. What stands elsewhere is of no matter.
    """

    x: Any
    mask: Any

    def with_x(self, x: Any) -> "Ragged":
        """The same places of another array."""
        return Ragged(x, self.mask)


def array_of(x: Any) -> Any:
    """The array alone."""
    return x.x if isinstance(x, Ragged) else x


def joined(function: Callable[..., Any], *parts: Any) -> Any:
    """`function` of arrays, at the places of the first of them that has some."""
    y = function(*map(array_of, parts))
    return next((part.with_x(y) for part in parts if isinstance(part, Ragged)), y)


def by_place(name: str, sees: str, function: Any, at: int) -> Any:
    """A layer's `init` or `apply`, whose argument number `at` may be sequences, if it sees them."""
    if sees == ALL:
        return function

    def alone(*args: Any, **settings: Any) -> Any:
        x = args[at]
        if not isinstance(x, Ragged):
            return function(*args, **settings)
        if sees == ARRAYS:
            expected = "an array of sequences that are all as long"
            remedy = "Inside of `ragged` are layers that know where a sequence ends, or see each "
            remedy += "place by itself; to say so of a layer of your own, make it by "
            remedy += 'functools.partial(jnn.layer, sees="one").'
            errors.fail(name, "x", expected, "sequences of different lengths", remedy)
        found = function(*args[:at], x.x, *args[at + 1 :], **settings)
        return found if at == 1 else (x.with_x(found[0]), *found[1:])

    return alone


def mean_of(x: Ragged, pool: Callable[[Any], Any]) -> jax.Array:
    """The mean over the places of each sequence, (batch, channels), 0 where there are none."""
    share = x.mask.shape[1] / jnp.maximum(x.mask.sum(1), 1)
    y = pool(kept(x, 0))
    return y * jnp.broadcast_to(share.astype(y.dtype)[:, None], y.shape)


def kept(x: Ragged, value: float) -> jax.Array:
    """The array, with one value wherever there is no sequence."""
    mask = x.mask.reshape(*x.mask.shape, *(1,) * (x.x.ndim - 2))
    return jnp.where(mask, x.x, jnp.full_like(x.x, value))


def end_of(x: Ragged, *, reverse: bool) -> jax.Array:
    """What stands at the last place of each sequence, or at its first; 0 where there is none."""
    time = x.mask.shape[1]
    at = x.mask.argmax(1) if reverse else time - 1 - jnp.flip(x.mask, 1).argmax(1)
    return kept(x, 0)[jnp.arange(len(x.mask)), at]


def places(x: Ragged) -> jax.Array:
    """The number of each place in its sequence, from 0, int32 (batch, time)."""
    return jnp.maximum(jnp.cumsum(x.mask, 1, dtype=jnp.int32) - 1, 0)


def in_front(x: Ragged, function: Callable[[Any], Any], *, reverse: bool) -> Ragged:
    """`function` of sequences that all begin at place 0, turned round or not; and put back."""
    mask = jnp.flip(x.mask, 1) if reverse else x.mask
    order = jnp.argsort(~mask, axis=1, stable=True)
    order = mask.shape[1] - 1 - order if reverse else order
    back = jnp.argsort(order, axis=1)
    return x.with_x(_taken(function(_taken(x.x, order)), back))


def _taken(x: jax.Array, order: jax.Array) -> jax.Array:
    """Places in another order."""
    rows = jnp.arange(len(order))[:, None]
    return x.at[rows, order].get(unique_indices=True, mode="promise_in_bounds")
