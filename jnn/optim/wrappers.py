"""Optimizers around an optimizer: accumulating, skipping, widening, flattening, averaging."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from jnn import errors
from jnn.arithmetic import wide
from jnn.optim.averages import Average, mean
from jnn.optim.optimizer import Optimizer, adapt, apply_updates, need
from jnn.optim.rates import advance, zero
from jnn.types import Grads, Params, State, Updates
from jnn.value import constructor


class AccumulateState(NamedTuple):
    """The mean of the gradients since the last step, and the state of the optimizer inside."""

    gradients: Any
    inner: Any


@constructor
def accumulate(optimizer: Any, every: int) -> Optimizer:
    """One step every so many calls, with the mean of their gradients; zero updates in between.

    A large batch in small pieces: `every` calls on pieces of equal size take the step of the whole.

    >>> optimizer = jnn.optim.accumulate(jnn.gd(1.0), every=2)
    >>> state = optimizer.init(jnp.array(0.0))
    >>> for g in jnp.array([1.0, 3.0]):
    ...     u, state = optimizer.update(g, state)
    ...     print(u.item())
    0.0
    -2.0
    """
    inner, average = adapt(optimizer), mean()
    errors.positive_integer("accumulate", "every", every)

    def init(params: Params) -> State:
        return AccumulateState(average.init(params), inner.init(params))

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        gathered = average.update(grads, state.gradients)

        def step(_: None) -> Any:
            updates, kept = inner.update(average.value(gathered), state.inner, params, **extra)
            return updates, AccumulateState(average.init(grads), kept)

        def wait(_: None) -> Any:
            shapes = jax.eval_shape(step, None)[0]
            none = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
            return none, AccumulateState(gathered, state.inner)

        return lax.cond(gathered.count == every, step, wait, None)

    return Optimizer(init, update)


class SkipState(NamedTuple):
    """How many steps were skipped, in all and in a row up to now, and the state inside."""

    skipped: jax.Array
    in_a_row: jax.Array
    inner: Any


@constructor
def skip_not_finite(optimizer: Any) -> Optimizer:
    """Passes over a step whose gradients are not all finite: no update, the state inside unchanged.

    The counts in the state tell whoever watches the run.

    >>> optimizer = jnn.optim.skip_not_finite(jnn.gd(1.0))
    >>> state = optimizer.init(jnp.array(0.0))
    >>> u, state = optimizer.update(jnp.array(jnp.nan), state)
    >>> u.item(), state.skipped.item(), state.in_a_row.item()
    (0.0, 1, 1)
    """
    inner = adapt(optimizer)

    def init(params: Params) -> State:
        return SkipState(zero(), zero(), inner.init(params))

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        finite = jnp.asarray(True)
        for g in jax.tree.leaves(grads):
            finite &= jnp.isfinite(g).all()
        updates, kept = inner.update(grads, state.inner, params, **extra)
        updates = jax.tree.map(lambda u: jnp.where(finite, u, jnp.zeros_like(u)), updates)
        kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), kept, state.inner)
        skipped = jnp.where(finite, state.skipped, advance(state.skipped))
        in_a_row = jnp.where(finite, 0, advance(state.in_a_row))
        return updates, SkipState(skipped, in_a_row, kept)

    return Optimizer(init, update)


class WidenState(NamedTuple):
    """The parameters in float32 (or nothing), and the state of the optimizer inside."""

    master: Any
    inner: Any


@constructor
def widen(optimizer: Any, *, master: bool = False) -> Optimizer:
    """Keeps float32 statistics for parameters in half precision.

    The optimizer inside sees gradients and parameters in float32. Its updates stay so, and
    `apply_updates` rounds once. With `master` it also keeps the parameters in float32: steps too
    small for the half-precision ones add up there, and the parameters are its rounding.

    >>> optimizer = jnn.optim.widen(jnn.gd(2.0**-10), master=True)
    >>> q = jnp.ones(1, jnp.bfloat16)
    >>> state = optimizer.init(q)
    >>> for _ in range(8):
    ...     updates, state = optimizer.update(jnp.ones(1, jnp.bfloat16), state, q)
    ...     q = jnn.apply_updates(q, updates)
    >>> q.tolist()  # bfloat16 holds 1 - 2^-7, but 1 - 2^-10 rounds to 1.
    [0.9921875]
    """
    inner = adapt(optimizer)

    def init(params: Params) -> State:
        copy = _widened(params)
        return WidenState(copy if master else (), inner.init(copy))

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        if not master:
            copy = None if params is None else _widened(params)
            updates, kept = inner.update(_widened(grads), state.inner, copy, **extra)
            return updates, WidenState((), kept)
        need("widen", "params", params)
        updates, kept = inner.update(_widened(grads), state.inner, state.master, **extra)
        copy = apply_updates(state.master, updates)

        def move(q: jax.Array, exact: jax.Array) -> jax.Array:
            return exact.astype(q.dtype).astype(exact.dtype) - q.astype(exact.dtype)

        return jax.tree.map(move, params, copy), WidenState(copy, kept)

    return Optimizer(init, update)


def _widened(tree: Any) -> Any:
    """Half precisions as float32; fresh arrays, so that donating one tree leaves the other."""

    def cast(x: jax.Array) -> jax.Array:
        return jnp.array(x, wide(jnp.result_type(x)))

    return jax.tree.map(cast, tree)


@constructor
def flat(optimizer: Any) -> Optimizer:
    """Runs an entrywise optimizer on all parameters of a dtype as one vector.

    A tree of many small arrays then costs a few large operations instead of several for each, at
    the price of one copy in and one out. The state holds vectors, by dtype. Methods that look at
    arrays one by one, such as `lamb`, `muon` and `clip_norm`, mean something else on the vector.

    >>> optimizer = jnn.optim.flat(jnn.adam(0.1))
    >>> params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
    >>> updates, state = optimizer.update(params, optimizer.init(params), params)
    >>> jax.tree.map(jnp.shape, updates), state[0].size.value["float32"].shape
    ({'b': (2,), 'w': (3, 2)}, (8,))
    """
    inner = adapt(optimizer)

    def init(params: Params) -> State:
        return inner.init(_ravel(params)[0])

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        vectors, unravel = _ravel(grads)
        flat_params = None if params is None else _ravel(params)[0]
        updates, state = inner.update(vectors, state, flat_params, **extra)
        return unravel(updates), state

    return Optimizer(init, update)


def _ravel(tree: Any) -> tuple[dict[str, jax.Array], Callable[[Any], Any]]:
    """The leaves of each dtype as one vector, and the way back, whatever dtype comes."""
    leaves, structure = jax.tree.flatten(tree)
    kinds = [jnp.result_type(x).name for x in leaves]
    vectors, back = {}, {}
    for kind in sorted(set(kinds)):
        alike = [x for x, k in zip(leaves, kinds, strict=True) if k == kind]
        vectors[kind], back[kind] = ravel_pytree(alike)

    def unravel(vectors: dict[str, jax.Array]) -> Any:
        parts = {kind: iter(back[kind](vector)) for kind, vector in vectors.items()}
        return jax.tree.unflatten(structure, [next(parts[kind]) for kind in kinds])

    return vectors, unravel


class AveragedState(NamedTuple):
    """The state of the average of the parameters, and that of the optimizer inside."""

    average: Any
    inner: Any


@constructor
def averaged(optimizer: Any, average: Average | None = None) -> Optimizer:
    """Keeps an average of the parameters beside the optimizer; the steps do not change.

    `mean()`, the default, is Polyak's average, `unbiased(0.999)` the exponential one. The average
    of a state is `state.average.value`; it weighs the points after each step. It needs the
    parameters.

    >>> optimizer = jnn.optim.averaged(jnn.gd(0.5))
    >>> q = jnp.array(4.0)
    >>> state = optimizer.init(q)
    >>> for _ in range(2):
    ...     updates, state = optimizer.update(q, state, q)
    ...     q = jnn.apply_updates(q, updates)
    >>> q.item(), state.average.value.item()
    (1.0, 1.5)
    """
    inner, kept = adapt(optimizer), mean() if average is None else average

    def init(params: Params) -> State:
        return AveragedState(kept.init(params), inner.init(params))

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        need("averaged", "params", params)
        updates, inside = inner.update(grads, state.inner, params, **extra)
        after = kept.update(apply_updates(params, updates), state.average)
        return updates, AveragedState(after, inside)

    return Optimizer(init, update)
