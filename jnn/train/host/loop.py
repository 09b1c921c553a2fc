"""The loop over epochs on the host: what is looked at, shown and saved, and when it ends."""

import contextlib
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import jax
import numpy as np

from jnn import errors
from jnn.store.checkpoints import Checkpoints, same_key
from jnn.train.host.calls import Every, Report, Steps
from jnn.train.host.fault import Fault
from jnn.train.host.history import History, collect
from jnn.train.host.progress import Progress
from jnn.train.host.resume import check_same, written_beside
from jnn.train.plan import Carry, Plan, Row, RunStatus


class Epochs(Protocol):
    """Where epochs come from: data on the device, or a stream.

    Attributes:
      last: the number of epochs in all; None where it is not known.
      samples: of an epoch, as far as is known; tokens, where that is the `unit`.
      whole: whether the carry is that of the end of a whole epoch, which can be saved.
      ending: `RunStatus.RUNNING`, or why no more epochs come.
    """

    last: int | None
    samples: int
    unit: str
    whole: bool
    ending: RunStatus

    def run(self, loop: "Loop", number: int, interrupted: Callable[[], bool]) -> Row | None:
        """Runs an epoch on `loop.carry`; its row, or None where it did not come to its end."""
        ...

    def blame(self, carry: Carry) -> tuple[Fault | None, Carry]:
        """The step that was not finite, and the carry before it."""
        ...


class Loop:
    """A run: it dispatches one epoch ahead of what it reads, unless someone looks."""

    def __init__(
        self, plan: Plan, carry: Carry, names: tuple[str, ...], progress: Progress,
        callbacks: Sequence[Any], checkpoints: Checkpoints | None, samples: int | None,
    ):  # fmt: skip
        self.plan, self.carry, self.names = plan, carry, names
        self.progress, self.steps = progress, Steps(callbacks)
        self.callbacks = [c for c in callbacks if not isinstance(c, Every)]
        self.rows: list[Row] = []
        self.seconds: list[float] = []
        self.before: dict[str, np.ndarray] = {}
        self.checkpoints = checkpoints
        found = None
        if checkpoints is not None:
            self.about = written_beside(plan, samples)
            compare = partial(check_same, now=self.about, folder=checkpoints.folder)
            found = checkpoints.restore(carry, compare)
        if found:
            if not same_key(found[0].key, carry.key):
                expected = "that of the run in the folder"
                errors.fail("fit", "key", expected, carry.key, "Give it, or another folder.")
            self.carry, self.before = found
        self.stored = len(self.before.get("loss", ()))
        self.status, self.note = RunStatus(int(self.carry.status)), ""
        self.first = int(self.carry.epoch)

    def go(self, epochs: Epochs) -> None:
        """Runs epochs until the last, or until something ends the run."""
        first, done, last = self.first, self.first, epochs.last
        self.progress.unit = epochs.unit
        self.progress.begin(last, first, epochs.samples)
        self.began = time.perf_counter()
        numbers = itertools.count(first) if last is None else range(first, last)
        with interruptible() as interrupted, together(self.checkpoints):
            for number in numbers if self.status == RunStatus.RUNNING else ():
                row = epochs.run(self, number, interrupted)
                if row is None:
                    break
                self.rows.append(row)
                due = epochs.whole and self._due(number + 1)
                # What the device has not finished is read an epoch later, unless someone asks.
                ready = len(self.rows) - (0 if self.callbacks or due else 1)
                while done - first < ready and self.status == RunStatus.RUNNING:
                    self._look(done - first)
                    done += 1
                if due:
                    self._store()
                if (
                    self.status != RunStatus.RUNNING
                    or interrupted()
                    or epochs.ending != RunStatus.RUNNING
                ):
                    break
            while done - first < len(self.rows) and self.status == RunStatus.RUNNING:
                self._look(done - first)
                done += 1
            if self.status == RunStatus.RUNNING:
                over = RunStatus.DONE if done == last else RunStatus.INTERRUPTED
                self.status = over if epochs.ending == RunStatus.RUNNING else epochs.ending
        # What was dispatched after the end has changed nothing.
        whole = epochs.whole or done - first < len(self.rows)
        del self.rows[done - first :]
        if whole:
            self._store()
        if self.status == RunStatus.NOT_FINITE and self.plan.not_finite == "stop":
            found, self.carry = epochs.blame(self.carry)
            if found:
                self.note = f" It was step {found.step}, in {found.place}."
        if self.rows:
            self.progress.end(done, named_values(self.names, self.rows[-1]))

    def _look(self, i: int) -> None:
        """Reads the row of an epoch, which waits for it to end."""
        row = self.rows[i] = read_row(self.rows[i])
        now = time.perf_counter()
        self.seconds.append(now - self.began)
        self.began = now
        self.status = RunStatus(int(row.status))
        self.progress.compiled(self.progress.samples)
        if self.progress.due():
            self.progress.show(self.progress.first + i + 1, named_values(self.names, row))
        for callback in self.callbacks:
            report = self.report(self.carry, named_values(self.names, row))
            if callback(report) is True and self.status == RunStatus.RUNNING:
                self.status = RunStatus.CALLED

    def report(self, carry: Carry, values: dict[str, float]) -> Report:
        """What a callback is told of a carry."""
        params = self.plan.shown(carry.params, carry.opt_state)
        return Report(int(carry.epoch), int(carry.steps), values, params, carry.state,
                      carry.opt_state)  # fmt: skip

    def _due(self, number: int) -> bool:
        return self.checkpoints is not None and number % self.checkpoints.every == 0

    def _store(self) -> None:
        """Saves what was reached, unless it was saved before or is not finite."""
        number = len(self.rows) + len(self.before.get("loss", ()))
        if self.checkpoints is None or self.status == RunStatus.NOT_FINITE or number == self.stored:
            return
        rule = next(iter(self.plan.patient), None)
        history = self.history()
        values = history[self.plan.watched(rule, "validation_loss" in self.names)] * (
            -1 if rule and rule.larger else 1
        )
        best = bool(np.isfinite(values[-1]) and values[-1] <= np.nanmin(values))
        shown = self.plan.shown(self.carry.params, self.carry.opt_state)
        kept = {"params": shown, "state": self.carry.state} if best else None
        self.checkpoints.store(self.carry, history, kept, self.about)
        self.stored = number

    def history(self) -> History:
        """The history up to now."""
        return collect(self.names, self.rows, self.seconds, self.before)


def read_row(row: Row) -> Row:
    """A row on the host, which waits for the epoch to end."""
    return jax.tree.map(np.asarray, row)


def named_values(names: Sequence[str], row: Row) -> dict[str, float]:
    """A row's values in the order of the history's columns, as numbers."""
    return {name: float(row.values[name]) for name in names}


@contextlib.contextmanager
def together(checkpoints: Checkpoints | None) -> Iterator[None]:
    """Where several processes compute and one is gone, a sentence says so in the others."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
            raise
        then = "Start all of them again."
        if checkpoints is not None:
            then += f" They go on from the last checkpoint in '{checkpoints.folder}'."
        raise RuntimeError(
            "fit: what the processes compute together failed. As a rule another one has ended, and "
            f"its output says why. {then} ({str(error).splitlines()[0][:200]})"
        ) from error


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C ends the loop after the epoch; a second one ends it at once."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return

    def press(number: int, frame: Any) -> None:
        del number, frame
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    former = signal.signal(signal.SIGINT, press)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, former)
