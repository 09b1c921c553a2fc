"""The optimizer: a pair of pure functions `(init, update)`, and how several make one.

A transform is the same pair: what it returns is a gradient made better rather than a step. So
clipping, averaging, scaling and whole methods are all `Optimizer`s, and `chain` joins them.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.arithmetic import wide
from jnn.types import Grads, Params, State, Updates
from jnn.value import constructor, written


class Update(Protocol):
    """What `Optimizer.update` is."""

    def __call__(
        self, grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        """The updates, to be added to the parameters, and the new state."""
        ...


class Optimizer(NamedTuple):
    """Gradients in, updates out; the state is a pytree of arrays that the caller holds.

    Others speak the same protocol, so ours serve in their loops and theirs in ours.

    >>> optimizer = jnn.gd(0.25)
    >>> params = {"w": jnp.array([2.0, 1.0])}
    >>> state = optimizer.init(params)
    >>> grads = {"w": jnp.array([6.0, 5.0])}
    >>> updates, state = optimizer.update(grads, state, params)
    >>> print(jnn.apply_updates(params, updates)["w"])
    [ 0.5  -0.25]

    Attributes:
      init: `init(params) -> state`.
      update: `update(grads, state, params=None, **extra) -> (updates, state)`. Structure, shapes
        and dtypes of the state never change. Extras go to whoever needs them: `value`, the loss,
        to `plateau`; `gradient`, the function from parameters to gradients, to the methods that
        ask for several gradients a step.
    """

    init: Callable[[Params], State]
    update: Update

    def __repr__(self) -> str:
        return written(self)


@constructor
def chain(*optimizers: Any) -> Optimizer:
    """Joins optimizers and transforms, each fed with what the one before returns.

    The state is the tuple of their states. Any pair `(init, update)` may be a member; one that
    takes no extra arguments is given none.

    >>> optimizer = jnn.chain(jnn.optim.clip(1.0), jnn.gd(0.5))
    >>> state = optimizer.init(jnp.zeros(2))
    >>> optimizer.update(jnp.array([3.0, -0.5]), state)[0].tolist()
    [-0.5, 0.25]
    """
    members = tuple(map(adapt, optimizers))

    def init(params: Params) -> State:
        return tuple(member.init(params) for member in members)

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        if not isinstance(state, tuple) or len(state) != len(members):
            expected = f"the states of the {len(members)} members"
            errors.fail(
                "chain", "state", expected, type(state).__name__, "Make it by init(params)."
            )
        states = []
        for member, inner in zip(members, state, strict=True):
            grads, inner = member.update(grads, inner, params, **extra)
            states.append(inner)
        return grads, tuple(states)

    return Optimizer(init, update)


def adapt(optimizer: Any, function: str = "chain") -> Optimizer:
    """A pair `(init, update)` as an `Optimizer`; extras that its update does not name are dropped.

    `function` is who is named where it is none.

    >>> class Plain:
    ...     def init(self, params):
    ...         return ()
    ...     def update(self, grads, state, params=None):
    ...         return -grads, state
    >>> jnn.optim.adapt(Plain()).update(jnp.ones(2), (), value=3.0)[0].tolist()
    [-1.0, -1.0]
    """
    if not callable(getattr(optimizer, "init", None)) or not callable(
        getattr(optimizer, "update", None)
    ):
        expected = "a pair of functions (init, update)"
        remedy = "Call the constructor, e.g. jnn.adam(1e-3)."
        errors.fail(function, "optimizer", expected, repr(optimizer), remedy, TypeError)
    parameters = inspect.signature(optimizer.update).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return Optimizer(optimizer.init, optimizer.update)
    return _with_extras(optimizer)


@constructor
def _with_extras(optimizer: Any) -> Optimizer:
    """Takes any extras, and hands on those that the update names."""
    named = set(inspect.signature(optimizer.update).parameters)

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        known = {name: value for name, value in extra.items() if name in named}
        return optimizer.update(grads, state, params, **known)

    return Optimizer(optimizer.init, update)


def apply_updates(params: Params, updates: Updates) -> Params:
    """Parameters plus updates, in the parameters' dtypes.

    The sum is formed in the wider dtype of the two, and rounded once.

    >>> jnn.apply_updates(jnp.ones(2, jnp.bfloat16), jnp.full(2, 0.5)).tolist()
    [1.5, 1.5]
    """

    def add(p: jax.Array, u: jax.Array) -> jax.Array:
        dtypes = jnp.result_type(p), jnp.result_type(u)
        wider = max(dtypes, key=lambda dtype: dtype.itemsize)
        dtype = wider if wider == dtypes[0] == dtypes[1] else wide(wider)
        return (jnp.asarray(p, dtype) + jnp.asarray(u, dtype)).astype(dtypes[0])

    return jax.tree.map(add, params, updates)


@constructor
def stateless(function: Callable[..., Any]) -> Optimizer:
    """A transform without state, from `function(grads, params) -> updates`.

    >>> double = jnn.optim.stateless(lambda grads, params: jax.tree.map(lambda g: 2 * g, grads))
    >>> double.update(jnp.ones(2), double.init(jnp.ones(2)))[0].tolist()
    [2.0, 2.0]
    """

    def init(params: Params) -> State:
        del params
        return ()

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        del extra
        return function(grads, params), state

    return Optimizer(init, update)


def need(function: str, argument: str, value: Any) -> Any:
    """`value`, or an error that tells how to give it to `update`."""
    if value is None:
        given = "params" if argument == "params" else f"params, {argument}=..."
        remedy = f"Call update(grads, state, {given})."
        errors.fail(function, argument, "given to update", None, remedy, TypeError)
    return value
