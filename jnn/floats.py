"""Functions of any pytrees as functions of their floating arrays, which alone have derivatives."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

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
        x = jnp.asarray(x)
        return x.astype(dtype) if errors.is_floating(x) else x

    return jax.tree.map(convert, tree)


def pulled(
    function: Callable[..., Any], args: Any, delta: Any, *, apart: bool = False
) -> tuple[list[Any], list[Any]]:
    """The floating outputs of `function`, and the cotangents of its floating arguments.

    `apart` puts a barrier between them, as where other layers are between. Without it a compiler
    keeps what the forward computed, and what is saved plays no part.

    >>> pulled(jnp.square, (jnp.array(3.0),), [jnp.array(1.0)])
    ([Array(9., dtype=float32, ...)], [Array(6., dtype=float32, ...)])
    """

    def floating(*args: Any) -> list[Any]:
        return [y for y in jax.tree.leaves(function(*args)) if errors.is_floating(y)]

    of_floats, floats = by_floats(floating, args)
    y, pull = jax.vjp(of_floats, *floats)
    if apart:
        delta, y = lax.optimization_barrier((delta, y))
    return y, list(pull(delta))


def cotangent(outputs: Any) -> list[np.ndarray]:
    """A cotangent for each floating output, the same at every call; of a single number it is 1.

    Its entries lie between 1/2 and 3/2 in magnitude, and every dtype holds them exactly.
    """
    random = np.random.default_rng(0)
    floating = [y for y in jax.tree.leaves(outputs) if errors.is_floating(y)]
    if len(floating) == 1 and floating[0].shape == ():
        return [np.ones((), floating[0].dtype)]
    choices = np.array([0.5, 0.75, 1.0, 1.25, 1.5, -0.5, -0.75, -1.0, -1.25, -1.5])
    return [random.choice(choices, y.shape).astype(y.dtype) for y in floating]
