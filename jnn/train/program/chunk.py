"""The compiled programs of training on a stream: some steps, and the end of an epoch."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn.train.placing import laid_out, shard
from jnn.train.plan import Carry, Plan, Row, RunStatus
from jnn.train.program import step as steps
from jnn.train.program.epoch import conclude
from jnn.train.program.evaluate import assess, validate
from jnn.train.program.means import Totals, Values, added, nothing
from jnn.train.program.order import keys, length
from jnn.train.program.step import Moving, finite, step, were_made


class Underway(NamedTuple):
    """An epoch that is under way.

    Attributes:
      carry: its `epoch` is still that of the beginning, its `steps` are up to date.
      running: as in `Moving`.
      index: how many steps of this epoch were made.
      sums: over the samples so far.
    """

    carry: Carry
    running: Any
    index: jax.Array
    sums: Totals


def initial(plan: Plan, carry: Carry) -> Underway:
    """An epoch that begins."""
    return Underway(carry, steps.initial(plan, carry).running, jnp.int32(0), nothing(plan.names))


@functools.partial(jax.jit, donate_argnames="part")
def run_chunk(plan: Plan, part: Underway, batches: Any) -> tuple[Underway, Row, Totals]:
    """Steps on stacked batches; the row so far, which outlives the part, and the chunk's totals.

    Where a number is not finite and that ends the run, the chunk is undone. So is, in effect, all
    that was dispatched behind it.
    """
    carry = part.carry

    def run(part: Underway) -> tuple[Underway, Totals]:
        key = keys(carry.key, carry.epoch)[1]
        moving = Moving(carry.params, carry.state, carry.opt_state, carry.scaling, part.running,
                        carry.skipped)  # fmt: skip
        size = jax.tree.leaves(batches)[0].shape[1]

        def body(moving: Moving, item: Any) -> tuple[Moving, Any]:
            i, batch = item
            batch = shard(plan.layout, batch, size)
            return step(plan, moving, batch, jax.random.fold_in(key, part.index + i))

        count = length(batches)
        moved, (values, weights) = lax.scan(body, moving, (jnp.arange(count), batches))
        latest = nothing(plan.names) + added(values, weights, were_made(plan, moved, values))
        sums = part.sums + latest
        reached = carry._replace(
            params=moved.params, state=moved.state, opt_state=moved.opt_state,
            scaling=moved.scaling, skipped=moved.skipped, steps=carry.steps + count,
        )  # fmt: skip
        new = Underway(reached, moved.running, part.index + count, sums)
        if plan.not_finite != "stop":
            return new, latest
        ok = jnp.isfinite(sums.values["loss"]) & finite(moved.params)
        kept = jax.tree.map(lambda a, b: jnp.where(ok, a, b), new, part)
        status = jnp.where(ok, carry.status, RunStatus.NOT_FINITE)
        return kept._replace(carry=kept.carry._replace(status=status)), latest

    def rest(part: Underway) -> tuple[Underway, Totals]:
        return part, nothing(plan.names)

    part, latest = lax.cond(carry.status == RunStatus.RUNNING, run, rest, part)
    part = part._replace(carry=laid_out(plan.layout, part.carry.params, part.carry))
    return part, Row(part.sums.means, part.carry.status), latest


@functools.partial(jax.jit, donate_argnames="carry")
def close(
    plan: Plan, carry: Carry, running: Any, means: Values, validation: Any
) -> tuple[Carry, Row]:
    """The end of an epoch: its row, and the carry after it, as `run_epoch` gives them.

    `means` are those of training, and of a validation that is a stream itself.
    """
    moving = Moving(carry.params, carry.state, carry.opt_state, carry.scaling, running,
                    carry.skipped)  # fmt: skip
    lost = carry.status == RunStatus.NOT_FINITE
    values = {**means, "loss": jnp.where(lost, jnp.nan, means["loss"])}
    if validation is not None:
        params = plan.shown(carry.params, carry.opt_state)
        values |= validate(plan, params, carry.state, validation)
    return conclude(plan, carry, moving, values, 0)


@jax.jit
def tally(plan: Plan, carry: Carry, sums: Totals, batches: Any) -> Totals:
    """The sums with those of a chunk of validation data."""
    params = plan.shown(carry.params, carry.opt_state)
    each = lax.map(lambda batch: assess(plan, params, carry.state, batch), batches)
    return sums + added(*each)
