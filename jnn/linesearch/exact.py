"""The minimum along a line: bracket it, then close in (§5.1, H-119)."""

from typing import Any

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.linesearch import search as s
from jnn.linesearch.bracket import bracket
from jnn.linesearch.brent import brent
from jnn.linesearch.brent_derivative import brent_derivative
from jnn.linesearch.golden import golden_section
from jnn.linesearch.search import Phi, Search, SearchStatus

METHODS = ("brent", "brent_derivative", "golden_section")


def exact(
    phi: Phi,
    origin: Any = None,
    *,
    start: Any = 1.0,
    method: str = "brent",
    tolerance: float | None = None,
    max_evaluations: int = 60,
) -> Search:
    """A bracket from 0 and `start`, then the minimum in it: an accurate step (§5.1).

    It takes part wherever `armijo` or `wolfe` do. `origin`, what `phi(0)` returns, is what it
    falls back to if it finds nothing lower; the line is searched on both sides, so that a
    direction that ascends will do.

    >>> found = jnn.linesearch.exact(lambda t: (t + 7.0) ** 2)
    >>> round(found.alpha.item(), 3)
    -7.0
    """
    errors.choice("exact", "method", method, METHODS)
    (start,) = s.scalar(start)
    found = bracket(phi, jnp.zeros_like(start), start, max_evaluations=max_evaluations)
    # Without a bracket nothing is left to search: a point is an empty interval.
    low = jnp.where(found.success, found.low, found.alpha)
    high = jnp.where(found.success, found.high, found.alpha)
    settings: dict[str, Any] = {"tolerance": tolerance, "max_evaluations": max_evaluations}
    if method == "golden_section":
        closer = golden_section(phi, low, high, **settings)
    else:
        search = brent if method == "brent" else brent_derivative
        closer = search(phi, low, high, middle=found.alpha, **settings)
    # On a failure, the bracket's best point and its status.
    best = s.choose(found.success & (closer.value <= found.value), closer, found)
    status = jnp.where(found.success, closer.status, found.status)
    evaluations = found.evaluations + closer.evaluations
    best = best._replace(evaluations=evaluations, status=status)
    if origin is None:
        return best
    origin, _ = s.origin_sample("exact", origin, start)
    carry = origin.carry if jax.tree.leaves(origin.carry) else best.carry
    still = best._replace(
        alpha=origin.alpha, value=origin.value, slope=origin.slope, carry=carry,
        status=jnp.where(status == SearchStatus.CONVERGED, SearchStatus.NO_PROGRESS, status),
    )  # fmt: skip
    return s.choose(best.value < origin.value, best, still)
