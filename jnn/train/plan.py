"""What a run is: all that its compiled program depends on, and the state that the program carries.

A plan is a value, and an argument of compiled programs: a pytree whose arrays are the optimizer's
rates. A second run with an equal network, loss and optimizer compiles nothing, whatever its rates.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.arithmetic import nonzero
from jnn.layers.combinators.head import Head, headless
from jnn.layers.combinators.repeat import gathered_but_repeated
from jnn.layers.core.layer import Layer
from jnn.optim.averages import Average
from jnn.optim.optimizer import Optimizer, adapt
from jnn.optim.template import with_rates, without_rates
from jnn.optim.wrappers import averaged
from jnn.rules.core.sharded import divided
from jnn.solve.drive import Solver
from jnn.status import Status
from jnn.train.layout import Layout
from jnn.train.program import entropy, means, precision
from jnn.train.program.precision import Precision, Scaling
from jnn.train.program.stopping import Patience, Still, StopRule, Watched
from jnn.value import as_value

Measure = Callable[[Any, Any], Any]


class RunStatus(Status):
    """How a run stands."""

    RUNNING = 0, "It is still running."
    DONE = 1, "All epochs were run."
    PATIENCE = 2, "The watched quantity did not improve any more."
    STILL = 3, "A step was no longer than the given delta."
    NOT_FINITE = 4, "A loss or a gradient was not finite."
    INTERRUPTED = 5, "It was interrupted."
    CALLED = 6, "A callback asked to stop."
    OUT_OF_DATA = 7, "The data ended before the run."
    CONVERGED = 8, "The solver has nothing left to do."
    STALLED = 9, "The solver finds no lower value in this precision."


TAKEN = ("loss", "penalty", "seconds", "evaluations")  # Columns that are no metrics.


@dataclass(frozen=True)
class Plan:
    """The settings of a run, as `fit` takes them.

    Attributes:
      batch_size: samples a step; of a solver, samples that are computed at a time.
      optimizer: without its rates, see `jnn.optim.without_rates`; a solver as it is.
      rates: those of the optimizer, which are no part of a program.
      average: of the parameters, kept beside the optimizer's state.
      accumulate: in how many parts a batch is computed, one after the other.
      limit: how many steps of an epoch are run, None for all: the last epoch of a run by steps.
    """

    net: Layer
    loss: Measure
    optimizer: Any
    batch_size: int
    metrics: tuple[tuple[str, Measure], ...] = ()
    augment: Any = None
    shuffle: bool = True
    stop: tuple[StopRule, ...] = ()
    not_finite: str | None = "stop"
    precision: Precision | None = None
    layout: Layout | None = None
    average: Average | None = None
    accumulate: int = 1
    penalty: Callable[[Any], Any] | None = None
    limit: int | None = None
    rates: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        measures = tuple((name, as_value(measure)) for name, measure in self.metrics)
        names = ("loss", "augment", "penalty")
        settled = {name: _as_values(getattr(self, name)) for name in names}
        for name, given in {**settled, "metrics": measures}.items():
            object.__setattr__(self, name, given)
        if isinstance(self.optimizer, Optimizer):
            template, rates = without_rates(self.optimizer)
            object.__setattr__(self, "optimizer", template)
            object.__setattr__(self, "rates", rates)

    @property
    def made(self) -> Optimizer:
        """The optimizer, with its rates and, around it, the average of the parameters."""
        optimizer = adapt(with_rates(self.optimizer, self.rates), "fit")
        return optimizer if self.average is None else averaged(optimizer, self.average)

    def shown(self, params: Any, opt_state: Any) -> Any:
        """The parameters that are validated and returned: their average, where one is kept."""
        if self.average is None:
            return params
        state = opt_state.average
        # Before the first step, which may have been passed over, it is of nothing.
        value, begun = self.average.value(state), state.count > 0
        return jax.tree.map(lambda a, p: jnp.where(begun, a, p), value, params)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the history that come from training."""
        return self.measures + (() if self.penalty is None else ("penalty",))

    @property
    def measures(self) -> tuple[str, ...]:
        """The loss and the metrics, by name."""
        return ("loss", *(name for name, _ in self.metrics))

    @property
    def solves(self) -> bool:
        """Whether the optimizer is a solver, which takes all data at each step."""
        return isinstance(self.optimizer, Solver)

    @property
    def patient(self) -> tuple[Patience, ...]:
        """The rules that watch a column, in the order of `Carry.watched`."""
        return tuple(rule for rule in self.stop if isinstance(rule, Patience))

    @property
    def steps_end(self) -> bool:
        """Whether a rule looks at single steps, and may end an epoch in its midst."""
        return any(isinstance(rule, Still) for rule in self.stop)

    @property
    def guarded(self) -> bool:
        """Whether each step is looked at, and passed over if it is not finite."""
        half = self.precision is not None and self.precision.dtype == "float16"
        return half or self.not_finite == "skip"

    def columns(self, validated: bool) -> tuple[str, ...]:
        """The names of a row's values, among which is whatever the rules of `stop` watch."""
        held_out = tuple(f"validation_{name}" for name in self.measures if validated)
        names = self.names + held_out + (("evaluations",) if self.solves else ())
        for rule in self.patient:
            if rule.on is not None:
                errors.choice("patience", "on", rule.on, names)
        return names

    def watched(self, rule: Patience | None, validated: bool) -> str:
        """The column that a rule watches; by default the loss that tells most."""
        usual = "validation_loss" if validated else "loss"
        return usual if rule is None or rule.on is None else rule.on

    def predict(
        self, params: Any, state: Any, x: Any, *, key: Any = None, train: bool = False
    ) -> tuple[Any, Any]:
        """The network's output and its new state, computed in the run's precision.

        A `Head` in place of the output where the loss may take the last product into itself.
        """
        params, x = precision.narrow(self.precision, (params, x))
        without = headless(self.net) if entropy.settings_of(self.loss) is not None else None
        with divided(self.layout and self.layout.division):
            params = gathered_but_repeated(params)
            if without is not None:
                y, new = without(params, state, x, key, train)
            else:
                y, new = self.net.apply(params, state, x, key=key, train=train)
        return y, new if self.precision is None else precision.like(new, state)

    def measure(self, y: Any, t: Any, weights: Any = None) -> tuple[means.Values, jax.Array]:
        """The means of the loss and the metrics over a batch, of what `predict` returned.

        Beside them is what the batch weighs.
        """
        with divided(self.layout and self.layout.division):
            return self._measure(y, t, weights)

    def _measure(self, y: Any, t: Any, weights: Any) -> tuple[means.Values, jax.Array]:
        given, weights = weights, means.weights_of(self.loss, t, weights)
        values, each = {}, {}
        if isinstance(y, Head) and entropy.fits(y, t):
            settings = entropy.settings_of(self.loss) or {}
            row = None if given is None else means.by_token(weights, jnp.shape(t))
            count = means.tokens(t, weights) if row is None else nonzero(row.sum())
            # The mean is made already, and with it its gradient.
            values["loss"] = entropy.loss(y, t, settings, count, row)
            each |= {name: entropy.metric(f, y, t) for name, f in self.metrics}
        else:
            y = y.output() if isinstance(y, Head) else y
            y = y if self.precision is None else y.astype(jnp.float32)
            each = {name: f(y, t) for name, f in (("loss", self.loss), *self.metrics)}
        values |= {name: means.weighted_mean(name, f, t, weights) for name, f in each.items()}
        return values, means.count_of(t, weights)


def _as_values(given: Any) -> Any:
    return tuple(map(as_value, given)) if isinstance(given, tuple | list) else as_value(given)


def _flat(plan: Plan) -> tuple[tuple[Any, ...], Plan]:
    return plan.rates, dataclasses.replace(plan, rates=())


jax.tree_util.register_pytree_node(
    Plan, _flat, lambda plan, rates: dataclasses.replace(plan, rates=tuple(rates))
)


class Carry(NamedTuple):
    """Everything that changes in a run: arrays only, so that it is what a checkpoint holds.

    Attributes:
      key: of the run; an epoch draws from it and its own number.
      epoch: how many were run.
      steps: how many were run, in all epochs.
      status: `RunStatus.RUNNING`, or why the run ended.
      skipped: steps that were passed over because they were not finite.
      scaling: the loss scale, in float16.
      watched: the best so far of each stopping rule.
    """

    params: Any
    state: Any
    opt_state: Any
    key: jax.Array
    epoch: jax.Array
    steps: jax.Array
    status: jax.Array
    skipped: jax.Array
    scaling: Scaling | tuple[()]
    watched: tuple[Watched, ...]


class Row(NamedTuple):
    """What an epoch tells: the means of the history's columns, float32, and the status after it.

    They are arrays of the device, or of NumPy once they were read.
    """

    values: dict[str, Any]
    status: Any


def with_setting(plan: Plan, setting: Any) -> Plan:
    """The plan of one member of an ensemble, whose optimizer is made of its setting."""
    if setting is None:
        return plan
    return dataclasses.replace(plan, optimizer=plan.optimizer(setting))


def metrics_of(metrics: Any) -> tuple[tuple[str, Measure], ...]:
    """Metrics as pairs of name and function, from functions, names, a sequence or a mapping."""
    if isinstance(metrics, Mapping):
        pairs = tuple(metrics.items())
    else:
        several = metrics if isinstance(metrics, tuple | list) else (metrics,)
        pairs = tuple((m if isinstance(m, str) else getattr(m, "__name__", ""), m) for m in several)
    known = {"accuracy": accuracy}
    found = []
    for name, measure in pairs:
        if isinstance(measure, str):
            errors.choice("fit", "metrics", measure, known)
            measure = known[measure]
        if not callable(measure) or not name or name in (*TAKEN, *dict(found)):
            expected = "functions of (prediction, target), each of another name"
            errors.fail("fit", "metrics", expected, repr(metrics))
        found.append((name, measure))
    return tuple(found)


def accuracy(y: jax.Array, t: jax.Array) -> jax.Array:
    """Whether the largest output is that of the target, one value a sample.

    >>> jnn.train.accuracy(jnp.array([[0.2, 0.8], [0.6, 0.4]]), jnp.array([1, 1])).tolist()
    [1.0, 0.0]

    Args:
      y: outputs, (n, classes).
      t: class indices, (n,), or one-hot or soft targets, (n, classes).
    """
    label = t if t.ndim == y.ndim - 1 else t.argmax(-1)
    return (y.argmax(-1) == label.astype(int)).astype(jnp.float32)
