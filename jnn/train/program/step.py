"""The step: objective, gradient, update, and the guard that passes over what is not finite."""

import collections
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors
from jnn.optim.optimizer import apply_updates
from jnn.optim.transforms import global_norm
from jnn.train.augment import augmented
from jnn.train.placing import laid_out, shard
from jnn.train.plan import Carry, Plan
from jnn.train.program import precision
from jnn.train.program.means import Values, added, nothing
from jnn.train.program.order import length, stacked
from jnn.train.program.stopping import Still

# Entries: smaller arrays are looked at together. Each look is three kernels for XLA to compile.
SMALL = 2**16


class Moving(NamedTuple):
    """What a step changes."""

    params: Any
    state: Any
    opt_state: Any
    scaling: Any
    running: Any  # () where no rule looks at single steps.
    skipped: jax.Array


def initial(plan: Plan, carry: Carry) -> Moving:
    """What the first step of an epoch begins with."""
    running = (jnp.asarray(True),) if plan.steps_end else ()
    return Moving(carry.params, carry.state, carry.opt_state, carry.scaling, running,
                  carry.skipped)  # fmt: skip


Measured = tuple[Values, jax.Array]  # The means over a batch, and what it weighs.


def step(plan: Plan, moving: Moving, batch: Any, key: jax.Array) -> tuple[Moving, Measured]:
    """One step on one batch; where a rule has ended the run, none."""
    if moving.running == ():
        return _step(plan, moving, batch, key)

    def keep(moving: Moving) -> tuple[Moving, Measured]:
        return moving, ({name: jnp.float32(jnp.nan) for name in plan.names}, jnp.float32(0))

    def move(moving: Moving) -> tuple[Moving, Measured]:
        return _step(plan, moving, batch, key)

    return lax.cond(moving.running[0], move, keep, moving)


def _step(plan: Plan, moving: Moving, batch: Any, key: jax.Array) -> tuple[Moving, Measured]:
    x, t, *weights = batch
    if plan.augment is not None:
        x, t = augmented(plan.augment, jax.random.fold_in(key, 0), x, t)
    batch = x, t, *weights

    def gradient(params: Any) -> Any:
        find = _gradient if plan.accumulate == 1 else _gradient_in_parts
        inner = jax.random.fold_in(key, 1)
        grads, rest = find(plan, params, moving.state, moving.scaling, batch, inner)
        return laid_out(plan.layout, params, grads), rest

    grads, (state, (values, count)) = gradient(moving.params)
    # The only place where a step's optimizer is called.
    updates, opt_state = plan.made.update(
        grads, moving.opt_state, moving.params, value=values["loss"],
        gradient=lambda p: gradient(p)[0],
    )  # fmt: skip
    params = apply_updates(moving.params, updates)
    new = Moving(params, state, opt_state, moving.scaling, moving.running, moving.skipped)
    if plan.guarded:
        new = _guarded(plan, moving, new, values["loss"], grads)
    for rule in plan.stop:
        if isinstance(rule, Still):
            still = global_norm(updates) <= rule.delta
            new = new._replace(running=(new.running[0] & ~still,))
    return laid_out(plan.layout, params, new), (values, count)


def _gradient(
    plan: Plan, params: Any, state: Any, scaling: Any, batch: Any, key: jax.Array
) -> tuple[Any, tuple[Any, Measured]]:
    """Of the mean over a batch; beside it the layers' new state, and what was measured."""
    x, t, *weights = batch

    def objective(params: Any) -> tuple[jax.Array, Any]:
        y, new = plan.predict(params, state, x, key=key, train=True)
        values, count = plan.measure(y, t, *weights)
        value = values["loss"]
        if plan.penalty is not None:
            values["penalty"] = penalty = penalised(plan, params)
            value = value + penalty.astype(value.dtype)
        return value if scaling == () else value * scaling.scale, (new, (values, count))

    grads, aux = jax.grad(objective, has_aux=True)(params)
    if scaling != ():
        grads = jax.tree.map(lambda g: g / scaling.scale, grads)
    return grads, aux


def _gradient_in_parts(
    plan: Plan, params: Any, state: Any, scaling: Any, batch: Any, key: jax.Array
) -> tuple[Any, tuple[Any, Measured]]:
    """The same, of one part after the other, each as its weight is: memory for one alone."""
    size = -(-length(batch) // plan.accumulate)
    full, rest = divmod(length(batch), size)

    def body(so_far: Any, item: Any) -> tuple[Any, None]:
        (state, grads, sums), (i, part) = so_far, item
        inner = jax.random.fold_in(key, i)
        part = shard(plan.layout, part, length(part))
        some, (state, measured) = _gradient(plan, params, state, scaling, part, inner)
        grads = jax.tree.map(lambda a, g: a + g * measured[1].astype(g.dtype), grads, some)
        grads = laid_out(plan.layout, params, grads)
        return (state, grads, sums + added(*measured)), None

    begin = state, jax.tree.map(jnp.zeros_like, params), nothing(plan.names)
    so_far, _ = lax.scan(body, begin, (jnp.arange(full), stacked(batch, full, size)))
    if rest:
        so_far, _ = body(so_far, (full, jax.tree.map(lambda a: a[full * size :], batch)))
    state, grads, sums = so_far
    count = jnp.where(sums.count > 0, sums.count, 1)
    grads = jax.tree.map(lambda g: g / count.astype(g.dtype), grads)
    means = sums._replace(count=count).means
    return grads, (state, (means, sums.count))


def penalised(plan: Plan, params: Any) -> jax.Array:
    """What parameters cost by themselves."""
    assert plan.penalty is not None
    penalty = plan.penalty(params)
    if jnp.ndim(penalty):
        errors.fail("fit", "penalty", "a function of params with one number", str(penalty))
    return jnp.asarray(penalty)


def were_made(plan: Plan, moving: Moving, values: Values) -> Any:
    """Which of these steps were made; None for all, where the plan passes over none."""
    passes = plan.guarded or moving.running != ()
    return jnp.isfinite(values["loss"]) if passes else None


def _guarded(plan: Plan, old: Moving, new: Moving, value: jax.Array, grads: Any) -> Moving:
    """The step, or none if it is not finite."""
    ok = jnp.isfinite(value) & finite(grads)
    picked = jax.tree.map(lambda a, b: jnp.where(ok, a, b), new, old)
    if plan.precision is not None and old.scaling != ():
        picked = picked._replace(scaling=precision.adjust_scale(plan.precision, old.scaling, ok))
    return picked._replace(skipped=old.skipped + (~ok).astype(jnp.int32))


def finite(tree: Any) -> jax.Array:
    """Whether every entry of every array is."""
    alone, small = [], collections.defaultdict(list)
    for leaf in jax.tree.leaves(tree):
        if leaf.size > SMALL:
            alone.append(leaf)
        else:
            small[leaf.dtype].append(leaf.ravel())
    together = [jnp.concatenate(leaves) for leaves in small.values()]
    return functools.reduce(jnp.logical_and, [jnp.isfinite(a).all() for a in alone + together],
                            jnp.bool_(True))  # fmt: skip
