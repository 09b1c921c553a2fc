"""When something is computed: not long before it is used.

XLA's CPU backend begins whatever it can as soon as it can, so that all cores have work, and keeps
the result until somebody reads it. What a backward makes of parameters or of nothing, a rotated
filter or zeros to add to, would be made when the program begins, and lie there until it is used;
what it makes again of a saved array would be found equal to what the forward made of it, and kept.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.interpreters.partial_eval import JaxprTracer

from jnn.xla.platform import is_for


def late(delta: jax.Array, *arrays: jax.Array) -> Any:
    """The arrays, of which nothing is made before `delta` is there, nor shared with what was.

    On a CPU by a zero that is computed of delta and subtracted, in the loop that reads the array: a
    barrier is gone there before the order is chosen.

    >>> from jnn.xla.order import late
    >>> x, w = late(jnp.full(2, jnp.nan), jnp.array([-0.0, 2.0]), jnp.ones(1))
    >>> x.tolist(), w.tolist()
    ([-0.0, 2.0], [1.0])
    """
    found: Any = arrays
    if not is_for("cpu"):
        found = lax.optimization_barrier(arrays)
    elif delta.size and not _transposed(delta):
        found = tuple(a - jnp.broadcast_to(late_zero(delta, a.dtype), a.shape) for a in arrays)
    return found if len(arrays) > 1 else found[0]


def late_zero(like: jax.Array, dtype: Any) -> jax.Array:
    """A zero that is there when `like` is, and not before; XLA does not know that it is one.

    >>> from jnn.xla.order import late_zero
    >>> late_zero(jnp.full(3, jnp.inf), jnp.float32).item()
    0.0
    """
    if not like.size or not jnp.issubdtype(like.dtype, jnp.floating) or _transposed(like):
        return jnp.zeros((), dtype)
    first = like[(0,) * like.ndim]
    return (lax.abs(first) < -1).astype(dtype)


def _transposed(delta: jax.Array) -> bool:
    """Whether a function of `delta` is traced to be transposed: it must then be linear for JAX."""
    return isinstance(delta, JaxprTracer)
