"""L-BFGS: the inverse Hessian from the last few steps (H-183..186, Algorithms 2 and 3)."""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors, tree
from jnn.linesearch import Search
from jnn.solve.bfgs import FAR, lifted
from jnn.solve.descent import Method, Move, descent, unit_start
from jnn.solve.drive import Solver

SHORT = 64  # Bytes of a vector up to which XLA makes one kernel of the two loops on a CPU.
product = partial(jnp.matmul, precision=tree.HIGHEST)


class Products(NamedTuple):
    """Inner products of the pairs: s_i^T y_j, for every y_j not older than s_i, and y_i^T y_j."""

    sy: jax.Array  # (m + 1, m + 1)
    yy: jax.Array  # (m + 1, m + 1)


class Pairs(NamedTuple):
    """The last m steps and changes of the gradient, in a ring; `count` pairs were ever stored.

    The ring has room for one more: what comes next is written there, and counts if it is sound.
    """

    s: jax.Array  # (m + 1, n)
    y: jax.Array  # (m + 1, n)
    rho: jax.Array  # (m + 1,): 1 / s^T y.
    gamma: jax.Array  # The scale of the initial inverse Hessian.
    count: jax.Array
    products: Products | None  # None where vectors are short.


@cache
def lbfgs(
    *,
    memory: int = 20,
    scaled: bool = False,
    damped: bool = False,
    search: Callable[..., Search] = FAR,
) -> Solver:
    """L-BFGS with the last `memory` pairs and a strong Wolfe search (Algorithms 2 and 3).

    Hedberg's two algorithms are garbled in print: the first loop of Algorithm 2 is
    `gamma_i = rho_i s_i^T g; g -= gamma_i y_i`, newest to oldest, and a pair is dropped once m
    are stored (printed: k > m, which keeps one too many). The initial inverse Hessian is
    `y^T s / y^T y` of the newest pair (H-191; the text says Hessian). A pair without positive
    curvature is not stored (H-177).

    With at most `memory` unknowns the initial matrix is `|s| / |y|` instead, which is larger: the
    pairs soon span all directions, and what they leave is flat.

    It heeds the `bounds` of `minimize`: entries at a bound that the gradient pushes against are
    held, the pairs speak of the others only, and the search follows the projected line.

    Args:
      memory: the number of pairs. Twenty instead of ten save a tenth of the evaluations on CUTEst's
        small problems and solve three more; where these cost nothing, ten run faster.
      scaled: whether H-191 holds for few unknowns as well.
      damped: lifts a curvature that is too small instead of skipping the pair (Powell); for
        searches that do not ensure it, such as `armijo`.
      search: the line search; `wolfe` with c2 = 0.9 suits a direction whose natural step is 1.

    >>> f = lambda x: jnp.sum(jnp.cosh(x - 1))
    >>> jnn.minimize(f, jnp.zeros(5), jnn.lbfgs(memory=5)).message
    'Converged: the gradient is within its tolerance.'
    """
    errors.positive_integer("lbfgs", "memory", memory)

    def begin(x: jax.Array) -> Pairs:
        return empty(x, memory)

    def direction(objective, pairs: Pairs, state, gradient) -> jax.Array:
        if objective.box is not None:
            pairs = within(pairs, gradient != 0)
        return -two_loop(pairs, gradient)

    def update(pairs: Pairs, move: Move) -> Pairs:
        s, y = move.new.x - move.old.x, move.new.gradient - move.old.gradient
        if damped:
            y = lifted(s, y, -move.alpha * move.old.gradient)
        pairs = pairs._replace(count=jnp.where(move.restarted, 0, pairs.count))
        return store(pairs, s, y, move.moved, few=0 if scaled else memory)

    return descent(Method(begin, direction, update, unit_start), search, "lbfgs", bounded=True)


def empty(x: jax.Array, memory: int) -> Pairs:
    """No pairs yet, for steps of the shape of `x`."""
    room = memory + 1
    blank = jnp.zeros((room, *x.shape), x.dtype)
    square = jnp.zeros((room, room), x.dtype)
    products = None if x.nbytes <= SHORT else Products(square, square)
    return Pairs(blank, blank, blank[:, 0], jnp.ones((), x.dtype), jnp.int32(0), products)


def two_loop(pairs: Pairs, gradient: jax.Array) -> jax.Array:
    """The product of the inverse Hessian with a vector (Algorithm 2, corrected).

    >>> from jnn.solve.lbfgs import empty, store, two_loop
    >>> pairs = store(empty(jnp.zeros(2), 3), jnp.array([2.0, 0.0]), jnp.array([4.0, 0.0]))
    >>> two_loop(pairs, jnp.ones(2)).tolist()
    [0.5, 0.5]
    """
    if pairs.products is None:
        return over_vectors(pairs, gradient)
    return over_factors(pairs, pairs.products, gradient)


def over_vectors(pairs: Pairs, gradient: jax.Array) -> jax.Array:
    """Both loops as one, as printed: m turns towards the oldest pair, then m turns back."""
    oldest, stored, room = ring(pairs)

    def turn(i, carry):
        h, gammas = carry
        back = i >= 0
        j = lax.rem(oldest + jnp.where(back, i, -1 - i), room)
        at = partial(lax.dynamic_index_in_dim, index=j, keepdims=False)
        s, y = at(pairs.s), at(pairs.y)
        h = jnp.where(i == 0, pairs.gamma, 1) * h
        gamma = at(pairs.rho) * tree.dot(jnp.where(back, y, s), h)
        # Newest to oldest: g - gamma y. Oldest to newest: h + (gamma - beta) s.
        h += jnp.where(back, (at(gammas) - gamma) * s, -gamma * y)
        return h, lax.dynamic_update_index_in_dim(gammas, gamma, j, 0)

    first = jnp.where(stored > 0, 1, pairs.gamma) * gradient
    return lax.fori_loop(-stored, stored, turn, (first, jnp.zeros_like(pairs.rho)))[0]


def over_factors(pairs: Pairs, products: Products, gradient: jax.Array) -> jax.Array:
    """The two loops over the factors of the pairs alone, whose inner products are known.

    What Algorithm 2 adds to the gradient is a combination of the pairs: four products of a matrix
    and a vector do what is long, and each pair is read twice in all.
    """
    oldest, stored, room = ring(pairs)
    sy, yy = products
    sg, yg = product(pairs.s, gradient), product(pairs.y, gradient)
    at = partial(lax.dynamic_index_in_dim, keepdims=False)
    put = partial(lax.dynamic_update_index_in_dim, axis=0)
    none = jnp.zeros_like(pairs.rho)

    def back(i, gammas):  # Newest to oldest, in h = g - sum of gamma y.
        j = lax.rem(oldest + stored - 1 - i, room)
        gamma = at(pairs.rho, j) * (at(sg, j) - tree.dot(at(sy, j), gammas))
        return put(gammas, gamma, index=j)

    gammas = lax.fori_loop(0, stored, back, none)
    yh = pairs.gamma * (yg - product(yy, gammas))

    def forth(i, steps):  # Oldest to newest, in h + sum of (gamma - beta) s.
        j = lax.rem(oldest + i, room)
        beta = at(pairs.rho, j) * (at(yh, j) + tree.dot(at(sy, j, 1), steps))
        return put(steps, at(gammas, j) - beta, index=j)

    steps = lax.fori_loop(0, stored, forth, none)
    return pairs.gamma * (gradient - product(gammas, pairs.y)) + product(steps, pairs.s)


def ring(pairs: Pairs) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The place of the oldest pair, but for whole rounds, how many there are, and the places."""
    room = jnp.int32(len(pairs.rho))
    stored = jnp.minimum(pairs.count, room - 1)
    return pairs.count - stored, stored, room


def store(
    pairs: Pairs, s: jax.Array, y: jax.Array, keep: jax.Array | bool = True, few: int = 0
) -> Pairs:
    """Puts a pair in the place of the oldest (Algorithm 3), if its curvature is positive.

    With `keep` false all pairs are forgotten. The initial matrix is that of H-191, but for `few`
    unknowns, without those that rest, its geometric mean with `s^T s / s^T y`.
    """
    curvature, square, length = tree.dot(s, y), tree.dot(y, y), tree.dot(s, s)
    size = jnp.sqrt(length) * jnp.sqrt(square)
    sound = (curvature > jnp.finfo(s.dtype).eps * size) & jnp.isfinite(square)  # H-177
    gamma = curvature if not few else jnp.where(jnp.sum(s != 0) <= few, size, curvature)
    gamma /= jnp.where(sound, square, 1)  # H-191
    place = lax.rem(pairs.count, jnp.int32(len(pairs.rho)))
    put = partial(lax.dynamic_update_index_in_dim, index=place)
    products = pairs.products
    if (
        products is not None
    ):  # What does not count is multiplied by 0, which infinities would survive.
        s, y = jnp.where(sound, s, 0), jnp.where(sound, y, 0)
    new_s, new_y = put(pairs.s, s, axis=0), put(pairs.y, y, axis=0)
    if products is not None:
        along_s, along_y = product(new_s, y), product(new_y, y)
        along_s, along_y = (jnp.where(jnp.isfinite(v), v, 0) for v in (along_s, along_y))
        yy = put(put(products.yy, along_y, axis=0), along_y, axis=1)
        products = Products(put(products.sy, along_s, axis=1), yy)
    return Pairs(
        new_s,
        new_y,
        put(pairs.rho, 1 / jnp.where(sound, curvature, 1), axis=0),
        jnp.where(sound, gamma, pairs.gamma),
        jnp.where(keep, pairs.count + jnp.int32(sound), 0),
        products,
    )


def within(pairs: Pairs, free: jax.Array) -> Pairs:
    """The pairs of the free entries alone; one that has no positive curvature left says nothing."""
    s, y = (jnp.where(free[None, :], v, 0) for v in (pairs.s, pairs.y))
    curvature = jnp.sum(s * y, axis=1)
    eps = jnp.finfo(s.dtype).eps
    sound = curvature > eps * jnp.sqrt(jnp.sum(s * s, axis=1) * jnp.sum(y * y, axis=1))
    rho = jnp.where(sound, 1 / jnp.where(sound, curvature, 1), 0)
    return pairs._replace(s=s, y=y, rho=rho, products=None)
