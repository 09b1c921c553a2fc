"""Descent: the step against the gradient, and the pull of a penalty."""

from typing import Any, NamedTuple

import jax

from jnn.optim.optimizer import Optimizer, need, stateless
from jnn.optim.rates import Number, Rate, advance, at, check_numbers, check_rate, in_dtype_of, zero
from jnn.optim.selection import Where, only
from jnn.types import Grads, Params, State, Updates
from jnn.value import constructor


class DescendState(NamedTuple):
    """How many steps were taken, for a rate that follows a schedule."""

    step: jax.Array


@constructor
def descend(rate: Rate) -> Optimizer:
    """The end of most chains: `u = -rate_n g`, where a schedule gives rate_0, rate_1, ...

    >>> step = jnn.optim.descend(jnn.schedules.inverse_time(1.0))
    >>> state = step.init(0.0)
    >>> for _ in range(3):
    ...     u, state = step.update(jnp.array(6.0), state)
    >>> u.item(), state.step.item()
    (-2.0, 3)
    """
    check_rate("descend", rate)
    if not callable(rate):
        return stateless(lambda grads, _: jax.tree.map(lambda g: in_dtype_of(-rate, g) * g, grads))

    def init(params: Params) -> State:
        del params
        return DescendState(zero())

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        del params, extra
        now = at(rate, state.step)
        updates = jax.tree.map(lambda g: in_dtype_of(-now, g) * g, grads)
        return updates, DescendState(advance(state.step))

    return Optimizer(init, update)


@constructor
def gd(rate: Rate) -> Optimizer:
    """Gradient descent, `q_{n+1} = q_n - rate_n J_n` (D-1, D-2, H-118, X-54).

    To Delmas it is Euler's method on the flow dq/dt = -J. Hedberg adds that a sequence that goes
    down ends in a local minimum; it need not: F = x^2 with mu_i = 2^(-i-2) goes down for ever and
    stops at 0.2888 of the way.

    >>> optimizer = jnn.gd(0.1)
    >>> x = jnp.array(-2.0)
    >>> state = optimizer.init(x)
    >>> for _ in range(4):
    ...     updates, state = optimizer.update(2 * x, state)
    ...     x = jnn.apply_updates(x, updates)
    >>> round(x.item(), 4)
    -0.8192

    Args:
      rate: alpha of D, mu of H, eta of X: a number, or a schedule from the step to a number.
    """
    check_rate("gd", rate)
    return descend(rate)


@constructor
def decay(strength: Number, centre: Any = None, *, where: Where | None = None) -> Optimizer:
    """L2 regularisation: `g + strength (q - centre)`, the gradient of D-3 and X-62.

    Before `gd(alpha)` it makes `q_{n+1} = (1 - alpha lambda) q_n - alpha J_n` (D-4, X-63). After an
    adaptive direction and before `descend` it is decoupled, as in `adamw`.

    >>> optimizer = jnn.chain(jnn.optim.decay(0.5), jnn.gd(0.25))
    >>> q, j = jnp.array([2.0, 1.0]), jnp.array([6.0, 5.0])
    >>> updates, _ = optimizer.update(j, optimizer.init(q), q)
    >>> print(jnn.apply_updates(q, updates))
    [ 0.25  -0.375]

    Args:
      strength: lambda, at least 0.
      centre: the point of no penalty, a pytree like the parameters; None is the origin.
      where: which parameters are pulled, as in `only`; all by default. D-4 pulls every parameter,
        and so does X-63, whose bias is a row of the weights.
    """
    check_numbers("decay", strength=strength)

    def pull(grads: Any, params: Any) -> Any:
        need("decay", "params", params)
        if centre is None:
            return jax.tree.map(
                lambda g, q: g + in_dtype_of(strength, g) * q.astype(g.dtype), grads, params
            )

        def towards(g: jax.Array, q: jax.Array, c: jax.Array) -> jax.Array:
            return g + in_dtype_of(strength, g) * (q.astype(g.dtype) - in_dtype_of(c, g))

        return jax.tree.map(towards, grads, params, centre)

    transform = stateless(pull)
    return transform if where is None else only(where, transform)


def pulling(strength: Number, where: Where | None) -> list[Optimizer]:
    """Decoupled decay as a member of a chain: none where its strength is the number 0."""
    if isinstance(strength, int | float) and strength == 0:
        return []
    return [decay(strength, where=where)]
