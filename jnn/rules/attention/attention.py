"""Attention: values averaged by how well their keys answer a query, in memory linear in time."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.attention import products, ways
from jnn.rules.attention.lots import dropped, seed_of
from jnn.rules.attention.sight import Sight
from jnn.rules.core.rule import Example, rule
from jnn.rules.losses.softmax import row_maximum
from jnn.rules.pointwise.dropout import is_one_key

assert ways  # Which makes itself known by being imported.


@rule
def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array | None = None,
    key: jax.Array | None = None,
    *,
    causal: bool = False,
    window: int | None = None,
    scale: float | None = None,
    rate: float = 0.0,
) -> jax.Array:
    """`softmax(scale q k^T) v` of each head, over the keys that a query sees (M-22..25).

    With `D = delta . y` a row and the probabilities P, made again from the scores (M-30..35):

        dv = P^T delta    dS = scale P (delta v^T - D)    dq = dS k    dk = dS^T q

    Long rows are computed in blocks of queries and keys, forward and backward, and blocks of which
    no query sees a key are not visited: memory grows with the length, not with its square. A query
    that sees no key has y = 0, and no gradient.

    With a `rate` each probability is left out by that chance, and the others are divided by
    `1 - rate`: so are P in y and dv, and `delta v^T` (M-110..112). The bits are those of a place,
    drawn again where they are used.

    Saves: q, k, v, mask, key, y, two numbers a row.

    Args:
      q: queries, (batch, time, heads, size).
      k: keys, (batch, key time, key heads, size). Where there are fewer key heads, each serves the
        heads that stand together, `heads / key heads` of them; keys are not repeated.
      v: values, (batch, key time, key heads, any size).
      mask: booleans, (batch or 1, heads or 1, time or 1, key time): whether a query sees a key.
        One row for all queries hides what fills up a sequence, and takes no memory to speak of.
      key: a random key, with a `rate`.
      causal: whether query i sees no key behind i. Both count from 0, also where there are more
        keys than queries, as in `jax.nn.dot_product_attention`.
      window: with `causal`, how many keys up to its own place a query sees.
      scale: what scores are multiplied by, `1 / sqrt(size)` if None.
      rate: the probability that a key is left out of what a query gets, in training.

    >>> q = k = v = jnp.ones((1, 3, 2, 4)) * jnp.arange(3.0).reshape(1, 3, 1, 1)
    >>> jnn.rules.attention(q, k, v, causal=True, window=1)[0, :, 0, 0].tolist()
    [0.0, 1.0, 2.0]
    """
    sight = _sight(q, causal, window, scale, rate)
    batch, time, heads, size = q.shape
    grouped = as_wide(q).reshape(batch, time, k.shape[2], heads // k.shape[2], size)
    s = sight.scale * jnp.einsum("bqhgd,bkhd->bhgqk", grouped, as_wide(k))  # M-22
    s = s.reshape(batch, heads, time, k.shape[1])
    seen = jnp.ones((1, 1, *s.shape[2:]), bool) if mask is None else mask
    i, j = (jnp.arange(n, dtype=jnp.int32) for n in s.shape[2:])
    near = sight.seen(i[:, None], j[None, :])
    seen = seen if near is None else seen & near[None, None]
    s = jnp.where(seen, s, -jnp.inf)  # M-23
    e = jnp.exp(s - row_maximum(s, -1))
    total = e.sum(-1, keepdims=True)
    p = e / jnp.where(total == 0, 1, total)  # M-24
    p = p.reshape(batch, k.shape[2], heads // k.shape[2], *s.shape[2:])
    for seed in _seed(key, rate):
        p = dropped(p, seed, rate, i, j, time)  # M-111
    y = jnp.einsum("bhgqk,bkhd->bqhgd", p, as_wide(v))  # M-25
    return y.reshape(batch, time, heads, v.shape[-1]).astype(q.dtype)


@attention.forward
def attention_forward(q, k, v, mask, key, *, causal, window, scale, rate):
    sight = _sight(q, causal, window, scale, rate)
    y, m, total = products.value(q, k, v, *_given(mask), *_seed(key, rate), setting=sight)
    return y, (q, k, v, mask, key, y, m, total)


@attention.backward
def attention_backward(saved, delta, *, causal, window, scale, rate):
    q, k, v, mask, key, *rows = saved
    sight = _sight(q, causal, window, scale, rate)
    arrays = q, k, v, *rows, delta, *_given(mask), *_seed(key, rate)
    return *products.cotangents(*arrays, setting=sight), None, None


@attention.tangent
def attention_tangent(primals, tangents, *, causal, window, scale, rate):
    (q, k, v, mask, key), (dq, dk, dv, *_) = primals, tangents
    y, (*_, m, total) = attention_forward(
        *primals, causal=causal, window=window, scale=scale, rate=rate
    )
    sight = _sight(q, causal, window, scale, rate)
    arrays = q, k, v, y, m, total, dq, dk, dv, *_given(mask), *_seed(key, rate)
    return y, products.tangent(*arrays, setting=sight)


def _sight(
    q: jax.Array, causal: bool, window: int | None, scale: float | None, rate: float = 0.0
) -> Sight:
    scale = 1 / math.sqrt(max(q.shape[-1], 1)) if scale is None else scale
    return Sight(scale, causal, window, rate)


def _given(mask: jax.Array | None) -> tuple[jax.Array, ...]:
    return () if mask is None else (mask,)


def _seed(key: jax.Array | None, rate: float) -> tuple[jax.Array, ...]:
    return () if key is None else seed_of(key, rate)


@attention.check
def attention_check(q, k, v, mask, key, *, causal, window, scale, rate):
    errors.floating("attention", q=q, k=k, v=v)
    for name, x in (("q", q), ("k", k), ("v", v)):
        errors.rank("attention", name, x, 4)
    batch, time, heads, size = q.shape
    if k.shape[0] != batch or k.shape[3] != size:
        errors.fail(
            "attention", "k", f"of shape ({batch}, key time, key heads, {size}) to fit `q` "
            f"{errors.describe(q)}", errors.describe(k),
            "Arrays are (batch, time, heads, size): transpose where heads come first.",
        )  # fmt: skip
    if v.shape[:3] != k.shape[:3]:
        errors.fail("attention", "v", f"of shape {k.shape[:3]} and any size, as `k`",
                    errors.describe(v), "Each key has one value.")  # fmt: skip
    if k.shape[2] < 1 or heads % k.shape[2]:
        errors.fail("attention", "k", f"of a number of heads that divides {heads}, those of `q`",
                    errors.describe(k), "A key head serves as many heads as another.")  # fmt: skip
    if mask is not None:
        _check_mask(mask, ((1, batch), (1, heads), (1, time), (k.shape[1],)))
    if not isinstance(causal, bool):
        errors.fail("attention", "causal", "True or False", repr(causal))
    if window is not None:
        errors.positive_integer("attention", "window", window)
        if not causal:
            errors.fail("attention", "window", "None where `causal` is False", window,
                        "A window ends at the query's own place: add causal=True, or give a mask "
                        "for another.")  # fmt: skip
    if scale is not None:
        errors.number("attention", "scale", scale, low=-math.inf)
    errors.number("attention", "rate", rate, low=0, high=1)
    if rate and not is_one_key(key):
        errors.fail("attention", "key", "one random key where there is a rate",
                    errors.describe(key), "For example jax.random.key(0).", TypeError)  # fmt: skip
    return {"rate": float(rate)}


def _check_mask(mask: Any, allowed: tuple[tuple[int, ...], ...]) -> None:
    expected = ", ".join(" or ".join(map(str, dict.fromkeys(n))) for n in allowed)
    fits = jnp.ndim(mask) == 4 and all(map(tuple.__contains__, allowed, mask.shape))
    if not fits or mask.dtype != bool:
        errors.fail("attention", "mask", f"booleans of shape ({expected})", errors.describe(mask),
                    "True where a query sees a key; numbers that are added to scores are not "
                    "taken.")  # fmt: skip


def _example(
    group: int = 1, shared: bool | None = None, longer: int = 0, least: int = 2, **settings: Any
) -> Any:
    def make(random: np.random.Generator) -> Example:
        batch, time, heads, size, out = random.integers(1, 4, 5)
        time = time - 1 + least
        keys = max(1, time + longer)
        q = random.normal(size=(batch, time, group * heads, size))
        k = random.normal(size=(batch, keys, heads, size))
        v = random.normal(size=(batch, keys, heads, out))
        if "rate" in settings:
            key = jax.random.key(int(random.integers(2**31)))
            return Example(q, k, v, None, key, **settings)
        if shared is None:
            return Example(q, k, v, **settings)
        first = (batch, 1, 1) if shared else (batch, group * heads, time)
        return Example(q, k, v, random.uniform(size=(*first, keys)) < 0.7, **settings)

    return make


attention.example(_example())
attention.example(_example(group=2, causal=True))
attention.example(_example(least=4, causal=True, window=2, longer=2, scale=0.7))
attention.example(_example(group=3, shared=False, longer=-1))
attention.example(_example(shared=True, causal=True))
attention.example(_example(group=2, least=3, causal=True, rate=0.4))


@attention.extreme
def attention_extreme(random: np.random.Generator) -> Example:
    q, k, v = random.normal(size=(3, 1, 4, 2, 3))
    return Example(100 * q, 100 * k, v, causal=True)


@attention.extreme
def attention_ties(random: np.random.Generator) -> Example:
    q, k, v = random.normal(size=(3, 1, 4, 1, 3))
    q[..., 1:], k[..., 0] = 0, 1  # All scores of a row are equal, and large.
    return Example(100 * q, 100 * k, v)


@attention.extreme
def attention_blind(random: np.random.Generator) -> Example:
    q, k, v = random.normal(size=(3, 2, 3, 1, 2))
    mask = np.array([[[False] * 3, [True, False, True], [True] * 3]])
    return Example(q, k, v, mask[None])
