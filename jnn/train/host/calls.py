"""What is called while a run goes on: functions of a report, after epochs or after some steps."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from jnn import errors
from jnn.train.plan import Carry
from jnn.train.program.means import Totals


class Report(NamedTuple):
    """What a callback is given.

    The arrays serve the next steps: copy what is to be kept.

    Attributes:
      epoch: how many were run.
      steps: how many were run in all.
      values: the row of the history; between epochs, the means over the steps since the last call.
      params: those that are validated, an average of them where one is kept.
      state: the layers' state.
      opt_state: the optimizer's state.
    """

    epoch: int
    steps: int
    values: dict[str, float]
    params: Any
    state: Any
    opt_state: Any = ()


Callback = Callable[[Report], Any]


@dataclass(frozen=True)
class Every:
    """The settings of `every`."""

    steps: int
    callback: Callback


def every(steps: int, callback: Callback) -> Every:
    """A callback for `fit` that is called after each so many steps, rather than after each epoch.

    Its report has the means over these steps. Data that lie on the device are then given to it a
    chunk at a time, as a stream is.

    >>> seen = []
    >>> watch = jnn.train.every(3, lambda report: seen.append(report.steps))
    >>> fit = jnn.fit(jnn.dense(2), jnn.softmax_cross_entropy, jnn.adam(), jnn.data.xor(64),
    ...               batch_size=8, epochs=2, callbacks=watch, progress=None)
    >>> seen
    [3, 6, 9, 12, 15]

    Args:
      steps: how many lie between two calls.
      callback: a function of a `Report`; one that returns True ends the run.
    """
    errors.positive_integer("every", "steps", steps)
    if not callable(callback):
        expected = "a function of a report"
        errors.fail("every", "callback", expected, errors.describe(callback), kind=TypeError)
    return Every(steps, callback)


def callbacks_of(callbacks: Any) -> tuple[Any, ...]:
    """One callback or several, as a tuple."""
    several = tuple(callbacks) if isinstance(callbacks, Sequence) else (callbacks,)
    for callback in several:
        if not callable(callback) and not isinstance(callback, Every):
            expected = "functions of a report, or jnn.train.every(steps, function)"
            errors.fail("fit", "callbacks", expected, errors.describe(callback), kind=TypeError)
    return several


def interval(callbacks: Sequence[Any]) -> int | None:
    """After how many steps some callback may be due; None where all wait for the epoch."""
    steps = [callback.steps for callback in callbacks if isinstance(callback, Every)]
    return functools.reduce(math.gcd, steps) if steps else None


class Steps:
    """The callbacks that are due after steps, and the totals since each was called."""

    def __init__(self, callbacks: Sequence[Any]):
        self.calls = [callback for callback in callbacks if isinstance(callback, Every)]
        self.since: list[Totals | None] = [None] * len(self.calls)

    def seen(self, carry: Carry, latest: Totals, report: Callable[..., Report]) -> bool:
        """Calls what is due after a chunk of steps; whether one asks to stop."""
        if not self.calls:
            return False  # Without waiting for the device.
        steps, found, stop = int(carry.steps), jax.tree.map(np.asarray, latest), False
        for i, call in enumerate(self.calls):
            before = self.since[i]
            total = found if before is None else before + found
            self.since[i] = total
            if steps % call.steps == 0:
                values = {name: float(value) for name, value in total.means.items()}
                stop |= call.callback(report(carry, values)) is True
                self.since[i] = None
        return stop
