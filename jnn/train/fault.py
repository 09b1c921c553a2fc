"""Where a number stopped being finite: the epoch is run again, step by step, and looked at."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn.layers.combinators import stages
from jnn.train import precision
from jnn.train.epoch import Moving, length, shuffled, start, step
from jnn.train.plan import Carry, Plan


class Fault(NamedTuple):
    """The step of the whole run, counted from 1, and where in the network it happened."""

    step: int
    place: str


@functools.partial(jax.jit, static_argnames=("plan", "size"))
def _one(
    plan: Plan, moving: Moving, data: Any, i: jax.Array, key: jax.Array, size: int
) -> tuple[Moving, jax.Array]:
    batch = _batch(plan, data, i, size)
    moved, values = step(plan, moving, batch, jax.random.fold_in(key, i))
    finite = jnp.isfinite(values[0])
    for p in jax.tree.leaves(moved.params):
        finite &= jnp.isfinite(p).all()
    return moved, finite


def _batch(plan: Plan, data: Any, i: Any, size: int) -> Any:
    begin = i * plan.batch_size
    return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, begin, size), data)


def find(plan: Plan, carry: Carry, data: Any) -> tuple[Fault | None, Carry]:
    """The first step of this epoch that fails, and the carry before it."""
    n = length(data)
    data, key = jax.jit(shuffled, static_argnums=0)(plan, carry, data)
    moving = start(plan, carry)
    for i in range(-(-n // plan.batch_size)):
        size = min(plan.batch_size, n - i * plan.batch_size)
        moved, finite = _one(plan, moving, data, jnp.int32(i), key, size)
        if not finite:
            before = carry._replace(
                params=moving.params, state=moving.state, opt_state=moving.opt_state,
                scaling=moving.scaling, steps=carry.steps + i,
            )  # fmt: skip
            place = _place(plan, moving, _batch(plan, data, i, size))
            return Fault(int(carry.steps) + i + 1, place), before
        moving = moved
    return None, carry


def _place(plan: Plan, moving: Moving, batch: Any) -> str:
    """The first layer whose output is not finite, else the loss, else the last gradient."""
    x, t = batch
    if not _finite(x) or not _finite(t):
        return "the data"
    if not _finite(moving.params):
        return "the parameters"
    narrow = functools.partial(precision.narrow, plan.precision)
    params, state, x = narrow(moving.params), narrow(moving.state), narrow(x)

    def value(params: Any) -> jax.Array:
        y, _ = plan.net.apply(params, state, x, key=jax.random.key(0), train=True)
        return jnp.asarray(plan.loss(y.astype(jnp.float32), t)).mean()

    y = x
    for name, layer, p, s in stages(plan.net, params, state):
        y, _ = layer.apply(p, s, y, key=jax.random.key(0), train=True)
        if not _finite(y):
            return f"the output of layer {name}"
    if not _finite(value(params)):
        return "the loss"
    grads = jax.tree_util.tree_leaves_with_path(jax.grad(value)(params))
    for path, g in reversed(grads):  # Deltas flow backwards: the last one is where it began.
        if not _finite(g):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return f"the gradient of {name}"
    return "the optimizer's step"


def _finite(tree: Any) -> bool:
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return all(bool(jnp.isfinite(x).all()) for x in leaves)
