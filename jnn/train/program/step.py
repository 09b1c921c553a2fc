"""The step: objective, gradient, update, and the guard that passes over what is not finite."""

import collections
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn.optim.optimizer import apply_updates
from jnn.optim.transforms import global_norm
from jnn.train.plan import Carry, Plan
from jnn.train.program import precision
from jnn.train.program.means import Values
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
        x = plan.augment(jax.random.fold_in(key, 0), x)
    scale = moving.scaling.scale if moving.scaling != () else None

    def objective(params: Any) -> tuple[jax.Array, Any]:
        inner = jax.random.fold_in(key, 1)
        y, state = plan.predict(params, moving.state, x, key=inner, train=True)
        values, count = plan.measure(y, t, *weights)
        value = values["loss"] if scale is None else values["loss"] * scale
        return value, (state, (values, count))

    def gradient(params: Any) -> Any:
        grads, aux = jax.grad(objective, has_aux=True)(params)
        if scale is not None:
            grads = jax.tree.map(lambda g: g / scale, grads)
        return grads, aux

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
    return new, (values, count)


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
