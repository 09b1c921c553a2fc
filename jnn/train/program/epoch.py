"""The compiled program of training: one call runs an epoch, validation and decisions included.

The data stay on the device. A small set is permuted once an epoch, so that the batches of the scan
are slices; of a large one each batch is gathered, which needs no second copy and is faster there.
The last, shorter batch is a step of its own behind the scan, and as exact as the others.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors
from jnn.optim.transforms import global_norm
from jnn.train.placing import laid_out, shard
from jnn.train.plan import Carry, Plan, Row, RunStatus
from jnn.train.program import full, precision, stopping
from jnn.train.program import step as steps
from jnn.train.program.evaluate import validate
from jnn.train.program.means import Totals, Values, added
from jnn.train.program.order import keys, length, order, rows, stacked
from jnn.train.program.step import Moving, finite, step, were_made
from jnn.train.program.stopping import Still
from jnn.xla.flags import quick_jit

CACHED = 2**22  # Bytes: below, data are permuted once an epoch; above, batches are gathered.


def initial(plan: Plan, key: jax.Array, data: Any, given: Any) -> Carry:
    """The carry before the first step; `given` are params, state and opt_state, or None each."""
    params, state, opt_state = given
    if params is None:
        example = jax.tree.map(lambda a: a[: plan.batch_size], data[0])
        params, state = plan.net.init(jax.random.fold_in(key, 2**32 - 1), example)
    params = jax.tree.map(lambda p: jnp.array(p, p.dtype), params)
    state = () if state is None else state
    if opt_state is None:
        if plan.solves:
            opt_state = full.initial(plan, params, state, key, data)
        else:
            opt_state = plan.made.init(params)
    elif not plan.solves:
        made = jax.tree.structure(jax.eval_shape(plan.made.init, params))
        if jax.tree.structure(opt_state) != made:
            remedy = "Leave it out, or give the optimizer and the average that it is of."
            expected = "a state of this optimizer"
            errors.fail("fit", "opt_state", expected, "one of another structure", remedy)
    watched = tuple(stopping.initial(rule, params, state) for rule in plan.patient)
    # The carry is donated: it shares no array with what the caller holds.
    state, opt_state = jax.tree.map(jnp.copy, (state, opt_state))
    zero, scaling = jnp.int32(0), precision.initial(plan.precision)
    status = full.status_of(opt_state.status) if plan.solves else jnp.int32(RunStatus.RUNNING)
    return Carry(params, state, opt_state, key, zero, zero, status, zero, scaling, watched)


def run_epoch(plan: Plan, carry: Carry, data: Any, validation: Any) -> tuple[Carry, Row]:
    """One epoch and its row; after the run has ended it changes nothing, and the row is NaN."""

    def skip(carry: Carry) -> tuple[Carry, Row]:
        names = plan.columns(validation is not None)
        return carry, Row({name: jnp.float32(jnp.nan) for name in names}, carry.status)

    run = functools.partial(_run_epoch, plan, data=data, validation=validation)
    return lax.cond(carry.status == RunStatus.RUNNING, run, skip, carry)


epoch = jax.jit(run_epoch, donate_argnames="carry")


def once(plan: Plan, function: Callable[..., Carry], shardings: Any = None) -> Callable[..., Carry]:
    """`function(plan, ...)`, which makes a carry, compiled: fast, since it runs once.

    Of a solver it computes the objective, which may be long. `shardings` say how the carry lies.
    """
    compiler = jax.jit if plan.solves else functools.partial(quick_jit, exact=True)
    return functools.partial(compiler(function, out_shardings=shardings), plan)


def _run_epoch(plan: Plan, carry: Carry, data: Any, validation: Any) -> tuple[Carry, Row]:
    if plan.solves:
        moved, values, status = solve(plan, carry, data)
        values = {**values, "evaluations": moved.opt_state.evaluations}
        carry, count = carry._replace(status=status), 1
    else:
        moved, values = train(plan, carry, data)
        count = -(-length(data) // plan.batch_size) if plan.limit is None else plan.limit
    if validation is not None:
        params = plan.shown(moved.params, moved.opt_state)
        values = values | validate(plan, params, moved.state, validation)
    return conclude(plan, carry, moved, values, count)


def solve(plan: Plan, carry: Carry, data: Any) -> tuple[Moving, Values, jax.Array]:
    """One step of a solver over all data: what it leaves, the means there, and the status."""
    at, params, state, means, status = full.step(
        plan, carry.opt_state, carry.params, carry.state, carry.key, data
    )
    lengths = [rule.delta for rule in plan.stop if isinstance(rule, Still)]
    moved = global_norm(at.x - carry.opt_state.x)
    running = (moved > max(lengths),) if lengths else ()
    moving = Moving(params, state, at, carry.scaling, running, carry.skipped)
    return moving, means, status


def train(plan: Plan, carry: Carry, data: Any) -> tuple[Moving, Values]:
    """All steps of one epoch: what they leave, and the means of what they measured."""
    n, size = length(data), plan.batch_size
    order_key, step_key = keys(carry.key, carry.epoch)
    batches, fetch = data, lambda batch: batch
    if plan.shuffle:
        batches = order(order_key, n)
        if sum(a.nbytes for a in jax.tree.leaves(data)) <= CACHED:
            batches = rows(data, batches)
        else:
            fetch = functools.partial(rows, data)
    count, rest = divmod(n, size)
    if plan.limit is not None and plan.limit <= count:
        count, rest = plan.limit, 0
    moving = steps.initial(plan, carry)
    parts: list[Totals] = []
    if count:

        def body(moving: Moving, item: Any) -> tuple[Moving, Any]:
            i, batch = item
            batch = shard(plan.layout, fetch(batch), size)
            return step(plan, moving, batch, jax.random.fold_in(step_key, i))

        items = jnp.arange(count), stacked(batches, count, size)
        moving, (values, counts) = lax.scan(body, moving, items)
        parts.append(added(values, counts, were_made(plan, moving, values)))
    if rest:
        batch = fetch(jax.tree.map(lambda a: a[count * size :], batches))
        key = jax.random.fold_in(step_key, count)
        moving, (values, counts) = step(plan, moving, shard(plan.layout, batch, rest), key)
        parts.append(added(values, counts, were_made(plan, moving, values)))
    return moving, functools.reduce(operator.add, parts).means


def shuffled(plan: Plan, carry: Carry, data: Any) -> tuple[Any, jax.Array]:
    """The data in this epoch's order, and the key of its steps."""
    order_key, step_key = keys(carry.key, carry.epoch)
    return rows(data, order(order_key, length(data))) if plan.shuffle else data, step_key


def conclude(
    plan: Plan, carry: Carry, moved: Moving, values: Values, made: int
) -> tuple[Carry, Row]:
    """The end of an epoch of so many steps: its row, and the carry after it.

    The carry has what was learned; where that is not finite, what was there before.
    """
    values = {name: value.astype(jnp.float32) for name, value in values.items()}
    status = carry.status
    if moved.running != ():
        status = jnp.where(moved.running[0], status, RunStatus.STILL)
    count = carry.epoch + 1
    watched, params = [], plan.shown(moved.params, moved.opt_state)
    for rule, best in zip(plan.patient, carry.watched, strict=True):
        value = values[plan.watched(rule, "validation_loss" in values)]
        best = stopping.improve(rule, best, value, count, params, moved.state)
        ended = (status == RunStatus.RUNNING) & (count - best.epoch >= rule.epochs)
        status = jnp.where(ended, RunStatus.PATIENCE, status)
        watched.append(best)
    new = Carry(moved.params, moved.state, moved.opt_state, carry.key, count, carry.steps + made,
                status, moved.skipped, moved.scaling, tuple(watched))  # fmt: skip
    if plan.not_finite == "stop":
        ok = jnp.isfinite(values["loss"]) & finite(moved.params)
        new = lax.cond(ok, lambda: new, lambda: carry)
        new = new._replace(status=jnp.where(ok, new.status, RunStatus.NOT_FINITE))
    return laid_out(plan.layout, new.params, new), Row(values, new.status)
