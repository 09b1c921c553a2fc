"""Powell's method of conjugate directions, without gradients."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jnn import tree
from jnn.arithmetic import nonzero
from jnn.linesearch import Search, exact
from jnn.solve.drive import Solver, State
from jnn.solve.problem import Smooth
from jnn.solve.result import SolverStatus
from jnn.value import constructor
from jnn.xla.control import fori_loop


class Directions(NamedTuple):
    """The current set of directions, one a row, and the length of the last step along each."""

    rows: jax.Array
    lengths: jax.Array


@constructor
def powell(*, search: Callable[..., Search] = exact) -> Solver:
    """Line searches along a set of directions that becomes conjugate; only values are used.

    After a sweep the direction of the largest fall gives way to the sweep's whole displacement, if
    Powell's test says that the set does not degenerate. The solver has no gradient to test: it
    stops when a sweep lowers the value by no more than the dtype's epsilon of it, or by the
    tolerances on value and step. The reported gradient is NaN.

    >>> f = lambda x: jnp.abs(x[0] - 1) + (x[1] + 2) ** 2
    >>> jnn.minimize(f, jnp.zeros(2), method="powell").params.round(3).tolist()
    [1.0, -2.0]
    """

    def init(objective: Smooth, x: jax.Array) -> State:
        value, aux = objective.value(x)
        memory = Directions(jnp.eye(x.size, dtype=x.dtype), jnp.ones_like(x))
        unknown = jnp.full_like(x, jnp.nan)
        status = jnp.where(jnp.isfinite(value), SolverStatus.RUNNING, SolverStatus.NOT_FINITE)
        return State(x, value, unknown, value * jnp.nan, aux, jnp.int32(1), status, memory)

    def along(objective, x, value, aux, direction, start):
        def phi(alpha):
            point = x + alpha * direction
            value, aux = objective.value(point)
            return value, jnp.full_like(value, jnp.nan), (point, aux)

        origin = (value, jnp.zeros_like(value), (x, aux))
        return search(phi, origin, start=start)

    def step(objective: Smooth, state: State) -> State:
        rows, lengths = state.memory
        n = len(lengths)

        def sweep(i, carry):
            x, value, aux, evaluations, falls, lengths = carry
            found = along(objective, x, value, aux, rows[i], lengths[i])
            falls = falls.at[i].set(value - found.value)
            size = jnp.where(found.alpha == 0, lengths[i] / 4, jnp.abs(found.alpha))
            x, aux = found.carry
            evaluations += found.evaluations
            return x, found.value, aux, evaluations, falls, lengths.at[i].set(size)

        start = (
            state.x,
            state.value,
            state.aux,
            state.evaluations,
            jnp.zeros_like(lengths),
            lengths,
        )
        x, value, aux, evaluations, falls, lengths = fori_loop(0, n, sweep, start)

        # Powell's test at the point as far again as the sweep went.
        whole = x - state.x
        beyond, _ = objective.value(x + whole)
        worst = jnp.argmax(falls)
        fall, total = falls[worst], state.value - value
        bend = 2 * (state.value - 2 * value + beyond) * (total - fall) ** 2
        replace = (beyond < state.value) & (bend < fall * (state.value - beyond) ** 2)
        size = tree.norm(whole)
        replace &= size > 0
        unit = whole / nonzero(size)
        found = along(objective, x, value, aux, unit, nonzero(size))
        evaluations += 1 + found.evaluations
        used = replace & (found.value < value)
        (x2, aux2) = found.carry
        x, value, aux = jax.tree.map(
            lambda a, b: jnp.where(used, a, b), (x2, found.value, aux2), (x, value, aux)
        )
        rows = jnp.where(replace, rows.at[worst].set(rows[-1]).at[-1].set(unit), rows)
        moved = lengths.at[worst].set(lengths[-1]).at[-1].set(size)
        lengths = jnp.where(replace, moved, lengths)
        eps = jnp.finfo(value.dtype).eps
        done = state.value - value <= eps * jnp.abs(value)
        status = jnp.where(done, SolverStatus.SMALL_CHANGE, SolverStatus.RUNNING)
        memory = Directions(rows, lengths)
        return state._replace(
            x=x, value=value, aux=aux, evaluations=evaluations, status=status, memory=memory
        )

    return Solver(init, step, "powell")
