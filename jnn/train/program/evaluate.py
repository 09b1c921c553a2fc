"""The means of the loss and the metrics over data from which nothing is learned."""

import functools
from typing import Any

import jax
from jax import lax

from jnn.train.placing import shard
from jnn.train.plan import Plan
from jnn.train.program.means import Values, added
from jnn.train.program.order import length, stacked

EVALUATED = 1024  # Samples a batch, where nothing is differentiated.


def assess(plan: Plan, params: Any, state: Any, batch: Any) -> tuple[Values, jax.Array]:
    """The means over a batch, and what it weighs."""
    x, t, *weights = shard(plan.layout, batch, length(batch))
    y, _ = plan.predict(params, state, x)
    return plan.measure(y, t, *weights)


def validate(plan: Plan, params: Any, state: Any, data: Any) -> Values:
    """The means over data, as columns of a row."""
    n = length(data)
    size = min(n, max(EVALUATED, plan.batch_size))
    count, rest = divmod(n, size)

    measure = functools.partial(assess, plan, params, state)
    if count == 1:
        sums = added(*measure(jax.tree.map(lambda a: a[:size], data)))
    else:
        sums = added(*lax.map(measure, stacked(data, count, size)))
    if rest:
        last = measure(jax.tree.map(lambda a: a[count * size :], data))
        sums = sums + added(*last)
    return as_validation(sums.means)


def as_validation(means: Values) -> Values:
    """Means over validation data, named so."""
    return {f"validation_{name}": mean for name, mean in means.items()}
