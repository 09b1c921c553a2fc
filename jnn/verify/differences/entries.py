"""A derivative held to measured slopes: entry by entry, or summed along random directions."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jnn.verify.differences.reports import Entry, Verdict
from jnn.verify.differences.slopes import EPS, STEPS, Slopes, measure
from jnn.verify.differences.vectors import FlatFunction

SETTLED = 2e-7  # A bar that decides, relative to the output's largest slope: errors of 1e-6 show.
LISTED = 10
Rows = Callable[[np.ndarray], np.ndarray]


class Finding(NamedTuple):
    """What was found, as a verdict and a sentence."""

    verdict: Verdict
    reason: str
    wrong: tuple[Entry, ...] = ()
    resolution: float = np.nan


class Derivative(NamedTuple):
    """The derivative under test: `rows` takes rows u to J^T u, or, if `pushes`, rows v to J v."""

    rows: Rows
    pushes: bool = False

    def form(self, us: np.ndarray, ds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`u^T J d` for each pair, and the root of the sum of its squared terms."""
        terms = self.rows(ds) * us if self.pushes else self.rows(us) * ds
        return terms.sum(1), np.linalg.norm(terms, axis=1)

    def matrix(self, m: int, n: int) -> np.ndarray:
        """The Jacobian, (m, n)."""
        return self.rows(np.eye(n)).T if self.pushes else self.rows(np.eye(m))


def limit(slopes: Slopes, size: np.ndarray) -> np.ndarray:
    """What a right derivative of that size may differ from the measured one."""
    return 4 * slopes.bar + 64 * EPS * size


def along(
    function: FlatFunction,
    us: np.ndarray | None,
    ds: np.ndarray,
    noise: np.ndarray,
    stretch: float = 1.0,
) -> Slopes:
    """The slope of u f along d for each pair; of each output if `us` is None."""
    steps = stretch * STEPS
    offsets = np.concatenate([steps, -steps])
    points = offsets[:, None, None] * ds
    points += function.x
    values = function.rows(points.reshape(-1, function.n)).reshape(*points.shape[:2], -1)
    centre = np.broadcast_to(function.centre, (len(ds), function.m))
    if us is not None:
        values, centre = np.sum(values * us, axis=-1), np.sum(centre * us, axis=-1)
    plus, minus = np.split(values, 2)
    return measure(steps, centre, plus, minus, noise)


def enough(largest: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The bar at which a slope counts as measured, beside slopes and values of this size."""
    round_off = 1e3 * EPS * max(np.max(largest), np.max(values))
    return np.maximum(SETTLED * largest, round_off)


def highest(bound: np.ndarray) -> float:
    """The largest finite bound."""
    return float(np.max(bound, initial=0.0, where=np.isfinite(bound)))


def off(given: np.ndarray, slopes: Slopes, size: np.ndarray) -> np.ndarray:
    """Whether what is given is certainly not the slope; at a kink, not even between both sides."""
    with np.errstate(invalid="ignore"):
        low, high = np.minimum(slopes.left, slopes.right), np.maximum(slopes.left, slopes.right)
        room = 0.01 * (high - low)
        beside = (given < low - room) | (given > high + room)
        apart = np.abs(given - slopes.value) > limit(slopes, size)
        lost = ~np.isfinite(given) & np.isfinite(slopes.value) & np.isfinite(slopes.bar)
    return np.where(slopes.kink, beside, apart) | lost


def measured(
    look: Callable[[np.ndarray, float], Slopes], given: np.ndarray, size: np.ndarray
) -> Slopes:
    """Slopes for each row of `given`; where they disagree with it, by a second ladder of steps too.

    Among a million slopes the bar of one may be too short by luck, hardly twice.
    """
    first = look(np.arange(len(given)), 1.0)
    rows = np.flatnonzero(off(given, first, size).reshape(len(given), -1).any(1))
    if not len(rows):
        return first
    second = look(rows, 0.61)
    agrees = ~off(given[rows], second, size[rows]) & np.isfinite(second.bar)
    for ours, theirs in zip(first, second, strict=True):
        ours[rows] = np.where(agrees, theirs, ours[rows])
    return first


def check_entries(function: FlatFunction, derivative: Derivative, noise: np.ndarray) -> Finding:
    """Every entry of the Jacobian, input by input."""
    m, n = function.m, function.n
    given = derivative.matrix(m, n).T
    reach = np.maximum(1.0, np.abs(function.x))
    block = max(1, 2**22 // (2 * len(STEPS) * (m + n)))

    def look(columns: np.ndarray, stretch: float) -> Slopes:
        parts = []
        for start in range(0, len(columns), block):
            part = columns[start : start + block]
            ds = np.zeros((len(part), n))
            ds[np.arange(len(part)), part] = reach[part]
            slopes = along(function, None, ds, noise, stretch)
            by = reach[part, None]
            parts.append(
                Slopes(slopes.value / by, slopes.bar / by, slopes.kink,
                       slopes.left / by, slopes.right / by)
            )  # fmt: skip
        return Slopes(*map(np.concatenate, zip(*parts, strict=True)))

    slopes = measured(look, given, _size(given))
    return judge(function, given, slopes)


def judge(function: FlatFunction, given: np.ndarray, slopes: Slopes) -> Finding:
    """The verdict on all entries, (n, m)."""
    bound = limit(slopes, _size(given))
    largest = np.max(np.where(np.isfinite(slopes.bar), np.abs(slopes.value), 0), axis=0)
    vague = ~slopes.kink & ~(slopes.bar <= enough(largest, function.scale))
    resolution = highest(bound)
    wrong = off(given, slopes, _size(given))

    def entry(place: tuple[int, int]) -> Entry:
        i, j = place
        return Entry(function.outputs.entry(j), function.inputs.entry(i), float(given[place]),
                     float(slopes.value[place]), float(bound[place]))  # fmt: skip

    if wrong.any():
        places = np.argwhere(wrong)
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = np.abs(given - slopes.value)[wrong] / bound[wrong]
        order = np.argsort(-np.nan_to_num(apart, nan=np.inf), kind="stable")[:LISTED]
        worst = tuple(entry(tuple(places[k])) for k in order)
        reason = f"{_count(wrong)} wrong. {_pattern(function, given, slopes, wrong)}"
        return Finding("wrong", reason.strip(), worst, resolution)
    if vague.any():
        place = tuple(np.argwhere(vague)[np.argmax(slopes.bar[vague])])
        reason = (
            f"{_count(vague)} undecided: differences do not settle. E.g. {entry(place).name}: "
            f"{slopes.value[place]:.6g} ± {slopes.bar[place]:.1g}."
        )
        return Finding("inconclusive", f"{reason} {cause(function)}", (), resolution)
    if slopes.kink.any():
        place = tuple(np.argwhere(slopes.kink)[0])
        reason = (
            f"f has no derivative at x: {_count(slopes.kink)} at a kink, where what is "
            f"given lies between the slopes of both sides. E.g. {entry(place).name}: "
            f"{given[place]:.6g} between {slopes.left[place]:.6g} and {slopes.right[place]:.6g}."
        )
        return Finding("kink", reason, (), resolution)
    tiny = (given != 0) & (np.abs(given) < bound)
    reason = (
        f"All {given.size} entries agree with differences to {resolution:.1g} or better; "
        f"the largest is {np.max(np.abs(given)):.4g}."
    )
    if tiny.any():
        reason += f" {tiny.sum()} that are given as non-zero are too small to be told from zero."
    return Finding("right", reason, (), resolution)


def cause(function: FlatFunction) -> str:
    """Why differences may not settle."""
    if function.eps > EPS:
        return (
            f"f rounds to a spacing of {function.eps:.1g} inside, though x is float64: take the "
            "casts out of f for the test."
        )
    return "Is f smooth near x, and finite?"


def _size(given: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(given), np.abs(given), 0.0)


def _count(entries: np.ndarray) -> str:
    count = int(entries.sum())
    return f"{count} of {entries.size} entries {'is' if count == 1 else 'are'}"


def _pattern(function: FlatFunction, given: np.ndarray, slopes: Slopes, wrong: np.ndarray) -> str:
    """What the wrong entries have in common, leaf by leaf of x."""
    if given.shape[0] == given.shape[1] > 1 and wrong.sum() > 1 and _close(given, slopes.value.T):
        return "What is given is the transpose of the measured Jacobian."
    sentences = []
    for name, part in function.inputs.parts():
        told, seen = given[part], slopes.value[part]
        if wrong[part].sum() < 2 or not np.any(seen):
            continue
        factor = np.vdot(told, seen) / np.vdot(seen, seen)
        if _close(told, factor * seen):
            sign = abs(factor + 1) < 1e-6
            times = "its sign is wrong" if sign else f"it is {factor:.6g} times what it should be"
            sentences.append(f"For {name}, {times}.")
    return " ".join(sentences)


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    with np.errstate(invalid="ignore"):
        return bool(np.all(np.abs(a - b) <= 1e-6 * np.max(np.abs(b))))
