"""Vector arithmetic on pytrees of arrays, in the highest matmul precision."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from jnn import errors

HIGHEST = lax.Precision.HIGHEST


def dot(a: Any, b: Any) -> jax.Array:
    """The inner product of two trees of one structure.

    >>> jnn.tree.dot({"w": jnp.ones(3)}, {"w": jnp.arange(3.0)}).item()
    3.0
    """
    products = jax.tree.map(lambda x, y: jnp.vdot(x, y, precision=HIGHEST), a, b)
    return jax.tree.reduce(jnp.add, products)


def norm(a: Any) -> jax.Array:
    """The Euclidean length of a tree, without overflow for large or tiny entries.

    It looks twice at each entry; `jnn.optim.global_norm` of all gradients does so once.

    >>> jnn.tree.norm((jnp.asarray(3e30), jnp.asarray(4e30))).item() > 4.9e30
    True
    """
    size = largest_entry(a)
    scale = jnp.where((size > 0) & jnp.isfinite(size), size, 1)
    scaled = jax.tree.map(lambda x: x / scale, a)
    return scale * jnp.sqrt(dot(scaled, scaled))


def largest_entry(a: Any) -> jax.Array:
    """The largest absolute entry of a tree: its infinity norm; NaN if any entry is.

    >>> jnn.tree.largest_entry([jnp.asarray([1.0, -3.0]), jnp.zeros(0)]).item()
    3.0
    """
    sizes = jax.tree.map(lambda x: jnp.max(jnp.abs(x)) if x.size else jnp.zeros((), x.dtype), a)
    return jax.tree.reduce(jnp.maximum, sizes)


def axpy(alpha: Any, x: Any, y: Any) -> Any:
    """`alpha x + y`.

    >>> jnn.tree.axpy(2.0, {"b": jnp.ones(2)}, {"b": jnp.ones(2)})["b"].tolist()
    [3.0, 3.0]
    """
    return jax.tree.map(lambda u, v: alpha * u + v, x, y)


def ravel(
    function: str, params: Any, argument: str = "params"
) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """One vector of all entries, and the way back.

    The function's name, and that of its argument, are for messages.

    >>> x, unravel = jnn.tree.ravel("example", {"b": 1.0, "w": jnp.zeros((2, 2))})
    >>> x.shape, unravel(x)["w"].shape
    ((5,), (2, 2))
    """
    floating_dtype(function, params, argument)
    return ravel_pytree(jax.tree.map(jnp.asarray, params))


def floating_dtype(function: str, params: Any, argument: str = "params") -> Any:
    """The dtype of a tree of real numbers, of which there must be one at least.

    >>> jnn.tree.floating_dtype("example", {"b": 1.0, "w": jnp.zeros((2, 2))})
    dtype('float32')
    """
    leaves = jax.tree.leaves(params)
    if not sum(map(jnp.size, leaves)):
        errors.fail(function, argument, "a tree with at least one number", errors.describe(params))
    for leaf in leaves:
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            continue
        remedy = "Solvers move real numbers: write 1.0 for 1, or cast with .astype."
        errors.fail(function, argument, "floating", errors.describe(leaf), remedy, TypeError)
    errors.floating(function, **{f"{argument}[{i}]": x for i, x in enumerate(leaves)})
    return jnp.result_type(*leaves)


__getattr__ = errors.renamed("jnn.tree", largest="largest_entry")
