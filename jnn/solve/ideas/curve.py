"""The error along a line: what a search would see (§8)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors, tree


class Curve(NamedTuple):
    """Steps along a direction, and the value and its slope there."""

    alpha: jax.Array
    value: jax.Array
    slope: jax.Array


def error_curve(
    f: Callable[..., jax.Array],
    x: Any,
    direction: Any = None,
    *,
    alphas: Any = None,
    args: tuple = (),
) -> Curve:
    """The value and the slope of `f` at `x + alpha direction`, for each alpha (§8).

    It shows where line searches and learning rates would end: plot `value` over `alpha`, both
    logarithmic. The steps are evaluated one by one, so that it takes the memory of one.

    Args:
      f: `f(params, *args)` returns a scalar.
      x: any pytree of floating arrays of one dtype.
      direction: a tree like `x`, by default the negative gradient.
      alphas: the steps, by default 0 and ten a decade from 1e-6 to 100.
      args: further arguments of `f`.

    >>> curve = jnn.solve.error_curve(lambda x: jnp.sum(x**2), jnp.ones(2), alphas=[0.0, 0.5, 1.0])
    >>> curve.value.tolist(), curve.slope.tolist()
    ([2.0, 0.0, 2.0], [-8.0, 0.0, 8.0])
    """
    start, unravel = tree.ravel("error_curve", x)
    both = jax.value_and_grad(lambda v: f(unravel(v), *args))
    if direction is None:
        along = -both(start)[1]
    else:
        if jax.tree.structure(direction) != jax.tree.structure(x):
            errors.fail("error_curve", "direction", "a tree like x", errors.describe(direction))
        along = tree.ravel("error_curve", direction)[0].astype(start.dtype)
        errors.shape("error_curve", "direction", along, start.shape)
    steps = [0.0, *(10 ** (k / 10) for k in range(-60, 21))] if alphas is None else alphas
    steps = jnp.asarray(steps, start.dtype)

    def at(alpha: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, gradient = both(start + alpha * along)
        return value, tree.dot(gradient, along)

    return Curve(steps, *lax.map(at, steps))
