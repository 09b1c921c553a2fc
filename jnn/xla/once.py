"""A step between few numbers as one kernel of XLA's CPU backend."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from jnn.xla.control import within_shard_map
from jnn.xla.platform import is_for


def at_once(f: Callable[[Any], Any], state: Any) -> Any:
    """`f(state)`, a new state of numbers; on a CPU in one kernel.

    There XLA makes a kernel of each fused operation, compiles each by itself and calls them one
    after the other, which costs more than what a few numbers do. But a loop that touches few bytes
    is one kernel: so this is a loop of one turn, which only the barrier hides from XLA.
    """
    if not is_for("cpu") or within_shard_map():
        return f(state)
    once = lax.optimization_barrier(jnp.bool_(True))
    return lax.while_loop(lambda c: c[0], lambda c: (jnp.bool_(False), f(c[1])), (once, state))[1]
