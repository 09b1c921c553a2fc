"""`fit_many`: an ensemble, trained side by side in one program."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.layers.layer import Layer
from jnn.train.arguments import check, key_of, pair
from jnn.train.devices import place
from jnn.train.epoch import column, columns, first, one
from jnn.train.plan import DONE, RUNNING, WORDS, Carry, Plan, metrics_of
from jnn.train.precision import Precision
from jnn.train.progress import progress_of
from jnn.train.stopping import Patience, Rule


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
    """

    params: Any
    state: Any
    opt_state: Any
    history: dict[str, np.ndarray]
    epochs: np.ndarray
    steps: np.ndarray
    status: tuple[str, ...]

    def member(self, i: int) -> tuple[Any, Any]:
        """Parameters and state of one member."""
        return jax.tree.map(lambda a: a[i], (self.params, self.state))


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
    batch_size: int = 32,
    validation: Any = None,
    metrics: Any = (),
    shuffle: bool = True,
    augment: Callable[[jax.Array, Any], Any] | None = None,
    stop: Rule | Sequence[Rule] = (),
    not_finite: str | None = "stop",
    precision: Precision | None = None,
    progress: Any = "auto",
) -> Fits:
    """Trains many networks at once: other seeds, other learning rates, or both.

    All members pass through one program under `vmap`; each stops by itself and keeps its own
    status. The other arguments are those of `fit`.

    Args:
      net: a layer.
      loss: as in `fit`.
      optimizer: a pair `(init, update)`; with `settings` a function from a member's setting to one.
      data: inputs and targets, which all members share.
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
      not_finite: as in `fit`; the step is not looked for.
      precision: as in `fit`.
      progress: as in `fit`; what is shown are means over the members that run.

    >>> net, data = jnn.models.mlp([8, 2]), jnn.data.two_moons(200)
    >>> rates = jnp.array([1e-4, 1e-2, 1.0])
    >>> fits = jnn.fit_many(net, jnn.softmax_cross_entropy, jnn.adam, data, settings=rates,
    ...                     epochs=10, progress=None)
    >>> int(fits.history["loss"][:, -1].argmin()), fits.status
    (1, ('done', 'done', 'done'))
    """
    check("fit_many", net, loss, epochs, None, batch_size, not_finite)
    samples = pair("fit_many", "data", data)
    held_out = None if validation is None else pair("fit_many", "validation", validation)
    settings, count = _settings(settings, members)
    rules = tuple(stop) if isinstance(stop, Sequence) else (stop,)
    n = len(jax.tree.leaves(samples)[0])
    plan = Plan(net, loss, optimizer, min(batch_size, n), metrics_of(metrics), augment, shuffle,
                rules, not_finite, precision)  # fmt: skip
    names = columns(plan, held_out is not None)
    for rule in rules:
        if isinstance(rule, Patience):
            column(plan, rule.on, held_out is not None)
    root = key_of(key)
    numbers = jnp.zeros(count, int) if same else jnp.arange(count)
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(numbers)
    samples, held_out = place(None, (samples, held_out))
    carry = _begin(plan, keys, settings, samples)
    shown, rows = progress_of(progress), []
    shown.begin(epochs, 0, n * count)
    for number in range(epochs):
        carry, row = _epoch(plan, carry, settings, samples, held_out)
        rows.append(row)
        if number:  # One is dispatched ahead of what is read.
            rows[-2] = np.asarray(rows[-2])
            if (rows[-2][:, -1] != RUNNING).all():
                rows.pop()
                break
            if shown.due():
                shown.show(number, names, _mean(rows[-2]))
    table = np.stack([np.asarray(row) for row in rows], 1)
    shown.end(len(rows), names, _mean(table[:, -1]))
    return _result(plan, carry, names, table)


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


def _with(plan: Plan, setting: Any) -> Plan:
    """The plan of one member."""
    if setting is None:
        return plan
    return dataclasses.replace(plan, optimizer=plan.optimizer(setting))


@functools.partial(jax.jit, static_argnames="plan")
def _begin(plan: Plan, keys: jax.Array, settings: Any, data: Any) -> Carry:
    def member(key: jax.Array, setting: Any) -> Carry:
        return first(_with(plan, setting), key, data, (None, None, None))

    return jax.vmap(member)(keys, settings)


@functools.partial(jax.jit, static_argnames="plan", donate_argnames="carry")
def _epoch(
    plan: Plan, carry: Carry, settings: Any, data: Any, validation: Any
) -> tuple[Carry, jax.Array]:
    def member(carry: Carry, setting: Any) -> tuple[Carry, jax.Array]:
        return one(_with(plan, setting), carry, data, validation)

    return jax.vmap(member)(carry, settings)


def _mean(row: np.ndarray) -> np.ndarray:
    """The means over the members that have values."""
    there = np.isfinite(row)
    return np.where(there, row, 0).sum(0) / np.maximum(there.sum(0), 1)


def _result(plan: Plan, carry: Carry, names: tuple[str, ...], table: np.ndarray) -> Fits:
    params, state = carry.params, carry.state
    rules = [rule for rule in plan.stop if isinstance(rule, Patience)]
    for rule, best in zip(rules, carry.watched, strict=True):
        if rule.restore:

            def pick(a: jax.Array, b: jax.Array, found: jax.Array = best.epoch > 0) -> jax.Array:
                return jnp.where(found.reshape(-1, *[1] * (a.ndim - 1)), a, b)

            params, state = jax.tree.map(pick, (best.params, best.state), (params, state))
    status = [DONE if s == RUNNING else int(s) for s in np.asarray(carry.status)]
    history = {name: table[:, :, i] for i, name in enumerate(names)}
    return Fits(params, state, carry.opt_state, history, np.asarray(carry.epoch),
                np.asarray(carry.steps), tuple(WORDS[s] for s in status))  # fmt: skip
