"""What the difference tests report: a verdict, a sentence, numbers, as text and as a plot."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jnn.text import table

Verdict = Literal["right", "wrong", "kink", "inconclusive"]


class Entry(NamedTuple):
    """One wrong entry of a derivative: of which output, by which input."""

    output: str
    input: str
    given: float
    measured: float
    uncertainty: float

    @property
    def name(self) -> str:
        """Which entry, e.g. `d f(x)[2] / d x['w'][3, 1]`."""
        return f"d {self.output} / d {self.input}"

    def __str__(self) -> str:
        return (
            f"{self.name} is given as {self.given:.10g}, "
            f"measured as {self.measured:.10g} (± {self.uncertainty:.1g})"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class DifferenceReport:
    """The result of a gradient or Jacobian test.

    Attributes:
      test: the name of the test.
      verdict: "right"; "wrong"; "kink", where f has no derivative at x but what is given lies
        between the slopes of both sides; or "inconclusive", where differences cannot tell.
      reason: what was seen, in a sentence.
      wrong: wrong entries, the worst first, at most ten.
      resolution: errors below this were not distinguished from round-off, at the worst entry.
      eps: the falling steps.
      first: `|f(x + eps d) - f(x)|`, a row for each direction, a column for each step (T-38).
      corrected: `|f(x + eps d) - f(x) - eps f'(x) d|` likewise (T-39).
      first_orders: powers of eps by which `first` falls before it reaches round-off; nan where it
        is there at once.
      corrected_orders: the same of `corrected`.
      round_off: the size of the round-off in both columns, for each direction.
    """

    test: str
    verdict: Verdict
    reason: str
    wrong: tuple[Entry, ...]
    resolution: float
    eps: np.ndarray
    first: np.ndarray
    corrected: np.ndarray
    first_orders: np.ndarray
    corrected_orders: np.ndarray
    round_off: np.ndarray

    @property
    def ok(self) -> bool:
        """Whether the derivative is right, or one of several right ones at a kink."""
        return self.verdict in ("right", "kink")

    @property
    def shown(self) -> int:
        """The direction in which the corrected column falls slowest."""
        orders = np.where(np.isnan(self.corrected_orders), np.inf, self.corrected_orders)
        return int(np.argmin(orders))

    def __str__(self) -> str:
        lines = _head(self)
        if not len(self.first):
            return "\n".join(lines)
        shown = self.shown
        first, corrected = self.first[shown], self.corrected[shown]
        floor = self.round_off[shown]
        over = np.flatnonzero((first > floor) | (corrected > floor))
        rows = [("eps", "first difference", "ratio", "corrected", "ratio")]
        for i in range(over[-1] + 1 if len(over) else 1):
            rows.append(
                (f"{self.eps[i]:.2e}", f"{first[i]:.3e}", _ratio(first, i, floor),
                 f"{corrected[i]:.3e}", _ratio(corrected, i, floor))
            )  # fmt: skip
        lines += ["", *table(rows).splitlines(), f"round-off: {floor:.0e}", ""]
        lines += [
            "fitted orders, direction by direction (first, corrected):",
            "  " + "  ".join(map(_orders, self.first_orders, self.corrected_orders)),
        ]
        return "\n".join(lines)

    def plot(self, path: str | Path | None = None) -> Any:
        """Draws both columns of every direction; returns the figure, and saves it to `path`."""
        from jnn import plots

        return plots.gradient_test(self, path)


@dataclasses.dataclass(frozen=True, eq=False)
class TransposeReport:
    """The result of a transpose test.

    Attributes:
      verdict: "right", "wrong", or "inconclusive" where f is not finite at x.
      reason: what was seen, in a sentence.
      wrong: a wrong entry, if one can be blamed: `given` by J^T u, `measured` by J v.
      forward: `u^T (J v)`, one for each pair of random directions.
      backward: `v^T (J^T u)`.
      error: their difference relative to the larger of |u| |J v| and |v| |J^T u|.
      tolerance: what the error may be.
    """

    verdict: Verdict
    reason: str
    wrong: tuple[Entry, ...]
    forward: np.ndarray
    backward: np.ndarray
    error: np.ndarray
    tolerance: float

    test = "transpose_test"

    @property
    def ok(self) -> bool:
        """Whether the two derivatives are transposes of each other."""
        return self.verdict == "right"

    def __str__(self) -> str:
        rows = [("pair", "u'(J v)", "v'(J'u)", "relative error")]
        for i, numbers in enumerate(zip(self.forward, self.backward, self.error, strict=True)):
            forward, backward, error = numbers
            rows.append((str(i + 1), f"{forward:.10g}", f"{backward:.10g}", f"{error:.1e}"))
        return "\n".join([*_head(self), "", table(rows), f"tolerance: {self.tolerance:.1e}"])

    def plot(self, path: str | Path | None = None) -> Any:
        """Draws the error of each pair; returns the figure, and saves it to `path`."""
        from jnn import plots

        return plots.transpose_test(self, path)


def _head(report: DifferenceReport | TransposeReport) -> list[str]:
    return [f"{report.test}: {report.verdict}", report.reason, *map(str, report.wrong)]


def _ratio(column: np.ndarray, i: int, floor: float) -> str:
    """By what the column fell in this step; nothing where it is round-off."""
    return f"{column[i - 1] / column[i]:.2f}" if i and min(column[i - 1 : i + 1]) > floor else "-"


def _orders(first: float, corrected: float) -> str:
    return "(" + ", ".join("-" if np.isnan(o) else f"{o:.2f}" for o in (first, corrected)) + ")"
