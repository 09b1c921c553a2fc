"""Golden-section search (§5.1, H-119)."""

from typing import Any

import jax.numpy as jnp

from jnn.linesearch import search as s
from jnn.linesearch.bracket import GOLDEN
from jnn.linesearch.search import Phi, Search, SearchStatus
from jnn.xla.control import while_loop


def golden_section(
    phi: Phi, low: Any, high: Any, *, tolerance: float | None = None, max_evaluations: int = 100
) -> Search:
    """The minimum in `[low, high]` by golden sections: each evaluation keeps 0.618 of the interval.

    It ends when the interval is `tolerance` of its own ends, or of its first length where they are
    near zero (the default is the square root of the machine's epsilon, below which values no
    longer tell points apart). Reversed ends are sorted; not-finite values are infinitely high.

    >>> found = jnn.linesearch.golden_section(lambda t: (t - 100.0) ** 2, 99.0, 101.0)
    >>> round(found.alpha.item(), 2)
    100.0
    """
    low, high = s.scalar(low, high)
    low, high = jnp.minimum(low, high), jnp.maximum(low, high)
    floor = jnp.finfo(low.dtype).eps * (high - low)
    relative = float(jnp.finfo(low.dtype).eps) ** 0.5 if tolerance is None else tolerance
    empty = s.blank(phi, low)

    def turn(state):
        low, high, left, right, evaluations = state
        # The point that is missing: left on the first turn and after a step to the left.
        missing_left = jnp.isinf(left.alpha)
        width = (high - low) / GOLDEN
        now = s.or_infinite(s.sample(phi, jnp.where(missing_left, high - width, low + width)))
        left = s.choose(missing_left, now, left)
        right = s.choose(missing_left, right, now)
        full = jnp.isfinite(left.alpha) & jnp.isfinite(right.alpha)
        go_left = full & (left.value <= right.value)
        go_right = full & ~(left.value <= right.value)
        high, low = jnp.where(go_left, right.alpha, high), jnp.where(go_right, left.alpha, low)
        gone = empty._replace(alpha=jnp.full_like(low, jnp.inf))
        left, right = (
            s.choose(go_right, right, s.choose(go_left, gone, left)),
            s.choose(go_left, left, s.choose(go_right, gone, right)),
        )
        return low, high, left, right, evaluations + 1

    def too_wide(low, high):
        return high - low > relative * jnp.maximum(jnp.abs(low), jnp.abs(high)) + floor

    def unfinished(state):
        low, high, *_, evaluations = state
        return too_wide(low, high) & (evaluations < max_evaluations)

    gone = empty._replace(alpha=jnp.full_like(low, jnp.inf))
    low, high, left, right, evaluations = while_loop(
        unfinished, turn, (low, high, gone, gone, jnp.int32(0))
    )
    best = s.choose(left.value <= right.value, left, right)
    status = jnp.where(too_wide(low, high), SearchStatus.OUT_OF_EVALUATIONS, SearchStatus.CONVERGED)
    status = jnp.where(jnp.isfinite(best.value), status, SearchStatus.NOT_FINITE).astype(jnp.int32)
    return s.result(best, low, high, evaluations, status)
