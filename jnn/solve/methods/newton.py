"""Truncated Newton: a step of bounded length in the Krylov space, from Hessian-vector products."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors, tree
from jnn.arithmetic import nonzero
from jnn.linesearch import Search
from jnn.solve.drive import Solver
from jnn.solve.linear import decomposed
from jnn.solve.methods.bfgs import LOOSE
from jnn.solve.methods.descent import Method, Move, descent
from jnn.solve.problem import Smooth
from jnn.value import constructor
from jnn.xla.control import cond, while_loop

FORCING = 0.01  # The residual at which the Krylov space is large enough, relative to the gradient.
BEYOND = 1.1  # The length of a bounded step, in radii, at which it is short enough.
INSIDE = 0.99  # In radii, a step that was not bounded.
STEEP = 0.5  # The slope at the end of a bounded step, in the first one, that lengthens the next.


class Trust(NamedTuple):
    """What the steps so far have shown."""

    radius: jax.Array  # How long the next one may be; 0 where the last one failed.
    first: jax.Array  # The length of the first gradient; 0 before the first step.


class Krylov(NamedTuple):
    """Orthonormal rows `V` with `V H V^T = T`, tridiagonal (Lanczos), and conjugate gradients."""

    v: jax.Array
    diagonal: jax.Array  # Of T,
    beside: jax.Array  # and next to it; the last entry has no place there.
    following: jax.Array  # The next row,
    beta: jax.Array  # and its product with H and the last one.
    p: jax.Array  # The last of the conjugate directions,
    hp: jax.Array  # H times it,
    ratio: jax.Array  # how much of it the next one leaves out,
    rest: jax.Array  # and the residual of H d = -g, with a sign.
    d: jax.Array
    convex: jax.Array  # Whether all directions so far have positive curvature.
    count: jax.Array
    more: jax.Array

    @property
    def t(self) -> jax.Array:
        """T as a matrix."""
        beside = self.beside[:-1]
        return jnp.diag(self.diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1)


@constructor
def newton_cg(*, search: Callable[..., Search] = LOOSE, max_products: int = 50) -> Solver:
    """Newton's method without a matrix, for any curvature (H-156..161).

    The direction is `-(|H| + s)^-1 g`, where `|H|` has the eigenvalues of `H` without their signs:
    Newton's step, but downhill where the curvature is negative, so that it leaves saddles and
    follows bent valleys. It is exact within the Krylov space of `H` and `g`, in which `H` is
    tridiagonal, and `s` is 0 unless the direction would be longer than a radius: the length of the
    last step where the search shortened it, twice that where half of the slope is left at the end
    of a direction that was bounded, and twice the old radius where none was reached.

    The space grows, by a Hessian-vector product a dimension, until the residual of `H d = -g` is at
    most `min(1/100, sqrt(|g| / |g_0|)) |g|` (superlinear convergence). Its basis is kept orthogonal
    and is what takes memory: at most `max_products` vectors like x. `H v` is the tangent of the
    gradient, through hand-written rules as well (T's logistic Hessian `X D X^T / m` arises so,
    matrix-free). Products are not counted as evaluations.

    Args:
      search: the line search, which first tries 1; `wolfe` with c2 = 0.9 suits such a direction.
      max_products: the most products a step, and vectors in memory.

    >>> f = lambda x: jnp.sum(jnp.log(jnp.cosh(x - 2)))
    >>> jnn.minimize(f, jnp.ones(4), jnn.newton_cg()).steps.item() < 8
    True
    """
    errors.positive_integer("newton_cg", "max_products", max_products)

    def begin(x: jax.Array) -> Trust:
        return Trust(jnp.full((), jnp.inf, x.dtype), jnp.zeros((), x.dtype))

    def direction(objective: Smooth, trust: Trust, state, g) -> jax.Array:
        size = tree.norm(g)
        first = jnp.where(trust.first > 0, trust.first, size)
        goal = jnp.minimum(FORCING, jnp.sqrt(size / nonzero(first)))
        space = lanczos(partial(objective.product, state.x), g, size, goal, max_products)

        def bounded() -> jax.Array:
            d = bounded_step(space.t, size, trust.radius)
            return jnp.dot(d, space.v, precision=tree.HIGHEST)

        newtons = space.convex & (tree.norm(space.d) <= trust.radius)
        d = cond(newtons, lambda: space.d, bounded)
        return jnp.where(trust.radius > 0, d, -g)

    def update(trust: Trust, move: Move) -> Trust:
        length = tree.norm(move.direction)
        inside, whole = length < INSIDE * trust.radius, move.alpha >= 1
        length *= move.alpha
        steep = tree.dot(move.new.gradient, move.direction) < STEEP * move.slope
        radius = jnp.where(inside & whole, jnp.maximum(trust.radius, length), length)
        radius = jnp.where(whole & (inside | steep), 2 * radius, radius)
        first = jnp.where(trust.first > 0, trust.first, tree.norm(move.old.gradient))
        return Trust(jnp.where(move.moved, radius, 0), first)

    def start(own, fresh, state, direction, slope) -> jax.Array:
        return jnp.ones_like(slope)

    return descent(Method(begin, direction, update, start), search, "newton_cg")


def lanczos(
    product: Callable[[jax.Array], jax.Array],
    g: jax.Array,
    size: jax.Array,
    goal: jax.Array,
    limit: int,
) -> Krylov:
    """The Krylov space of a symmetric matrix and `g`, of length `size`; it begins with `g`.

    It ends where the residual of conjugate gradients would meet the goal, with the whole of the
    space that can be reached, after `limit` products or at one that is not finite.
    """
    most = min(limit, g.size)
    eps = float(jnp.finfo(g.dtype).eps)

    def turn(known: Krylov) -> Krylov:
        i, row = known.count, known.following
        v, w = known.v.at[i].set(row), product(row)
        alpha = tree.dot(row, w)
        sane = jnp.isfinite(alpha) & jnp.isfinite(tree.largest_entry(w))
        diagonal = known.diagonal.at[i].set(jnp.where(sane, alpha, 0))
        beside = known.beside.at[i - 1].set(jnp.where(sane, known.beta, 0))  # The first is 0.

        p, hp = row - known.ratio * known.p, w - known.ratio * known.hp
        curvature = tree.dot(p, hp)
        noise = eps * tree.norm(p) * tree.norm(hp)
        convex = known.convex & (curvature > noise)
        curvature = jnp.where(jnp.abs(curvature) > noise, curvature, nonzero(noise))
        d = known.d + known.rest / curvature * p

        for _ in range(2):  # Twice is enough.
            w -= jnp.dot(jnp.dot(v, w, precision=tree.HIGHEST), v, precision=tree.HIGHEST)
        beta = tree.norm(w)
        ratio = beta / curvature
        rest = -ratio * known.rest
        least = 10 * eps * tree.largest_entry((diagonal, beside))
        more = sane & (jnp.abs(rest) > goal * size) & (beta > least) & (i + 1 < most)
        w /= nonzero(beta)
        return Krylov(v, diagonal, beside, w, beta, p, hp, ratio, rest, d, convex, i + 1, more)

    zero, o = jnp.zeros_like(size), jnp.zeros_like(g)
    rows, line = jnp.zeros((most, g.size), g.dtype), jnp.zeros(most, g.dtype)
    unit, yes = g / nonzero(size), jnp.bool_(True)
    first = Krylov(rows, line, line, unit, zero, o, o, zero, -size, o, yes, jnp.int32(0), size > 0)
    return while_loop(lambda known: known.more, turn, first)


def bounded_step(t: jax.Array, size: jax.Array, radius: jax.Array) -> jax.Array:
    """`-(|T| + s)^-1 size e_1`, with the least `s >= 0` that makes it no longer than the radius."""
    values, vectors = decomposed(jnp.linalg.eigh, t)
    curvature = jnp.abs(values)
    largest = jnp.max(curvature)
    least = len(t) * jnp.finfo(t.dtype).eps * largest
    curvature = jnp.where(largest > 0, jnp.maximum(curvature, least), 1)
    g = size * vectors[0]

    def longer(carry: tuple) -> jax.Array:
        _, length, i = carry
        return (length > BEYOND * radius) & (i < 20)

    def turn(carry: tuple) -> tuple:
        s, length, i = carry
        unit = g / (curvature + s) / length
        # Newton's method for 1 / |d| = 1 / radius comes from below.
        s += (length / radius - 1) / tree.dot(unit, unit / (curvature + s))
        return s, tree.norm(g / (curvature + s)), i + 1

    start = jnp.zeros_like(size), tree.norm(g / curvature), jnp.int32(0)
    s, *_ = while_loop(longer, turn, start)
    return -jnp.dot(vectors, g / (curvature + s), precision=tree.HIGHEST)
