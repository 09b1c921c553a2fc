"""Suites that know no calculus: derivatives against difference quotients of the definition."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnn.verify.case import Arrays, Case, Outcome, compared, flattened, magnitude, worst
from jnn.verify.suites.agreement import EXACT
from jnn.xla.flags import quick_jit

ALLOWED = 1e-6  # Relative; entries below a hundredth of their tensor count as that.
BESIDE = 1e-4  # One-sided slopes are measured a step away from where the derivative is taken.
STEPS = np.array([1e-2, 1e-3, 1e-4])  # Relative to the entry that moves.
MOST = 128  # Entries that are moved one by one.


class Quotients(NamedTuple):
    """What differences of the definition say of its derivative, and how far they doubt it."""

    entries: np.ndarray  # Which entries of the arguments, ravelled, were moved one by one;
    slopes: np.ndarray  # how the output, ravelled, follows each of them: (entries, outputs).
    doubts: np.ndarray
    tangent: np.ndarray  # How the output follows the direction: (outputs,).
    tangent_doubt: np.ndarray


def differences(case: Case) -> Iterator[Outcome]:
    """Backward and tangent equal central differences of the definition.

    Up to 128 entries are moved one by one, and all of them together along one direction. Where a
    kink is so near that differences over several steps disagree, nothing is compared.
    """
    told = case.hand(case.floats, case.rest, case.delta, case.direction)
    quotients = by_differences(case, case.floats, case.direction)
    delta, names = flattened(case.delta), case.entries
    comparisons = (
        ("the cotangent of", [names[i] for i in quotients.entries],
         flattened(told.cotangent)[quotients.entries],
         quotients.slopes @ delta, quotients.doubts @ np.abs(delta)),
        ("the tangent of", [f"entry {i} of the output" for i in range(delta.size)],
         flattened(told.tangent), quotients.tangent, quotients.tangent_doubt),
    )  # fmt: skip
    for what, names, got, want, doubt in comparisons:
        scale = np.abs(want) + 1e-2 * (magnitude(want) + magnitude(delta))
        settled = doubt <= ALLOWED * scale
        if 2 * settled.sum() < settled.size:
            yield Outcome(f"differences for {what} the output do not settle: is the rule smooth?")
        got, want = np.where(settled, got, 0.0), np.where(settled, want, 0.0)
        error, where = worst(got, want, 1e-2 * (magnitude(want) + magnitude(delta)))
        if where:
            yield compared(f"against central differences, {what} {names[where[0]]}",
                           got, want, where, error, ALLOWED)  # fmt: skip


def by_differences(case: Case, floats: Arrays, direction: Arrays) -> Quotients:
    """Differences of fourth order over three steps; that is taken which the next one confirms."""
    centre = flattened(floats)
    with np.errstate(over="ignore"):
        reach = np.concatenate([np.abs(x).ravel() + 0.01 * magnitude(x) + 1e-30 for x in floats])
    entries = np.arange(centre.size)
    if centre.size > MOST:
        entries = np.sort(np.random.default_rng(0).choice(centre.size, MOST, replace=False))
    along = 0.1 * min((magnitude(x) for x in floats if x.size), default=1.0) + 1e-30
    moves = np.zeros((len(entries) + 1, centre.size))
    moves[np.arange(len(entries)), entries] = reach[entries]
    moves[-1] = along * flattened(direction)
    lengths = np.append(reach[entries], along)[:, None]
    with np.errstate(all="ignore"):
        values = _values(case, centre, np.multiply.outer(STEPS, (-2.0, -1.0, 1.0, 2.0)), moves)
        inner, outer = values[:, 2] - values[:, 1], values[:, 3] - values[:, 0]
        slopes = (8 * inner - outer) / (12 * STEPS[:, None, None] * lengths)
        doubts = np.abs(np.diff(slopes, axis=0))
    doubts = np.where(np.isnan(doubts), np.inf, doubts)
    best = np.argmin(doubts, axis=0)[None]
    slope = np.take_along_axis(slopes[1:], best, 0)[0]
    doubt = np.take_along_axis(doubts, best, 0)[0]
    return Quotients(entries, slope[:-1], doubt[:-1], slope[-1], doubt[-1])


def kinks(case: Case) -> Iterator[Outcome]:
    """At a kink the derivative lies between the slopes of both sides and is the definition's own.

    A step beside it, it is the slope of that side. All this for each entry of the Jacobian.
    """
    centre, n = flattened(case.floats), case.size
    moves = 1e-5 * np.diag(np.maximum(1.0, np.abs(centre)))
    lengths = np.diag(moves)[:, None]
    values = _values(case, centre, np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), moves)
    left = (3 * values[2] - 4 * values[1] + values[0]) / (2 * lengths)
    right = (4 * values[3] - 3 * values[2] - values[4]) / (2 * lengths)
    low, high = np.minimum(left, right), np.maximum(left, right)

    places = np.stack([np.zeros_like(moves), -moves, moves]) + centre
    jacobians = _jacobians(case)(case.unravel(places.reshape(-1, n)), case.rest)
    # At each place, entry i of the argument where that entry has moved: (places, n, outputs).
    at, before, after = (
        {
            who: np.asarray(j).reshape(3, n, -1, n).diagonal(axis1=1, axis2=3)[place].T
            for who, j in jacobians.items()
        }
        for place in range(3)
    )
    for who in ("backward", "tangent"):
        for side, told, want, allowed in (
            ("at the kink", at, np.clip(at[who], low, high), BESIDE),
            (
                "at the kink, where autodiff shows the definition's convention,",
                at,
                at["autodiff"],
                EXACT,
            ),
            ("just below the kink", before, left, BESIDE),
            ("just above the kink", after, right, BESIDE),
        ):
            error, where = worst(told[who], want, 1.0)
            what = f"the {who}'s slope of the output in {case.entries[where[0]]} {side}"
            yield compared(what, told[who], want, where, error, allowed)


def _values(case: Case, centre: np.ndarray, offsets: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """The definition at `centre + offset * move`: (*offsets, moves, outputs)."""
    points = centre + np.multiply.outer(offsets, moves)
    values = case.at_points(case.unravel(points.reshape(-1, centre.size)), case.rest)
    ravelled = [np.asarray(y).reshape(len(y), -1) for y in values]
    return np.concatenate(ravelled, axis=1).reshape(*points.shape[:-1], -1)


def _jacobians(case: Case) -> Callable[..., dict[str, Any]]:
    """`(points, rest)` to the Jacobian at each point, (points, outputs, entries), thrice."""

    def matrix(jacobian: Any, mode: str, floats: Arrays, rest: Arrays) -> Any:
        """The blocks of one Jacobian joined: outputs by entries of the arguments."""
        blocks = jacobian(lambda *f: case.call(mode, f, rest)[0], argnums=range(len(floats)))
        rows = [
            [b.reshape(-1, x.size) for b, x in zip(row, floats, strict=True)]
            for row in blocks(*floats)
        ]
        return jnp.block(rows)

    def at(floats: Arrays, rest: Arrays) -> dict[str, Any]:
        return {
            "backward": matrix(jax.jacrev, "backward", floats, rest),
            "tangent": matrix(jax.jacfwd, "forward", floats, rest),
            "autodiff": matrix(jax.jacrev, "autodiff", floats, rest),
        }

    return quick_jit(lambda points, rest: jax.vmap(lambda floats: at(floats, rest))(points))
