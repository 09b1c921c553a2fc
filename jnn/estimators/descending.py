"""Solvers as settings: made when they are needed, and optimizers as solvers."""

from typing import Any

import jax
import jax.numpy as jnp

from jnn.optim.optimizer import adapt, apply_updates
from jnn.solve.drive import Solver, State
from jnn.solve.problem import Smooth
from jnn.solve.result import SolverStatus
from jnn.value import constructor


def made(solver: Any) -> Any:
    """The optimizer or solver, where a function that makes it was given instead.

    >>> from jnn.estimators.descending import made
    >>> made(jnn.lbfgs), made(jnn.adam(0.1))
    (lbfgs(), adam(0.1))
    """
    return solver() if callable(solver) and not hasattr(solver, "init") else solver


@constructor
def descending(optimizer: Any) -> Solver:
    """The solver whose steps, on all samples, are the optimizer's; its last point may not be best.

    >>> from jnn.estimators.descending import descending
    >>> found = jnn.minimize(lambda x: ((x - 2) ** 2).sum(), jnp.zeros(2), descending(jnn.gd(0.1)))
    >>> found.params.round(2).tolist(), found.success.item()
    ([2.0, 2.0], True)
    """
    optimizer = adapt(optimizer)

    def at(objective: Smooth, x: jax.Array, evaluations: Any, memory: Any) -> State:
        value, gradient, aux = objective.gradient(x)
        size = objective.size(x, gradient)
        return State(
            x, value, gradient, size, aux, evaluations, jnp.int32(SolverStatus.RUNNING), memory
        )

    def init(objective: Smooth, x: jax.Array) -> State:
        return at(objective, x, jnp.int32(1), optimizer.init(x))

    def step(objective: Smooth, state: State) -> State:
        updates, memory = optimizer.update(state.gradient, state.memory, state.x)
        return at(objective, apply_updates(state.x, updates), state.evaluations + 1, memory)

    return Solver(init, step, "descending")
