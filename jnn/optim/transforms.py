"""Transforms of gradients and of updates: clipping, noise, centring, and plateaus of the loss."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.arithmetic import wide
from jnn.optim.optimizer import Optimizer, need, stateless
from jnn.optim.rates import Number, Rate, advance, at, check_numbers, check_rate, in_dtype_of, zero
from jnn.types import Grads, Params, State, Updates
from jnn.value import constructor


@constructor
def clip(bound: Number) -> Optimizer:
    """Clips every entry to `[-bound, bound]`. NaN stays NaN.

    >>> transform = jnn.optim.clip(1.0)
    >>> transform.update(jnp.array([3.0, -0.5]), transform.init(0.0))[0].tolist()
    [1.0, -0.5]
    """
    check_numbers("clip", bound=bound)

    def clipped(g: jax.Array) -> jax.Array:
        return jnp.clip(g, -in_dtype_of(bound, g), in_dtype_of(bound, g))

    return stateless(lambda grads, _: jax.tree.map(clipped, grads))


def squares(x: jax.Array) -> jax.Array:
    """The sum of the squares of an array, in float32 at least."""
    return jnp.sum(jnp.square(x.astype(wide(x.dtype))))


def _shrink(g: jax.Array, norm: jax.Array, bound: Number) -> jax.Array:
    """`g`, at most `bound / norm` of it. Where the norm is not finite, neither is the outcome."""
    large = norm > in_dtype_of(bound, norm)
    factor = jnp.where(large, in_dtype_of(bound, norm) / jnp.where(large, norm, 1), 1)
    return jnp.where(jnp.isfinite(norm), g * in_dtype_of(factor, g), g * in_dtype_of(norm, g))


@constructor
def clip_norm(bound: Number) -> Optimizer:
    """Shortens the gradient of each array to the norm `bound`, if it is longer.

    >>> transform = jnn.optim.clip_norm(2.5)
    >>> g = [jnp.array([3.0, 4.0]), jnp.array([0.5])]
    >>> [u.tolist() for u in transform.update(g, transform.init(g))[0]]
    [[1.5, 2.0], [0.5]]
    """
    check_numbers("clip_norm", bound=bound)

    def clipped(g: jax.Array) -> jax.Array:
        return _shrink(g, jnp.sqrt(squares(g)), bound)

    return stateless(lambda grads, _: jax.tree.map(clipped, grads))


def global_norm(tree: Any) -> jax.Array:
    """The Euclidean norm of all leaves together, summed in float32 at least.

    It passes over the entries once, so that it is infinite where their squares are; `tree.norm`
    scales them first, in twice the time.

    >>> jnn.optim.global_norm([jnp.array([3.0]), jnp.array([0.0, 4.0])]).item()
    5.0
    """
    parts = [squares(x) for x in jax.tree.leaves(tree)]
    dtype = max((p.dtype for p in parts), key=lambda d: d.itemsize, default=jnp.dtype(jnp.float32))
    return jnp.sqrt(sum((p.astype(dtype) for p in parts), jnp.zeros((), dtype)))


@constructor
def clip_global_norm(bound: Number) -> Optimizer:
    """Shortens the gradient as a whole to the norm `bound`, if it is longer: its direction stays.

    A gradient with an entry that is not finite, or whose squares overflow, becomes not finite in
    all entries; `skip_not_finite` passes over such steps.

    >>> transform = jnn.optim.clip_global_norm(2.5)
    >>> g = [jnp.array([3.0]), jnp.array([0.0, 4.0])]
    >>> [u.tolist() for u in transform.update(g, transform.init(g))[0]]
    [[1.5], [0.0, 2.0]]
    """
    check_numbers("clip_global_norm", bound=bound)

    def clipped(grads: Any, _: Any) -> Any:
        norm = global_norm(grads)
        return jax.tree.map(lambda g: _shrink(g, norm, bound), grads)

    return stateless(clipped)


@constructor
def centralise() -> Optimizer:
    """Takes from the gradient of each output its mean over the inputs: `g - mean_in(g)`.

    Weights are (..., in, out), so the mean is over all axes but the last; arrays of one axis, such
    as biases, stay. It holds the sum of the weights of an output where it is.

    >>> transform = jnn.optim.centralise()
    >>> g = jnp.array([[1.0, 0.0], [3.0, 0.0]])
    >>> transform.update(g, transform.init(g))[0].tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """

    def centred(g: jax.Array) -> jax.Array:
        if g.ndim < 2:
            return g
        x = g.astype(wide(g.dtype))
        mean = x.mean(tuple(range(g.ndim - 1)), keepdims=True)
        return (x - jnp.broadcast_to(mean, x.shape)).astype(g.dtype)

    return stateless(lambda grads, _: jax.tree.map(centred, grads))


class NoiseState(NamedTuple):
    """How many times noise was added."""

    step: jax.Array


@constructor
def noise(key: jax.Array, deviation: Rate) -> Optimizer:
    """Adds Gaussian noise to the gradient, of a standard deviation that may follow a schedule.

    The noise of step n is drawn from `fold_in(key, n)`, so that the state is the count alone, and
    a run that is resumed draws what it would have drawn.

    >>> transform = jnn.optim.noise(jax.random.key(0), jnn.schedules.inverse_time(0.1, power=0.5))
    >>> g = jnp.zeros(2)
    >>> u, state = transform.update(g, transform.init(g))
    >>> bool((u != 0).all()), state.step.item()
    (True, 1)
    """
    check_rate("noise", deviation)

    def init(params: Params) -> State:
        del params
        return NoiseState(zero())

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        del params, extra
        now, size = jax.random.fold_in(key, state.step), at(deviation, state.step)
        leaves, structure = jax.tree.flatten(grads)
        noisy = [
            g
            + in_dtype_of(size, g) * jax.random.normal(jax.random.fold_in(now, i), g.shape, g.dtype)
            for i, g in enumerate(leaves)
        ]
        return jax.tree.unflatten(structure, noisy), NoiseState(advance(state.step))

    return Optimizer(init, update)


class PlateauState(NamedTuple):
    """The factor reached, the best loss, how long ago it was, and the window being averaged."""

    scale: jax.Array
    best: jax.Array
    stale: jax.Array
    seen: jax.Array
    total: jax.Array


@constructor
def plateau(
    factor: Number = 0.5,
    patience: int = 10,
    *,
    window: int = 1,
    threshold: Number = 1e-4,
    floor: Number = 0.0,
) -> Optimizer:
    """Scales updates down by `factor` whenever the loss has stopped to fall.

    It stands last in a chain, and is fed with the loss: `update(grads, state, params, value=loss)`.
    Losses are averaged over `window` calls. A mean counts as a fall if it is below the best one by
    `threshold` of it; after `patience` means without a fall, the next one without reduces the
    scale.

    >>> optimizer = jnn.chain(jnn.gd(1.0), jnn.optim.plateau(0.1, patience=2))
    >>> g = jnp.array(1.0)
    >>> state = optimizer.init(g)
    >>> for loss in (3.0, 2.0, 2.0, 2.0, 2.0):
    ...     u, state = optimizer.update(g, state, value=loss)
    >>> round(u.item(), 4)
    -0.1

    Args:
      factor: by which the scale is multiplied, in [0, 1).
      patience: how many means without a fall are borne.
      window: how many calls make a mean, e.g. the steps of an epoch.
      threshold: the relative fall that counts.
      floor: below which the scale does not go.
    """
    check_numbers("plateau", factor=factor, below=1)
    check_numbers("plateau", patience=patience, threshold=threshold, floor=floor)
    errors.positive_integer("plateau", "window", window)

    def init(params: Params) -> State:
        del params
        one = jnp.ones((), float)
        return PlateauState(one, one * jnp.inf, zero(), zero(), 0 * one)

    def update(
        grads: Any, state: Any, params: Any = None, *, value: Any = None, **extra: Any
    ) -> tuple[Any, Any]:
        del params, extra
        loss = jnp.asarray(need("plateau", "value", value)).astype(state.total.dtype)
        if loss.ndim:
            errors.fail("plateau", "value", "a scalar, the loss", errors.describe(loss))
        seen, total = state.seen + 1, state.total + loss
        full = seen == window
        mean, best = total / window, state.best
        bar = jnp.where(jnp.isinf(best), best, best - in_dtype_of(threshold, best) * jnp.abs(best))
        fell = full & (mean < bar)
        stale = jnp.where(fell, 0, state.stale + full.astype(state.stale.dtype))
        weary = stale > patience
        lower = jnp.maximum(
            state.scale * in_dtype_of(factor, state.scale), in_dtype_of(floor, state.scale)
        )
        scale = jnp.where(weary, lower, state.scale)
        state = PlateauState(
            scale=scale,
            best=jnp.where(fell, mean, best),
            stale=jnp.where(weary, 0, stale),
            seen=jnp.where(full, 0, seen),
            total=jnp.where(full, jnp.zeros_like(total), total),
        )
        return jax.tree.map(lambda u: u * in_dtype_of(scale, u), grads), state

    return Optimizer(init, update)
