"""Brent's method with derivatives: secants of the slope guarded by bisection (§5.1)."""

from typing import Any

import jax.numpy as jnp

from jnn.arithmetic import nonzero
from jnn.linesearch import search as s
from jnn.linesearch.brent import guarded
from jnn.linesearch.search import Phi, Search


def brent_derivative(
    phi: Phi,
    low: Any,
    high: Any,
    *,
    middle: Any = None,
    tolerance: float | None = None,
    max_evaluations: int = 100,
) -> Search:
    """The minimum in `[low, high]` by Brent's method, with the slopes that `phi` gives.

    The slope says on which side the minimum lies; a secant through two slopes gives the next
    point, a bisection of that side where the secant leaves it or converges too slowly. Values only
    decide which point is best. `phi` returns `(value, slope)`, with a carry if you like.

    >>> f = lambda t: jnp.exp(t) - 2 * t
    >>> found = jnn.linesearch.brent_derivative(jax.value_and_grad(f), 0.0, 2.0)
    >>> round(found.alpha.item(), 4), int(found.evaluations) < 12
    (0.6931, True)
    """

    def propose(low, high, x, w, v, step, before, slack):
        rest = jnp.where(x.slope >= 0, low - x.alpha, high - x.alpha)

        def secant(other):
            gap = x.slope - other.slope
            jump = (other.alpha - x.alpha) * x.slope / nonzero(gap)
            target = x.alpha + jump
            right = (gap != 0) & (target > low) & (target < high) & (jump * x.slope <= 0)
            return jnp.where(right & jnp.isfinite(jump), jump, jnp.inf)

        one, two = secant(w), secant(v)
        jump = jnp.where(jnp.abs(one) <= jnp.abs(two), one, two)
        good = jnp.abs(jump) <= jnp.abs(before / 2)
        jump, before = jnp.where(good, jump, rest / 2), jnp.where(good, step, rest)
        near = jnp.minimum(x.alpha + jump - low, high - x.alpha - jump) < 2 * slack
        inward = jnp.sign((low + high) / 2 - x.alpha) * slack
        return jnp.where(good & near, inward, jump), before

    def checked(alpha):
        result = phi(alpha)
        s.origin_sample("brent_derivative", result, alpha)
        return result

    return guarded(checked, low, high, propose, middle, tolerance, max_evaluations)
