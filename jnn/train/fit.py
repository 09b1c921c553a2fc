"""`fit`: trains a network, an epoch a call of one compiled program."""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from jnn import errors
from jnn.layers.core.layer import Layer
from jnn.store.checkpoints import Checkpoints, checkpoints_of
from jnn.train.arguments import (
    USUAL,
    batch_of,
    check_precision,
    check_run,
    check_solver,
    key_of,
    samples_of,
)
from jnn.train.host.epochs import Resident, Streamed
from jnn.train.host.history import History
from jnn.train.host.loop import Loop, Report
from jnn.train.host.progress import progress_of
from jnn.train.host.stream import Reader, Stream, stream_of
from jnn.train.layout import mesh_of, place
from jnn.train.plan import Plan, metrics_of
from jnn.train.program.epoch import initial, once
from jnn.train.program.evaluate import EVALUATED
from jnn.train.program.means import ignored
from jnn.train.program.order import length
from jnn.train.program.precision import Precision
from jnn.train.program.stopping import StopRule, rules_of
from jnn.value import as_value
from jnn.xla.memory import forget_programs


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

    def __str__(self) -> str:
        """The sentence and the last row of the history; the arrays, which fill pages, stay out."""
        told = {"epochs": self.epochs, "steps": self.steps, "skipped": self.skipped}
        told |= {
            name: f"{float(column[-1]):.4g}" for name, column in self.history.items() if len(column)
        }
        return "\n".join(f"{name:<20} {x}" for name, x in {"message": self.message, **told}.items())

    __repr__ = __str__

    @property
    def success(self) -> bool:
        """Whether it ended as planned: by its last epoch or a rule of `stop`."""
        return self.status in ("done", "patience", "still", "called")


def fit(
    net: Layer,
    loss: Callable[[Any, Any], Any],
    optimizer: Any,
    data: Any,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    key: jax.Array | int = 0,
    validation: Any = None,
    metrics: Any = (),
    params: Any = None,
    state: Any = None,
    opt_state: Any = None,
    shuffle: bool = True,
    augment: Callable[[jax.Array, Any], Any] | None = None,
    stop: StopRule | Sequence[StopRule] = (),
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
    shorter. The same key gives the same result, bit for bit; a second run with an equal network,
    loss and optimizer compiles nothing, even at another learning rate or decay. Data that do not
    fit on the device are a stream: some batches are one call, and a thread reads the next ones
    meanwhile.

    Args:
      net: a layer.
      loss: `loss(prediction, target)`, one value a sample or one a token; the objective is their
        mean. What a partial with `ignore=` passes over, as
        `partial(jnn.softmax_cross_entropy, ignore=-1)` does, has no part in any mean.
      optimizer: any pair `(init, update)`, ours or one of optax; or a solver such as `jnn.lbfgs()`,
        of which each epoch is one step over all data, whose loss is the one after the step; a
        squared error has least-squares solvers too, such as `jnn.levenberg_marquardt()`.
      data: inputs and targets, arrays or trees of arrays with the samples first; and, third, what
        each sample (n,) or each token (n, tokens) weighs in the means of the loss and of the
        metrics, `sum(weights * values) / sum(weights)` over a batch. Memory-mapped arrays are read
        while training goes on, and so is any iterable of batches, or a function from the epoch to
        one: see `jnn.train.Stream`.
      epochs: how often every sample is seen.
      steps: instead of `epochs`, how many batches.
      batch_size: samples a step, by default 32; an iterable's batches are taken as they come. A
        solver's step is of all samples, and this is how many are computed at a time.
      key: a random key, or an integer to make one from.
      validation: inputs, targets and, if any, weights to measure on after each epoch; a stream too.
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
    forget_programs()
    check_run("fit", net, loss, epochs, steps, batch_size, not_finite)
    check_precision("fit", precision)
    check_solver(optimizer, loss, augment=augment, precision=precision)
    mesh, flow = mesh_of(sharding), stream_of("fit", "data", data)
    held = stream_of("fit", "validation", validation)
    if held and not flow:  # Both are read, where one does not fit.
        flow = Stream(samples_of("fit", "data", data))
    if flow:
        check_solver(optimizer, loss, data=flow)
    label = ignored(as_value(loss))
    reader = Reader(flow, batch_size or USUAL, mesh, shuffle, label) if flow else None
    samples = reader.example if reader else samples_of("fit", "data", data)
    held_out: Any = Reader(held, EVALUATED, mesh, False) if held else None
    if held_out and held_out.once is not None:
        remedy = "Give a list, or a function of the epoch."
        errors.fail("fit", "validation", "one that can be read again", "an iterator", remedy)
    if validation is not None and not held:
        held_out = place(mesh, samples_of("fit", "validation", validation))
    size = length(samples) if reader else batch_of(batch_size, optimizer, length(samples))
    plan = Plan(net, loss, optimizer, size, metrics_of(metrics), augment, shuffle, rules_of(stop),
                not_finite, precision, mesh)  # fmt: skip
    names = plan.columns(held_out is not None)
    given = (params, state, opt_state)
    samples, key, given = place(mesh, (samples, key_of(key), given))
    carry = once(plan, initial)(key, samples, given)
    loop = Loop(plan, carry, names, progress_of(progress), _callbacks(callbacks),
                checkpoints_of(checkpoint))  # fmt: skip
    if reader is None:
        loop.go(Resident(plan, samples, held_out, epochs, steps))
    else:
        streamed = Streamed(plan, reader, held_out, epochs, steps)
        try:
            loop.go(streamed)
        finally:
            streamed.close()
    return _result(loop)


def _result(loop: Loop) -> Fit:
    """What was reached."""
    carry = loop.carry
    params, state = carry.params, carry.state
    for rule, best in zip(loop.plan.patient, carry.watched, strict=True):
        if rule.restore and int(best.epoch):
            params, state = best.params, best.state
    message = loop.status.sentence + loop.note
    return Fit(params, state, carry.opt_state, loop.history(), int(carry.epoch),
               int(carry.steps), int(carry.skipped), loop.status.word, message,
               carry.key)  # fmt: skip


def _callbacks(callbacks: Any) -> tuple[Callable[[Report], Any], ...]:
    several = tuple(callbacks) if isinstance(callbacks, Sequence) else (callbacks,)
    for callback in several:
        if not callable(callback):
            expected = "functions of a report"
            errors.fail("fit", "callbacks", expected, errors.describe(callback), kind=TypeError)
    return several
