"""Nonlinear conjugate gradients (H-163..169)."""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors, tree
from jnn.linesearch import Search, wolfe
from jnn.solve.descent import Method, Move, descent, fall_start, no_fall
from jnn.solve.drive import Solver
from jnn.solve.lbfgs import Pairs, empty, forget, store, two_loop

ORTHOGONAL = 0.2  # Powell's test: successive gradients of a quadratic are orthogonal.
ACCURATE = partial(wolfe, c2=0.2)  # As accurate as conjugacy needs.


class Conjugate(NamedTuple):
    """The next direction, how many steps led to it, and by how much the last one fell."""

    direction: jax.Array
    count: jax.Array
    fall: jax.Array
    pairs: Pairs | None  # Recent steps and changes of the gradient, for restarts.
    scaled: jax.Array  # Whether the direction comes from the pairs.


# The arguments: new and old gradient, their difference y, the direction, and the preconditioned
# new gradient and difference.


def polak_ribiere(g, old, y, d, pg, py):  # H-169
    return jnp.maximum(tree.dot(g, py) / nonzero(tree.dot(old, pg - py)), 0)


def fletcher_reeves(g, old, y, d, pg, py):
    return tree.dot(g, pg) / nonzero(tree.dot(old, pg - py))


def hestenes_stiefel(g, old, y, d, pg, py):
    return jnp.maximum(tree.dot(g, py) / nonzero(tree.dot(d, y)), 0)


def dai_yuan(g, old, y, d, pg, py):
    return tree.dot(g, pg) / nonzero(tree.dot(d, y))


def hager_zhang(g, old, y, d, pg, py):
    dy = nonzero(tree.dot(d, y))
    beta = (tree.dot(g, py) - 2 * tree.dot(y, py) / dy * tree.dot(d, g)) / dy
    floor = 0.4 * tree.dot(d, old) / nonzero(tree.dot(d, d))
    return jnp.maximum(beta, floor)


def nonzero(x):
    return jnp.where(x == 0, 1, x)


BETAS = {
    "PR+": polak_ribiere,
    "FR": fletcher_reeves,
    "HS": hestenes_stiefel,
    "DY": dai_yuan,
    "HZ": hager_zhang,
}


@cache
def nonlinear_cg(
    *,
    beta: str = "PR+",
    search: Callable[..., Search] = ACCURATE,
    preconditioner: Callable[[jax.Array], jax.Array] | None = None,
    restart: int | None = None,
    memory: int = 20,
) -> Solver:
    """Conjugate gradients for any smooth function.

    The new direction is `d+ = -g+ + beta d`, with

        PR+   max(g+^T (g+ - g) / g^T g, 0)     (H-169; 0 is a restart)
        FR    g+^T g+ / g^T g
        HS    max(g+^T y / d^T y, 0),  y = g+ - g
        DY    g+^T g+ / d^T y
        HZ    (y - 2 d y^T y / d^T y)^T g+ / d^T y, at least 0.4 d^T g / d^T d (Hager and Zhang)

    Args:
      beta: one of these.
      search: the line search, as accurate as `wolfe` with c2 = 0.2, or `exact`.
      preconditioner: applies an approximate inverse Hessian to a vector of all parameters.
      restart: along the gradient after so many steps; by default only where beta is 0.
      memory: pairs of steps and changes of the gradient to keep, 0 for none. Successive gradients
        are orthogonal on a quadratic; where they are far from it (Powell's test, 0.2), conjugacy is
        lost, and the next direction is `-H g+` with the inverse Hessian of the pairs instead.
        Limited memory makes the method solve what it could not (Hager and Zhang, 2013), and changes
        nothing on a quadratic. Without it the method holds four vectors.

    >>> f = lambda x: jnp.sum((x - 1) ** 4 + (x - 1) ** 2)
    >>> bool(jnn.minimize(f, jnp.zeros(3), jnn.nonlinear_cg()).success)
    True
    """
    errors.choice("nonlinear_cg", "beta", beta, tuple(BETAS))
    condition = preconditioner or (lambda g: g)

    def begin(x: jax.Array) -> Conjugate:
        pairs = empty(x, memory) if memory else None
        return Conjugate(jnp.zeros_like(x), jnp.int32(0), no_fall(x), pairs, jnp.bool_(False))

    def direction(_, known: Conjugate, state, gradient) -> jax.Array:
        return jnp.where(known.count > 0, known.direction, -condition(gradient))

    def update(known: Conjugate, move: Move) -> Conjugate:
        old, g, d = move.old.gradient, move.new.gradient, move.direction
        pg = condition(g)
        factor = BETAS[beta](g, old, g - old, d, pg, pg - condition(old))
        count = jnp.where(move.restarted, 0, known.count) + 1
        again = jnp.bool_(False) if restart is None else count >= restart
        factor = jnp.where(again | ~jnp.isfinite(factor), 0, factor)  # A restart.
        following, pairs, scaled = factor * d - pg, None, jnp.bool_(False)
        if known.pairs is not None:
            pairs = forget(known.pairs, move.restarted)
            pairs = forget(store(pairs, move.new.x - move.old.x, g - old), ~move.moved)
            scaled = jnp.abs(tree.dot(g, old)) > ORTHOGONAL * tree.dot(g, g)
            scaled &= pairs.count > 0
            following = jnp.where(scaled, -two_loop(pairs, g), following)
        count = jnp.where(move.moved, jnp.where(again, 1, count), 0)
        return Conjugate(following, count, move.old.value - move.new.value, pairs, scaled)

    def start(known: Conjugate, fresh, state, direction, slope) -> jax.Array:
        first = fall_start(known.fall, fresh, state, direction, slope)
        return jnp.where(known.scaled & ~fresh, 1, first)

    return descent(Method(begin, direction, update, start), search, "nonlinear_cg")
