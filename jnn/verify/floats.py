"""Functions of any pytrees as functions of their floating arrays, which alone have derivatives."""

from collections.abc import Callable
from typing import Any

import jax

from jnn import errors


def by_floats(function: Callable[..., Any], args: Any) -> tuple[Callable[..., Any], list[Any]]:
    """`function` as a function of the floating leaves of `args`, the others held; and those leaves.

    >>> f, floats = by_floats(lambda x, n: x**n, (jnp.array(3.0), jnp.array(2)))
    >>> len(floats), jax.grad(f)(*floats).item()
    (1, 6.0)
    """
    leaves, structure = jax.tree.flatten(args)
    moving = [i for i, leaf in enumerate(leaves) if errors.is_floating(leaf)]

    def of_floats(*floats: Any) -> Any:
        full = list(leaves)
        for i, x in zip(moving, floats, strict=True):
            full[i] = x
        return function(*structure.unflatten(full))

    return of_floats, [leaves[i] for i in moving]


def cast(tree: Any, dtype: Any) -> Any:
    """`tree` with its floating arrays in `dtype`, and all its leaves as JAX arrays."""

    def convert(x: Any) -> jax.Array:
        x = jax.numpy.asarray(x)
        return x.astype(dtype) if errors.is_floating(x) else x

    return jax.tree.map(convert, tree)
