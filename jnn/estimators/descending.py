"""An optimizer as a solver: its steps on all samples, until the gradient is small."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from jnn.optim.optimizer import adapt, apply_updates
from jnn.solve.drive import Solver, State
from jnn.solve.objective import Objective
from jnn.solve.result import RUNNING


@cache
def descending(optimizer: Any) -> Solver:
    """The solver whose steps are the optimizer's; its last point need not be its best.

    >>> from jnn.estimators.descending import descending
    >>> found = jnn.minimize(lambda x: ((x - 2) ** 2).sum(), jnp.zeros(2), descending(jnn.gd(0.1)))
    >>> found.params.round(2).tolist(), found.success.item()
    ([2.0, 2.0], True)
    """
    optimizer = adapt(optimizer)

    def at(objective: Objective, x: jax.Array, evaluations: Any, memory: Any) -> State:
        value, gradient, aux = objective.gradient(x)
        size = objective.size(x, gradient)
        return State(x, value, gradient, size, aux, evaluations, jnp.int32(RUNNING), memory)

    def init(objective: Objective, x: jax.Array) -> State:
        return at(objective, x, jnp.int32(1), optimizer.init(x))

    def step(objective: Objective, state: State) -> State:
        updates, memory = optimizer.update(state.gradient, state.memory, state.x)
        return at(objective, apply_updates(state.x, updates), state.evaluations + 1, memory)

    return Solver(init, step, "descending")
