"""`fit`: trains a network, an epoch a call of one compiled program."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax

from jnn import errors
from jnn.layers.core.layer import Layer
from jnn.optim.averages import Average
from jnn.store.checkpoints import Checkpoints, checkpoints_of
from jnn.train.arguments import (
    USUAL,
    average_of,
    batch_of,
    check_run,
    check_solver,
    key_of,
    lasting,
    precision_of,
    samples_of,
)
from jnn.train.host.calls import Callback, Every, callbacks_of, interval
from jnn.train.host.epochs import Resident, Streamed
from jnn.train.host.history import History
from jnn.train.host.loop import Loop
from jnn.train.host.progress import progress_of
from jnn.train.host.stream import Reader, Stream, stream_of
from jnn.train.layout import Layout, check_divides, layout_of
from jnn.train.placing import place
from jnn.train.plan import Carry, Plan, metrics_of
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
      params: the trained parameters; the best, where a rule of `stop` restores them; their average,
        where one was asked for.
      state: the layers' state.
      opt_state: the optimizer's state.
      history: a column for each quantity, a row for each epoch.
      epochs: how many were run.
      steps: how many were run in all.
      skipped: how many of them were passed over, being not finite.
      status: a word on how it ended.
      message: a sentence on how it ended.
      key: with `last`, `state` and `opt_state` of a run it goes on where that one stopped.
      last: the parameters after the last step, other than `params` where those are the best or an
        average.
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
    last: Any = None

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
    augment: Callable[..., Any] | Sequence[Callable[..., Any]] | None = None,
    stop: StopRule | Sequence[StopRule] = (),
    not_finite: str | None = "stop",
    precision: Precision | str | None = None,
    average: Average | float | None = None,
    accumulate: int = 1,
    penalty: Callable[[Any], Any] | None = None,
    sharding: Layout | jax.sharding.Mesh | None = None,
    callbacks: Callback | Every | Sequence[Callback | Every] = (),
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
      optimizer: any pair `(init, update)`, ours or one of optax; schedules whose steps are left out
        last as long as the run. Or a solver such as `jnn.lbfgs()`, of which each epoch is one step
        over all data, whose loss is the one after the step; a squared error has least-squares
        solvers too, such as `jnn.levenberg_marquardt()`.
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
      augment: `augment(key, x)`, what is done to the inputs of each batch, or `augment(key, x, t)`,
        which returns both; several are done in turn.
      stop: rules that end the run earlier: `jnn.train.patience`, `jnn.train.still`.
      not_finite: what happens when a loss or a gradient is not finite. "stop" ends the run with
        what was there before that step, and names the step and the layer; "skip" passes over each
        such step; None looks away.
      precision: "bfloat16", "float16", or `jnn.train.mixed(...)`, to compute in half precision.
      average: what an exponential average of the parameters keeps of the past at each step, e.g.
        0.999, or another of `jnn.optim`'s averages. It is what is validated, watched and returned.
      accumulate: in how many parts, one after the other, each batch is computed. The gradient is
        that of the whole batch, in the memory of a part; the layers see the parts.
      penalty: `penalty(params)`, one number that is added to the loss; the history has it apart.
      sharding: a mesh of devices: each computes a part of each batch. Or a `jnn.train.Layout`,
        which divides parameters and the optimizer's state as well.
      callbacks: functions of a `Report`, called after each epoch, or as `jnn.train.every` says; one
        that returns True ends the run.
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
    errors.positive_integer("fit", "accumulate", accumulate)
    called = callbacks_of(callbacks)
    check_solver(optimizer, loss, augment=augment, precision=precision, average=average,
                 penalty=penalty, accumulate=accumulate - 1 or None,
                 every=interval(called))  # fmt: skip
    layout, flow = layout_of(sharding), stream_of("fit", "data", data)
    held = stream_of("fit", "validation", validation)
    if (held or interval(called)) and not flow:  # Both are read, where one does not fit.
        flow = Stream(samples_of("fit", "data", data))
    if flow:
        check_solver(optimizer, loss, data=flow)
    label = ignored(as_value(loss))
    reader = None
    if flow:
        reader = Reader(flow, batch_size or USUAL, layout, shuffle, label, interval(called))
    samples = reader.example if reader else samples_of("fit", "data", data)
    held_out: Any = Reader(held, EVALUATED, layout, False) if held else None
    if held_out and held_out.once is not None:
        remedy = "Give a list, or a function of the epoch."
        errors.fail("fit", "validation", "one that can be read again", "an iterator", remedy)
    if validation is not None and not held:
        held_out = place(layout, samples_of("fit", "validation", validation))
    size = length(samples) if reader else batch_of(batch_size, optimizer, length(samples))
    each = reader.steps if reader else -(-length(samples) // size)
    run = steps if epochs is None else None if each is None else epochs * each
    plan = Plan(net, loss, lasting("fit", optimizer, run), size, metrics_of(metrics), augment,
                shuffle, rules_of(stop), not_finite, precision_of("fit", precision), layout,
                average_of("fit", average), accumulate, penalty)  # fmt: skip
    check_divides(layout, -(-size // accumulate), plan.solves)
    names = plan.columns(held_out is not None)
    samples, drawn = place(layout, (samples, key_of(key)))
    carry = _begun(plan, drawn, samples, (params, state, opt_state))
    count = length(samples) if reader is None else reader.samples
    saved = checkpoints_of(checkpoint)
    loop = Loop(plan, carry, names, progress_of(progress), called, saved, count)
    if reader is None:
        loop.go(Resident(plan, samples, held_out, epochs, steps))
    else:
        streamed = Streamed(plan, reader, held_out, epochs, steps)
        try:
            loop.go(streamed)
        finally:
            streamed.close()
    return _result(loop)


def _begun(plan: Plan, key: jax.Array, samples: Any, given: Any) -> Carry:
    """The carry before the first step; of what a layout divides, no device has ever more."""
    layout = plan.layout
    if layout is None or not layout.divides:
        return once(plan, initial)(key, samples, place(layout, given))
    shapes = jax.eval_shape(partial(initial, plan), key, samples, given)
    given = place(layout, given, layout.specs(shapes.params, given))
    return once(plan, initial, layout.specs(shapes.params, shapes))(key, samples, given)


def _result(loop: Loop) -> Fit:
    """What was reached."""
    carry = loop.carry
    params, state = loop.plan.shown(carry.params, carry.opt_state), carry.state
    for rule, best in zip(loop.plan.patient, carry.watched, strict=True):
        if rule.restore and int(best.epoch):
            params, state = best.params, best.state
    message = loop.status.sentence + loop.note
    return Fit(params, state, carry.opt_state, loop.history(), int(carry.epoch),
               int(carry.steps), int(carry.skipped), loop.status.word, message,
               carry.key, carry.params)  # fmt: skip
