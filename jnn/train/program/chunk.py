"""The compiled programs of training on a stream: some steps, and the end of an epoch."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn.train.layout import spread
from jnn.train.plan import NOT_FINITE, RUNNING, Carry, Plan
from jnn.train.program.epoch import Moving, assess, conclude, evaluate, guarded, keys, start, step


class Part(NamedTuple):
    """An epoch that is under way: what has moved, and the sums over the samples so far.

    Attributes:
      carry: its `epoch` is still that of the beginning, its `steps` are up to date.
      running: as in `Moving`.
      index: how many steps of this epoch were made.
      sums: of the loss and the metrics.
      count: how many samples they are of.
    """

    carry: Carry
    running: Any
    index: jax.Array
    sums: jax.Array
    count: jax.Array


def opened(plan: Plan, carry: Carry) -> Part:
    """An epoch that begins."""
    zero = jnp.zeros(len(plan.names), jnp.float32)
    return Part(carry, start(plan, carry).running, jnp.int32(0), zero, jnp.float32(0))


@functools.partial(jax.jit, static_argnames="plan", donate_argnames="part")
def advance(plan: Plan, part: Part, batches: Any) -> tuple[Part, jax.Array]:
    """Steps on stacked batches; the status and the means so far, which outlive the part.

    Where a number is not finite and that ends the run, the chunk is undone. So is, in effect, all
    that was dispatched behind it.
    """
    carry = part.carry

    def run(part: Part) -> Part:
        key = keys(carry.key, carry.epoch)[1]
        moving = Moving(carry.params, carry.state, carry.opt_state, carry.scaling, part.running,
                        carry.skipped)  # fmt: skip
        size = jax.tree.leaves(batches)[0].shape[1]

        def body(moving: Moving, item: Any) -> tuple[Moving, Any]:
            i, batch = item
            batch = spread(plan.mesh, batch, size)
            moved, values = step(plan, moving, batch, jax.random.fold_in(key, part.index + i))
            weight = batch[2].sum() if len(batch) > 2 else jnp.float32(size)
            return moved, (jnp.stack([v.astype(jnp.float32) for v in values]), weight)

        count = len(jax.tree.leaves(batches)[0])
        moved, (values, weights) = lax.scan(body, moving, (jnp.arange(count), batches))
        made = jnp.ones(count, bool)
        if guarded(plan) or moved.running != ():
            made = jnp.isfinite(values[:, 0])
        sums = jnp.where(made[:, None], values * weights[:, None], 0).sum(0)
        reached = carry._replace(
            params=moved.params, state=moved.state, opt_state=moved.opt_state,
            scaling=moved.scaling, skipped=moved.skipped, steps=carry.steps + count,
        )  # fmt: skip
        new = Part(reached, moved.running, part.index + count, part.sums + sums,
                   part.count + jnp.where(made, weights, 0).sum())  # fmt: skip
        if plan.not_finite != "stop":
            return new
        finite = jnp.isfinite(sums[0])
        for p in jax.tree.leaves(moved.params):
            finite &= jnp.isfinite(p).all()
        kept = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, part)
        status = jnp.where(finite, carry.status, NOT_FINITE)
        return kept._replace(carry=kept.carry._replace(status=status))

    part = lax.cond(carry.status == RUNNING, run, lambda part: part, part)
    told = jnp.append(part.sums / part.count, part.carry.status.astype(jnp.float32))
    return part, told


@functools.partial(jax.jit, static_argnames="plan", donate_argnames="carry")
def close(
    plan: Plan, carry: Carry, running: Any, means: jax.Array, validation: Any, measured: Any
) -> tuple[Carry, jax.Array]:
    """The end of an epoch: its row, and the carry after it, as `epoch.one` gives them.

    `measured` are the means on a validation that is a stream itself.
    """
    moving = Moving(carry.params, carry.state, carry.opt_state, carry.scaling, running,
                    carry.skipped)  # fmt: skip
    row = list(means)
    row[0] = jnp.where(carry.status == NOT_FINITE, jnp.nan, row[0])
    if validation is not None:
        row += evaluate(plan, carry.params, carry.state, validation)
    return conclude(plan, carry, moving, [*row, *(() if measured is None else measured)], 0)


@functools.partial(jax.jit, static_argnames="plan")
def tally(plan: Plan, carry: Carry, sums: jax.Array, batches: Any) -> jax.Array:
    """Sums over samples of the loss and the metrics, and the number of samples, with a chunk's."""
    size = jax.tree.leaves(batches)[0].shape[1]

    def measure(batch: Any) -> jax.Array:
        values = assess(plan, carry.params, carry.state, batch)
        values = [size * v.astype(jnp.float32) for v in values]
        return jnp.stack([*values, jnp.float32(size)])

    return sums + lax.map(measure, batches).sum(0)
