"""What all line searches share: the function along the line, the result, the status.

A line search sees a function of one number, `phi(alpha)`, and nothing else. `phi` returns its
value alone, `(value, slope)`, or `(value, slope, carry)`; the carry is anything that the caller
wants back for the accepted step, such as the point and its gradient, so that nothing is evaluated
twice.
Every search is one `while_loop` that evaluates `phi` at one place, once a turn.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.status import Status


class SearchStatus(Status):
    """How a line search ended."""

    RUNNING = -1, "The search has not ended."
    CONVERGED = 0, "The search found a step with the property that it promises."
    OUT_OF_EVALUATIONS = 1, "The search spent its evaluations; this is the best step that it saw."
    NOT_DESCENT = 2, "The slope at the origin is not negative: this is no direction of descent."
    NOT_FINITE = 3, "The value or the slope at the origin is not finite."
    NO_PROGRESS = 4, "The interval shrank to rounding: no better step can be told from this one."
    AT_LIMIT = 5, "The function still falls at the longest step that is allowed."


class Search(NamedTuple):
    """A step along a line, what is known there, and how it was found."""

    alpha: jax.Array
    value: jax.Array
    slope: jax.Array  # NaN if phi gives none.
    carry: Any
    low: jax.Array  # The interval in which the search ended.
    high: jax.Array
    evaluations: jax.Array
    status: jax.Array

    @property
    def success(self) -> jax.Array:
        """Whether the search keeps its promise."""
        return self.status == SearchStatus.CONVERGED

    @property
    def message(self) -> Any:
        """The sentence of the status; a list of them for a batch. Only outside `jit`."""
        return SearchStatus.said(self.status)


class Sample(NamedTuple):
    """What `phi` says at one alpha."""

    alpha: jax.Array
    value: jax.Array
    slope: jax.Array
    carry: Any


Phi = Callable[[jax.Array], Any]


def sample(phi: Phi, alpha: jax.Array) -> Sample:
    """Evaluates `phi`, whichever of the three forms it returns."""
    return as_sample(phi(alpha), alpha)


def as_sample(result: Any, alpha: jax.Array) -> Sample:
    """The result of `phi` at `alpha`, with NaN for a missing slope and () for a missing carry."""
    parts = tuple(result) if isinstance(result, tuple) else (result,)
    if not 1 <= len(parts) <= 3:
        errors.fail(
            "linesearch", "phi", "a function that returns value, (value, slope) or "
            "(value, slope, carry)", f"a tuple of {len(parts)}",
        )  # fmt: skip
    value = jnp.asarray(parts[0], alpha.dtype)
    slope = jnp.asarray(parts[1], alpha.dtype) if len(parts) > 1 else jnp.full_like(alpha, jnp.nan)
    return Sample(alpha, value, slope, parts[2] if len(parts) > 2 else ())


def blank(phi: Phi, alpha: jax.Array) -> Sample:
    """A sample of the right shapes with infinite value, to start a loop without an evaluation."""
    shapes = jax.eval_shape(lambda a: sample(phi, a), alpha)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return zeros._replace(value=jnp.full_like(alpha, jnp.inf), slope=jnp.full_like(alpha, jnp.nan))


def scalar(*values: Any) -> list[jax.Array]:
    """The values as floating scalars of one dtype: of the arrays among them, else the default."""
    arrays = [v for v in values if isinstance(v, jax.Array) and not jax.typeof(v).weak_type]
    dtype = jnp.result_type(arrays[0]) if arrays else jnp.result_type(float)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    return [jnp.asarray(v, dtype) for v in values]


def origin_sample(function: str, origin: Any, start: Any) -> tuple[Sample, jax.Array]:
    """`phi(0)` as a sample, which must know its slope, and the first step in the same dtype."""
    if not isinstance(origin, tuple) or not 2 <= len(origin) <= 3:
        errors.fail(
            function, "origin", "what phi(0) returns: (value, slope) or (value, slope, carry)",
            errors.describe(origin), "The search needs the slope at 0.",
        )  # fmt: skip
    value, slope, start = scalar(origin[0], origin[1], start)
    return as_sample((value, slope, *origin[2:]), jnp.zeros_like(start)), start


def choose(condition: jax.Array, one: Any, other: Any) -> Any:
    """`where` over the leaves of two alike trees."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def or_infinite(s: Sample) -> Sample:
    """The sample with an infinite value where phi is not a number, so that comparisons see it."""
    return s._replace(value=jnp.where(jnp.isfinite(s.value), s.value, jnp.inf))


def result(
    found: Sample, low: jax.Array, high: jax.Array, evaluations: jax.Array, status: jax.Array
) -> Search:
    """The answer of a search that ended with that sample."""
    return Search(
        found.alpha, found.value, found.slope, found.carry, low, high, evaluations, status
    )
