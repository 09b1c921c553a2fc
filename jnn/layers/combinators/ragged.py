"""A network of sequences of different lengths, each of which is read as it would be alone."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jnn import errors
from jnn.layers.combinators.rows import check_layer
from jnn.layers.core.layer import Apply, Init, Layer, described, layer
from jnn.layers.core.ragged import ALL, Ragged, array_of, kept
from jnn.layers.pointwise import lifted
from jnn.rules.core.rule import Rule
from jnn.types import Batch, Key, Params, State


@functools.partial(layer, reads=lifted, sees=ALL)
def ragged(inner: Layer | Rule, *, pad: int | None = None) -> tuple[Init, Apply]:
    """A network of sequences of different lengths, none of which sees what fills it up.

    The input is token ids, (batch, time), that are `pad` where there is no sequence; or a pair of
    an array, (batch, time, ...), and lengths, (batch,), behind which there is none. Attention
    answers from places that are there, recurrent layers pass over others, `last` and
    `global_mean_pool` are of what is there; layers that see each place by itself are as ever, and
    others refuse. Output and gradients are those of each sequence alone, whatever stands elsewhere.
    A sequence of no places is read as 0 by `last`, `global_mean_pool` and `global_max_pool`.

    Parameters and state are those of the network inside. What it makes of places where there is
    nothing is of no matter: its loss has weights, such as those of `jnn.data.bucketed`. Where no
    place sees a later one, as in `jnn.models.transformer`, and filling stands behind, nothing of it
    is needed.

    Args:
      inner: the network, or a rule of one argument.
      pad: an id that no sequence has, such as -1; None where the input is a pair.

    >>> net = jnn.ragged(jnn.serial(jnn.embedding(9, 4), jnn.lstm(4), jnn.last()), pad=0)
    >>> ids = jnp.array([[3, 5, 0], [7, 0, 0]])
    >>> params, _ = net.init(jax.random.key(0), ids)
    >>> bool(jnp.allclose(net(params, ids)[1], net(params, ids[1:, :1])[0]))
    True
    """
    net: Any = inner
    check_layer("ragged", "inner", net)
    if pad is not None and type(pad) is not int:
        errors.fail("ragged", "pad", "None or an integer", repr(pad), kind=TypeError)

    def init(key: Key, x: Batch) -> tuple[Params, State]:
        return net.init(key, jax.eval_shape(functools.partial(opened, pad=pad), x))

    def apply(
        params: Params, state: State, x: Batch, *, key: Key | None = None, train: bool = False
    ) -> tuple[Batch, State]:
        y, state = net.apply(params, state, opened(x, pad), key=key, train=train)
        return jax.tree.map(array_of, y, is_leaf=lambda y: isinstance(y, Ragged)), state

    return init, apply


def opened(x: Any, pad: int | None) -> Ragged:
    """Sequences, with 0 where there is none; a length that cannot be makes its row NaN, or -1."""
    if pad is not None:
        whole = hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.integer)
        if not whole or x.ndim != 2:
            remedy = "Sequences of numbers are a pair (x, lengths), without `pad`."
            errors.fail("ragged", "x", "token ids, integers (batch, time)", described(x), remedy)
        ids = Ragged(x, x != pad)
        return ids.with_x(kept(ids, 0))
    pair = isinstance(x, tuple | list) and len(x) == 2 and all(hasattr(a, "dtype") for a in x)
    if not pair or x[0].ndim < 2 or x[1].shape != x[0].shape[:1]:
        expected = "a pair of (batch, time, ...) and lengths (batch,)"
        errors.fail("ragged", "x", expected, described(x), "Token ids may have a `pad` instead.")
    x, lengths = x
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        errors.fail("ragged", "x", "a pair whose lengths are integers", errors.describe(lengths))
    time = x.shape[1]
    if not isinstance(lengths, Tracer) and not ((lengths >= 0) & (lengths <= time)).all():
        got = f"{np.min(lengths)} ... {np.max(lengths)}"
        errors.fail("ragged", "x", f"a pair whose lengths are 0 ... {time}, its time", got)
    lengths = jnp.asarray(lengths)
    found = Ragged(x, jnp.arange(time)[None, :] < lengths[:, None])
    wrong = jnp.nan if errors.is_floating(x) else -1
    possible = ((lengths >= 0) & (lengths <= time)).reshape(-1, *(1,) * (x.ndim - 1))
    return found.with_x(jnp.where(possible, kept(found, 0), jnp.full_like(x, wrong)))
