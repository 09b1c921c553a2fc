"""The means of the loss and the metrics over data from which nothing is learned."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnn.train.layout import shard
from jnn.train.plan import Plan
from jnn.train.program.order import length, stacked
from jnn.train.program.step import Values

EVALUATED = 1024  # Samples a batch, where nothing is differentiated.


def assess(plan: Plan, params: Any, state: Any, batch: Any) -> Values:
    """The means over a batch."""
    x, t = shard(plan.mesh, batch, length(batch))
    y, _ = plan.predict(params, state, x)
    return plan.measure(y, t)


def evaluate(plan: Plan, params: Any, state: Any, data: Any) -> Values:
    """The means over data, as columns of a row."""
    n = length(data)
    size = min(n, max(EVALUATED, plan.batch_size))
    count, rest = divmod(n, size)

    measure = functools.partial(assess, plan, params, state)
    if count == 1:
        means = measure(jax.tree.map(lambda a: a[:size], data))
    else:
        means = jax.tree.map(jnp.sum, lax.map(measure, stacked(data, count, size)))
    sums = jax.tree.map(lambda m: size * m, means)
    if rest:
        last = measure(jax.tree.map(lambda a: a[count * size :], data))
        sums = jax.tree.map(lambda s, m: s + rest * m, sums, last)
    return as_validation({name: s / n for name, s in sums.items()})


def as_validation(means: Values) -> Values:
    """Means over validation data, named so."""
    return {f"validation_{name}": mean for name, mean in means.items()}
