"""`fit`: trains a network, an epoch a call of one compiled program."""

import contextlib
import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jnn import errors
from jnn.layers.layer import Layer
from jnn.train import fault
from jnn.train.arguments import check, key_of, pair
from jnn.train.checkpoints import Checkpoints, checkpoints_of, same_key
from jnn.train.devices import mesh_of, place
from jnn.train.epoch import begin, column, columns, epoch
from jnn.train.history import History, collect
from jnn.train.plan import (
    CALLED,
    DONE,
    INTERRUPTED,
    MESSAGES,
    NOT_FINITE,
    RUNNING,
    WORDS,
    Carry,
    Plan,
    metrics_of,
)
from jnn.train.precision import Precision
from jnn.train.progress import Progress, progress_of
from jnn.train.stopping import Patience, Rule


class Fit(NamedTuple):
    """What a run reached.

    Attributes:
      params: the trained parameters; the best, where a rule of `stop` restores them.
      state: the layers' state.
      opt_state: the optimizer's state.
      history: a column for each quantity, a row for each epoch.
      epochs: how many were run.
      steps: how many were run in all.
      skipped: how many of them were passed over, being not finite.
      status: a word on how it ended.
      message: a sentence on how it ended.
      key: with `params`, `state` and `opt_state` of a run it goes on where that one stopped.
    """

    params: Any
    state: Any
    opt_state: Any
    history: History
    epochs: int
    steps: int
    skipped: int
    status: str
    message: str
    key: jax.Array

    @property
    def success(self) -> bool:
        """Whether it ended as planned: by its last epoch or a rule of `stop`."""
        return self.status in ("done", "patience", "still", "called")


class Report(NamedTuple):
    """What a callback is given after an epoch.

    The arrays in `params` and `state` serve the next epoch: copy what is to be kept.
    """

    epoch: int
    steps: int
    values: dict[str, float]
    params: Any
    state: Any


def fit(
    net: Layer,
    loss: Callable[[Any, Any], Any],
    optimizer: Any,
    data: Any,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 32,
    key: jax.Array | int = 0,
    validation: Any = None,
    metrics: Any = (),
    params: Any = None,
    state: Any = None,
    opt_state: Any = None,
    shuffle: bool = True,
    augment: Callable[[jax.Array, Any], Any] | None = None,
    stop: Rule | Sequence[Rule] = (),
    not_finite: str | None = "stop",
    precision: Precision | None = None,
    sharding: jax.sharding.Mesh | None = None,
    callbacks: Callable[[Report], Any] | Sequence[Callable[[Report], Any]] = (),
    progress: Any = "auto",
    checkpoint: Checkpoints | str | os.PathLike[str] | None = None,
) -> Fit:
    """Trains a network.

    An epoch is one call of a compiled program: the data stay on the device, are put into a new
    order there, and pass through a scan whose body is forward, backward and update; validation,
    history and the rules of `stop` are in the same program. The last batch of an epoch may be
    shorter. The same key gives the same result, bit for bit; a second run with the same network,
    loss and optimizer compiles nothing.

    Args:
      net: a layer.
      loss: `loss(prediction, target)`, one value a sample; the objective is their mean.
      optimizer: any pair `(init, update)`, ours or one of optax.
      data: inputs and targets, arrays or trees of arrays with the samples first.
      epochs: how often every sample is seen.
      steps: instead of `epochs`, how many batches.
      batch_size: samples a step.
      key: a random key, or an integer to make one from.
      validation: inputs and targets to measure on after each epoch.
      metrics: functions of (prediction, target), "accuracy", or several, also by name in a
        dictionary; measured on the way in training, and on the validation data.
      params: parameters to begin with, instead of the network's own.
      state: the layers' state to begin with.
      opt_state: the optimizer's state to begin with.
      shuffle: whether each epoch has its own order.
      augment: `augment(key, x)`, what is done to the inputs of each batch.
      stop: rules that end the run earlier: `jnn.train.patience`, `jnn.train.still`.
      not_finite: what happens when a loss or a gradient is not finite. "stop" ends the run with
        what was there before that step, and names the step and the layer; "skip" passes over each
        such step; None looks away.
      precision: `jnn.train.mixed()` to compute in half precision.
      sharding: a mesh of devices: each computes a part of each batch.
      callbacks: functions of a `Report`, called after each epoch; one that returns True ends the
        run.
      progress: "auto", "bar", "lines" or None.
      checkpoint: a folder, or `jnn.train.Checkpoints`: the run is saved there, and goes on from the
        last checkpoint that it finds. `epochs` counts those before too.

    >>> net = jnn.serial(jnn.dense(8), jnn.tanh(), jnn.dense(2))
    >>> data = jnn.data.two_moons(500)
    >>> fit = jnn.fit(net, jnn.softmax_cross_entropy, jnn.adam(0.02), data, epochs=30,
    ...               metrics="accuracy", progress=None)
    >>> fit.message, fit.history["accuracy"][-1] > 0.9
    ('All epochs were run.', np.True_)
    """
    check("fit", net, loss, epochs, steps, batch_size, not_finite)
    samples = pair("fit", "data", data)
    held_out = None if validation is None else pair("fit", "validation", validation)
    n = len(jax.tree.leaves(samples)[0])
    rules = tuple(stop) if isinstance(stop, Sequence) else (stop,)
    measures = metrics_of(metrics)
    plan = Plan(net, loss, optimizer, min(batch_size, n), measures, augment, shuffle, rules,
                not_finite, precision, mesh_of(sharding))  # fmt: skip
    names = columns(plan, held_out is not None)
    for rule in rules:
        if isinstance(rule, Patience):
            column(plan, rule.on, held_out is not None)
    given = (params, state, opt_state)
    samples, held_out, key, given = place(plan.mesh, (samples, held_out, key_of(key), given))
    carry = begin(plan, key, samples, given)
    run = _Run(plan, carry, names, progress_of(progress), _callbacks(callbacks),
               checkpoints_of(checkpoint))  # fmt: skip
    per_epoch = -(-n // plan.batch_size)
    last = epochs if steps is None else -(-steps // per_epoch)
    assert last is not None
    extra = 0 if steps is None else steps % per_epoch
    run.loop(samples, held_out, last, extra)
    return run.result()


class _Run:
    """The loop over epochs on the host: it dispatches one ahead of what it reads."""

    def __init__(
        self, plan: Plan, carry: Carry, names: tuple[str, ...], progress: Progress,
        callbacks: Sequence[Callable[[Report], Any]], checkpoints: Checkpoints | None,
    ):  # fmt: skip
        self.plan, self.carry, self.names = plan, carry, names
        self.progress, self.callbacks = progress, callbacks
        self.rows: list[Any] = []
        self.seconds: list[float] = []
        self.before: dict[str, np.ndarray] = {}
        self.checkpoints = checkpoints
        found = None if checkpoints is None else checkpoints.restore(carry, plan.mesh)
        if found:
            if not same_key(found[0].key, carry.key):
                expected = "that of the run in the folder"
                errors.fail("fit", "key", expected, carry.key, "Give it, or another folder.")
            self.carry, self.before = found
        self.stored = len(self.before.get("loss", ()))
        self.status, self.note = int(self.carry.status), ""

    def loop(self, data: Any, validation: Any, last: int, extra: int) -> None:
        """Runs epochs up to `last`, of which the last may have `extra` steps only."""
        first = int(self.carry.epoch)
        done = first
        self.progress.begin(last, first, len(jax.tree.leaves(data)[0]))
        limited = dataclasses.replace(self.plan, limit=extra) if extra else self.plan
        self.began = time.perf_counter()
        with interruptible() as interrupted:
            for number in range(first, last if self.status == RUNNING else first):
                plan = limited if number == last - 1 else self.plan
                self.carry, row = epoch(plan, self.carry, data, validation)
                self.rows.append(row)
                due = self._due(number + 1) and plan.limit is None
                # What the device has not finished is read an epoch later, unless someone asks.
                ready = len(self.rows) - (0 if self.callbacks or due else 1)
                while done - first < ready and self.status == RUNNING:
                    self._look(done - first)
                    done += 1
                if due:
                    self._store()
                if self.status != RUNNING or interrupted():
                    break
            while done - first < len(self.rows) and self.status == RUNNING:
                self._look(done - first)
                done += 1
            if self.status == RUNNING:
                self.status = DONE if done == last else INTERRUPTED
        del self.rows[done - first :]
        if self.status != DONE or not extra:
            self._store()
        if self.status == NOT_FINITE and self.plan.not_finite == "stop":
            self._blame(data)
        if self.rows:
            self.progress.end(done, self.names, self.rows[-1])

    def _look(self, i: int) -> None:
        """Reads the row of an epoch, which waits for it to end."""
        row = self.rows[i] = np.asarray(self.rows[i])
        now = time.perf_counter()
        self.seconds.append(now - self.began)
        self.began = now
        self.status = int(row[-1])
        number = int(self.carry.epoch) if self.callbacks else 0
        if self.progress.due():
            self.progress.show(self.progress.first + i + 1, self.names, row)
        for callback in self.callbacks:
            values = dict(zip(self.names, row.tolist(), strict=False))
            carry = self.carry
            report = Report(number, int(carry.steps), values, carry.params, carry.state)
            if callback(report) is True and self.status == RUNNING:
                self.status = CALLED

    def _due(self, number: int) -> bool:
        return self.checkpoints is not None and number % self.checkpoints.every == 0

    def _store(self) -> None:
        """Saves what was reached, unless it was saved before or is not finite."""
        number = len(self.rows) + len(self.before.get("loss", ()))
        if self.checkpoints is None or self.status == NOT_FINITE or number == self.stored:
            return
        rules = [rule for rule in self.plan.stop if isinstance(rule, Patience)]
        rule = rules[0] if rules else None
        validated = len(self.names) > len(self.plan.names)
        watched = self.names[column(self.plan, rule and rule.on, validated)]
        history = self.history()
        values = history[watched] * (-1 if rule and rule.larger else 1)
        best = bool(np.isfinite(values[-1]) and values[-1] <= np.nanmin(values))
        self.checkpoints.store(self.carry, history, best)
        self.stored = number

    def history(self) -> History:
        """The history up to now."""
        return collect(self.names, self.rows, self.seconds, self.before)

    def _blame(self, data: Any) -> None:
        """Finds the step that failed, and goes back to before it."""
        found, self.carry = fault.find(self.plan, self.carry, data)
        if found:
            self.note = f" It was step {found.step}, in {found.place}."

    def result(self) -> Fit:
        """What was reached."""
        carry = self.carry
        params, state = carry.params, carry.state
        rules = [rule for rule in self.plan.stop if isinstance(rule, Patience)]
        for rule, best in zip(rules, carry.watched, strict=True):
            if rule.restore and int(best.epoch):
                params, state = best.params, best.state
        message = MESSAGES[self.status] + self.note
        return Fit(params, state, carry.opt_state, self.history(), int(carry.epoch),
                   int(carry.steps), int(carry.skipped), WORDS[self.status], message,
                   carry.key)  # fmt: skip


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


def _callbacks(callbacks: Any) -> tuple[Callable[[Report], Any], ...]:
    several = tuple(callbacks) if isinstance(callbacks, Sequence) else (callbacks,)
    for callback in several:
        if not callable(callback):
            expected = "functions of a report"
            errors.fail("fit", "callbacks", expected, errors.describe(callback), kind=TypeError)
    return several
