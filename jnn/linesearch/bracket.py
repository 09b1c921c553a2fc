"""Bracketing a minimum by expansion (§5.1, before H-119)."""

from typing import Any

import jax
import jax.numpy as jnp

from jnn.linesearch import search as s
from jnn.linesearch.search import Phi, Sample, Search, SearchStatus
from jnn.xla.control import while_loop

GOLDEN = (1 + 5**0.5) / 2


def bracket(phi: Phi, a: Any = 0.0, b: Any = 1.0, *, max_evaluations: int = 60) -> Search:
    """Three points `low < alpha < high` with the middle one no higher than both ends (H-119).

    From `a` and `b` it walks downhill, growing the step by the golden ratio, or up to tenfold to
    the vertex of the parabola through the last three points. Either order and any offset of `a`
    and `b` will do. A value that is not finite counts as infinitely high, so that it ends the
    walk. A function that falls for ever ends with status AT_LIMIT.

    >>> found = jnn.linesearch.bracket(lambda t: (t - 40.0) ** 2)
    >>> bool(found.low < 40) and bool(found.high > 40), found.message
    (True, 'The search found a step with the property that it promises.')
    """
    a, b = s.scalar(a, b)
    empty = s.blank(phi, a)

    def trial(old: Sample, middle: Sample, new: Sample) -> jax.Array:
        # The vertex of the parabola through the three, if it lies ahead; else a golden step.
        step = new.alpha - middle.alpha
        p = (new.value - middle.value) / step
        q = (middle.value - old.value) / (middle.alpha - old.alpha)
        curvature = (p - q) / (new.alpha - old.alpha)
        vertex = (middle.alpha + new.alpha) / 2 - p / (2 * curvature)
        ahead = (vertex - new.alpha) / step  # In units of the last step.
        growth = jnp.where((curvature > 0) & (ahead >= 0.1), jnp.minimum(ahead, 10.0), GOLDEN)
        return new.alpha + step * jnp.where(jnp.isfinite(growth), growth, GOLDEN)

    def turn(state):
        (old, middle, new), evaluations, _ = state
        following = jnp.where(evaluations == 0, a, jnp.where(evaluations == 1, b, 0.0))
        # Two points: orient them downhill. Three: shift.
        following = jnp.where(
            evaluations == 2, new.alpha + GOLDEN * (new.alpha - middle.alpha), following
        )
        following = jnp.where(evaluations > 2, trial(old, middle, new), following)
        now = s.or_infinite(s.sample(phi, following))
        old, middle, new = middle, new, now
        uphill = (evaluations == 1) & (new.value > middle.value)
        middle, new = s.choose(uphill, new, middle), s.choose(uphill, middle, new)
        closed = (evaluations >= 2) & (new.value >= middle.value)
        return (old, middle, new), evaluations + 1, closed

    def unfinished(state):
        _, evaluations, closed = state
        return ~closed & (evaluations < max_evaluations)

    (old, middle, new), evaluations, closed = while_loop(
        unfinished, turn, ((empty, empty, empty), jnp.int32(0), jnp.bool_(False))
    )
    best = s.choose(closed, middle, new)
    status = jnp.where(closed, SearchStatus.CONVERGED, SearchStatus.AT_LIMIT)
    status = jnp.where(jnp.isfinite(best.value), status, SearchStatus.NOT_FINITE).astype(jnp.int32)
    low, high = jnp.minimum(old.alpha, new.alpha), jnp.maximum(old.alpha, new.alpha)
    return s.result(best, low, high, evaluations, status)
