"""What a run shows while it goes: a bar on a terminal, lines in a log, or nothing.

What is shown is throttled by the clock, so that it costs nothing where epochs are short.
"""

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import jax
import numpy as np

from jnn import errors

BAR, LINES = 0.1, 2.0  # Seconds between two looks.


class Progress:
    """Shows nothing.

    Attributes:
      unit: what `samples` counts: samples, or the tokens of sequences.
    """

    unit = "samples"

    def begin(self, epochs: int | None, first: int, samples: int) -> None:
        """Before the first epoch; `first` were run before, `samples` are in an epoch.

        Of a stream neither may be known: then they are None and 0.
        """
        self.epochs, self.first, self.samples = epochs, first, samples
        self.started = self.shown = time.perf_counter()
        self.steady: tuple[float, int] | None = None
        self.last = first  # The epoch shown last.

    def compiled(self, samples: int) -> None:
        """Once the first so many samples are through: until then the compiler had its time."""
        if self.steady is None:
            self.steady = time.perf_counter(), samples

    def due(self) -> bool:
        """Whether it is time to show something."""
        return False

    def show(self, epoch: int, values: Mapping[str, Any], seen: int = 0) -> None:
        """After an epoch with these values, and `seen` samples of the next."""

    def of(self, epoch: int) -> str:
        """The epoch, of how many."""
        if self.epochs is None:
            return f"epoch {epoch}"
        return f"epoch {epoch:>{len(str(self.epochs))}}/{self.epochs}"

    def end(self, epoch: int, values: Mapping[str, Any]) -> None:
        """After the last epoch that was run."""


class Lines(Progress):
    """A line at a time, at most one in two seconds, and the last."""

    def __init__(self, stream: TextIO | None = None, every: float = LINES):
        self.stream, self.every = stream, every

    def due(self) -> bool:
        """Whether it is time to show something."""
        return time.perf_counter() - self.shown >= self.every

    def show(self, epoch: int, values: Mapping[str, Any], seen: int = 0) -> None:
        """Writes a line."""
        self.shown, self.last = time.perf_counter(), epoch if seen == 0 else self.last
        samples = (epoch - self.first) * self.samples + seen
        since, before = self.steady or (self.started, 0)
        known = samples > before
        since, before = (since, before) if known else (self.started, 0)
        rate = (samples - before) / max(self.shown - since, 1e-9)
        told = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        line = f"{self.of(epoch)}  {told}  {rate:,.0f} {self.unit}/s"
        if self.epochs is not None and self.samples and (known or epoch == self.epochs):
            rest = (self.epochs - self.first) * self.samples - samples
            line += f"  {clock(rest / max(rate, 1e-9))} left"
        self.write(line)

    def write(self, line: str) -> None:
        """Puts the line out."""
        print(line, file=self.stream or sys.stderr, flush=True)

    def end(self, epoch: int, values: Mapping[str, Any]) -> None:
        """Writes the last line, unless it stands there."""
        if epoch > self.last:
            self.show(epoch, values)


class Overwritten(Lines):
    """A line that the next one replaces, on a terminal without tqdm."""

    def __init__(self, stream: TextIO | None = None, every: float = BAR):
        super().__init__(stream, every)
        self.width = 0

    def write(self, line: str) -> None:
        """Puts the line over the one before."""
        print(f"\r{line:<{self.width}}", end="", file=self.stream or sys.stderr, flush=True)
        self.width = len(line)

    def end(self, epoch: int, values: Mapping[str, Any]) -> None:
        """Leaves the last line standing."""
        super().end(epoch, values)
        if self.width:
            print(file=self.stream or sys.stderr, flush=True)


class Bar(Lines):
    """tqdm's bar, made when the run has taken long enough to be looked at; else a line."""

    def __init__(self, stream: TextIO | None = None, every: float = BAR):
        super().__init__(stream, every)
        self.bar = None

    def show(self, epoch: int, values: Mapping[str, Any], seen: int = 0) -> None:
        """Moves the bar."""
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(initial=self.first * self.samples, unit=f" {self.unit}",
                            unit_scale=True, file=self.stream or sys.stderr,
                            mininterval=0)  # fmt: skip
            self.bar.start_t -= time.perf_counter() - self.started  # It began with the run.
        self.bar.total = (self.epochs or 0) * self.samples or None
        told = {name: f"{value:.4g}" for name, value in values.items()}
        self.bar.set_description(self.of(epoch), refresh=False)
        self.bar.set_postfix(told, refresh=False)
        self.bar.update(epoch * self.samples + seen - self.bar.n)
        self.shown = time.perf_counter()

    def end(self, epoch: int, values: Mapping[str, Any]) -> None:
        """Leaves the bar as it ended."""
        if self.bar is not None:
            self.show(epoch, values)
            self.bar.close()
        elif epoch > self.first:
            super().show(epoch, values)  # A bar would take longer than the run.


def progress_of(kind: Any) -> Progress:
    """The progress that was asked for; "auto" looks whether someone is watching a terminal."""
    if isinstance(kind, Progress):
        return kind
    errors.choice("fit", "progress", kind, ("auto", "bar", "lines", None, True, False))
    if not kind:
        return Progress()
    if kind == "lines" or (kind in ("auto", True) and not sys.stderr.isatty()):
        return Lines()
    try:
        import tqdm  # noqa: F401
    except ImportError:
        return Overwritten()
    return Bar()


def amount(data: Any, ignore: int | None = None) -> tuple[int, str]:
    """How many samples there are; of ids in rows, how many tokens that count.

    >>> from jnn.train.host.progress import amount
    >>> ids, lengths = np.zeros((2, 3), int), np.array([3, 1])
    >>> amount((ids, ids, np.arange(3) < lengths[:, None])), amount((ids / 2, ids))
    ((4, 'tokens'), (2, 'samples'))
    """
    x, t, *weights = data
    leaves = jax.tree.leaves(x)
    if len(leaves) != 1 or leaves[0].ndim != 2 or leaves[0].dtype.kind not in "iu":
        return len(leaves[0]), "samples"
    counted = np.ones(leaves[0].shape, bool)
    for mask in (*weights, *([] if ignore is None else [np.asarray(t) != ignore])):
        if np.shape(mask) == counted.shape:
            counted &= np.asarray(mask) > 0
    return int(counted.sum()), "tokens"


def clock(seconds: float) -> str:
    """Seconds as people read them, e.g. `1:05`."""
    if not np.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
