"""The loop that drives every solver: one `while_loop` over the solver's steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors, tree
from jnn.solve.problem import Smooth
from jnn.solve.result import History, Progress, SolverStatus, Tolerance
from jnn.value import written
from jnn.xla.control import while_loop


class State(NamedTuple):
    """Where a solver stands; `memory` is its own."""

    x: jax.Array
    value: jax.Array
    gradient: jax.Array
    size: jax.Array  # The largest entry of the gradient: what is left to do.
    aux: Any
    evaluations: jax.Array
    status: jax.Array
    memory: Any


class Solver(NamedTuple):
    """A method: `init(objective, x) -> State` and `step(objective, state) -> State`.

    A step never leaves a point for one that is worse beyond rounding: the last point is the best.
    `bounded` says whether the method heeds the objective's box, `solves` which kind of objective it
    is for: `Smooth` or `Squares`.
    """

    init: Callable[[Any, jax.Array], State]
    step: Callable[[Any, State], State]
    name: str = "solver"
    bounded: bool = False
    solves: Any = Smooth

    def __repr__(self) -> str:
        return written(self)


def check_kind(function: str, argument: str, solver: Solver, kind: Any) -> None:
    """The solver is one for that kind of objective."""
    if solver.solves is not kind:
        got = f"{solver.name}, one for {solver.solves.what}"
        expected, remedy = f"a solver for {kind.what}", f"It is for jnn.{solver.solves.driver}."
        errors.fail(function, argument, expected, got, remedy)


class Run(NamedTuple):
    """What the loop carries."""

    state: State
    steps: jax.Array
    history: History | None


def drive(
    solver: Solver,
    objective: Any,
    x: jax.Array,
    tol: Tolerance,
    watched: tuple[bool, bool],
    max_steps: jax.Array,
    report: Callable[[Progress], None] | None,
    room: int | None,
) -> Run:
    """Steps until a tolerance is met, the solver gives up, or the steps are used up.

    `watched` says which of the tolerances on value and step there are, `room` for how many steps
    there is a history, if for any.
    """
    state = solver.init(objective, objective.project(x))
    there = (state.status == SolverStatus.RUNNING) & (state.size <= tol.gradient)
    state = state._replace(status=jnp.where(there, SolverStatus.SMALL_GRADIENT, state.status))
    seen = None
    if room is not None:
        blank = jnp.full(room + 1, jnp.nan, state.value.dtype)
        seen = History(blank, blank, jnp.full(room + 1, -1, jnp.int32))

    def note(seen: History | None, state: State, steps: jax.Array) -> History | None:
        if seen is None:
            return None
        return History(
            seen.value.at[steps].set(state.value),
            seen.gradient_norm.at[steps].set(state.size),
            seen.evaluations.at[steps].set(state.evaluations),
        )

    def turn(run: Run) -> Run:
        old, steps = run.state, run.steps + 1
        new = solver.step(objective, old)
        new = new._replace(status=verdict(old, new, tol, watched))
        if report is not None:
            # The steps depend on each other, so that the calls come in order.
            told = Progress(steps, new.value, new.size, new.evaluations, new.x)
            jax.debug.callback(report, told)
        return Run(new, steps, note(run.history, new, steps))

    def unfinished(run: Run) -> jax.Array:
        return (run.state.status == SolverStatus.RUNNING) & (run.steps < max_steps)

    zero = jnp.int32(0)
    run = while_loop(unfinished, turn, Run(state, zero, note(seen, state, zero)))
    spent = (run.state.status == SolverStatus.RUNNING) & (run.steps >= max_steps)
    status = jnp.where(spent, SolverStatus.OUT_OF_STEPS, run.state.status)
    return run._replace(state=run.state._replace(status=status))


def verdict(old: State, new: State, tol: Tolerance, watched: tuple[bool, bool]) -> jax.Array:
    """The status after a step."""
    status = new.status
    on_value, on_step = watched
    if on_step:
        length = tree.norm(new.x - old.x)
        small = (length > 0) & (length <= tol.step * tree.norm(new.x))
        status = jnp.where(small, SolverStatus.SMALL_STEP, status)
    if on_value:
        moved = jnp.any(new.x != old.x)
        small = moved & (jnp.abs(old.value - new.value) <= tol.value * jnp.abs(new.value))
        status = jnp.where(small, SolverStatus.SMALL_CHANGE, status)
    status = jnp.where(new.size <= tol.gradient, SolverStatus.SMALL_GRADIENT, status)
    lowest = jnp.finfo(new.value.dtype).min / 16  # A search halves what overflows.
    return jnp.where(new.value <= lowest, SolverStatus.UNBOUNDED, status)
