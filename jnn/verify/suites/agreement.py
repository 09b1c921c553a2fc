"""Suites in float64: hand-written derivatives against autodiff of the definition.

Each suite takes a case and yields the outcome of every comparison that it makes.
"""

from collections.abc import Iterator

import numpy as np

from jnn.verify.case import Arrays, Case, Outcome, equal, flattened

EXACT = 1e-10  # Relative, entry by entry; `equal` says what where terms cancel.


def agreement(case: Case) -> Iterator[Outcome]:
    """Value, VJP and JVP by hand equal those of the definition by autodiff.

    And once more at arguments nearby: what was saved at the first call must not serve the second.
    """
    for call, floats in (("", case.floats), (" of a second call", case.nearby)):
        point = (floats, case.rest, case.delta, case.direction)
        hand, expected = case.hand(*point), case.autodiff(*point)
        for what, names, incoming in (
            ("value", case.output_names, case.delta),
            ("cotangent", case.names, case.delta),
            ("tangent", case.output_names, case.direction),
        ):
            got, want = getattr(hand, what), getattr(expected, what)
            yield from equal(f"the {what}{call}", names, got, want, incoming, EXACT)
        for got, want in zip(hand.integers, expected.integers, strict=True):
            if not np.array_equal(got, want):
                yield Outcome(f"the integers{call} are {got}, expected {want}")


def transpose(case: Case) -> Iterator[Outcome]:
    """`<u, J v> = <J^T u, v>`, with J v by autodiff and by the hand-written tangent."""
    point = (case.floats, case.rest, case.delta, case.direction)
    hand, expected = case.hand(*point), case.autodiff(*point)
    pulled, terms = _inner(hand.cotangent, case.direction)
    for who, told in (("autodiff", expected), ("the hand-written tangent", hand)):
        pushed, more = _inner(case.delta, told.tangent)
        error = abs(pulled - pushed) / (terms + more + 1e-300)
        yield Outcome(
            f"<u, J v> = {pushed:.10g} with J v by {who}, but <J^T u, v> = {pulled:.10g} with "
            f"J^T u by the backward (error {error:.1e}, allowed {EXACT:.1e})", error, EXACT,
        )  # fmt: skip


def _inner(left: Arrays, right: Arrays) -> tuple[float, float]:
    """An inner product, and the sum of the magnitudes of its terms."""
    terms = flattened(left) * flattened(right)
    return float(terms.sum()), float(np.abs(terms).sum())
