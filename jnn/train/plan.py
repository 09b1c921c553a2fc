"""What a run is: all that its compiled program depends on, and the state that the program carries.

A plan is hashable and goes into `jit` as a static argument, so that a second run with the same
network, loss and optimizer compiles nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.layers.layer import Layer
from jnn.train.precision import Precision, Scaling
from jnn.train.stopping import Rule, Watched

Measure = Callable[[Any, Any], Any]

RUNNING, DONE, PATIENCE, STILL, NOT_FINITE, INTERRUPTED, CALLED = range(7)
WORDS = ("running", "done", "patience", "still", "not finite", "interrupted", "called")
MESSAGES = {
    RUNNING: "It is still running.",
    DONE: "All epochs were run.",
    PATIENCE: "The watched quantity did not improve any more.",
    STILL: "A step was no longer than the given delta.",
    NOT_FINITE: "A loss or a gradient was not finite.",
    INTERRUPTED: "It was interrupted.",
    CALLED: "A callback asked to stop.",
}


@dataclass(frozen=True)
class Plan:
    """The settings of a run, as `fit` takes them.

    Attributes:
      limit: how many steps of an epoch are run, None for all: the last epoch of a run by steps.
    """

    net: Layer
    loss: Measure
    optimizer: Any
    batch_size: int
    metrics: tuple[tuple[str, Measure], ...] = ()
    augment: Callable[[jax.Array, Any], Any] | None = None
    shuffle: bool = True
    stop: tuple[Rule, ...] = ()
    not_finite: str | None = "stop"
    precision: Precision | None = None
    mesh: jax.sharding.Mesh | None = None
    limit: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the history that come from training."""
        return ("loss", *(name for name, _ in self.metrics))


class Carry(NamedTuple):
    """Everything that changes in a run: arrays only, so that it is what a checkpoint holds.

    Attributes:
      key: of the run; an epoch draws from it and its own number.
      epoch: how many were run.
      steps: how many were run, in all epochs.
      status: `RUNNING`, or why the run ended.
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
        if not callable(measure) or not name or name in ("loss", "seconds", *dict(found)):
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
