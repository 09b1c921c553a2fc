"""Backtracking with interpolation until the condition of Armijo and Goldstein holds (H-187)."""

from typing import Any

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.arithmetic import nonzero
from jnn.linesearch import search as s
from jnn.linesearch.search import Phi, Search, SearchStatus
from jnn.xla.control import while_loop


def armijo(
    phi: Phi,
    origin: Any,
    *,
    start: Any = 1.0,
    c1: float = 1e-4,
    max_evaluations: int = 40,
) -> Search:
    """Steps back from `start` until `phi(alpha) <= phi(0) + c1 alpha phi'(0)` (H-187).

    The next trial is the minimiser of the parabola through what is known, kept within a tenth and
    a half of the last one; after a value that is not finite it is a quarter. `origin` is what
    `phi(0)` returns and must hold the slope; at the other points `phi` needs no slope.

    >>> phi = lambda t: ((t - 1) ** 4, 4 * (t - 1) ** 3)
    >>> found = jnn.linesearch.armijo(phi, phi(0.0), start=10.0)
    >>> bool(found.value <= 1 - 4e-4 * found.alpha)
    True
    """
    errors.number("armijo", "c1", c1, 0, 1)
    origin, start = s.origin_sample("armijo", origin, start)
    zero = jnp.zeros_like(start)

    def turn(state):
        alpha, _, _, evaluations, _ = state
        now = s.or_infinite(s.sample(phi, alpha))._replace(alpha=alpha)
        holds = jnp.isfinite(now.value) & (now.value <= origin.value + c1 * alpha * origin.slope)
        # The parabola with the value and the slope at 0 and the value here.
        rise = now.value - origin.value - alpha * origin.slope
        vertex = -origin.slope * alpha**2 / (2 * nonzero(rise))
        vertex = jnp.where(rise > 0, jnp.clip(vertex, alpha / 10, alpha / 2), alpha / 2)
        following = jnp.where(jnp.isfinite(now.value), vertex, alpha / 4)
        exhausted = following <= jnp.finfo(alpha.dtype).tiny
        return following, now, holds, evaluations + 1, exhausted

    def unfinished(state):
        _, _, holds, evaluations, exhausted = state
        return ~holds & ~exhausted & (evaluations < max_evaluations) & sound

    sound = jnp.isfinite(origin.value) & (origin.slope < 0) & jnp.isfinite(origin.slope)
    first = s.blank(phi, zero)
    _, now, holds, evaluations, exhausted = while_loop(
        unfinished, turn, (start, first, jnp.bool_(False), jnp.int32(0), jnp.bool_(False))
    )
    carry = origin.carry if jax.tree.leaves(origin.carry) else first.carry
    found = s.choose(holds, now, origin._replace(carry=carry))
    status = jnp.where(exhausted, SearchStatus.NO_PROGRESS, SearchStatus.OUT_OF_EVALUATIONS)
    status = jnp.where(origin.slope < 0, status, SearchStatus.NOT_DESCENT)
    status = jnp.where(jnp.isfinite(origin.value + origin.slope), status, SearchStatus.NOT_FINITE)
    status = jnp.where(holds, SearchStatus.CONVERGED, status).astype(jnp.int32)
    return s.result(found, zero, jnp.where(holds, now.alpha, start), evaluations, status)
