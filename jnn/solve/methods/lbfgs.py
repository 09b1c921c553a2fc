"""L-BFGS: the inverse Hessian from the last few steps (H-183..186, Algorithms 2 and 3)."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors, tree
from jnn.arithmetic import nonzero
from jnn.linesearch import Search
from jnn.solve.drive import Solver
from jnn.solve.methods.bfgs import FAR, curved, mix, trust
from jnn.solve.methods.descent import Method, Move, descent, unit_start
from jnn.value import constructor
from jnn.xla.control import fori_loop

SHORT = 64  # Bytes of a vector up to which the two loops are as fast as products of matrices.
product = partial(jnp.matmul, precision=tree.HIGHEST)


class CurvaturePairs(NamedTuple):
    """The last m steps and changes of the gradient, in a ring, each pair scaled to s^T y = 1."""

    s: jax.Array  # (m, n)
    y: jax.Array  # (m, n)
    # (m, m): of the matrix of s_i^T y_j for every y_j not older than s_i. None: vectors are short.
    inverse: jax.Array | None
    gamma: jax.Array  # The scale of the initial inverse Hessian.
    count: jax.Array  # How many pairs were stored since they were forgotten, from place 0 on.


@constructor
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

    def begin(x: jax.Array) -> CurvaturePairs:
        return empty(x, memory)

    def direction(objective, pairs: CurvaturePairs, state, gradient) -> jax.Array:
        if objective.box is not None:
            pairs = within(pairs, gradient != 0)
        return -two_loop(pairs, gradient)

    def update(pairs: CurvaturePairs, move: Move) -> CurvaturePairs:
        s, y = move.new.x - move.old.x, move.new.gradient - move.old.gradient
        if damped:
            bs = -move.alpha * move.old.gradient
            y = mix(trust(s, y, bs), y, bs)
        pairs = forget(pairs, move.restarted)
        return forget(store(pairs, s, y, few=0 if scaled else memory), ~move.moved)

    return descent(Method(begin, direction, update, unit_start), search, "lbfgs", bounded=True)


def empty(x: jax.Array, memory: int) -> CurvaturePairs:
    """No pairs yet, for steps of the shape of `x`."""
    blank = jnp.zeros((memory, x.size), x.dtype)
    inverse = None if x.nbytes <= SHORT else jnp.zeros((memory, memory), x.dtype)
    return CurvaturePairs(blank, blank, inverse, jnp.ones((), x.dtype), jnp.int32(0))


def two_loop(pairs: CurvaturePairs, gradient: jax.Array, newest: Any = True) -> jax.Array:
    """The product of the inverse Hessian with a vector (Algorithm 2, corrected).

    `newest` says whether the newest pair counts.

    Its factors gamma solve `R gamma = S g` with the triangular matrix R of the `s_i^T y_j`, those
    of its second loop a system with `R^T`; so that matrices do without loops where R^-1 is known.

    >>> from jnn.solve.methods.lbfgs import empty, store, two_loop
    >>> pairs = store(empty(jnp.zeros(2), 3), jnp.array([1.0, 0.0]), jnp.array([4.0, 0.0]))
    >>> two_loop(pairs, jnp.ones(2)).tolist()
    [0.25, 0.25]
    """
    if pairs.inverse is None:
        return over_vectors(pairs, gradient, newest)
    places, room = jnp.arange(len(pairs.s), dtype=jnp.int32), jnp.int32(len(pairs.s))
    live = (places < pairs.count) & (newest | (places != lax.rem(pairs.count - 1, room)))

    def counted(factors: jax.Array) -> jax.Array:
        return jnp.where(live, factors, 0)

    gammas = product(pairs.inverse, counted(product(pairs.s, gradient)))
    h = pairs.gamma * (gradient - product(gammas, pairs.y))
    steps = product(counted(gammas - product(pairs.y, h)), pairs.inverse)
    return h + product(counted(steps), pairs.s)


def over_vectors(pairs: CurvaturePairs, gradient: jax.Array, newest: Any = True) -> jax.Array:
    """Both loops as one, as printed: m turns towards the oldest pair, then m turns back."""
    room = jnp.int32(len(pairs.s))
    stored = jnp.minimum(pairs.count, room)
    oldest, used = pairs.count - stored, stored - jnp.where(newest, 0, 1)

    def turn(i, carry):
        h, gammas = carry
        back = i >= 0
        j = lax.rem(oldest + jnp.where(back, i, -1 - i), room)
        at = partial(lax.dynamic_index_in_dim, index=j, keepdims=False)
        s, y = at(pairs.s), at(pairs.y)
        h = jnp.where(i == 0, pairs.gamma, 1) * h
        gamma = tree.dot(jnp.where(back, y, s), h)
        # Newest to oldest: g - gamma y. Oldest to newest: h + (gamma - beta) s.
        h += jnp.where(back, (at(gammas) - gamma) * s, -gamma * y)
        return h, lax.dynamic_update_index_in_dim(gammas, gamma, j, 0)

    first = jnp.where(used > 0, 1, pairs.gamma) * gradient
    blank = jnp.zeros(len(pairs.s), first.dtype)
    return fori_loop(-used, used, turn, (first, blank))[0]


def forget(pairs: CurvaturePairs, when: jax.Array) -> CurvaturePairs:
    """No pairs, if a condition holds."""
    return pairs._replace(count=jnp.where(when, 0, pairs.count))


def store(pairs: CurvaturePairs, s: jax.Array, y: jax.Array, few: int = 0) -> CurvaturePairs:
    """Puts a pair in the place of the oldest (Algorithm 3), if its curvature is positive.

    The initial matrix is that of H-191, but for `few` unknowns, without those that rest, its
    geometric mean with `s^T s / s^T y`.
    """
    curvature, square, length = tree.dot(s, y), tree.dot(y, y), tree.dot(s, s)
    sound = curved(curvature, length, square)
    size = jnp.sqrt(length) * jnp.sqrt(square)
    gamma = curvature
    if few:
        gamma = jnp.where(s.size <= few or jnp.sum(s != 0) <= few, size, curvature)
    gamma /= nonzero(square)  # H-191
    root = jnp.sqrt(jnp.where(sound, curvature, 1))
    place = lax.rem(pairs.count, jnp.int32(len(pairs.s)))

    def put(rows: jax.Array, row: jax.Array, axis: int = 0) -> jax.Array:
        row = jnp.where(sound, row, lax.dynamic_index_in_dim(rows, place, axis, False))
        return lax.dynamic_update_index_in_dim(rows, row, place, axis)

    s, y = s / root, y / root
    new_s, inverse = put(pairs.s, s), pairs.inverse
    if inverse is not None:
        # [R r; 0 1] has the inverse [R^-1 -R^-1 r; 0 1], and what is left of R without the oldest
        # pair has the same part of its inverse.
        places = jnp.arange(len(pairs.s), dtype=place.dtype)
        here = places == place
        column = jnp.where((places < pairs.count) & ~here, product(new_s, y), 0)
        column = jnp.where(here, 1, -product(inverse, column))
        inverse = put(put(inverse, jnp.zeros_like(column)), column, axis=1)
    gamma = jnp.where(sound, gamma, pairs.gamma)
    return CurvaturePairs(new_s, put(pairs.y, y), inverse, gamma, pairs.count + jnp.int32(sound))


def within(pairs: CurvaturePairs, free: jax.Array) -> CurvaturePairs:
    """The pairs of the free entries alone; one that has no positive curvature left says nothing."""
    s, y = (jnp.where(free[None, :], v, 0) for v in (pairs.s, pairs.y))
    curvature = jnp.sum(s * y, axis=1)
    sound = curved(curvature, jnp.sum(s * s, axis=1), jnp.sum(y * y, axis=1))
    scale = jnp.where(sound, lax.rsqrt(jnp.where(sound, curvature, 1)), 0)[:, None]
    return pairs._replace(s=s * scale, y=y * scale, inverse=None)
