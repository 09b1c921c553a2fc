"""Full-batch solvers behind `fit`: an epoch is one step of the solver over all the data.

The objective is the same function at every evaluation, as line searches need: the mean loss over
the whole set, with one key and the layers' state as it was before the step. Where the loss is a sum
of squares, its terms are the residuals of a least-squares solver.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnn import tree
from jnn.solve.drive import State, verdict
from jnn.solve.problem import Smooth, Squares
from jnn.solve.result import SolverStatus, Tolerance
from jnn.train.placing import shard
from jnn.train.plan import Plan, RunStatus
from jnn.train.program.means import Values, added, parts_of_mean, weights_of
from jnn.train.program.step import penalised

ENDS = {
    SolverStatus.RUNNING: RunStatus.RUNNING,
    SolverStatus.SMALL_GRADIENT: RunStatus.CONVERGED,
    SolverStatus.SMALL_CHANGE: RunStatus.CONVERGED,
    SolverStatus.SMALL_STEP: RunStatus.CONVERGED,
    SolverStatus.STALLED: RunStatus.STALLED,
    SolverStatus.NOT_FINITE: RunStatus.NOT_FINITE,
    SolverStatus.UNBOUNDED: RunStatus.NOT_FINITE,
}


def initial(plan: Plan, params: Any, state: Any, key: jax.Array, data: Any) -> State:
    """The solver's state before the first step, which has cost one evaluation."""
    x, unravel = tree.ravel("fit", params)
    return plan.optimizer.init(_objective(plan, unravel, state, key, data), x)


def step(
    plan: Plan, at: State, params: Any, state: Any, key: jax.Array, data: Any
) -> tuple[State, Any, Any, Values, jax.Array]:
    """One step: the solver's state, parameters, layers' state, means at the new point, status."""
    _, unravel = tree.ravel("fit", params)
    new = plan.optimizer.step(_objective(plan, unravel, state, key, data), at)
    status = verdict(at, new, Tolerance(0.0), (False, False))
    new = new._replace(status=status)
    state, means = new.aux
    return new, unravel(new.x), state, means, status_of(status)


def status_of(status: jax.Array) -> jax.Array:
    """A solver's status as one of a run."""
    found = jnp.int32(RunStatus.RUNNING)
    for theirs, ours in ENDS.items():
        found = jnp.where(status == theirs, ours, found)
    return found


def _objective(plan: Plan, unravel: Any, state: Any, key: jax.Array, data: Any) -> Any:
    n, size = len(jax.tree.leaves(data)[0]), plan.batch_size
    full, rest = divmod(n, size)

    def piece(params: Any, state: Any, batch: Any, i: Any) -> tuple[Any, tuple[Values, Any]]:
        x, t, *weights = shard(plan.layout, batch, len(jax.tree.leaves(batch)[0]))
        inner = jax.random.fold_in(key, i)
        y, state = plan.predict(params, state, x, key=inner, train=True)
        return state, plan.measure(y, t, *weights)

    def total(params: Any, values: Values, new: Any) -> tuple[jax.Array, Any]:
        value = values["loss"]
        if plan.penalty is not None:
            values = values | {"penalty": penalised(plan, params)}
            value = value + values["penalty"].astype(value.dtype)
        return value, (new, values)

    def mean(params: Any) -> tuple[jax.Array, Any]:
        if full == 1 and not rest:
            new, (values, _) = piece(params, state, data, 0)
            return total(params, values, new)
        # What a piece saves for its gradient is computed again, so that one is held at a time.
        again = jax.checkpoint(piece)

        def body(inner: Any, item: Any) -> Any:
            return again(params, inner, *item)

        batches = jax.tree.map(lambda a: a[: full * size].reshape(full, size, *a.shape[1:]), data)
        new, measured = lax.scan(body, state, (batches, jnp.arange(full)))
        sums = added(*measured)
        if rest:
            last = jax.tree.map(lambda a: a[full * size :], data)
            new, measured = again(params, new, last, full)
            sums = sums + added(*measured)
        return total(params, sums.means, new)

    if plan.optimizer.solves is Squares:
        return Squares.of(_residuals(plan, unravel, state, key, data))
    return Smooth.of(lambda x: mean(unravel(x)))


def _residuals(plan: Plan, unravel: Any, state: Any, key: jax.Array, data: Any) -> Any:
    """The terms of the loss: `sum_i r_i^2 / 2` is its mean (H-104, H-105)."""
    n = len(jax.tree.leaves(data)[0])

    def residual(x: jax.Array) -> tuple[jax.Array, Any]:
        inputs, t, *weights = shard(plan.layout, data, n)
        inner = jax.random.fold_in(key, 0)
        y, new = plan.net.apply(unravel(x), state, inputs, key=inner, train=True)
        means, _ = plan.measure(y, t, *weights)  # Which checks the shapes.
        share = plan.loss.squares * parts_of_mean(y.shape[:-1], weights_of(plan.loss, t, *weights))
        root = jnp.broadcast_to(jnp.sqrt(share)[..., None], y.shape).astype(x.dtype)
        return jnp.ravel(root * (y - t)), (new, means)

    return residual
