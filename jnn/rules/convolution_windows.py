"""What the implementations of a convolution share: shifted views of an image, chunks of samples."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jnn.rules.spatial import Pairs, Sizes


def padded(x: jax.Array, padding: Pairs, spread: Sizes | None = None) -> jax.Array:
    """Zeros around the spatial axes, or cuts where negative; `spread - 1` zeros between pixels."""
    between = spread or (1,) * len(padding)
    inner = [(before, after, s - 1) for (before, after), s in zip(padding, between, strict=True)]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *inner, (0, 0, 0)])


def views(
    x: jax.Array, window: Sizes, places: Sizes, stride: Sizes, dilation: Sizes
) -> list[jax.Array]:
    """What each entry of the filter sees of a padded image: (N, *places, C), entries in C order."""
    start = (0,) * len(window)
    return [
        lax.slice(
            x,
            (0, *(u * d for u, d in zip(entry, dilation, strict=True)), 0),
            (
                len(x),
                *(
                    u * d + (o - 1) * s + 1
                    for u, d, o, s in zip(entry, dilation, places, stride, strict=True)
                ),
                x.shape[-1],
            ),
            (1, *stride, 1),
        )
        for entry in itertools.product(*map(range, start, window))
    ]  # fmt: skip


CACHE = 2**21  # Bytes of patches that are made at once: what the cores keep next to them.


def samples(batch: int, size: int) -> int:
    """How many samples at a time, each of so many bytes: all in parts of one size, if it can be."""
    most = max(1, min(batch, CACHE // max(size, 1)))
    even = [n for n in range(most, most // 2, -1) if batch % n == 0]
    return even[0] if even else most


def over_chunks(function: Callable[[jax.Array], jax.Array], x: jax.Array, chunk: int) -> jax.Array:
    """`function(x)`, computed on so many samples at a time: what it keeps then stays small."""
    if len(x) <= chunk:
        return function(x)
    whole = len(x) // chunk * chunk
    y = lax.map(function, x[:whole].reshape(-1, chunk, *x.shape[1:]))
    y = y.reshape(whole, *y.shape[2:])
    return y if whole == len(x) else jnp.concatenate([y, function(x[whole:])])


def sum_over_chunks(
    function: Callable[[jax.Array, jax.Array], jax.Array],
    x: jax.Array, delta: jax.Array, chunk: int,
) -> jax.Array:  # fmt: skip
    """`function(x, delta)`, a sum over samples, added up over so many of them at a time."""
    if len(x) <= chunk:
        return function(x, delta)
    whole = len(x) // chunk * chunk
    parts = tuple(a[:whole].reshape(-1, chunk, *a.shape[1:]) for a in (x, delta))
    like = jax.eval_shape(function, *(jax.typeof(a[0]) for a in parts))
    zeros = jnp.zeros(like.shape, like.dtype)
    devices = frozenset().union(*(jax.typeof(a).manual_axis_type.varying for a in parts))
    if devices:  # Inside shard_map each device adds up its own.
        zeros = lax.pcast(zeros, tuple(sorted(devices)), to="varying")
    total, _ = lax.scan(lambda total, part: (total + function(*part), None), zeros, parts)
    return total if whole == len(x) else total + function(x[whole:], delta[whole:])
