"""`fit_many`: an ensemble, trained side by side in one program."""

import functools
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.layers.core.layer import Layer
from jnn.optim.averages import Average
from jnn.optim.spans import open_ended, spanning
from jnn.store.checkpoints import Checkpoints, checkpoints_of, same_key
from jnn.train.arguments import (
    average_of,
    batch_of,
    check_run,
    check_solver,
    key_of,
    lasting,
    precision_of,
    samples_of,
)
from jnn.train.host.fault import find
from jnn.train.host.loop import interruptible, read_row
from jnn.train.host.progress import Progress, amount, progress_of
from jnn.train.host.resume import check_same, written_beside
from jnn.train.placing import place
from jnn.train.plan import Carry, Plan, Row, RunStatus, metrics_of, with_setting
from jnn.train.program.epoch import initial, once, run_epoch
from jnn.train.program.means import ignored
from jnn.train.program.precision import Precision
from jnn.train.program.stopping import StopRule, rules_of
from jnn.value import as_value
from jnn.xla.memory import forget_programs


class Fits(NamedTuple):
    """What an ensemble reached: every array has the members on its first axis.

    Attributes:
      params: the parameters.
      state: the layers' states.
      opt_state: the optimizers' states.
      history: columns of (members, epochs); NaN after a member has stopped.
      epochs: how many each has run.
      steps: how many each has run in all.
      status: a word for each on how it ended.
      messages: a sentence for each on how it ended.
    """

    params: Any
    state: Any
    opt_state: Any
    history: dict[str, np.ndarray]
    epochs: np.ndarray
    steps: np.ndarray
    status: tuple[str, ...]
    messages: tuple[str, ...]

    def __str__(self) -> str:
        """The sentences and the ranges of what is last in the history; the arrays stay out."""
        sentences = Counter(self.messages).most_common(5)
        told = {"members": len(self.messages), "epochs": span(self.epochs)}
        last = (np.arange(len(self.epochs)), self.epochs - 1)
        told |= {name: span(column[last]) for name, column in self.history.items() if column.size}
        lines = [f"{'message':<20} {sentence} ({count})" for sentence, count in sentences]
        return "\n".join(lines + [f"{name:<20} {x}" for name, x in told.items()])

    __repr__ = __str__

    def member(self, i: int) -> tuple[Any, Any]:
        """Parameters and state of one member."""
        return jax.tree.map(lambda a: a[i], (self.params, self.state))


def span(numbers: np.ndarray) -> str:
    """The least and the largest, as text."""
    least, most = (f"{float(x):.4g}" for x in (np.min(numbers), np.max(numbers)))
    return least if least == most else f"{least} ... {most}"


def fit_many(
    net: Layer,
    loss: Callable[[Any, Any], Any],
    optimizer: Any,
    data: Any,
    *,
    epochs: int,
    key: jax.Array | int = 0,
    members: int | None = None,
    settings: Any = None,
    same: bool = False,
    batch_size: int | None = None,
    validation: Any = None,
    metrics: Any = (),
    shuffle: bool = True,
    augment: Callable[..., Any] | Sequence[Callable[..., Any]] | None = None,
    stop: StopRule | Sequence[StopRule] = (),
    not_finite: str | None = "stop",
    precision: Precision | str | None = None,
    average: Average | float | None = None,
    accumulate: int = 1,
    penalty: Callable[[Any], Any] | None = None,
    progress: Any = "auto",
    checkpoint: Checkpoints | str | os.PathLike[str] | None = None,
) -> Fits:
    """Trains many networks at once: other seeds, other learning rates, or both.

    All members pass through one program under `vmap`; each stops by itself and keeps its own
    status. The other arguments are those of `fit`.

    Args:
      net: a layer.
      loss: as in `fit`.
      optimizer: a pair `(init, update)`; with `settings` a function from a member's setting to one.
      data: inputs, targets and, if any, weights, which all members share.
      epochs: how often every sample is seen.
      key: member i trains as `fit` would with `jax.random.fold_in(key, i)`.
      members: how many; by default as many as there are settings.
      settings: an array, or a tree of arrays, with a setting for each member on the first axis.
      same: whether all members have the same key: the same first parameters and order of data.
      batch_size: samples a step.
      validation: as in `fit`.
      metrics: as in `fit`.
      shuffle: as in `fit`.
      augment: as in `fit`.
      stop: as in `fit`.
      not_finite: as in `fit`: each member stops or skips by itself, and its message names the step
        and the layer.
      precision: as in `fit`.
      average: as in `fit`.
      accumulate: as in `fit`.
      penalty: as in `fit`.
      progress: as in `fit`; what is shown are means over the members that run.
      checkpoint: as in `fit`: the members are saved together, and go on together.

    >>> net, data = jnn.models.mlp([8, 2]), jnn.data.two_moons(200)
    >>> rates = jnp.array([1e-4, 1e-2, 1.0])
    >>> fits = jnn.fit_many(net, jnn.softmax_cross_entropy, jnn.adam, data, settings=rates,
    ...                     epochs=10, progress=None)
    >>> int(fits.history["loss"][:, -1].argmin()), fits.status
    (1, ('done', 'done', 'done'))
    """
    forget_programs()
    check_run("fit_many", net, loss, epochs, None, batch_size, not_finite)
    samples = samples_of("fit_many", "data", data)
    held_out = None if validation is None else samples_of("fit_many", "validation", validation)
    settings, count = _settings(settings, members)
    errors.positive_integer("fit_many", "accumulate", accumulate)
    check_solver(optimizer, loss, augment=augment, precision=precision, average=average,
                 penalty=penalty, accumulate=accumulate - 1 or None)  # fmt: skip
    n = len(jax.tree.leaves(samples)[0])
    size = batch_of(batch_size, optimizer, n)
    total = epochs * -(-n // size)
    if settings is None:
        optimizer = lasting("fit_many", optimizer, total)
    elif open_ended(optimizer(jax.tree.map(lambda a: a[0], settings))):
        optimizer = as_value(functools.partial(_spanning, optimizer, total))
    plan = Plan(net, loss, optimizer, size, metrics_of(metrics), augment, shuffle, rules_of(stop),
                not_finite, precision_of("fit_many", precision), None,
                average_of("fit_many", average), accumulate, penalty)  # fmt: skip
    names = plan.columns(held_out is not None)
    root = key_of(key)
    numbers = jnp.zeros(count, int) if same else jnp.arange(count)
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(numbers)
    samples, held_out = place(None, (samples, held_out))
    carry, rows = once(plan, _initial)(keys, settings, samples), []
    saved = checkpoints_of(checkpoint)
    told = written_beside(plan, n)
    compare = functools.partial(check_same, now=told, folder=saved and saved.folder)
    if saved and (found := saved.restore(carry, compare)):
        if not same_key(found[0].key, carry.key):
            expected = "that of the run in the folder"
            errors.fail("fit_many", "key", expected, key, "Give it, or another folder.")
        carry, rows = found[0], _rows(found[1])
    run = functools.partial(_epoch, plan, settings=settings, data=samples, validation=held_out)
    shown = progress_of(progress)
    each, shown.unit = amount(samples, ignored(plan.loss))
    shown.begin(epochs, len(rows), each * count)
    store = saved and functools.partial(_store, saved, names=names, about=told)
    carry = _loop(run, carry, rows, names, epochs, shown, store, saved.every if saved else 1)
    history = _history(names, rows)
    over = RunStatus.DONE if len(rows) == epochs else RunStatus.INTERRUPTED
    status = [
        over if s == RunStatus.RUNNING else RunStatus(int(s)) for s in np.asarray(carry.status)
    ]
    notes = [""] * count
    for i in (
        np.flatnonzero(np.array(status) == RunStatus.NOT_FINITE) if not_finite == "stop" else ()
    ):
        member, setting = jax.tree.map(lambda a, i=i: a[i], (carry, settings))
        fault, member = find(plan, member, samples, setting)
        if fault:
            notes[i] = f" It was step {fault.step}, in {fault.place}."
            carry = jax.tree.map(lambda a, b, i=i: a.at[i].set(b), carry, member)
    params, state = _kept(plan, carry)
    words = tuple(s.word for s in status)
    messages = tuple(s.sentence + note for s, note in zip(status, notes, strict=True))
    return Fits(params, state, carry.opt_state, history, np.asarray(carry.epoch),
                np.asarray(carry.steps), words, messages)  # fmt: skip


def _spanning(optimizer: Callable[[Any], Any], steps: int, setting: Any) -> Any:
    """The optimizer of a setting, with schedules as long as the run."""
    return spanning(optimizer(setting), steps)


def _loop(
    run: Callable[..., tuple[Carry, Row]], carry: Carry, rows: list[Row],
    names: Sequence[str], epochs: int, shown: Progress, store: Callable[..., int] | None,
    every: int,
) -> Carry:  # fmt: skip
    """Adds a row an epoch, while a member runs; one is dispatched ahead of what is read."""
    stored = len(rows)
    with interruptible() as interrupted:
        while len(rows) < epochs:
            carry, row = run(carry)
            rows.append(row)
            if len(rows) > 1:
                last = rows[-2] = read_row(rows[-2])
                if (last.status != RunStatus.RUNNING).all():
                    rows.pop()
                    break
                if shown.due():
                    shown.show(len(rows) - 1, _means(names, last))
            if store and len(rows) % every == 0:
                stored = store(carry, rows=rows)
            if interrupted():
                break
    if store and len(rows) > stored:
        store(carry, rows=rows)
    shown.end(len(rows), _means(names, rows[-1]))
    return carry


def _store(
    saved: Checkpoints, carry: Carry, names: Sequence[str], rows: Sequence[Row],
    about: Mapping[str, str],
) -> int:  # fmt: skip
    statuses = np.stack([row.status for row in rows], 1)
    saved.store(carry, _history(names, rows) | {"status": statuses}, None, about)
    return len(rows)


def _history(names: Sequence[str], rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """The columns of rows, (members, epochs)."""
    return {name: np.stack([row.values[name] for row in rows], 1) for name in names}


def _rows(saved: Mapping[str, np.ndarray]) -> list[Row]:
    """The rows of which `_store` saved the columns."""
    columns = dict(saved)
    statuses = columns.pop("status")
    return [
        Row({name: column[:, i] for name, column in columns.items()}, statuses[:, i])
        for i in range(statuses.shape[1])
    ]


def _settings(settings: Any, members: int | None) -> tuple[Any, int]:
    if settings is None:
        errors.positive_integer("fit_many", "members", members)
        assert members is not None
        return None, members
    settings = jax.tree.map(jnp.asarray, settings)
    sizes = {a.shape[0] if a.ndim else 0 for a in jax.tree.leaves(settings)}
    if members is not None:
        sizes.add(members)
    if len(sizes) != 1 or 0 in sizes:
        expected = "arrays with one entry a member"
        errors.fail("fit_many", "settings", expected, errors.describe(settings))
    return settings, sizes.pop()


def _initial(plan: Plan, keys: jax.Array, settings: Any, data: Any) -> Carry:
    def member(key: jax.Array, setting: Any) -> Carry:
        return initial(with_setting(plan, setting), key, data, (None, None, None))

    return jax.vmap(member)(keys, settings)


@functools.partial(jax.jit, donate_argnames="carry")
def _epoch(
    plan: Plan, carry: Carry, settings: Any, data: Any, validation: Any
) -> tuple[Carry, Row]:
    def member(carry: Carry, setting: Any) -> tuple[Carry, Row]:
        return run_epoch(with_setting(plan, setting), carry, data, validation)

    return jax.vmap(member)(carry, settings)


def _means(names: Sequence[str], row: Row) -> dict[str, float]:
    """The means over the members that have values."""
    means = {}
    for name in names:
        values = np.asarray(row.values[name])
        there = np.isfinite(values)
        means[name] = float(np.where(there, values, 0).sum() / max(there.sum(), 1))
    return means


def _kept(plan: Plan, carry: Carry) -> tuple[Any, Any]:
    """Parameters and states: for each member the best, where a rule restores them."""
    params, state = jax.vmap(plan.shown)(carry.params, carry.opt_state), carry.state
    for rule, best in zip(plan.patient, carry.watched, strict=True):
        if rule.restore:

            def pick(a: jax.Array, b: jax.Array, found: jax.Array = best.epoch > 0) -> jax.Array:
                return jnp.where(found.reshape(-1, *[1] * (a.ndim - 1)), a, b)

            params, state = jax.tree.map(pick, (best.params, best.state), (params, state))
    return params, state
