"""A step that satisfies the Wolfe conditions (H-187..190), by safeguarded interpolation.

The interval is kept and shrunk as in Moré and Thuente's search (ACM TOMS 20, 1994), and near the
minimum, where rounding drowns the decrease of the value, the approximate Wolfe conditions of Hager
and Zhang (SIAM J. Optim. 16, 2005) take over, which look at slopes only.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.arithmetic import nonzero
from jnn.linesearch import search as s
from jnn.linesearch.search import Phi, Sample, Search, SearchStatus
from jnn.xla.control import while_loop
from jnn.xla.once import at_once

MARGIN = 0.66  # The interval must shrink to this part in two turns, or it is bisected.
NEAREST = 1e-3  # The least part of the interval by which a trial leaves the best point.
RETREAT = 0.25  # After a value that is not finite: this part of the way from the best point.


class Bracket(NamedTuple):
    """All that a search remembers but for the step it keeps: numbers only."""

    trial: jax.Array
    best: Sample
    other: Sample
    bracketed: jax.Array  # Whether the minimum lies between the two.
    widths: tuple[jax.Array, jax.Array]  # Of the last two turns.
    lowest: jax.Array
    better: jax.Array  # Whether the last trial is the step to keep.
    evaluations: jax.Array
    status: jax.Array


def wolfe(
    phi: Phi,
    origin: Any,
    *,
    start: Any = 1.0,
    c1: float = 1e-4,
    c2: float = 0.9,
    strong: bool = True,
    longest: float = float("inf"),
    growth: float = 4.0,
    noise: float | None = None,
    max_evaluations: int = 30,
) -> Search:
    """A step `alpha > 0` that fulfils the Wolfe conditions, `start` first (§7.2).

        phi(alpha) <= phi(0) + c1 alpha phi'(0)                 sufficient decrease (H-187)
        phi'(alpha) >= c2 phi'(0)                               curvature, weak (H-188)
        |phi'(alpha)| <= c2 |phi'(0)|                           curvature, strong (H-190)

    Where the value is within `noise |phi(0)|` of its start, as near a minimum, sufficient decrease
    may be replaced by `phi'(alpha) <= (2 c1 - 1) phi'(0)` (Hager and Zhang's approximate
    condition), so that the search ends in float32 as well. Values that are not finite make it step
    back. Without success the best step seen is returned, or 0, with a status that says why.

    Args:
      phi: returns `(value, slope)` or `(value, slope, carry)`.
      origin: what `phi(0)` returns.
      start: the first trial; 1 for Newton-like directions.
      c1: see above; between 0 and 1/2 for quasi-Newton steps to be accepted in the end.
      c2: see above; 0.9 for quasi-Newton directions, 0.4 for conjugate gradients.
      strong: whether the slope's size is bounded, or only its steepness downhill.
      longest: the largest alpha allowed.
      growth: the longest extrapolation, in units of the last, while no minimum is enclosed.
      noise: relative rounding error of the value; the default is 100 of the dtype's epsilon.
      max_evaluations: after which the search gives up.

    >>> f = lambda t: (t - 3.0) ** 2
    >>> phi = jax.value_and_grad(f)
    >>> found = jnn.linesearch.wolfe(phi, phi(0.0), c2=0.1)
    >>> round(found.alpha.item(), 3), found.message
    (3.0, 'The search found a step with the property that it promises.')
    """
    errors.number("wolfe", "c1", c1, 0, 1)
    errors.number("wolfe", "c2", c2, c1, 1)
    errors.number("wolfe", "growth", growth, 1.1)
    origin, start = s.origin_sample("wolfe", origin, start)
    eps = float(jnp.finfo(start.dtype).eps)
    relative = 100 * eps if noise is None else noise
    f0, s0 = origin.value, origin.slope
    rounding = relative * jnp.abs(f0)
    zero, inf = jnp.zeros_like(start), jnp.full_like(start, jnp.inf)
    carry = origin.carry if jax.tree.leaves(origin.carry) else s.blank(phi, zero).carry
    start = jnp.minimum(start, longest)

    def judge(value: jax.Array, slope: jax.Array, known: Bracket) -> Bracket:
        trial, best, other, bracketed, widths, lowest, _, evaluations, _ = known
        sane = jnp.isfinite(value) & jnp.isfinite(slope)
        now = Sample(trial, jnp.where(sane, value, jnp.inf), slope, ())
        decrease = now.value <= f0 + c1 * trial * s0  # H-187
        level = (now.value <= f0 + rounding) & (slope <= (2 * c1 - 1) * s0)
        steep = slope if not strong else -jnp.abs(slope)
        accept = sane & (decrease | level) & (steep >= c2 * s0)  # H-188, H-190
        limit = (trial >= longest) & sane & decrease & (slope < 0)

        following, higher, crossed = interpolate(best, other, now, bracketed, relative)
        bracketed |= higher | crossed  # The minimum is between two points.
        step = trial - best.alpha
        best, other = shrink(best, other, now, higher, crossed)
        following = jnp.where(sane, following, best.alpha + RETREAT * step)
        following, widths = guard(following, best, other, bracketed, step, widths, growth)
        following = jnp.minimum(following, longest)

        low, high = jnp.minimum(best.alpha, other.alpha), jnp.maximum(best.alpha, other.alpha)
        stuck = bracketed & ((high - low <= 4 * eps * high) | (following == trial) & sane)
        stuck |= (best.alpha == 0) & (high / eps**2 <= start)
        status = jnp.where(stuck, SearchStatus.NO_PROGRESS, SearchStatus.RUNNING)
        status = jnp.where(limit, SearchStatus.AT_LIMIT, status)
        status = jnp.where(accept, SearchStatus.CONVERGED, status).astype(jnp.int32)
        better = accept | (now.value < lowest)
        lowest = jnp.minimum(now.value, lowest)
        return Bracket(
            following, best, other, bracketed, widths, lowest, better, evaluations + 1, status
        )

    def turn(state: tuple[Bracket, Sample]) -> tuple[Bracket, Sample]:
        known, kept = state
        now = s.sample(phi, known.trial)
        known = at_once(partial(judge, now.value, now.slope), known)
        return known, s.choose(known.better, now, kept)

    def unfinished(state: tuple[Bracket, Sample]) -> jax.Array:
        known, _ = state
        return (known.status == SearchStatus.RUNNING) & (known.evaluations < max_evaluations)

    status = jnp.where(s0 < 0, SearchStatus.RUNNING, SearchStatus.NOT_DESCENT)
    status = jnp.where(jnp.isfinite(f0) & jnp.isfinite(s0), status, SearchStatus.NOT_FINITE)
    first, no = origin._replace(carry=()), jnp.bool_(False)
    known = Bracket(
        start, first, first, no, (inf, inf), f0, no, jnp.int32(0), status.astype(jnp.int32)
    )
    known, kept = while_loop(unfinished, turn, (known, origin._replace(carry=carry)))
    spent = known.status == SearchStatus.RUNNING
    status = jnp.where(spent, SearchStatus.OUT_OF_EVALUATIONS, known.status).astype(jnp.int32)
    ends = known.best.alpha, known.other.alpha
    return s.result(kept, jnp.minimum(*ends), jnp.maximum(*ends), known.evaluations, status)


def interpolate(
    best: Sample, other: Sample, now: Sample, bracketed: jax.Array, noise: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The next trial, and whether this one is higher or beyond the minimum (Moré, Thuente §4)."""
    higher = now.value > best.value + noise * jnp.abs(best.value)
    crossed = ~higher & (now.slope * best.slope < 0)
    flatter = ~higher & ~crossed & (jnp.abs(now.slope) < jnp.abs(best.slope))
    steep = ~(higher | crossed | flatter)

    step = now.alpha - best.alpha
    one, two = s.choose(steep, (now, other), (best, now))
    cubic, turned = cubic_vertex(one, two, noise)
    secant = now.alpha - now.slope * step / nonzero(now.slope - best.slope)
    fall = (best.value - now.value) / nonzero(step)
    parabola = best.alpha + best.slope * step / (2 * nonzero(fall + best.slope))

    # 1. A higher value: the minimum lies between. The cubic if it is nearer to the best point.
    nearer = jnp.abs(cubic - best.alpha) < jnp.abs(parabola - best.alpha)
    when_higher = jnp.where(nearer, cubic, (cubic + parabola) / 2)
    # 2. A slope of the other sign: between. The farther of cubic and secant.
    farther = jnp.abs(cubic - now.alpha) > jnp.abs(secant - now.alpha)
    when_crossed = jnp.where(farther, cubic, secant)
    # 3. A flatter slope of the same sign: beyond, if the cubic turns there.
    reach = jnp.where(turned & ((cubic - now.alpha) * step > 0), cubic, jnp.sign(step) * jnp.inf)
    beyond = jnp.abs(reach - now.alpha) < jnp.abs(secant - now.alpha)
    inside = jnp.where(beyond, reach, secant)
    border = now.alpha + MARGIN * (other.alpha - now.alpha)
    inside = jnp.where(step > 0, jnp.minimum(border, inside), jnp.maximum(border, inside))
    outside = jnp.where(beyond, secant, reach)
    when_flatter = jnp.where(bracketed, inside, outside)
    # 4. As steep as before: the cubic through the far end, or as far as is allowed.
    when_steep = jnp.where(bracketed, cubic, jnp.inf)

    following = jnp.where(flatter, when_flatter, when_steep)
    following = jnp.where(crossed, when_crossed, following)
    following = jnp.where(higher, when_higher, following)
    return following, higher, crossed


def cubic_vertex(a: Sample, b: Sample, noise: float) -> tuple[jax.Array, jax.Array]:
    """The minimiser of the cubic with the values and slopes at two points, and whether it exists.

    Where the two values differ by rounding only, their difference is taken from the slopes, which
    makes the cubic a parabola.
    """
    step = b.alpha - a.alpha
    rounding = noise * jnp.maximum(jnp.abs(a.value), jnp.abs(b.value))
    fall = a.value - b.value
    fall = jnp.where(jnp.abs(fall) <= rounding, -(a.slope + b.slope) * step / 2, fall)
    theta = 3 * fall / nonzero(step) + a.slope + b.slope
    size = jnp.maximum(jnp.abs(theta), jnp.maximum(jnp.abs(a.slope), jnp.abs(b.slope)))
    size = nonzero(size)
    square = (theta / size) ** 2 - (a.slope / size) * (b.slope / size)
    gamma = -size * jnp.sqrt(jnp.maximum(square, 0)) * jnp.sign(step)
    # Written from b's side, where the two terms do not cancel.
    top = gamma - b.slope + theta
    bottom = 2 * gamma + a.slope - b.slope
    return b.alpha + top / nonzero(bottom) * (a.alpha - b.alpha), (square > 0) & (bottom != 0)


def shrink(
    best: Sample, other: Sample, now: Sample, higher: jax.Array, crossed: jax.Array
) -> tuple[Sample, Sample]:
    """The new pair: the best point, and the end on the other side of the minimum."""
    other = s.choose(higher, now, s.choose(crossed, best, other))
    return s.choose(higher, best, now), other


def guard(
    following: jax.Array,
    best: Sample,
    other: Sample,
    bracketed: jax.Array,
    step: jax.Array,
    widths: tuple[jax.Array, jax.Array],
    growth: float,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Keeps the next trial inside the interval, which must shrink, or ahead of the last step."""
    low, high = jnp.minimum(best.alpha, other.alpha), jnp.maximum(best.alpha, other.alpha)
    middle = best.alpha + (other.alpha - best.alpha) / 2
    sound = (following >= low) & (following <= high) & (high - low < MARGIN * widths[1])
    # Not so near to the best point that nothing would be learnt.
    least = best.alpha + NEAREST * (other.alpha - best.alpha)
    forward = jnp.abs(following - best.alpha) >= jnp.abs(least - best.alpha)
    following = jnp.where(sound & ~forward, least, following)
    ahead = jnp.where(jnp.isnan(following), jnp.inf, following)  # From `best`, the last trial.
    ahead = jnp.clip(ahead, best.alpha + 1.1 * step, best.alpha + growth * step)
    following = jnp.where(bracketed, jnp.where(sound, following, middle), ahead)
    return following, (jnp.where(bracketed, high - low, widths[0]), widths[0])
