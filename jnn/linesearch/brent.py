"""Brent's method: parabolas guarded by golden sections (§5.1)."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jnn.arithmetic import nonzero
from jnn.linesearch import search as s
from jnn.linesearch.bracket import GOLDEN
from jnn.linesearch.search import Phi, Search, SearchStatus
from jnn.xla.control import while_loop

SECTION = 2 - GOLDEN  # 0.382, the shorter part of a golden section.


def brent(
    phi: Phi,
    low: Any,
    high: Any,
    *,
    middle: Any = None,
    tolerance: float | None = None,
    max_evaluations: int = 100,
) -> Search:
    """The minimum in `[low, high]` by Brent's method, which needs no slope.

    A parabola through the three best points gives the next one; where it leaves the interval or
    does not halve the step before last, a golden section does. It starts at `middle`, such as the
    `alpha` of a bracket, else at a golden section. Converged means that the minimum is known to
    `tolerance` (default: the root of the machine's epsilon) of its size.

    >>> found = jnn.linesearch.brent(lambda t: jnp.exp(t) - 2 * t, 0.0, 2.0)
    >>> round(found.alpha.item(), 3), int(found.evaluations) < 15
    (0.693, True)
    """

    def propose(low, high, x, w, v, step, before, slack):
        r = (x.alpha - w.alpha) * (x.value - v.value)
        q = (x.alpha - v.alpha) * (x.value - w.value)
        p = (x.alpha - v.alpha) * q - (x.alpha - w.alpha) * r
        q = 2 * (q - r)
        p = jnp.where(q > 0, -p, p)
        q = jnp.abs(q)
        inside = (p > q * (low - x.alpha)) & (p < q * (high - x.alpha))
        parabola = inside & (jnp.abs(p) < jnp.abs(q * before / 2)) & jnp.isfinite(p)
        rest = jnp.where(x.alpha >= (low + high) / 2, low - x.alpha, high - x.alpha)
        jump = jnp.where(parabola, p / nonzero(q), SECTION * rest)
        before = jnp.where(parabola, step, rest)
        # Not nearer to the ends, nor to x, than can be told apart.
        near = jnp.minimum(x.alpha + jump - low, high - x.alpha - jump) < 2 * slack
        inward = jnp.sign((low + high) / 2 - x.alpha) * slack
        return jnp.where(parabola & near, inward, jump), before

    return guarded(phi, low, high, propose, middle, tolerance, max_evaluations)


def guarded(
    phi: Phi,
    low: Any,
    high: Any,
    propose: Callable,
    middle: Any,
    tolerance: float | None,
    max_evaluations: int,
) -> Search:
    """Brent's loop: keeps the three best points and an interval, and asks `propose` for a jump."""
    low, high = s.scalar(low, high)
    low, high = jnp.minimum(low, high), jnp.maximum(low, high)
    eps = float(jnp.finfo(low.dtype).eps)
    relative = eps**0.5 if tolerance is None else tolerance
    floor = eps * (high - low)
    first = low + SECTION * (high - low) if middle is None else s.scalar(low, middle)[1]

    def slack(x):
        return relative * jnp.abs(x) + floor

    def turn(state):
        low, high, x, w, v, step, before, evaluations = state
        initial = evaluations == 0
        least = slack(x.alpha)
        jump, earlier = propose(low, high, x, w, v, step, before, least)
        # Nothing finite yet: towards the lower end, where a line search starts.
        jump = jnp.where(jnp.isfinite(x.value), jump, (low - x.alpha) / 2)
        jump = jnp.where(jnp.abs(jump) >= least, jump, jnp.where(jump < 0, -least, least))
        trial = jnp.clip(x.alpha + jump, low, high)
        now = s.or_infinite(s.sample(phi, jnp.where(initial, first, trial)))
        better = now.value <= x.value
        # The worse of the two points becomes an end.
        end, right = jnp.where(better, x.alpha, now.alpha), now.alpha >= x.alpha
        shrink = ~initial
        low = jnp.where(shrink & (better == right), end, low)
        high = jnp.where(shrink & (better != right), end, high)
        second = (now.value <= w.value) | (w.alpha == x.alpha)
        third = (now.value <= v.value) | (v.alpha == x.alpha) | (v.alpha == w.alpha)
        v = s.choose(better | second, w, s.choose(third, now, v))
        w = s.choose(better, x, s.choose(second, now, w))
        x = s.choose(better, now, x)
        w, v = s.choose(initial, x, w), s.choose(initial, x, v)
        step = jnp.where(initial, step, jump)
        before = jnp.where(initial, before, earlier)
        return low, high, x, w, v, step, before, evaluations + 1

    def too_wide(low, high, x):
        return jnp.abs(x.alpha - (low + high) / 2) > 2 * slack(x.alpha) - (high - low) / 2

    def unfinished(state):
        low, high, x, *_, evaluations = state
        return (evaluations == 0) | (too_wide(low, high, x) & (evaluations < max_evaluations))

    x = s.blank(phi, low)._replace(alpha=first)
    zero = jnp.zeros_like(low)
    state = (low, high, x, x, x, zero, zero, jnp.int32(0))
    low, high, x, *_, evaluations = while_loop(unfinished, turn, state)
    status = jnp.where(
        too_wide(low, high, x), SearchStatus.OUT_OF_EVALUATIONS, SearchStatus.CONVERGED
    )
    status = jnp.where(jnp.isfinite(x.value), status, SearchStatus.NOT_FINITE).astype(jnp.int32)
    return s.result(x, low, high, evaluations, status)
