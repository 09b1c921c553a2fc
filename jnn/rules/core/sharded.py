"""Cotangents on several devices: shared among them, or laid out, as their arguments are."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jnn.xla.control import differing, marked


def vary_like(cotangent: jax.Array, like: Any) -> jax.Array:
    """Inside `shard_map`: an argument that all devices share gets the sum of their cotangents."""
    theirs = differing(like)
    if summed := differing(cotangent) - theirs:
        cotangent = jax.lax.psum(cotangent, tuple(sorted(summed)))
    return marked(cotangent, theirs)


def as_sharded(function: Callable[..., Any], types: Any) -> Callable[..., Any]:
    """On a mesh with explicit axes, cotangents are laid out as their arguments are."""
    shardings = jax.tree.map(
        lambda t: t.sharding if jnp.issubdtype(t.dtype, jnp.inexact) else None, types
    )
    axis_types = {kind for s in jax.tree.leaves(shardings) for kind in s.mesh.axis_types}
    if jax.sharding.AxisType.Explicit not in axis_types:
        return function
    return jax.sharding.auto_axes(function, out_sharding=shardings)


def laid_out_like(x: jax.Array, like: jax.Array) -> jax.Array:
    """On a mesh with explicit axes, an array made of nothing is laid out as its neighbour is."""
    sharding = jax.typeof(like).sharding
    explicit = jax.sharding.AxisType.Explicit in sharding.mesh.axis_types
    return jax.sharding.reshard(x, sharding) if explicit else x
