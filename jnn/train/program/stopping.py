"""When to stop before the last epoch: decided inside the compiled program."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors


class Watched(NamedTuple):
    """What `patience` carries: the best value, where it was, and the parameters there."""

    value: jax.Array
    epoch: jax.Array
    params: Any
    state: Any


@dataclass(frozen=True)
class Patience:
    """The settings of `patience`."""

    epochs: int
    on: str | None
    by: float
    larger: bool
    restore: bool


@dataclass(frozen=True)
class Still:
    """The settings of `still`."""

    delta: float


StopRule = Patience | Still


def rules_of(stop: StopRule | Sequence[StopRule]) -> tuple[StopRule, ...]:
    """One rule, or several, as a tuple."""
    rules = tuple(stop) if isinstance(stop, Sequence) else (stop,)
    for rule in rules:
        if not isinstance(rule, StopRule):
            got, remedy = errors.describe(rule), "Callbacks that return True stop too."
            expected = "jnn.train.patience(...), jnn.train.still(...) or several"
            errors.fail("fit", "stop", expected, got, remedy, TypeError)
    return rules


def patience(
    epochs: int, *, on: str | None = None, by: float = 0.0, larger: bool = False,
    restore: bool = True,
) -> Patience:  # fmt: skip
    """Stops when nothing got better for that many epochs, and takes the best parameters back.

    >>> jnn.train.patience(5, on="validation_accuracy", larger=True)
    Patience(epochs=5, on='validation_accuracy', by=0.0, larger=True, restore=True)

    Args:
      epochs: how many to wait.
      on: a column of the history; by default the loss, that of the validation where there is one.
      by: what counts as better, at least by how much.
      larger: whether larger is better.
      restore: whether the parameters of the best epoch are what the run returns, however it ended.
    """
    errors.positive_integer("patience", "epochs", epochs)
    errors.number("patience", "by", by, low=0)
    return Patience(epochs, on, float(by), larger, restore)


def still(delta: float) -> Still:
    """Stops after a step with `|x_{n+1} - x_n| <= delta`, over all parameters (X-54).

    >>> net = jnn.dense(1)
    >>> x = jnp.linspace(-1, 1, 8)[:, None]
    >>> data, stop = (x, 2 * x + 1), jnn.train.still(1e-3)
    >>> fit = jnn.fit(net, jnn.squared_error, jnn.gd(0.3), data, epochs=1000, batch_size=8,
    ...               stop=stop, progress=None)
    >>> fit.message, fit.epochs < 100
    ('A step was no longer than the given delta.', True)
    """
    errors.number("still", "delta", delta, low=0)
    return Still(float(delta))


def initial(rule: Patience, params: Any, state: Any) -> Watched:
    """Before the first epoch: any value is better."""
    copied = jax.tree.map(jnp.copy, (params, state)) if rule.restore else ((), ())
    worst = jnp.float32(-jnp.inf if rule.larger else jnp.inf)
    return Watched(worst, jnp.int32(0), *copied)


def improve(
    rule: Patience, watched: Watched, value: jax.Array, epoch: jax.Array, params: Any, state: Any
) -> Watched:
    """The best after one more epoch; NaN is never better."""
    value = value.astype(jnp.float32)
    gain = value - watched.value if rule.larger else watched.value - value
    better = (gain > rule.by) | (jnp.isinf(watched.value) & jnp.isfinite(value))

    kept = (params, state) if rule.restore else ((), ())
    return lax.cond(better, lambda: Watched(value, epoch, *kept), lambda: watched)
