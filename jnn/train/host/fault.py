"""Where a number stopped being finite: the epoch is run again, step by step, and looked at."""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn.layers.combinators.ragged import opened, ragged
from jnn.layers.combinators.stages import stages
from jnn.layers.core.ragged import array_of
from jnn.train.plan import Carry, Plan, with_setting
from jnn.train.program import precision
from jnn.train.program import step as steps
from jnn.train.program.epoch import shuffled
from jnn.train.program.means import ignored
from jnn.train.program.order import keys, length
from jnn.train.program.step import Moving, finite, step


class Fault(NamedTuple):
    """The step of the whole run, counted from 1, and where in the network it happened."""

    step: int
    place: str


def find(plan: Plan, carry: Carry, data: Any, setting: Any = None) -> tuple[Fault | None, Carry]:
    """The first step of this epoch that fails, and the carry before it.

    `setting` is that of the member of an ensemble.
    """
    n, size = length(data), plan.batch_size
    if plan.solves:  # It accepts no such point: it has begun at one.
        return Fault(int(carry.steps) + 1, _place(plan, steps.initial(plan, carry), data)), carry
    data, key = jax.jit(shuffled, static_argnums=0)(plan, carry, data)

    def batch(begin: int) -> Any:
        rows = min(size, n - begin)
        return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, begin, rows), data)

    return _replay(plan, carry, map(batch, range(0, n, size)), key, 0, setting)


def within(plan: Plan, carry: Carry, batches: Any, index: int) -> tuple[Fault | None, Carry]:
    """The same for a stream's chunk, whose first batch is that of step `index` of the epoch."""

    def batch(i: int) -> Any:
        return jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, i, keepdims=False), batches)

    key = keys(carry.key, carry.epoch)[1]
    return _replay(plan, carry, map(batch, range(length(batches))), key, index)


def _replay(
    plan: Plan,
    carry: Carry,
    batches: Iterable[Any],
    key: jax.Array,
    index: int,
    setting: Any = None,
) -> tuple[Fault | None, Carry]:
    moving = steps.initial(plan, carry)
    for i, batch in enumerate(batches):
        moved, ok = _step(plan, setting, moving, batch, jax.random.fold_in(key, index + i))
        if not ok:
            before = carry._replace(
                params=moving.params, state=moving.state, opt_state=moving.opt_state,
                scaling=moving.scaling, steps=carry.steps + i,
            )  # fmt: skip
            return Fault(int(carry.steps) + i + 1, _place(plan, moving, batch)), before
        moving = moved
    return None, carry


@jax.jit
def _step(
    plan: Plan, setting: Any, moving: Moving, batch: Any, key: jax.Array
) -> tuple[Moving, jax.Array]:
    moved, (values, _) = step(with_setting(plan, setting), moving, batch, key)
    return moved, jnp.isfinite(values["loss"]) & finite(moved.params)


def _place(plan: Plan, moving: Moving, batch: Any) -> str:
    """The first layer whose output is not finite, else the loss, else the last gradient."""
    x, t, *weights = batch
    net, shown = plan.net, x
    if net.spec.maker is ragged:  # What fills sequences up is no fault.
        net, shown = net.spec["inner"], opened(x, net.spec["pad"])
    if not _finite(shown) or not _finite(t):
        return "the data"
    if not _finite(moving.params):
        return "the parameters"
    narrow = functools.partial(precision.narrow, plan.precision)
    params, state, x, shown = narrow(moving.params), moving.state, narrow(x), narrow(shown)

    def value(params: Any) -> jax.Array:
        y, _ = plan.net.apply(params, state, x, key=jax.random.key(0), train=True)
        return plan.measure(y.astype(jnp.float32), t, *weights)[0]["loss"]

    y = shown
    for name, layer, p, s in stages(net, params, state):
        y, _ = layer.apply(p, s, y, key=jax.random.key(0), train=True)
        if not _finite(y):
            return f"the output of layer {name}" + _spanned("ids", array_of(shown))
    if not _finite(value(params)):
        kept = t if ignored(plan.loss) is None else t[t != ignored(plan.loss)]
        return "the loss" + _spanned("labels", kept, np.shape(y)[-1:])
    grads = jax.tree_util.tree_leaves_with_path(jax.grad(value)(params))
    for path, g in reversed(grads):  # Deltas flow backwards: the last one is where it began.
        if not _finite(g):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return f"the gradient of {name}"
    return "the optimizer's step"


def _spanned(what: str, numbers: Any, classes: tuple[int, ...] = ()) -> str:
    """From where to where integers go, which may be no ids or labels of the network."""
    if not hasattr(numbers, "dtype") or not jnp.issubdtype(numbers.dtype, jnp.integer):
        return ""
    least, most = int(numbers.min()), int(numbers.max())
    if classes and least >= 0 and most < classes[0]:
        return ""
    of = f", of which 0 to {classes[0] - 1} are classes" if classes else ""
    return f"; the {what} of its batch are {least} to {most}{of}"


def _finite(tree: Any) -> bool:
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return all(bool(jnp.isfinite(x).all()) for x in leaves)
