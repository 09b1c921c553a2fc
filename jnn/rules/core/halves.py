"""Half precisions on a CPU, whose compiler widens whatever it has no program for.

XLA's CPU compiler has none that moves numbers of two bytes: it pads, cuts and joins them as
float32. A loop that writes a chunk of bfloat16 in each turn rewrites the whole array in each, once
as float32 and once back. As integers they are moved as they are, and float32 is written in place.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnn.arithmetic import as_wide
from jnn.xla.platform import is_for


def is_widened(dtype: Any) -> bool:
    """Whether the compiler widens such numbers to move them.

    >>> from jnn.rules.core.halves import is_widened
    >>> with jnn.platform("cpu"):
    ...     is_widened(jnp.bfloat16), is_widened(jnp.uint16), is_widened(jnp.float32)
    (True, False, False)
    """
    return is_for("cpu") and jnp.issubdtype(dtype, jnp.floating) and jnp.dtype(dtype).itemsize == 2


def loop_dtype(dtype: Any) -> Any:
    """The dtype in which a loop writes such numbers, part by part."""
    return jnp.dtype(jnp.float32) if is_widened(dtype) else jnp.dtype(dtype)


def moved(move: Callable[..., jax.Array], x: jax.Array, *where: Any) -> jax.Array:
    """`move(x, *where)`, which puts numbers and zeros elsewhere: by their bits, where that pays.

    >>> from jnn.rules.core.halves import moved
    >>> moved(lambda x: jnp.pad(x, 1), jnp.ones(2, jnp.bfloat16)).tolist()
    [0.0, 1.0, 1.0, 0.0]

    Args:
      move: a linear function, of integers too.
      x: the numbers.
      *where: integers that it also takes.
    """
    return _moved(move, x, *where) if is_widened(x.dtype) else move(x, *where)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _moved(move: Callable[..., jax.Array], x: jax.Array, *where: Any) -> jax.Array:
    bits = lax.bitcast_convert_type(x, jnp.uint16)
    return lax.bitcast_convert_type(move(bits, *where), x.dtype)


@_moved.defjvp
def _moved_tangent(move: Callable[..., jax.Array], primals: Any, tangents: Any) -> Any:
    return _moved(move, *primals), move(tangents[0], *primals[1:])  # It is linear.


def widened_once(x: jax.Array) -> jax.Array:
    """As `as_wide`, on a CPU all of them before any is read: else each reader widens them anew.

    >>> from jnn.rules.core.halves import widened_once
    >>> widened_once(jnp.ones(2, jnp.bfloat16)).dtype.name
    'float32'
    """
    return lax.optimization_barrier(as_wide(x)) if is_widened(x.dtype) else as_wide(x)
