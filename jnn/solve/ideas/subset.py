"""A costly method on the few unknowns that matter most (§8)."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors
from jnn.solve.drive import Solver, State, check_kind
from jnn.solve.methods.bfgs import bfgs
from jnn.solve.problem import Box, Smooth
from jnn.solve.result import SolverStatus
from jnn.value import constructor
from jnn.xla.control import while_loop


@constructor
def active_subset(size: int, *, solver: Solver | None = None, steps: int = 10) -> Solver:
    """Steps of a costly method on the `size` unknowns with the steepest slopes (§8).

    They are chosen anew at each step of this solver, which is up to `steps` steps of the other
    on them alone, the rest held. A method whose cost or memory grows with the square of the
    unknowns, such as `bfgs`, so reaches problems that are too large for it. The subset's first
    value and gradient are those already known.

    Args:
      size: how many.
      solver: the costly method, `bfgs()` by default.
      steps: of that method before the choice is made again.

    >>> f = lambda x: jnp.sum(jnp.arange(1.0, 7.0) * (x - 1) ** 4 + (x - 1) ** 2)
    >>> bool(jnn.minimize(f, jnp.zeros(6), jnn.solve.active_subset(2)).success)
    True
    """
    errors.positive_integer("active_subset", "size", size)
    errors.positive_integer("active_subset", "steps", steps)
    method = bfgs() if solver is None else solver
    check_kind("active_subset", "solver", method, Smooth)

    def init(objective: Smooth, x: jax.Array) -> State:
        value, gradient, aux = objective.gradient(x)
        measure = objective.size(x, gradient)
        sane = jnp.isfinite(value) & jnp.isfinite(measure)
        status = jnp.where(sane, SolverStatus.RUNNING, SolverStatus.NOT_FINITE)
        return State(x, value, gradient, measure, aux, jnp.int32(1), status, ())

    def step(objective: Smooth, state: State) -> State:
        slopes = jnp.abs(objective.allow(state.x, -state.gradient))
        chosen = lax.top_k(slopes, min(size, state.x.size))[1]
        part = restrict(objective, state.x, chosen)
        known = replace(
            part,
            gradient=lambda z: (state.value, state.gradient[chosen], (state.gradient, state.aux)),
        )
        first = method.init(known, state.x[chosen])
        first = first._replace(evaluations=state.evaluations)

        def unfinished(carry: tuple[State, jax.Array]) -> jax.Array:
            return (carry[0].status == SolverStatus.RUNNING) & (carry[1] < steps)

        def turn(carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
            return method.step(part, carry[0]), carry[1] + 1

        last, _ = while_loop(unfinished, turn, (first, jnp.int32(0)))
        gradient, aux = last.aux
        x = state.x.at[chosen].set(last.x)
        moved = jnp.any(last.x != first.x)
        status = jnp.where(moved, SolverStatus.RUNNING, SolverStatus.STALLED)
        measure = objective.size(x, gradient)
        return State(x, last.value, gradient, measure, aux, last.evaluations, status, ())

    return Solver(init, step, "active_subset", method.bounded)


def restrict(objective: Smooth, x: jax.Array, chosen: jax.Array) -> Smooth:
    """The function of the chosen entries alone; its aux holds the gradient in all entries too."""

    def all_of(z: jax.Array) -> jax.Array:
        return x.at[chosen].set(z)

    def value(z: jax.Array) -> tuple:
        out, aux = objective.value(all_of(z))
        return out, (jnp.zeros_like(x), aux)

    def gradient(z: jax.Array) -> tuple:
        out, slope, aux = objective.gradient(all_of(z))
        return out, slope[chosen], (slope, aux)

    def product(z: jax.Array, v: jax.Array) -> jax.Array:
        return objective.product(all_of(z), jnp.zeros_like(x).at[chosen].set(v))[chosen]

    box = objective.box and Box(objective.box.low[chosen], objective.box.high[chosen])
    return Smooth(value, gradient, product, box=box)
