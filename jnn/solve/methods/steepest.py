"""Steepest descent with a line search (§5.1, H-119), and what Hedberg would try with it (§8)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors
from jnn.linesearch import Search, armijo, exact
from jnn.solve.drive import Solver
from jnn.solve.methods.descent import Method, Move, descent, fall_start, no_fall
from jnn.value import constructor
from jnn.xla.control import cond


class Slopes(NamedTuple):
    """The mean of the gradients, how many there were, and the last step and fall."""

    mean: jax.Array
    count: jax.Array
    alpha: jax.Array
    fall: jax.Array


@constructor
def steepest_descent(
    *, search: Callable[..., Search] = exact, every: int = 1, mean: float = 0.0
) -> Solver:
    """Along the negative gradient to the minimum of each line (H-118, H-119).

    Args:
      search: the line search.
      every: searches each line for 1. Else only every so many steps, and the steps between repeat
        the length that it found, shortened only where the value would rise: a step size that sets
        itself (§8).
      mean: part of the last direction's weight in the next, `d = mean d + (1 - mean) g`, so that
        the directions are a floating mean of the gradients (§8). A direction that does not descend
        ends the mean.

    >>> f = lambda x: x[0] ** 2 + 10 * x[1] ** 2
    >>> bool(jnn.minimize(f, jnp.array([3.0, 1.0]), jnn.steepest_descent()).success)
    True
    >>> slow = jnn.minimize(f, jnp.array([3.0, 1.0]), jnn.steepest_descent(every=5, mean=0.5))
    >>> bool(slow.success)
    True
    """
    errors.positive_integer("steepest_descent", "every", every)
    errors.number("steepest_descent", "mean", mean, 0, 1)

    def begin(x: jax.Array) -> Slopes:
        return Slopes(jnp.zeros_like(x), jnp.int32(0), no_fall(x), no_fall(x))

    def direction(_, own: Slopes, state, gradient) -> jax.Array:
        if mean == 0:
            return -gradient
        return -jnp.where(own.count > 0, own.mean, gradient)

    def update(own: Slopes, move: Move) -> Slopes:
        g = move.new.gradient
        last = jnp.where(own.count > 0, own.mean, move.old.gradient)
        kept = move.moved & ~move.restarted
        following = jnp.where(kept, mean * last + (1 - mean) * g, g) if mean else own.mean
        count = jnp.where(move.moved, own.count + 1, 0)
        return Slopes(following, count, move.alpha, move.old.value - move.new.value)

    def start(own: Slopes, fresh, state, direction, slope) -> jax.Array:
        first = fall_start(own.fall, fresh, state, direction, slope)
        return jnp.where(accurate(own) | fresh, first, own.alpha)

    def accurate(own: Slopes) -> jax.Array:
        return lax.rem(own.count, jnp.int32(every)) == 0

    def look(own: Slopes, search: Callable, phi: Callable, origin: Any, start: jax.Array) -> Search:
        def one(method: Callable[..., Search]) -> Callable[[], Search]:
            return lambda: method(phi, origin, start=start)

        if every == 1:
            return one(search)()
        return cond(accurate(own), one(search), one(armijo))

    return descent(Method(begin, direction, update, start, look), search, "steepest_descent")
