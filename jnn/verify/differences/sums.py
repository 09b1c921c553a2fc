"""Sums of all entries of a derivative with random signs, and which entry a wrong one comes from.

With signs and sizes between 1 and 2 an entry that is wrong changes every such sum by at least its
error. So one wrong entry among millions is seen wherever the error is above round-off, and several
would have to cancel in each of the sums.
"""

from collections.abc import Callable

import numpy as np

from jnn.verify.differences.entries import (
    Derivative,
    Finding,
    along,
    cause,
    enough,
    highest,
    limit,
    measured,
    off,
)
from jnn.verify.differences.reports import Entry
from jnn.verify.differences.slopes import Slopes
from jnn.verify.differences.vectors import FlatFunction


class Sums:
    """`u^T J d` for each pair of u and d, as given and as measured."""

    def __init__(
        self, function: FlatFunction, derivative: Derivative,
        us: np.ndarray, ds: np.ndarray, noise: np.ndarray,
    ):  # fmt: skip
        self.function, self.derivative = function, derivative
        self.us, self.ds, self.output_noise = us, ds, noise
        self.noise = lengths(us * noise)
        self.given, self.size = derivative.form(us, ds)
        self.slopes = measured(self._look, self.given, self.size)
        self.bound = limit(self.slopes, self.size)
        # A kink may lie between the slopes of both sides in each entry and not in the sum.
        self.wrong = off(self.given, self.slopes, self.size) & ~self.slopes.kink

    def _look(self, pairs: np.ndarray, stretch: float) -> Slopes:
        return along(self.function, self.us[pairs], self.ds[pairs], self.noise[pairs], stretch)

    def check(self) -> Finding:
        """The verdict on the derivative, where no entry is looked at alone."""
        resolution = highest(self.bound)
        if self.wrong.any():
            return self._blame(int(np.flatnonzero(self.wrong)[0]))
        if self.slopes.kink.any():
            reason = "f has a kink at x. Move x off it, or check entry by entry (elementwise=True)."
            return Finding("inconclusive", reason, (), resolution)
        vague = ~(self.slopes.bar <= enough(self.size, lengths(self.us * self.function.scale)))
        if vague.any():
            reason = f"Differences do not settle along {vague.sum()} of {len(vague)} directions."
            return Finding("inconclusive", f"{reason} {cause(self.function)}", (), resolution)
        entries = self.function.m * self.function.n
        reason = (
            f"{len(vague)} sums of all {entries} entries with random signs agree with differences: "
            f"one entry wrong by more than {resolution:.1g} would show in each of them."
        )
        return Finding("right", reason, (), resolution)

    def _blame(self, bad: int) -> Finding:
        u, d = locate(self._apart, self.us[bad], self.ds[bad])
        resolution = highest(self.bound)
        reason = (
            f"Along direction {bad + 1} the derivative is given as {self.given[bad]:.10g}, "
            f"measured as {self.slopes.value[bad]:.10g} (± {self.bound[bad]:.1g})."
        )
        one = Sums(self.function, self.derivative, u, d, self.output_noise)
        if not one.wrong[0]:
            return Finding("wrong", f"{reason} No single entry is to blame.", (), resolution)
        entry = unit_entry(self.function, u, d, one.given[0], one.slopes.value[0], one.bound[0])
        return Finding("wrong", f"{reason} Halved until one entry was left:", (entry,), resolution)

    def _apart(self, us: np.ndarray, ds: np.ndarray) -> np.ndarray:
        part = Sums(self.function, self.derivative, us, ds, self.output_noise)
        return np.abs(part.given - part.slopes.value)


def locate(
    apart: Callable[[np.ndarray, np.ndarray], np.ndarray], u: np.ndarray, d: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows of an entry that is to blame: of what is apart in sum, some half is apart."""

    def halved(vector: np.ndarray, test: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        support = np.flatnonzero(vector)
        while len(support) > 1:
            halves = np.array_split(support, 2)
            vectors = np.zeros((2, len(vector)))
            for row, half in zip(vectors, halves, strict=True):
                row[half] = vector[half]
            support = halves[int(np.argmax(np.nan_to_num(test(vectors), nan=np.inf)))]
        unit = np.zeros((1, len(vector)))
        unit[0, support] = 1.0
        return unit

    column = halved(d, lambda ds: apart(np.stack([u, u]), ds))
    row = halved(u, lambda us: apart(us, np.concatenate([column, column])))
    return row, column


def unit_entry(
    function: FlatFunction,
    u: np.ndarray,
    d: np.ndarray,
    given: float,
    measured: float,
    bound: float,
) -> Entry:
    """The entry of the unit rows u and d."""
    output = function.outputs.entry(int(np.argmax(u)))
    name = function.inputs.entry(int(np.argmax(d)))
    return Entry(output, name, float(given), float(measured), float(bound))


def lengths(rows: np.ndarray) -> np.ndarray:
    """The length of each row."""
    return np.linalg.norm(rows, axis=1)
