"""What a query sees: which keys, and which pairs of blocks of them there are to visit."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Sight(NamedTuple):
    """The setting of attention's products.

    Query i and key j stand at the places i and j: both begin at 0, whatever their numbers.

    Attributes:
      scale: what scores are multiplied by.
      causal: whether query i sees no key behind i.
      window: how many keys up to its own place a query sees, None for all.
      rate: the share of probabilities that chance leaves out.
    """

    scale: float
    causal: bool = False
    window: int | None = None
    rate: float = 0.0

    def seen(self, i: jax.Array, j: jax.Array) -> jax.Array | None:
        """Whether i sees j, for places as rows and as columns; None where all are seen."""
        if not self.causal:
            return None
        seen = j <= i  # M-28
        return seen if self.window is None else seen & (i - j < self.window)

    def meets(self, rows: range, columns: range) -> bool:
        """Whether one of these queries sees one of these keys."""
        if not self.causal:
            return True
        near = self.window is None or rows.start - (columns.stop - 1) < self.window
        return columns.start <= rows.stop - 1 and near


class Block(NamedTuple):
    """Places taken at once, as many in each block: the last one begins before it is due.

    Attributes:
      due: the first place that belongs to it.
      start: the first place that is taken.
    """

    due: Any
    start: Any


class Cut(NamedTuple):
    """How places are taken: `length` of them in blocks of `size`."""

    length: int
    size: int

    @property
    def even(self) -> bool:
        """Whether every block begins where it is due."""
        return self.length % self.size == 0

    def blocks(self) -> Iterator[Block]:
        """Each of them."""
        for due in range(0, self.length, self.size):
            yield Block(due, min(due, self.length - self.size))

    def places(self, block: Block) -> range:
        """Those that belong to a block of known numbers."""
        return range(block.due, min(block.due + self.size, self.length))


def cut(length: int, most: int) -> Cut:
    """Blocks of at most so many places, alike as far as can be, in eights where there are many."""
    count = -(-length // most)
    size = -(-length // count)
    return Cut(length, min(length, most, -(-size // 8) * 8))


def meetings(rows: Cut, columns: Cut, sight: Sight) -> list[tuple[Block, Block]]:
    """The pairs of blocks of which a query sees a key (M-39), by blocks of queries."""
    return [
        (row, column)
        for row in rows.blocks()
        for column in columns.blocks()
        if sight.meets(rows.places(row), columns.places(column))
    ]


def hidden(s: jax.Array, seen: jax.Array | None) -> jax.Array:
    """Scores, -inf where a query does not see a key."""
    return s if seen is None else jnp.where(seen, s, jnp.full_like(s, -jnp.inf))
