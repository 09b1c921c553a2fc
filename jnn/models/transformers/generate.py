"""What a language model writes: one compiled loop, each turn of which reads a single token."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jnn import errors
from jnn.layers.core.layer import Layer
from jnn.models.transformers.reading import Places, read


def generate(
    net: Layer,
    params: Any,
    ids: Any,
    steps: int,
    key: Any = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    *,
    end: int | None = None,
    state: Any = (),
) -> jax.Array:
    """The tokens `ids`, and `steps` more that the network writes behind them.

    Each is drawn from `softmax(logits / temperature)` of the place before. The first tokens are
    read at once; then keys and values of the places before are remembered, of as many as a window
    sees, and each turn of one loop reads a single token. A place whose logits are NaN gets -1.
    With an `end`, a row that has written it is full of it from there on, and the loop ends with
    the last row.

    Args:
      net: from tokens, (batch, time), to logits, (batch, time, vocabulary), such as
        `jnn.models.transformer`, or any row of layers in which no place sees a later one.
      params: its parameters.
      ids: the first tokens, (batch, time) or (time,), at least one.
      steps: how many to write.
      key: a random key, or an integer to make one from; None where the temperature is 0.
      temperature: below 1 likely tokens are drawn more often; at 0 the likeliest is.
      top_k: from how many of the likeliest tokens each is drawn; None for all.
      end: the token that ends a row; None where all rows are of `steps` tokens.
      state: the network's state, if it has one.

    >>> net = jnn.models.transformer(16, 8, 2, 1)
    >>> ids = jnp.array([3, 1, 4])
    >>> params, _ = net.init(jax.random.key(0), ids[None])
    >>> jnn.models.generate(net, params, ids, 5, jax.random.key(1), top_k=4).shape
    (8,)
    """
    ids = _tokens(ids)
    errors.positive_integer("generate", "steps", steps)
    greedy = isinstance(temperature, int | float) and temperature == 0
    if not isinstance(temperature, Tracer):
        errors.number("generate", "temperature", temperature, low=0)
    if top_k is not None:
        errors.positive_integer("generate", "top_k", top_k)
    if key is None and not greedy:
        remedy = "For example jax.random.key(0); or temperature=0 for the likeliest."
        errors.fail("generate", "key", "a random key where tokens are drawn", None, remedy)
    key = jax.random.key(key or 0) if key is None or isinstance(key, int) else key
    rows = ids if ids.ndim == 2 else ids[None]
    vocabulary = jax.eval_shape(net, params, rows[:, :1], state).shape[-1]
    _check_range(ids, vocabulary)
    if end is not None and not (type(end) is int and 0 <= end < vocabulary):
        errors.fail("generate", "end", f"None or a token number, 0 ... {vocabulary - 1}", end)
    most = None if top_k is None else min(top_k, vocabulary)
    heat = jnp.float32(1 if greedy else temperature)
    last = None if end is None else jnp.asarray(end, rows.dtype)
    written = _written(net, steps, greedy, most, params, state, rows, key, heat, last)
    return jnp.concatenate([rows, written], 1).reshape(*ids.shape[:-1], -1)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _written(
    net: Layer, steps: int, greedy: bool, top_k: int | None, params: Any, state: Any,
    ids: jax.Array, key: jax.Array, temperature: jax.Array, end: jax.Array | None,
) -> jax.Array:  # fmt: skip
    """The new tokens, (batch, steps)."""
    begun, total = ids.shape[1], ids.shape[1] + steps - 1  # The last one is not read.

    def token(logits: jax.Array, i: Any) -> jax.Array:
        logits = logits[:, -1].astype(jnp.float32)
        if top_k is not None:
            least = lax.top_k(logits, top_k)[0][:, -1:]
            logits = jnp.where(logits < least, -jnp.inf, logits)
        if greedy:
            drawn = logits.argmax(-1)
        else:
            drawn = jax.random.categorical(jax.random.fold_in(key, i), logits / temperature)
        return jnp.where(jnp.isnan(logits).any(-1), -1, drawn).astype(ids.dtype)

    def turn(carry: Any) -> Any:
        i, memory, new, written = carry
        places = Places(begun + i, total)
        logits, memory = read(net, params, state, memory, new[:, None], places, last=True)
        drawn = token(logits, i + 1)
        new = drawn if end is None else jnp.where(new == end, end, drawn)
        return i + 1, memory, new, lax.dynamic_update_slice(written, new[:, None], (0, i + 1))

    def unfinished(carry: Any) -> jax.Array:
        i, _, new, _ = carry
        return (i < steps - 1) & (True if end is None else (new != end).any())

    logits, memory = read(net, params, state, None, ids, Places(0, total), last=True)
    first = token(logits, 0)
    written = jnp.full((len(ids), steps), 0 if end is None else end, ids.dtype).at[:, 0].set(first)
    return lax.while_loop(unfinished, turn, (jnp.int32(0), memory, first, written))[-1]


def _tokens(ids: Any) -> jax.Array:
    ids = jnp.asarray(ids)
    if ids.ndim not in (1, 2) or not ids.size or not jnp.issubdtype(ids.dtype, jnp.integer):
        expected = "integers, (batch, time) or (time,), one at least"
        errors.fail("generate", "ids", expected, errors.describe(ids), "They are token numbers.")
    return ids if ids.dtype.itemsize > 2 else ids.astype(jnp.int32)  # Bytes have no room for -1.


def _check_range(ids: jax.Array, vocabulary: int) -> None:
    if isinstance(ids, Tracer):
        return
    least, most = np.min(ids), np.max(ids)
    if least < 0 or most >= vocabulary:
        errors.fail("generate", "ids", f"token numbers, 0 ... {vocabulary - 1}",
                    f"{least} ... {most}")  # fmt: skip
