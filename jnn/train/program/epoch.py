"""The compiled program of training: one call runs an epoch, validation and decisions included.

The data stay on the device. A small set is permuted once an epoch, so that the batches of the scan
are slices; of a large one each batch is gathered, which needs no second copy and is faster there.
The last, shorter batch is a step of its own behind the scan, and as exact as the others.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors
from jnn.optim.optimizer import adapt, apply_updates
from jnn.optim.transforms import global_norm
from jnn.train.layout import spread
from jnn.train.plan import NOT_FINITE, PATIENCE, RUNNING, STILL, Carry, Plan
from jnn.train.program import full, precision, stopping
from jnn.train.program.stopping import Still

EVALUATED = 1024  # Samples a batch, where nothing is differentiated.
CACHED = 2**22  # Bytes: below, data are permuted once an epoch; above, batches are gathered.


class Moving(NamedTuple):
    """What a step changes."""

    params: Any
    state: Any
    opt_state: Any
    scaling: Any
    running: Any  # () where no rule looks at single steps.
    skipped: jax.Array


def first(plan: Plan, key: jax.Array, data: Any, given: Any) -> Carry:
    """The carry before the first step; `given` are params, state and opt_state, or None each."""
    params, state, opt_state = given
    if params is None:
        example = jax.tree.map(lambda a: a[: plan.batch_size], data[0])
        params, state = plan.net.init(jax.random.fold_in(key, 2**32 - 1), example)
    params = jax.tree.map(lambda p: jnp.array(p, p.dtype), params)
    state = () if state is None else state
    if opt_state is None:
        if plan.solves:
            opt_state = full.opened(plan, params, state, key, data)
        else:
            opt_state = adapt(plan.optimizer, "fit").init(params)
    watched = tuple(stopping.watch(rule, params, state) for rule in plan.patient)
    # The carry is donated: it shares no array with what the caller holds.
    state, opt_state = jax.tree.map(jnp.copy, (state, opt_state))
    zero, scaling = jnp.int32(0), precision.begin(plan.precision)
    status = full.status_of(opt_state.status) if plan.solves else jnp.int32(RUNNING)
    return Carry(params, state, opt_state, key, zero, zero, status, zero, scaling, watched)


def one(plan: Plan, carry: Carry, data: Any, validation: Any) -> tuple[Carry, jax.Array]:
    """One epoch, and its row: the means of the history's columns, and the status after it.

    An epoch after the run has ended changes nothing, and its means are NaN.
    """
    count = len(columns(plan, validation is not None))

    def skip(carry: Carry) -> tuple[Carry, jax.Array]:
        nothing = jnp.full(count, jnp.nan, jnp.float32)
        return carry, jnp.append(nothing, carry.status.astype(jnp.float32))

    run = functools.partial(_epoch, plan, data=data, validation=validation)
    return lax.cond(carry.status == RUNNING, run, skip, carry)


begin = jax.jit(first, static_argnames="plan")
epoch = jax.jit(one, static_argnames="plan", donate_argnames="carry")


def _epoch(plan: Plan, carry: Carry, data: Any, validation: Any) -> tuple[Carry, jax.Array]:
    if plan.solves:
        moved, row, status = solve(plan, carry, data)
        carry, steps = carry._replace(status=status), 1
    else:
        moved, row = train(plan, carry, data)
        steps = -(-length(data) // plan.batch_size) if plan.limit is None else plan.limit
    if validation is not None:
        row += evaluate(plan, moved.params, moved.state, validation)
    if plan.solves:
        row.append(moved.opt_state.evaluations)
    return conclude(plan, carry, moved, row, steps)


def solve(plan: Plan, carry: Carry, data: Any) -> tuple[Moving, list[jax.Array], jax.Array]:
    """One step of a solver over all data: what it leaves, the means there, and the status."""
    at, params, state, means, status = full.step(
        plan, carry.opt_state, carry.params, carry.state, carry.key, data
    )
    lengths = [rule.delta for rule in plan.stop if isinstance(rule, Still)]
    moved = global_norm(at.x - carry.opt_state.x)
    running = (moved > max(lengths),) if lengths else ()
    moving = Moving(params, state, at, carry.scaling, running, carry.skipped)
    return moving, means, status


def train(plan: Plan, carry: Carry, data: Any) -> tuple[Moving, list[jax.Array]]:
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
    moving = start(plan, carry)
    measured: list = []  # Pairs: how many samples a batch had, and the values of each quantity.
    if count:

        def body(moving: Moving, item: Any) -> tuple[Moving, Any]:
            i, batch = item
            batch = spread(plan.mesh, fetch(batch), size)
            return step(plan, moving, batch, jax.random.fold_in(step_key, i))

        moving, values = lax.scan(body, moving, (jnp.arange(count), split(batches, count, size)))
        measured.append((size, values))
    if rest:
        batch = fetch(jax.tree.map(lambda a: a[count * size :], batches))
        key = jax.random.fold_in(step_key, count)
        moving, values = step(plan, moving, spread(plan.mesh, batch, rest), key)
        measured.append((rest, values))
    return moving, [_total(plan, measured, i) for i in range(len(plan.names))]


def split(data: Any, count: int, size: int) -> Any:
    """The first batches, stacked."""
    return jax.tree.map(lambda a: a[: count * size].reshape(count, size, *a.shape[1:]), data)


def start(plan: Plan, carry: Carry) -> Moving:
    """What the first step of an epoch begins with."""
    running = (jnp.asarray(True),) if any(isinstance(r, Still) for r in plan.stop) else ()
    return Moving(carry.params, carry.state, carry.opt_state, carry.scaling, running,
                  carry.skipped)  # fmt: skip


def shuffled(plan: Plan, carry: Carry, data: Any) -> tuple[Any, jax.Array]:
    """The data in this epoch's order, and the key of its steps."""
    order_key, step_key = keys(carry.key, carry.epoch)
    return rows(data, order(order_key, length(data))) if plan.shuffle else data, step_key


def keys(key: jax.Array, epoch: jax.Array | int) -> tuple[jax.Array, jax.Array]:
    """The keys of an epoch of a run: of its order, and of its steps."""
    order_key, step_key = jax.random.split(jax.random.fold_in(key, epoch))
    return order_key, step_key


def order(key: jax.Array, n: int) -> jax.Array:
    """A random order of n samples: random bits are sorted, twice.

    Up to 2^16 samples a number holds the bits above and the sample below, since XLA's sort of one
    array is several times as fast as that of pairs. Where bits are equal the samples stay in order,
    which the second sort, of samples in random order, makes good.
    """
    if n > 2**16:
        return jax.random.permutation(key, n)
    low = jnp.uint32(2 ** (n - 1).bit_length() - 1)
    index = jnp.arange(n, dtype=jnp.uint32)
    for bits in jax.random.bits(key, (2, n)):
        index = index[lax.sort(bits & ~low | jnp.arange(n, dtype=jnp.uint32)) & low]
    return index.astype(jnp.int32)


def rows(data: Any, index: jax.Array) -> Any:
    """The rows of that index, which is known to be right: unchecked, they are copied whole."""
    return jax.tree.map(lambda a: a.at[index].get(mode="promise_in_bounds"), data)


def _total(plan: Plan, measured: list, i: int) -> jax.Array:
    """The mean over all samples of a quantity, without the steps that were not made."""
    total, count = jnp.float32(0), 0
    every = not guarded(plan) and not any(isinstance(r, Still) for r in plan.stop)
    for size, values in measured:
        made = jnp.isfinite(values[0])
        value = values[i] if every else jnp.where(made, values[i], 0)
        total += size * value.sum()
        count += size * (made.size if every else made.sum())
    return total / jnp.asarray(count, jnp.float32)


def guarded(plan: Plan) -> bool:
    """Whether each step is looked at, and passed over if it is not finite."""
    return plan.not_finite == "skip" or (
        plan.precision is not None and plan.precision.dtype == "float16"
    )


def length(data: Any) -> int:
    """How many samples there are."""
    return len(jax.tree.leaves(data)[0])


def step(plan: Plan, moving: Moving, batch: Any, key: jax.Array) -> tuple[Moving, Any]:
    """One step on one batch; where a rule has ended the run, none."""
    if moving.running == ():
        return _step(plan, moving, batch, key)

    def keep(moving: Moving) -> tuple[Moving, Any]:
        return moving, (jnp.float32(jnp.nan),) * len(plan.names)

    def move(moving: Moving) -> tuple[Moving, Any]:
        return _step(plan, moving, batch, key)

    return lax.cond(moving.running[0], move, keep, moving)


def _step(plan: Plan, moving: Moving, batch: Any, key: jax.Array) -> tuple[Moving, Any]:
    x, t, *weights = batch
    if plan.augment is not None:
        x = plan.augment(jax.random.fold_in(key, 0), x)
    narrow = functools.partial(precision.narrow, plan.precision)
    scale = moving.scaling.scale if moving.scaling != () else None

    def objective(params: Any) -> tuple[jax.Array, Any]:
        y, state = plan.net.apply(
            narrow(params), narrow(moving.state), narrow(x), key=jax.random.fold_in(key, 1),
            train=True,
        )  # fmt: skip
        if plan.precision is not None:
            state, y = precision.like(state, moving.state), y.astype(jnp.float32)
        values = plan.measure(y, t, *weights)
        value = values[0] if scale is None else values[0] * scale
        return value, (state, values)

    def gradient(params: Any) -> Any:
        grads, aux = jax.grad(objective, has_aux=True)(params)
        if scale is not None:
            grads = jax.tree.map(lambda g: g / scale, grads)
        return grads, aux

    grads, (state, values) = gradient(moving.params)
    updates, opt_state = adapt(plan.optimizer).update(
        grads, moving.opt_state, moving.params, value=values[0], gradient=lambda p: gradient(p)[0]
    )
    params = apply_updates(moving.params, updates)
    new = Moving(params, state, opt_state, moving.scaling, moving.running, moving.skipped)
    if guarded(plan):
        new = _guarded(plan, moving, new, values[0], grads)
    for rule in plan.stop:
        if isinstance(rule, Still):
            still = global_norm(updates) <= rule.delta
            new = new._replace(running=(new.running[0] & ~still,))
    return new, values


def _guarded(plan: Plan, old: Moving, new: Moving, value: jax.Array, grads: Any) -> Moving:
    """The step, or none if it is not finite."""
    finite = jnp.isfinite(value)
    for g in jax.tree.leaves(grads):
        finite &= jnp.isfinite(g).all()

    def pick(a: Any, b: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(finite, a, b), a, b)

    picked = pick(new, old)
    if plan.precision is not None and old.scaling != ():
        picked = picked._replace(scaling=precision.adjust(plan.precision, old.scaling, finite))
    return picked._replace(skipped=old.skipped + (~finite).astype(jnp.int32))


def assess(plan: Plan, params: Any, state: Any, batch: Any) -> tuple[jax.Array, ...]:
    """Means of the loss and the metrics over a batch, without training."""
    x, t = spread(plan.mesh, batch, length(batch))
    narrow = functools.partial(precision.narrow, plan.precision)
    y, _ = plan.net.apply(narrow(params), narrow(state), narrow(x), train=False)
    if plan.precision is not None:
        y = y.astype(jnp.float32)
    return plan.measure(y, t)


def evaluate(plan: Plan, params: Any, state: Any, data: Any) -> list[jax.Array]:
    """Means of the loss and the metrics over data, without training."""
    n = length(data)
    size = min(n, max(EVALUATED, plan.batch_size))
    count, rest = divmod(n, size)

    measure = functools.partial(assess, plan, params, state)
    if count == 1:
        sums = [size * m for m in measure(jax.tree.map(lambda a: a[:size], data))]
    else:
        sums = [size * m.sum() for m in lax.map(measure, split(data, count, size))]
    if rest:
        last = measure(jax.tree.map(lambda a: a[count * size :], data))
        sums = [s + rest * m for s, m in zip(sums, last, strict=True)]
    return [s / n for s in sums]


def conclude(
    plan: Plan, carry: Carry, moved: Moving, means: list[jax.Array], steps: int
) -> tuple[Carry, jax.Array]:
    """The carry after an epoch: what was learned, or, after a number that is none, what was."""
    row = jnp.stack([x.astype(jnp.float32) for x in means])
    status = carry.status
    if moved.running != ():
        status = jnp.where(moved.running[0], status, STILL)
    count = carry.epoch + 1
    watched = []
    for rule, best in zip(plan.patient, carry.watched, strict=True):
        value = row[column(plan, rule.on, len(row) > len(plan.names) + plan.solves)]
        best = stopping.improve(rule, best, value, count, moved.params, moved.state)
        waited = count - best.epoch
        status = jnp.where((status == RUNNING) & (waited >= rule.epochs), PATIENCE, status)
        watched.append(best)
    new = Carry(moved.params, moved.state, moved.opt_state, carry.key, count, carry.steps + steps,
                status, moved.skipped, moved.scaling, tuple(watched))  # fmt: skip
    if plan.not_finite == "stop":
        finite = jnp.isfinite(row[0])
        for p in jax.tree.leaves(moved.params):
            finite &= jnp.isfinite(p).all()
        new = jax.tree.map(lambda a, b: a if a is b else jnp.where(finite, a, b), new, carry)
        new = new._replace(status=jnp.where(finite, new.status, NOT_FINITE))
    return new, jnp.append(row, new.status.astype(jnp.float32))


def column(plan: Plan, on: str | None, validated: bool) -> int:
    """Where a row has the quantity of that name; by default the loss that tells most."""
    names = columns(plan, validated)
    if on is None:
        return len(plan.names) if validated else 0
    errors.choice("patience", "on", on, names)
    return names.index(on)


def watchable(plan: Plan, validated: bool) -> tuple[str, ...]:
    """The names of a row's entries, among which is whatever the rules of `stop` watch."""
    for rule in plan.patient:
        column(plan, rule.on, validated)
    return columns(plan, validated)


def columns(plan: Plan, validated: bool) -> tuple[str, ...]:
    """The names of a row's entries."""
    held_out = tuple(f"validation_{name}" for name in plan.names if validated)
    return plan.names + held_out + (("evaluations",) if plan.solves else ())
