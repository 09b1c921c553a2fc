"""A weak method while it pays, then a strong one (§8)."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.solve.drive import Solver, State, check_kind
from jnn.solve.methods.lbfgs import lbfgs
from jnn.solve.methods.steepest import steepest_descent
from jnn.solve.problem import Smooth
from jnn.solve.result import SolverStatus
from jnn.value import constructor
from jnn.xla.control import cond


class SwitchingMemory(NamedTuple):
    """Which method's turn it is, both methods' memories, and the value at the start."""

    second: jax.Array
    weak: Any
    strong: Any
    first: jax.Array
    stalls: jax.Array  # Since the value last fell; two end the search.


@constructor
def switching(
    weak: Solver | None = None, strong: Solver | None = None, *, gain: float = 0.01
) -> Solver:
    """Steps of a cheap method as long as they pay, then those of a costly one (§8).

    The weak method is left after a step that adds less than a part `gain` to all that the value has
    fallen since the start. Either is left for the other where it stalls; the search has stalled
    where both do, one after the other. The method that is entered starts anew, from the point, the
    value and the gradient that are known.

    Args:
      weak: `steepest_descent(every=10)` by default.
      strong: `lbfgs()` by default.
      gain: see above.

    >>> f = lambda x: jnp.sum((x - 1) ** 4 + (x - 1) ** 2)
    >>> solver = jnn.solve.switching(jnn.steepest_descent(), jnn.newton_cg())
    >>> bool(jnn.minimize(f, jnp.zeros(3), solver).success)
    True
    """
    errors.number("switching", "gain", gain, 0, 1)
    weak = steepest_descent(every=10) if weak is None else weak
    strong = lbfgs() if strong is None else strong
    check_kind("switching", "weak", weak, Smooth)
    check_kind("switching", "strong", strong, Smooth)

    def init(objective: Smooth, x: jax.Array) -> State:
        state = weak.init(objective, x)
        later = enter(strong, objective, state)
        memory = SwitchingMemory(jnp.bool_(False), state.memory, later, state.value, jnp.int32(0))
        return state._replace(memory=memory)

    def step(objective: Smooth, state: State) -> State:
        old: SwitchingMemory = state.memory

        def one() -> tuple[State, Any, Any]:
            new = weak.step(objective, state._replace(memory=old.weak))
            return new._replace(memory=()), new.memory, old.strong

        def two() -> tuple[State, Any, Any]:
            new = strong.step(objective, state._replace(memory=old.strong))
            return new._replace(memory=()), old.weak, new.memory

        new, first, second = cond(old.second, two, one)
        stalled = new.status == SolverStatus.STALLED
        slow = state.value - new.value < gain * (old.first - new.value)
        leave = stalled | slow & ~old.second
        stalls = jnp.where(new.value < state.value, 0, old.stalls + stalled.astype(jnp.int32))
        fresh = (enter(s, objective, new) for s in (weak, strong))
        first, second = (
            jax.tree.map(lambda a, b: jnp.where(leave, a, b), a, b)
            for a, b in zip(fresh, (first, second), strict=True)
        )
        status = jnp.where(stalled & (stalls < 2), SolverStatus.RUNNING, new.status)
        memory = SwitchingMemory(old.second ^ leave, first, second, old.first, stalls)
        return new._replace(status=status, memory=memory)

    return Solver(init, step, "switching", weak.bounded and strong.bounded)


def enter(solver: Solver, objective: Smooth, state: State) -> Any:
    """The memory with which a method starts from a state that is known, without an evaluation."""
    known = replace(
        objective,
        value=lambda _: (state.value, state.aux),
        gradient=lambda _: (state.value, state.gradient, state.aux),
    )
    return solver.init(known, state.x).memory
