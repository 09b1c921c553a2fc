"""Loops and branches for `shard_map` as well, where a type says what differs among devices."""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import jax
from jax import lax


def within_shard_map() -> bool:
    """Whether what is traced is the part of one device."""
    return bool(jax.sharding.get_abstract_mesh().manual_axes)


def while_loop(unfinished: Callable, turn: Callable, start: Any) -> Any:
    """`lax.while_loop`, whose start is marked as what its turns make of it.

    Zeros with which a loop begins are the same on all devices, what replaces them is not; JAX wants
    the marks of both to agree. Outside `shard_map` there are none.
    """
    return lax.while_loop(unfinished, turn, varying(turn, start))


def fori_loop(first: Any, end: Any, turn: Callable, start: Any) -> Any:
    """`lax.fori_loop`, with marks as in `while_loop`."""
    return lax.fori_loop(first, end, turn, varying(partial(turn, first), start))


def scan(turn: Callable, start: Any, arrays: Any, *, reverse: bool = False) -> tuple[Any, Any]:
    """`lax.scan`, with marks as in `while_loop`."""
    if within_shard_map():
        first = jax.tree.map(lambda a: lax.slice_in_dim(a, 0, 1)[0], arrays)
        start = varying(lambda carry: turn(carry, first)[0], start)
    return lax.scan(turn, start, arrays, reverse=reverse)


def cond(which: Any, one: Callable, other: Callable, *operands: Any) -> Any:
    """`lax.cond`, where what differs among devices in one branch is marked so in both."""
    if not within_shard_map():
        return lax.cond(which, one, other, *operands)
    types = [jax.eval_shape(branch, *operands) for branch in (one, other)]

    def alike(branch: Callable) -> Callable:
        return lambda *operands: reduce(partial(jax.tree.map, _like), types, branch(*operands))

    return lax.cond(which, alike(one), alike(other), *operands)


def varying(turn: Callable, start: Any) -> Any:
    """The carry of a loop, marked to differ along each axis along which it does after a turn."""
    if not within_shard_map():
        return start
    while True:
        after = jax.tree.map(_like, start, jax.eval_shape(turn, start))
        if jax.tree.map(differing, after) == jax.tree.map(differing, start):
            return after
        start = after  # Which may make others differ.


def differing(x: Any) -> frozenset[Any]:
    """The mesh axes along which a value differs among devices, where JAX keeps account of them.

    >>> from jnn.xla.control import differing
    >>> differing(jnp.ones(3))
    frozenset()
    """
    kind = (x if hasattr(x, "manual_axis_type") else jax.typeof(x)).manual_axis_type
    return kind.varying if kind else frozenset()


def marked(x: jax.Array, axes: frozenset[Any]) -> jax.Array:
    """The array, marked to differ along these axes too.

    >>> from jnn.xla.control import marked
    >>> marked(jnp.ones(2), frozenset()).tolist()
    [1.0, 1.0]
    """
    missing = axes - differing(x)
    return lax.pcast(x, tuple(sorted(missing)), to="varying") if missing else x


def _like(x: Any, after: Any) -> Any:
    return marked(x, differing(after))
