"""The three products of attention, and how each is computed of whole rows at once.

    attention.value(q, k, v)                           y, m, total
    attention.cotangents(q, k, v, y, m, total, delta)  dq, dk, dv
    attention.tangent(q, k, v, y, m, total, dq, dk, dv)  the tangent of y

m is the largest score of each row, total the sum of the exponentials of what the others lack to it:
two numbers a row, for scores of 1e4 and the logarithm of their normaliser in one would leave three
digits for a probability. m and total are (batch, time, heads), wide.

q is (batch, time, heads, size), y and delta too, with the size of v. Last of the arrays come a
mask, if there is one, and the two words of `lots.seed_of`, if probabilities are left out by chance.
All else is in the `Sight`, the setting of all three. Implementations of one product differ in cost
only; `defaults` says which runs where.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnn.arithmetic import as_wide, nonzero
from jnn.rules.attention.defaults import usual
from jnn.rules.attention.lots import Seed, dropped
from jnn.rules.attention.sight import Sight, hidden
from jnn.rules.core.product import Product
from jnn.xla.platform import is_for

value = Product("attention.value", usual)
cotangents = Product("attention.cotangents", usual)
tangent = Product("attention.tangent", usual)


@value.implementation("whole")
def value_whole(q: jax.Array, k: jax.Array, v: jax.Array, *rest: Any) -> tuple[jax.Array, ...]:
    """All scores at once (M-22..25)."""
    mask, sight = told(rest, k)
    s = _scores(q, k, mask, sight)
    m = highest_score(s, -1)
    p = jnp.exp(s - m)
    total = p.sum(-1, keepdims=True)
    y = by_place(multiply("bhgqk,bkhd->bhgqd", _kept(p, rest), v) / nonzero(total))
    return y.astype(q.dtype), by_place(m)[..., 0], by_place(total)[..., 0]


@cotangents.implementation("whole")
def cotangents_whole(
    q: jax.Array, k: jax.Array, v: jax.Array, y: jax.Array,
    m: jax.Array, total: jax.Array, delta: jax.Array, *rest: Any,
) -> tuple[jax.Array, ...]:  # fmt: skip
    """All scores at once, and again."""
    if not is_for("cpu"):  # Not before delta is there: else each layer's scores wait for it.
        q, k, delta = lax.optimization_barrier((q, k, delta))
    mask, sight = told(rest, k)
    m, share, d = (by_head(a, k) for a in shares_of_rows(y, m, total, delta))
    e = jnp.exp(_scores(q, k, mask, sight) - m)  # M-30
    de = _kept(multiply("bhgqd,bkhd->bhgqk", share, v), rest)  # M-112
    ds = sight.scale * (e * (de - d))  # M-33
    dq = by_place(multiply("bhgqk,bkhd->bhgqd", ds, k))  # M-34
    dk = multiply("bhgqk,bhgqd->bkhd", ds, by_head(q, k))  # M-35, M-38
    dv = multiply("bhgqk,bhgqd->bkhd", _kept(e, rest), share)  # M-31
    return dq, dk, dv


@tangent.implementation("whole")
def tangent_whole(
    q: jax.Array, k: jax.Array, v: jax.Array, y: jax.Array, m: jax.Array, total: jax.Array,
    dq: jax.Array, dk: jax.Array, dv: jax.Array, *rest: Any,
) -> jax.Array:  # fmt: skip
    """All scores at once; their tangents less the mean of a row, which rounds less."""
    mask, sight = told(rest, k)
    p = jnp.exp(_scores(q, k, mask, sight) - by_head(m[..., None], k))
    p = p / by_head(nonzero(total)[..., None], k)
    ds = sight.scale * (_product(dq, k) + _product(q, dk))  # M-29
    r = p * (ds - (p * ds).sum(-1, keepdims=True))  # M-36
    moved = multiply("bhgqk,bkhd->bhgqd", _kept(r, rest), v)
    moved = moved + multiply("bhgqk,bkhd->bhgqd", _kept(p, rest), dv)
    return by_place(moved - r.sum(-1, keepdims=True) * by_head(as_wide(y), k))  # M-37


def shares_of_rows(
    y: jax.Array, m: jax.Array, total: jax.Array, delta: jax.Array
) -> tuple[jax.Array, ...]:
    """What the backward has of each row: m, delta over the total, and their `D` (M-32)."""
    share = as_wide(delta) / nonzero(total)[..., None]
    return m[..., None], share, (share * as_wide(y)).sum(-1, keepdims=True)


def told(rest: tuple[Any, ...], k: jax.Array) -> tuple[jax.Array | None, Sight]:
    """The mask as (batch, key heads, group, queries, keys), ones where it is shared; the sight."""
    *arrays, sight = rest
    masks = [a for a in arrays if a.dtype == bool]
    if not masks:
        return None, sight
    batch, heads, *places = masks[0].shape
    shared = (1, 1) if heads == 1 else (k.shape[2], heads // k.shape[2])
    return masks[0].reshape(batch, *shared, *places), sight


def seed_told(rest: tuple[Any, ...]) -> Seed:
    """The words by which probabilities are left out; None where none are."""
    return next((a for a in rest[:-1] if a.dtype == jnp.uint32), None)


def _kept(p: jax.Array, rest: tuple[Any, ...]) -> jax.Array:
    """Of all places at once what chance leaves, scaled."""
    i, j = (jnp.arange(n, dtype=jnp.int32) for n in p.shape[-2:])
    return dropped(p, seed_told(rest), rest[-1].rate, i, j, p.shape[-2])


def multiply(axes: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """A product in which half precisions are summed in float32, and which is returned wide.

    GPU and TPU multiply half precisions; for a CPU they are widened.
    """
    dtype = jnp.result_type(as_wide(a), as_wide(b))
    narrow = min(a.dtype, b.dtype, key=lambda dtype: dtype.itemsize)
    each = dtype if is_for("cpu") else narrow
    return jnp.einsum(axes, a.astype(each), b.astype(each), preferred_element_type=dtype)


def highest_score(s: jax.Array, axis: int) -> jax.Array:
    """The largest score of each row, a constant to subtract; finite where there is none."""
    lowest = float(jnp.finfo(s.dtype).min)
    return lax.stop_gradient(s.max(axis, keepdims=True, initial=lowest))


def _scores(q: jax.Array, k: jax.Array, mask: jax.Array | None, sight: Sight) -> jax.Array:
    """M-22: (batch, key heads, group, queries, keys), wide."""
    i, j = (jnp.arange(n, dtype=jnp.int32) for n in (q.shape[1], k.shape[1]))
    seen = sight.seen(i[:, None], j[None, :])
    s = sight.scale * _product(q, k)
    return hidden(s, both(mask, seen))


def both(mask: jax.Array | None, seen: jax.Array | None) -> jax.Array | None:
    """What a table and the places allow to be seen, with five axes; None where all is."""
    seen = None if seen is None else seen[None, None, None]
    if mask is None or seen is None:
        return seen if mask is None else mask
    return mask & seen


def _product(q: jax.Array, k: jax.Array) -> jax.Array:
    return multiply("bhgqd,bkhd->bhgqk", by_head(q, k), k)


def by_head(x: jax.Array, k: jax.Array) -> jax.Array:
    """(batch, key heads, group, time, size): the queries that share a key stand together."""
    batch, time, heads, size = x.shape
    grouped = x.reshape(batch, time, k.shape[2], heads // k.shape[2], size)
    return grouped.transpose(0, 2, 3, 1, 4)


def by_place(x: jax.Array) -> jax.Array:
    """(batch, time, heads, size) again."""
    batch, heads, group, time, size = x.shape
    return x.transpose(0, 3, 1, 2, 4).reshape(batch, time, heads * group, size)
