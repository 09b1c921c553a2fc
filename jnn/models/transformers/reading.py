"""A network that reads a sequence in parts: what it remembers of one, it reads the next by.

Attention remembers keys and values, a recurrent layer its state; layers that see a single place
remember nothing. A memory has the structure of the network, and is stacked where layers are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors, rules
from jnn.layers.attention.attention import answered, asked, attention
from jnn.layers.attention.positions import at_most, learned_positions, sinusoidal_positions
from jnn.layers.combinators.repeat import repeat
from jnn.layers.combinators.rows import each, inside, serial
from jnn.layers.combinators.share import filled, share
from jnn.layers.combinators.skip import skip
from jnn.layers.core.layer import Layer, fed
from jnn.layers.core.ragged import ONE
from jnn.layers.normal import batch_norm
from jnn.layers.recurrent import gru, lstm

Memory = Any


class Places(NamedTuple):
    """Which places are read.

    Attributes:
      first: the first place; 0 only where nothing was read before.
      total: how many places there will be in all.
    """

    first: Any
    total: int


class Seen(NamedTuple):
    """What attention remembers: keys and values of the last places, place i at i modulo length."""

    k: jax.Array
    v: jax.Array


# (layer, params, state, memory or None, x, places) -> (y, memory)
Reader = Callable[[Layer, Any, Any, Memory, Any, Places], tuple[Any, Memory]]


def read(
    net: Layer,
    params: Any,
    state: Any,
    memory: Memory,
    x: Any,
    places: Places,
    *,
    last: bool = False,
) -> tuple[Any, Memory]:
    """The output of the next places, and the memory after them.

    Args:
      net: a network in which no place sees a later one.
      params: its parameters.
      state: its state, in evaluation.
      memory: what the places before left; None for the first part, which may be of many places.
        Every later part is one place.
      x: inputs of these places, (batch, time, ...).
      places: where they are.
      last: whether the output of their last place is all that is wanted.

    >>> from jnn.models.transformers.reading import Places, read
    >>> net = jnn.serial(jnn.dense(4), jnn.attention(2, causal=True, rotary=True))
    >>> x = jax.random.normal(jax.random.key(1), (1, 5, 3))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> y, memory = read(net, params, state, None, x[:, :4], Places(0, 5))
    >>> z, _ = read(net, params, state, memory, x[:, 4:], Places(4, 5))
    >>> bool(jnp.allclose(jnp.concatenate([y, z], 1), net(params, x), atol=1e-6))
    True
    """
    kind = net.spec.maker
    if kind is share:
        full = filled(params, net.spec["ties"])
        return read(net.spec["inner"], full, state, memory, x, places, last=last)
    if kind is serial:
        rows, new = each("serial", net.spec.layers, params, state), []
        memories = [None] * len(rows) if memory is None else memory
        for i, ((inner, p, s), m) in enumerate(zip(rows, memories, strict=True)):
            with inside("serial", i, inner):
                ending = last and i == len(rows) - 1
                x, m = read(inner, p, s, m, x, places, last=ending)
            new.append(m)
        return x, tuple(new)
    if kind not in READERS and _sees_one_place(net):
        return net.apply(params, state, x[:, -1:] if last else x)[0], ()
    if kind not in READERS:
        known = ", ".join(sorted(maker.__name__ for maker in {*READERS, serial, share}))
        errors.fail("read", "net", "of layers in which no place sees a later one", repr(net),
                    f"These can be read in parts: {known}, and what sees each place by itself, as "
                    "dense and activations do.")  # fmt: skip
    y, memory = READERS[kind](net, params, state, memory, x, places)
    return y[:, -1:] if last else y, memory


def _attention(net: Layer, params: Any, _: Any, memory: Any, x: Any, places: Places) -> Any:
    of = net.spec
    if not of["causal"] or isinstance(x, tuple | list):
        errors.fail("read", "net", "of attention to earlier places only", repr(net),
                    "Add causal=True.")  # fmt: skip
    settings = of["heads"], of["key_value_heads"], of["rotary"], of["dtype"]
    q, k, v = asked(params, x, x, *settings, places.first)
    room = min(places.total, of["window"] or places.total)
    if memory is None:
        y = rules.attention(q, k, v, causal=True, window=of["window"])
        return answered(params, y), Seen(*(_kept(a, room) for a in (k, v)))
    at = places.first % room
    memory = Seen(*(lax.dynamic_update_slice_in_dim(old, new, at, 1)
                    for old, new in zip(memory, (k, v), strict=True)))  # fmt: skip
    # Of a full ring every place is seen: it holds no more than the window.
    seen = (jnp.arange(room) <= places.first).reshape(1, 1, 1, room)
    return answered(params, rules.attention(q, *memory, seen)), memory


def _kept(a: jax.Array, room: int) -> jax.Array:
    """The last places of (batch, time, ...), where a ring of so much room has them."""
    time = a.shape[1]
    if time > room:
        return jnp.roll(a[:, time - room :], time % room, 1)
    return jnp.pad(a, [(0, 0), (0, room - time), *[(0, 0)] * (a.ndim - 2)])


def _positions(net: Layer, params: Any, _: Any, __: Any, x: Any, places: Places) -> Any:
    """Positions are rows that are added: those of all places are found by adding them to zeros."""
    table = net(params, jnp.zeros((1, places.total, *x.shape[2:]), x.dtype))
    rows = lax.dynamic_slice_in_dim(table, places.first, x.shape[1], 1)
    return x + jnp.broadcast_to(rows, x.shape), ()


def _limit(net: Layer, params: Any, _: Any, __: Any, x: Any, places: Places) -> Any:
    jax.eval_shape(net, params, jax.ShapeDtypeStruct((len(x), places.total), x.dtype))
    return x, ()


def _skip(net: Layer, params: Any, state: Any, memory: Any, x: Any, places: Places) -> Any:
    inner, project = net.spec["inner"], net.spec["project"]
    both = [inner] if project is None else [inner, project]
    rows, found = each("skip", both, params, state), []
    for i, (row, m) in enumerate(zip(rows, memory or [None] * len(rows), strict=True)):
        with inside("skip", i, row[0]):
            found.append(read(*row, m, x, places))
    y, around = found[0][0], x if project is None else found[1][0]
    return around + y, tuple(m for _, m in found)


def _repeat(net: Layer, params: Any, state: Any, memory: Any, x: Any, places: Places) -> Any:
    inner = net.spec["inner"]

    def body(x: Any, one: Any) -> tuple[Any, Any]:
        p, s, m = one
        return read(inner, p, s, m, x, places)

    with inside("repeat", 0, inner):
        return lax.scan(body, x, (params.each, state, memory))


def _recurrent(net: Layer, params: Any, _: Any, memory: Any, x: Any, __: Places) -> Any:
    if net.spec["reverse"]:
        errors.fail("read", "net", "of layers that read forwards", repr(net))
    x = fed(x, params.w, net.spec["dtype"])
    if net.spec.maker is lstm:
        return rules.lstm(x, *params, *(memory or ()))
    y, h = rules.gru(x, *params, *(memory or ()))
    return y, (h,)


READERS: dict[Any, Reader] = {
    attention: _attention,
    learned_positions: _positions,
    sinusoidal_positions: _positions,
    at_most: _limit,
    skip: _skip,
    repeat: _repeat,
    lstm: _recurrent,
    gru: _recurrent,
}


def _sees_one_place(net: Layer) -> bool:
    """Whether each place of the output is of that place alone."""
    maker = net.spec.maker  # Norms over a batch see one in evaluation alone, which this is.
    return maker is batch_norm or getattr(maker, "sees", None) == ONE
