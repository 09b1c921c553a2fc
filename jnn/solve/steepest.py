"""Steepest descent with a line search (§5.1, H-119)."""

from collections.abc import Callable
from functools import cache

import jax

from jnn.linesearch import Search, exact
from jnn.solve.conjugate import fall_start, no_fall
from jnn.solve.descent import Method, Move, descent
from jnn.solve.drive import Solver


@cache
def steepest_descent(*, search: Callable[..., Search] = exact) -> Solver:
    """Along the negative gradient to the minimum of each line (H-118, H-119).

    >>> f = lambda x: x[0] ** 2 + 10 * x[1] ** 2
    >>> bool(jnn.minimize(f, jnp.array([3.0, 1.0]), jnn.steepest_descent()).success)
    True
    """

    def direction(_, fall, state, gradient) -> jax.Array:
        return -gradient

    def update(fall: jax.Array, move: Move) -> jax.Array:
        return move.old.value - move.new.value

    return descent(Method(no_fall, direction, update, fall_start), search, "steepest_descent")
