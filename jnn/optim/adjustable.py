"""Hyperparameters that live in the state, where a program under `jit` may change them."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.optim.optimizer import Optimizer, adapt
from jnn.optim.rates import Rate, advance, at, check_numbers, zero
from jnn.types import Grads, Params, State, Updates
from jnn.value import constructor


class AdjustableState(NamedTuple):
    """The step's count, the settings of the last step (or the next, if fixed), the state inside."""

    step: jax.Array
    settings: dict[str, jax.Array]
    inner: Any


@constructor
def adjustable(constructor: Callable[..., Any], **settings: Rate) -> Optimizer:
    """An optimizer whose settings are numbers in its state: read, scheduled or changed under `jit`.

    >>> optimizer = jnn.optim.adjustable(jnn.adam, rate=0.1, beta1=0.9)
    >>> q = jnp.array([2.0, 1.0])
    >>> state = optimizer.init(q)
    >>> state = jnn.optim.adjust(state, rate=0.5)
    >>> print(optimizer.update(q, state, q)[0].round(4))
    [-0.5 -0.5]

    Args:
      constructor: makes the optimizer from the settings; give the other ones by
        `functools.partial`.
      **settings: numbers, or schedules from the step to a number, whose value of the last step is
        then in the state.
    """
    if not settings:
        errors.fail("adjustable", "settings", "named numbers or schedules", "none", kind=TypeError)
    for name, number in settings.items():
        if not callable(number):
            check_numbers("adjustable", -math.inf, math.inf, **{name: number})
    scheduled = {name for name, number in settings.items() if callable(number)}

    def current(step: jax.Array, known: dict[str, jax.Array] | None = None) -> dict[str, jax.Array]:
        return {
            name: jnp.asarray(at(number, step), float)
            if known is None or name in scheduled
            else known[name]
            for name, number in settings.items()
        }

    def build(values: dict[str, Any]) -> Optimizer:
        return adapt(constructor(**values))

    build(current(jnp.zeros((), jnp.int32)))  # So that bad settings are refused at once.

    def init(params: Params) -> State:
        first = current(zero())
        return AdjustableState(zero(), first, build(first).init(params))

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        now = current(state.step, state.settings)
        updates, inner = build(now).update(grads, state.inner, params, **extra)
        return updates, AdjustableState(advance(state.step), now, inner)

    return Optimizer(init, update)


def adjust(state: Any, **settings: Any) -> Any:
    """A state with other settings, wherever in it an `adjustable` holds them.

    >>> optimizer = jnn.chain(jnn.optim.clip(1.0), jnn.optim.adjustable(jnn.gd, rate=0.1))
    >>> state = jnn.optim.adjust(optimizer.init(jnp.zeros(2)), rate=0.5)
    >>> state[1].settings["rate"].item()
    0.5

    Args:
      state: of an optimizer, chains and wrappers included.
      **settings: numbers, traced ones too. One that follows a schedule is set anew at the next
        step.
    """
    met: set[str] = set()
    known: set[str] = set()

    def visit(node: Any) -> Any:
        if not isinstance(node, AdjustableState):
            return node
        known.update(node.settings)
        changed = {
            name: jnp.asarray(settings[name], old.dtype) if name in settings else old
            for name, old in node.settings.items()
        }
        met.update(settings.keys() & node.settings.keys())
        inner = jax.tree.map(visit, node.inner, is_leaf=_is_adjustable)
        return node._replace(settings=changed, inner=inner)

    state = jax.tree.map(visit, state, is_leaf=_is_adjustable)
    for name in settings:
        if name not in met:
            listed = ", ".join(sorted(known)) or "none: make the optimizer by jnn.optim.adjustable"
            errors.fail("adjust", name, "a setting in the state", f"it holds {listed}")
    return state


def _is_adjustable(node: Any) -> bool:
    return isinstance(node, AdjustableState)
