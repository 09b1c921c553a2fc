"""What is computed of a few samples, rows or steps at a time, so that it stays in the cache.

Where there is no such cache, so that memory holds it, but each turn of a loop is several launches.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnn.rules.core.halves import is_widened, loop_dtype, moved
from jnn.rules.core.sharded import by_device, own
from jnn.xla.control import differing, marked
from jnn.xla.order import late_zero
from jnn.xla.platform import is_for

CACHE = 2**21  # Bytes that a CPU makes at once: what its cores keep next to them.
MEMORY = 2**27  # Elsewhere: what there is room for beside everything else.


def fitting(count: int, each: int, least: int = 1) -> int:
    """How many of `count` at a time, each of so many bytes: in parts of one size, if it can be.

    Args:
      count: of samples, rows or steps.
      each: bytes of the largest of what is made of one.
      least: how many a chunk should have where it reads and writes more than what is made of it,
        e.g. all weights and the sums of their gradients.

    >>> from jnn.rules.core.chunks import fitting
    >>> fitting(4096, 2**12), fitting(4096, 2**17, least=256)
    (512, 256)
    >>> with jnn.platform("gpu"):
    ...     fitting(4096, 2**17, least=256)
    1024
    """
    return evenly(count, max(least, (CACHE if is_for("cpu") else MEMORY) // max(each, 1)))


def samples_at_once(x: jax.Array, each: int) -> int:
    """How many samples of x at a time, of `each` numbers: of those of a device."""
    return fitting(own(len(x)), each * x.dtype.itemsize)


def evenly(batch: int, most: int) -> int:
    """At most `most` at a time, and at least one: in parts of one size, if it can be.

    >>> from jnn.rules.core.chunks import evenly
    >>> evenly(4096, 700), evenly(7, 4), evenly(3, 10)
    (512, 4, 3)
    """
    most = max(1, min(batch, most))
    even = [n for n in range(most, most // 2, -1) if batch % n == 0]
    return even[0] if even else most


def over_samples(function: Callable[..., Any], arrays: tuple[jax.Array, ...], each: int) -> Any:
    """`function(*arrays)`, of as many samples at a time as fit, each `each` numbers."""
    return over_chunks(function, arrays, samples_at_once(arrays[0], each))


def sum_over_samples(function: Callable[..., Any], arrays: tuple[jax.Array, ...], each: int) -> Any:
    """The same of sums over samples."""
    return sum_over_chunks(function, arrays, samples_at_once(arrays[0], each))


def over_chunks(function: Callable[..., Any], arrays: tuple[jax.Array, ...], chunk: int) -> Any:
    """`function(*arrays)`, of so many samples at a time: what it keeps then stays small."""
    return chunked(lambda *part: (function(*part), ()), arrays, chunk)[0]


def sum_over_chunks(function: Callable[..., Any], arrays: tuple[jax.Array, ...], chunk: int) -> Any:
    """`function(*arrays)`, sums over samples, added up over so many of them at a time."""
    return chunked(lambda *part: ((), function(*part)), arrays, chunk)[1]


def chunked(function: Callable[..., Any], arrays: tuple[jax.Array, ...], chunk: int) -> Any:
    """`function(*arrays)`, a pair of what is of each sample and of sums over them, in one loop.

    Each of several devices has a loop over its own samples.
    """
    return by_device(lambda *arrays: _in_turns(function, arrays, chunk), arrays)


def _in_turns(function: Callable[..., Any], arrays: tuple[jax.Array, ...], chunk: int) -> Any:
    if len(arrays[0]) <= chunk:
        return function(*arrays)
    parts, rest = _split(arrays, chunk)
    (like, sums), spread = _results(function, parts)
    count = len(parts[0])
    rooms = jax.tree.map(lambda a: spread(room((count, *a.shape), loop_dtype(a.dtype), parts[-1])),
                         like)  # fmt: skip
    zeros = jax.tree.map(
        lambda a: spread(jnp.broadcast_to(late_zero(parts[-1], a.dtype), a.shape)), sums
    )
    by_bits = tuple(is_widened(a.dtype) for a in parts)

    def turn(carry: Any, part: Any) -> tuple[Any, None]:
        (rooms, total), (i, scanned) = carry, part
        arrays = (
            moved(_chunk, whole, i) if by_bit else chunk
            for by_bit, whole, chunk in zip(by_bits, parts, scanned, strict=True)
        )
        y, more = function(*arrays)
        each = lax.dynamic_update_index_in_dim
        rooms = jax.tree.map(lambda a, y: each(a, y.astype(a.dtype), i, 0), rooms, y)
        return (rooms, jax.tree.map(jnp.add, total, more)), None

    scanned = tuple(() if by_bit else a for by_bit, a in zip(by_bits, parts, strict=True))
    (y, total), _ = lax.scan(turn, (rooms, zeros), (jnp.arange(count), scanned))
    y = jax.tree.map(lambda a, t: a.reshape(-1, *a.shape[2:]).astype(t.dtype), y, like)
    if not len(rest[0]):
        return y, total
    last, more = function(*rest)
    y = jax.tree.map(lambda *both: jnp.concatenate(both), y, last)
    return y, jax.tree.map(jnp.add, total, more)


def _chunk(parts: jax.Array, i: Any) -> jax.Array:
    return lax.dynamic_index_in_dim(parts, i, 0, keepdims=False)


def room(shape: tuple[int, ...], dtype: Any, like: jax.Array) -> jax.Array:
    """An array that a loop writes over: all of it is the first number of `like`.

    Zeros XLA would make when the program starts, keep until then, and copy for each of several.
    """
    if not like.size:
        return jnp.zeros(shape, dtype)
    return jnp.full(shape, like[(0,) * like.ndim].astype(dtype))


def _results(function: Callable[..., Any], parts: tuple[jax.Array, ...]) -> tuple[Any, Any]:
    """The types of a chunk's results, and how a loop's first value is given them in shard_map."""
    like = jax.eval_shape(function, *(jax.typeof(a[0]) for a in parts))
    devices = frozenset().union(*map(differing, parts))
    return like, lambda a: marked(a, devices)  # Each device has its own.


def _split(arrays: tuple[jax.Array, ...], chunk: int) -> tuple[Any, Any]:
    """All whole chunks, an axis of them in front, and the samples behind the last."""
    whole = len(arrays[0]) // chunk * chunk
    parts = tuple(a[:whole].reshape(-1, chunk, *a.shape[1:]) for a in arrays)
    return parts, tuple(a[whole:] for a in arrays)
