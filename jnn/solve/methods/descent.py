"""A step along a direction with a line search: what all gradient methods share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn import tree
from jnn.linesearch.search import Search
from jnn.solve.drive import Solver, State
from jnn.solve.problem import Smooth
from jnn.solve.result import SolverStatus

STEEP = 1.0  # In units of epsilon: the least cosine between direction and gradient.
PATIENCE = 10  # Steps in a row without progress.


class DescentMemory(NamedTuple):
    """The method's own memory, and what is left to try where it is as empty as at the start."""

    own: Any
    fresh: jax.Array  # 0: it is not. 1: the gradient. 2: the gradient in relative changes.
    lowest: jax.Array  # The value and the size of the gradient at the last progress,
    least: jax.Array
    idle: jax.Array  # and the steps since then.


class Move(NamedTuple):
    """One step, as a method learns from it."""

    old: State
    new: State
    direction: jax.Array
    slope: jax.Array  # Along the direction, where the step began.
    alpha: jax.Array  # The length of the step, in units of the direction.
    restarted: jax.Array  # The method's direction was refused: its memory no longer counts.
    moved: jax.Array  # Else the memory must be emptied as well.


class Method(NamedTuple):
    """How a method remembers, where it goes and how far it first tries."""

    begin: Callable[[jax.Array], Any]  # x -> memory
    direction: Callable[..., jax.Array]  # objective, memory, state, gradient -> direction
    update: Callable[[Any, Move], Any]  # memory, move -> memory
    start: Callable[..., jax.Array]  # memory, fresh, state, direction, slope -> first trial step
    # memory, the search, and what a search takes: where a method chooses among searches.
    look: Callable[..., Search] = lambda _, search, *phi, **start: search(*phi, **start)


def descent(
    method: Method, search: Callable[..., Search], name: str, bounded: bool = False
) -> Solver:
    """A solver that follows a method's directions by a line search.

    A direction that does not descend is replaced by the steepest one, with the memory emptied.
    A search that finds nothing better empties the memory. If it was empty, the gradient is scaled
    by the squares of the parameters, each of which so becomes its own unit: where they differ much
    in size, rounding the slope of one can hide that of the others. If that finds nothing better
    either, the solver has stalled. So it has after ten steps with neither a lower value nor a
    smaller gradient: where rounding hides the fall of the value, a search may be content with
    slopes. Within bounds, the line is the projected one, `P(x + alpha d)`.
    """

    def init(objective: Smooth, x: jax.Array) -> State:
        value, gradient, aux = objective.gradient(x)
        size = objective.size(x, gradient)
        sane = jnp.isfinite(value) & jnp.isfinite(size)
        status = jnp.where(sane, SolverStatus.RUNNING, SolverStatus.NOT_FINITE)
        memory = DescentMemory(method.begin(x), jnp.int32(1), value, size, jnp.int32(0))
        return State(x, value, gradient, size, aux, jnp.int32(1), status, memory)

    def step(objective: Smooth, state: State) -> State:
        own, fresh, lowest, least, idle = state.memory
        steepest = objective.allow(state.x, -state.gradient)
        direction = method.direction(objective, own, state, -steepest)
        direction = objective.allow(state.x, direction)
        direction = jnp.where(fresh == 2, state.x**2 * steepest, direction)
        slope = tree.dot(state.gradient, direction)
        square = tree.dot(steepest, steepest)
        # A direction that is all but orthogonal to the gradient descends by rounding only.
        noise = STEEP * jnp.finfo(slope.dtype).eps
        downhill = slope < -noise * jnp.sqrt(square * tree.dot(direction, direction))
        downhill &= slope > -jnp.inf
        direction = jnp.where(downhill, direction, steepest)
        slope = jnp.where(downhill, slope, -square)
        fresh = jnp.where(downhill, fresh, jnp.maximum(fresh, 1))

        def phi(alpha: jax.Array) -> tuple:
            there = state.x + alpha * direction
            x = objective.project(there)
            value, gradient, aux = objective.gradient(x)
            ahead = direction if objective.box is None else jnp.where(x == there, direction, 0)
            return value, tree.dot(gradient, ahead), (x, gradient, aux)

        origin = (state.value, slope, (state.x, state.gradient, state.aux))
        start = method.start(own, fresh > 0, state, direction, slope)
        found = method.look(own, search, phi, origin, start=start)
        x, gradient, aux = found.carry
        size = objective.size(x, gradient)
        progress = (found.value < lowest) | (size < 0.9 * least)
        lowest, least = jnp.minimum(lowest, found.value), jnp.minimum(least, size)
        idle = jnp.where(progress, 0, idle + 1)
        moved = (found.value < state.value) | found.success
        stalled = (fresh == 2) & ~moved | (idle >= PATIENCE)
        status = jnp.where(stalled, SolverStatus.STALLED, SolverStatus.RUNNING)
        evaluations = state.evaluations + found.evaluations
        new = State(x, found.value, gradient, size, aux, evaluations, status, ())
        move = Move(state, new, direction, slope, found.alpha, ~downhill, moved)
        fresh = jnp.where(moved, 0, fresh + 1)
        return new._replace(
            memory=DescentMemory(method.update(own, move), fresh, lowest, least, idle)
        )

    return Solver(init, step, name, bounded)


def unit_start(
    own: Any, fresh: jax.Array, state: State, direction: jax.Array, slope: jax.Array
) -> jax.Array:
    """Newton-like directions: 1 (§7.2), but a step of length at most 1 while nothing is known."""
    del own, state, slope
    square = tree.dot(direction, direction)
    return jnp.where(fresh & (square > 1), 1 / jnp.sqrt(square), 1)


def no_fall(x: jax.Array) -> jax.Array:
    """The fall of the value before the first step."""
    return jnp.zeros((), x.dtype)


def fall_start(
    fall: jax.Array, fresh: jax.Array, state: State, direction: jax.Array, slope: jax.Array
) -> jax.Array:
    """Directions of no natural length: the step that would lower the value as the last one did."""
    first = unit_start((), fresh, state, direction, slope)
    guess = -2 * fall / slope
    return jnp.where(fresh | ~(guess > 0) | ~jnp.isfinite(guess), first, guess)
