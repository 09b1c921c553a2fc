"""BFGS: the inverse Hessian as a matrix (H-178..182, Algorithm 1)."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn import tree
from jnn.arithmetic import nonzero
from jnn.linesearch import Search, wolfe
from jnn.solve.drive import Solver
from jnn.solve.methods.descent import Method, Move, descent, fall_start, no_fall
from jnn.value import constructor

# Loose: the direction has a natural length, and 1 is often right (§7.2).
LOOSE = partial(wolfe, c2=0.9)
# The first step may be far too short, and a line that is nearly a parabola says how far to go.
FAR = partial(LOOSE, growth=100.0)
FEW = 20  # Unknowns below which H-191 only enlarges.


class Inverse(NamedTuple):
    """The inverse Hessian H, and what came of the last step."""

    h: jax.Array
    unit: jax.Array  # Whether H is the unit matrix, whatever `h` and `ahead` say.
    ahead: jax.Array  # -H g
    fall: jax.Array  # How far the value fell.


@constructor
def bfgs(
    *, scaled: bool | None = None, damped: bool = False, search: Callable[..., Search] = FAR
) -> Solver:
    """BFGS with a strong Wolfe search (Algorithm 1, corrected).

    Printed, the algorithm repeats its first line search and returns the iterate before the last.
    Here the first step, along the gradient, scales the unit matrix (H-191) and is the first pair.
    A pair without positive curvature changes nothing (H-177).

    Fewer than 20 unknowns keep the unit matrix where H-191 would make it smaller: a matrix that is
    too large costs a step or two for each unknown, one that is too small can cost many. Of CUTEst's
    102 problems with at most ten unknowns that solves 95, and 93 of them in at most twice the
    evaluations of the best of three libraries; with H-191 in full 93 and 80. Of its 16 with 11 to
    100 unknowns, four take less than a third of the evaluations with H-191 in full.

    Where a search has to go beyond 1, all of the matrix grows by `s^T B s / s^T y` (Al-Baali's
    scaling, which only enlarges). The first trial is 1, or, if that is less, where a parabola falls
    as far as the last step did, `2 (f_old - f) / -f'`.

    Args:
      scaled: whether H-191 counts in full, which makes the method independent of the unit of f, or
        only where it enlarges. None: in full for 20 unknowns and more, without those that rest.
      damped: lifts a curvature that is too small instead of skipping the pair (Powell); for
        searches that do not ensure it, such as `armijo`.
      search: the line search; `wolfe` with c2 = 0.9 suits a direction whose natural step is 1.

    >>> f = lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    >>> bool(jnn.minimize(f, jnp.array([-1.2, 1.0]), jnn.bfgs()).value < 1e-6)
    True
    """

    def begin(x: jax.Array) -> Inverse:
        h, ahead = jnp.eye(x.size, dtype=x.dtype), jnp.zeros_like(x)
        return Inverse(h, jnp.bool_(True), ahead, no_fall(x))

    def direction(_, inverse: Inverse, state, gradient) -> jax.Array:
        return jnp.where(inverse.unit, -gradient, inverse.ahead)

    def update(inverse: Inverse, move: Move) -> Inverse:
        old, new = move.old.gradient, move.new.gradient
        s, y = move.new.x - move.old.x, new - old
        unit = inverse.unit | move.restarted | ~move.moved
        ahead = jnp.where(unit, -old, inverse.ahead)
        # The only product with the matrix: H y = H g_new - H g, and the next direction follows.
        hg = jnp.where(unit, new, jnp.dot(inverse.h, new, precision=tree.HIGHEST))
        hy = hg + ahead
        if damped:  # With B s = -alpha g, and so H B s = -alpha H g.
            part = trust(s, y, -move.alpha * old)
            y, hy = mix(part, y, -move.alpha * old), mix(part, hy, move.alpha * ahead)
        curvature, square = tree.dot(s, y), tree.dot(y, y)
        known = curved(curvature, tree.dot(s, s), square) & move.moved
        first = curvature  # H-191.
        if scaled is not True:
            few = scaled is False or s.size < FEW or jnp.sum(s != 0) < FEW
            first = jnp.where(few, jnp.maximum(first, square), first)
        # s = alpha d with B d = -g, so that s^T B s = -alpha^2 d^T g.
        later = jnp.maximum(jnp.where(move.alpha > 1, -(move.alpha**2) * move.slope, 0), curvature)
        top, bottom = jnp.where(unit, first, later), jnp.where(unit, square, curvature)
        # What ends in a division XLA computes once, and not in each kernel that needs it.
        scale = jnp.where(known, top, 1) / jnp.where(known, bottom, 1)
        h, hg = scale * or_unit(inverse.h, unit), scale * hg
        u, v = change(s, y, scale * hy, jnp.where(known, curvature, jnp.inf))
        ahead = tree.dot(u, new) * v + tree.dot(v, new) * u - hg
        return Inverse(rank_two(h, u, v), unit & ~known, ahead, move.old.value - move.new.value)

    return descent(Method(begin, direction, update, first_trial), search, "bfgs")


def first_trial(inverse: Inverse, *start: Any) -> jax.Array:
    """Where a parabola has fallen as far as by the last step, but at most 1."""
    return jnp.minimum(fall_start(inverse.fall, *start), 1)


def curved(curvature: jax.Array, length: jax.Array, square: jax.Array) -> jax.Array:
    """Whether `s^T y` is positive beyond rounding (H-177), by it, `s^T s` and `y^T y`."""
    size = jnp.sqrt(length) * jnp.sqrt(square)  # The product could underflow.
    return (curvature > jnp.finfo(size.dtype).eps * size) & jnp.isfinite(square)


def trust(s: jax.Array, y: jax.Array, bs: jax.Array) -> jax.Array:
    """Powell's damping: the part of `y` in a mix with `B s` that has `s^T y >= 0.2 s^T B s`.

    The model's Hessian B is not at hand, but for a step `s = -alpha H g` is `B s = -alpha g`.
    """
    curvature, known = tree.dot(s, y), tree.dot(s, bs)
    low = curvature < 0.2 * known
    return jnp.where(low, 0.8 * known / nonzero(known - curvature), 1)


def mix(part: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    """A part of the one, and what is left to 1 of the other."""
    return part * one + (1 - part) * other


def or_unit(h: jax.Array, unit: jax.Array) -> jax.Array:
    """The matrix, or the unit matrix."""
    place = lax.iota(jnp.int32, len(h))
    # Where `unit` has a say in the columns, XLA compares places in passing. Else it would write a
    # unit matrix once, and read it in every step.
    columns = jnp.where(unit, place, -1)
    return jnp.where(unit, (place[:, None] == columns[None, :]).astype(h.dtype), h)


def change(
    s: jax.Array, y: jax.Array, hy: jax.Array, curvature: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The u and v by which a pair changes the inverse Hessian to `H - (u v^T + v u^T)` (H-182).

    A curvature `s^T y` that is infinite makes them 0.

    >>> from jnn.solve.methods.bfgs import change, rank_two
    >>> h, s, y = jnp.eye(2), jnp.array([1.0, 0.0]), jnp.array([2.0, 0.0])
    >>> rank_two(h, *change(s, y, h @ y, s @ y)).tolist()
    [[0.5, 0.0], [0.0, 1.0]]
    """
    # H-182 multiplied out, which spares the division by y^T H y, is
    # H + (1 + y^T H y / s^T y) s s^T / s^T y - (H y s^T + s (H y)^T) / s^T y.
    root, half = jnp.sqrt(curvature), (1 + tree.dot(y, hy) / curvature) / 2
    return s / root, (hy - half * s) / root


def rank_two(h: jax.Array, u: jax.Array, v: jax.Array) -> jax.Array:
    """The matrix without the symmetric product of two vectors."""
    return h - (jnp.outer(u, v) + jnp.outer(v, u))
