"""Nonlinear conjugate gradients (H-163..169)."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors, tree
from jnn.arithmetic import nonzero
from jnn.linesearch import Search, wolfe
from jnn.solve.drive import Solver
from jnn.solve.methods.descent import Method, Move, descent, fall_start, no_fall
from jnn.solve.methods.lbfgs import CurvaturePairs, empty, forget, store, two_loop
from jnn.value import constructor

ORTHOGONAL = 0.5  # Powell's test: successive gradients of a quadratic are orthogonal.
ACCURATE = partial(wolfe, c2=0.4)  # As accurate as conjugacy needs.


class Conjugate(NamedTuple):
    """The next direction, how many steps led to it, and by how much the last one fell."""

    direction: jax.Array
    count: jax.Array
    fall: jax.Array
    square: jax.Array  # g^T P g, with the P of that direction.
    pairs: CurvaturePairs | None  # Recent steps and changes of the gradient, from which P comes.
    natural: jax.Array  # Whether P does, so that the direction's natural length is 1.


# The arguments: the new gradient g, its change y, the direction d, the old gradient, P g, the old
# g^T P g, whose P was another, and P itself.


def polak_ribiere(g, y, d, old, pg, square, p):  # H-169
    return jnp.maximum(tree.dot(pg, y) / nonzero(square), 0)


def fletcher_reeves(g, y, d, old, pg, square, p):
    return tree.dot(pg, g) / nonzero(square)


def hestenes_stiefel(g, y, d, old, pg, square, p):
    return jnp.maximum(tree.dot(pg, y) / nonzero(tree.dot(d, y)), 0)


def dai_yuan(g, y, d, old, pg, square, p):
    return tree.dot(pg, g) / nonzero(tree.dot(d, y))


def hager_zhang(g, y, d, old, pg, square, p):
    dy = nonzero(tree.dot(d, y))
    beta = (tree.dot(pg, y) - 2 * tree.dot(y, p(y)) / dy * tree.dot(d, g)) / dy
    floor = 0.4 * tree.dot(d, old) / nonzero(tree.dot(d, d))
    return jnp.maximum(beta, floor)


def preconditioned(
    pairs: CurvaturePairs, newest: jax.Array, known: jax.Array, otherwise: Callable, v: jax.Array
) -> jax.Array:
    """The product with the inverse Hessian of the pairs, if it is known."""
    return jnp.where(known, two_loop(pairs, v, newest), otherwise(v))


BETAS = {
    "PR+": polak_ribiere,
    "FR": fletcher_reeves,
    "HS": hestenes_stiefel,
    "DY": dai_yuan,
    "HZ": hager_zhang,
}


@constructor
def nonlinear_cg(
    *,
    beta: str = "PR+",
    search: Callable[..., Search] = ACCURATE,
    preconditioner: Callable[[jax.Array], jax.Array] | None = None,
    restart: int | None = None,
    memory: int = 20,
) -> Solver:
    """Conjugate gradients for any smooth function.

    The new direction is `d+ = -P g+ + beta d`, with

        PR+   max(y^T P g+ / g^T P g, 0),  y = g+ - g     (H-169; 0 is a restart)
        FR    g+^T P g+ / g^T P g
        HS    max(y^T P g+ / d^T y, 0)
        DY    g+^T P g+ / d^T y
        HZ    (P y - 2 d y^T P y / d^T y)^T g+ / d^T y, at least 0.4 d^T g / d^T d (Hager, Zhang)

    P is the inverse Hessian of L-BFGS by all pairs of steps and changes of the gradient but the
    newest, to which beta keeps the direction conjugate. Successive gradients are orthogonal on a
    quadratic; where they are far from it (Powell's test, 0.5), conjugacy is lost: beta is 0, and
    the newest pair counts as well, as in L-BFGS. On a quadratic P g+ is a multiple of g+, and
    nothing changes.

    Args:
      beta: one of these.
      search: the line search, as accurate as `wolfe` with c2 = 0.4, or `exact`.
      preconditioner: an approximate inverse Hessian to be P, applied to a vector of all parameters;
        the pairs are for restarts only, then.
      restart: without beta after so many steps; by default only where beta is 0.
      memory: the number of pairs, 0 for none: the method then holds four vectors, and P is the unit
        matrix.

    >>> f = lambda x: jnp.sum((x - 1) ** 4 + (x - 1) ** 2)
    >>> bool(jnn.minimize(f, jnp.zeros(3), jnn.nonlinear_cg()).success)
    True
    """
    errors.choice("nonlinear_cg", "beta", beta, tuple(BETAS))
    condition = preconditioner or (lambda g: g)

    def begin(x: jax.Array) -> Conjugate:
        pairs, zero = empty(x, memory) if memory else None, no_fall(x)
        return Conjugate(jnp.zeros_like(x), jnp.int32(0), zero, zero, pairs, jnp.bool_(False))

    def direction(_, known: Conjugate, state, gradient) -> jax.Array:
        return jnp.where(known.count > 0, known.direction, -condition(gradient))

    def update(known: Conjugate, move: Move) -> Conjugate:
        old, g, d = move.old.gradient, move.new.gradient, move.direction
        y, fall = g - old, move.old.value - move.new.value
        first = move.restarted | (known.count == 0)  # Then d is -P g.
        square = jnp.where(first, -move.slope, known.square)
        pairs, lost, natural, p = known.pairs, jnp.bool_(False), jnp.bool_(False), condition
        if pairs is not None:
            pairs = forget(pairs, move.restarted)
            older = pairs.count
            pairs = forget(store(pairs, move.new.x - move.old.x, y), ~move.moved)
            lost = jnp.abs(tree.dot(g, old)) > ORTHOGONAL * tree.dot(g, g)
            lost &= pairs.count > 0
            natural = lost if preconditioner else lost | (older > 0) & (pairs.count > 0)
            newest = lost | (pairs.count == older)  # If it is new: what beta is for.
            p = partial(preconditioned, pairs, newest, natural, condition)
        pg = p(g)
        factor = BETAS[beta](g, y, d, old, pg, square, p)
        count = jnp.where(move.restarted, 0, known.count) + 1
        again = jnp.bool_(False) if restart is None else count >= restart
        factor = jnp.where(again | lost | ~jnp.isfinite(factor), 0, factor)  # A restart.
        count = jnp.where(move.moved, jnp.where(again, 1, count), 0)
        return Conjugate(factor * d - pg, count, fall, tree.dot(g, pg), pairs, natural)

    def start(known: Conjugate, fresh, state, direction, slope) -> jax.Array:
        first = fall_start(known.fall, fresh, state, direction, slope)
        return jnp.where(known.natural & ~fresh, 1, first)

    return descent(Method(begin, direction, update, start), search, "nonlinear_cg")
