"""Attention in blocks of queries and keys: no more than a block's scores exist at a time.

One loop goes over the pairs of blocks of which a query sees a key, a list that is known when the
program is made. It carries what it adds up, for all places; a pair reads and writes its own. Where
a length is no multiple of the block's, the last block begins before it is due, and what belongs to
the block before is hidden from it: nothing is padded.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn.arithmetic import as_wide, nonzero
from jnn.rules.attention.defaults import SCORES
from jnn.rules.attention.lots import dropped
from jnn.rules.attention.products import (
    both,
    by_head,
    by_place,
    cotangents,
    highest_score,
    multiply,
    seed_told,
    shares_of_rows,
    tangent,
    told,
    value,
)
from jnn.rules.attention.sight import Block, Cut, cut, hidden, meetings
from jnn.rules.core.product import Call
from jnn.rules.core.sharded import own
from jnn.xla.control import varying
from jnn.xla.platform import is_for

SIZE = 128  # Places of a block on a CPU.


def some(call: Call) -> bool:
    """Whether there are a query and a key."""
    return call.shape(0)[1] > 0 and call.shape(1)[1] > 0


@value.implementation("blocks", some)
def value_blocks(q: jax.Array, k: jax.Array, v: jax.Array, *rest: Any) -> tuple[jax.Array, ...]:
    """The running maximum m, the sum of exponentials and y, which a larger m scales down."""
    visit = _Visit(q, k, rest)
    queries, keys, values = by_head(q, k), _first(k), _first(v)

    def turn(carry: Any, pair: Any) -> Any:
        row, column = pair
        m, total, y = (visit.rows(a, row) for a in carry)
        s = visit.scores(visit.rows(queries, row), visit.columns(keys, column), pair)
        larger = jnp.maximum(m, highest_score(s, -1))
        p, before = jnp.exp(s - larger), jnp.exp(m - larger)
        # M-26
        total = before * total + p.sum(-1, keepdims=True)
        p = visit.kept(p, pair)
        y = before * y + multiply("bhgqk,bhkd->bhgqd", p, visit.columns(values, column))
        return tuple(
            visit.put(a, new, row) for a, new in zip(carry, (larger, total, y), strict=True)
        )

    wide = as_wide(queries[..., :1])
    lowest = jnp.full_like(wide, float(jnp.finfo(wide.dtype).min))
    start = lowest, jnp.zeros_like(wide), jnp.zeros((*wide.shape[:-1], v.shape[-1]), wide.dtype)
    m, total, y = visit.all(turn, start)
    y = by_place(y / nonzero(total)).astype(q.dtype)  # M-27
    return y, by_place(m)[..., 0], by_place(total)[..., 0]


@cotangents.implementation("blocks", some)
def cotangents_blocks(
    q: jax.Array, k: jax.Array, v: jax.Array, y: jax.Array,
    m: jax.Array, total: jax.Array, delta: jax.Array, *rest: Any,
) -> tuple[jax.Array, ...]:  # fmt: skip
    """Exponentials a pair at a time, from the scores and m; sums of dq, dk and dv."""
    visit = _Visit(q, k, rest)
    by_row = [by_head(a, k) for a in (q, *shares_of_rows(y, m, total, delta))]
    by_column = [_first(a) for a in (k, v)]

    def turn(carry: Any, pair: Any) -> Any:
        row, column = pair
        q, m, share, d = (visit.rows(a, row) for a in by_row)
        k, v = (visit.columns(a, column) for a in by_column)
        e = jnp.exp(visit.scores(q, k, pair) - m)  # M-30
        de = visit.kept(multiply("bhgqd,bhkd->bhgqk", share, v), pair)
        ds = visit.sight.scale * (e * (de - d))  # M-33
        dq, dk, dv = carry
        return (
            visit.add(dq, multiply("bhgqk,bhkd->bhgqd", ds, k), row),  # M-34
            visit.add(dk, multiply("bhgqk,bhgqd->bhkd", ds, q), column),  # M-35
            visit.add(
                dv, multiply("bhgqk,bhgqd->bhkd", visit.kept(e, pair), share), column
            ),  # M-31
        )

    start = tuple(jnp.zeros_like(as_wide(a)) for a in (by_row[0], *by_column))
    dq, dk, dv = visit.all(turn, start)
    return by_place(dq), _first(dk), _first(dv)


@tangent.implementation("blocks", some)
def tangent_blocks(
    q: jax.Array, k: jax.Array, v: jax.Array, y: jax.Array, m: jax.Array, total: jax.Array,
    dq: jax.Array, dk: jax.Array, dv: jax.Array, *rest: Any,
) -> jax.Array:  # fmt: skip
    """The same of tangents: two sums a row."""
    visit = _Visit(q, k, rest)
    by_row = [by_head(a, k) for a in (q, dq, m[..., None])]
    by_column = [_first(a) for a in (k, dk, v, dv)]

    def turn(carry: Any, pair: Any) -> Any:
        row, column = pair
        q, dq, m = (visit.rows(a, row) for a in by_row)
        k, dk, v, dv = (visit.columns(a, column) for a in by_column)
        e = jnp.exp(visit.scores(q, k, pair) - m)
        ds = multiply("bhgqd,bhkd->bhgqk", dq, k) + multiply("bhgqd,bhkd->bhgqk", q, dk)
        r = e * (visit.sight.scale * ds)  # M-36
        moved = multiply("bhgqk,bhkd->bhgqd", visit.kept(r, pair), v)
        moved = moved + multiply("bhgqk,bhkd->bhgqd", visit.kept(e, pair), dv)
        new = r.sum(-1, keepdims=True), moved
        return tuple(visit.add(a, each, row) for a, each in zip(carry, new, strict=True))

    full = by_head(as_wide(y), k)
    moving, moved = visit.all(turn, (jnp.zeros_like(full[..., :1]), jnp.zeros_like(full)))
    moved = (moved - moving * full) / by_head(nonzero(total)[..., None], k)
    return by_place(moved)  # M-37


class _Visit:
    """The pairs of blocks of a call, and what a turn of the loop over them needs."""

    def __init__(self, q: jax.Array, k: jax.Array, rest: tuple[Any, ...]):
        self.q = q
        self.mask, self.sight = told(rest, k)
        self.seed = seed_told(rest)
        heads = own(q.shape[0]) * q.shape[2]
        most = SIZE if is_for("cpu") else _most(heads)
        self.row, self.column = cut(q.shape[1], most), cut(k.shape[1], most)
        self.pairs = meetings(self.row, self.column, self.sight)

    def all(self, turn: Callable[[Any, Any], Any], carry: Any) -> Any:
        """Every pair, in one loop whose length is known, so that it can be differentiated again."""
        if len(self.pairs) == 1:
            return turn(carry, self.pairs[0])
        if not self.pairs:
            return carry
        each = jax.tree.map(lambda *numbers: np.array(numbers, np.int32), *self.pairs)
        first = jax.tree.map(lambda numbers: numbers[0], each)
        carry = varying(lambda carry: turn(carry, first), carry)
        # What depends on places alone, `jax.checkpoint` would compute of all pairs, and keep.
        each, _ = lax.optimization_barrier((each, self.q))
        return lax.scan(lambda carry, pair: (turn(carry, pair), None), carry, each)[0]

    def rows(self, a: jax.Array, block: Block) -> jax.Array:
        """A block of (batch, key heads, group, time, size)."""
        return _part(a, block, self.row)

    def columns(self, a: jax.Array, block: Block) -> jax.Array:
        """A block of (batch, key heads, time, size)."""
        return _part(a, block, self.column)

    def put(self, a: jax.Array, new: jax.Array, block: Block) -> jax.Array:
        """The array with other rows."""
        if new.shape == a.shape:
            return new
        return lax.dynamic_update_slice_in_dim(a, new, block.start, a.ndim - 2)

    def add(self, a: jax.Array, more: jax.Array, block: Block) -> jax.Array:
        """The array with `more` added to a block, of rows or of columns."""
        return self.put(
            a, lax.dynamic_slice_in_dim(a, block.start, more.shape[-2], a.ndim - 2) + more, block
        )

    def kept(self, p: jax.Array, pair: Any) -> jax.Array:
        """What chance leaves of a pair's probabilities, or of what multiplies them."""
        i, j = _places(pair[0], self.row), _places(pair[1], self.column)
        return dropped(p, self.seed, self.sight.rate, i, j, self.row.length)

    def scores(self, q: jax.Array, k: jax.Array, pair: Any) -> jax.Array:
        """M-22 of a pair, -inf where a query does not see a key (M-23)."""
        s = self.sight.scale * multiply("bhgqd,bhkd->bhgqk", q, k)
        row, column = pair
        i, j = _places(row, self.row)[:, None], _places(column, self.column)[None, :]
        seen = self.sight.seen(i, j)
        for place, block, taken in ((i, row, self.row), (j, column, self.column)):
            if not taken.even:
                due = jnp.broadcast_to(place >= block.due, s.shape[-2:])
                seen = due if seen is None else seen & due
        mask = self.mask
        if mask is not None:
            if mask.shape[3] > 1:
                mask = lax.dynamic_slice_in_dim(mask, row.start, self.row.size, 3)
            mask = lax.dynamic_slice_in_dim(mask, column.start, self.column.size, 4)
        return hidden(s, both(mask, seen))


def _most(heads: int) -> int:
    """Places of a block where each turn is a launch: as few turns as memory allows, in 128s."""
    if is_for("tpu"):
        return 512
    return max(512, int((SCORES / heads) ** 0.5) // 128 * 128)


def _places(block: Block, taken: Cut) -> jax.Array:
    return block.start + jnp.arange(taken.size, dtype=jnp.int32)


def _part(a: jax.Array, block: Block, taken: Cut) -> jax.Array:
    return lax.dynamic_slice_in_dim(a, block.start, taken.size, a.ndim - 2)


def _first(a: jax.Array) -> jax.Array:
    """Heads before time, or the reverse."""
    return a.swapaxes(1, 2)
