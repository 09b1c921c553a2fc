"""Truncated Newton: the Newton step by conjugate gradients, from Hessian-vector products."""

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors, tree
from jnn.linesearch import Search
from jnn.solve.bfgs import LOOSE
from jnn.solve.descent import Method, Move, descent
from jnn.solve.drive import Solver


@cache
def newton_cg(*, search: Callable[..., Search] = LOOSE, max_products: int = 100) -> Solver:
    """Newton's method without a matrix: `H d = -g` solved by conjugate gradients (H-156..161).

    The inner solve ends at a residual of `min(1/100, sqrt(|g|)) |g|` (superlinear convergence), at
    a direction of no curvature, or after `max_products` products. Where the curvature along one of
    its directions is negative, the step there is as long as the Newton step would be, but downhill:
    the solution is `|H|^-1 g` in these directions, which leaves saddles and follows bent valleys.
    `H v` is the tangent of the gradient, through hand-written rules as well (T's logistic Hessian
    `X D X^T / m` arises so, matrix-free). Products are not counted as evaluations.

    >>> f = lambda x: jnp.sum(jnp.log(jnp.cosh(x - 2)))
    >>> jnn.minimize(f, jnp.ones(4), jnn.newton_cg()).steps.item() < 8
    True
    """
    errors.positive_integer("newton_cg", "max_products", max_products)

    def begin(x: jax.Array) -> jax.Array:
        return jnp.bool_(False)  # Whether the last Newton step failed.

    def direction(objective, failed, state, g) -> jax.Array:
        size = tree.norm(g)
        goal = jnp.minimum(0.01, jnp.sqrt(size)) * size
        limit = min(max_products, 2 * g.size)

        def turn(carry):
            d, r, p, rr, i, _ = carry
            hp = objective.product(state.x, p)
            curvature = tree.dot(p, hp)
            noise = jnp.finfo(g.dtype).eps * tree.norm(p) * tree.norm(hp)
            flat = ~(jnp.abs(curvature) > noise) | ~jnp.isfinite(curvature)
            alpha = rr / jnp.where(flat, 1, curvature)
            d = jnp.where(flat, d, d + jnp.abs(alpha) * p)
            r = jnp.where(flat, r, r - alpha * hp)
            following = tree.dot(r, r)
            p = r + following / jnp.where(rr == 0, 1, rr) * p
            return d, r, p, following, i + 1, flat

        def unfinished(carry):
            _, _, _, rr, i, flat = carry
            return (jnp.sqrt(rr) > goal) & (i < limit) & ~flat

        start = (jnp.zeros_like(g), -g, -g, tree.dot(g, g), jnp.int32(0), jnp.bool_(False))
        d, *_ = lax.while_loop(unfinished, turn, start)
        return jnp.where(failed | ~jnp.any(d != 0), -g, d)

    def update(failed, move: Move) -> jax.Array:
        return ~move.moved

    def start(own, fresh, state, direction, slope) -> jax.Array:
        return jnp.ones_like(slope)

    return descent(Method(begin, direction, update, start), search, "newton_cg")
