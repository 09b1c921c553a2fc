"""Methods that divide each gradient by its usual size: AdaGrad, RMSProp, Adam and their kin.

Delmas tells them as one story, and so does this file: a direction, the gradient or its average,
over a size, and each method is a choice of two averages.
"""

from typing import Any, NamedTuple

import jax

from jnn import errors
from jnn.arithmetic import wide
from jnn.optim.averages import (
    Average,
    deviation,
    exponential,
    fading_maximum,
    largest,
    mean,
    rms,
    total,
    unbiased,
    unbiased_weight,
)
from jnn.optim.methods.descent import decay, descend
from jnn.optim.methods.momentum import follow, trace
from jnn.optim.optimizer import Optimizer, chain, stateless
from jnn.optim.rates import Number, Rate, advance, check_numbers, check_rate, in_dtype_of
from jnn.optim.selection import Where
from jnn.types import Grads, Params, State, Updates
from jnn.value import constructor


class OverSizeState(NamedTuple):
    """The states of what follows the direction and of what measures the size."""

    direction: Any
    size: Any


@constructor
def over_size(
    size: Average, direction: Optimizer | None = None, epsilon: Number = 1e-8
) -> Optimizer:
    """The transform of every adaptive method: `direction / (size + epsilon)`, entry by entry.

    The quotient is formed in float32 at least, and so are averages of squares. The direction's is
    of the dtype of the gradients; `widen` keeps all of it in float32.

    >>> sign = jnn.optim.over_size(jnn.optim.rms(jnn.optim.unbiased(0.9)))
    >>> g = jnp.array([5.0, -0.1])
    >>> print(sign.update(g, sign.init(g))[0].round(5))
    [ 1. -1.]

    Args:
      size: an average of gradients whose value is a size.
      direction: a transform that gives the numerator; the gradient itself by default.
      epsilon: added to the size, outside any root.
    """
    check_numbers("over_size", epsilon=epsilon)
    follower = stateless(lambda grads, _: grads) if direction is None else direction

    def init(params: Params) -> State:
        return OverSizeState(follower.init(params), size.init(params))

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        ahead, inner = follower.update(grads, state.direction, params, **extra)
        spread = size.update(grads, state.size)
        updates = divide(ahead, size.value(spread), epsilon)
        return updates, OverSizeState(inner, spread)

    return Optimizer(init, update)


def divide(direction: Any, size: Any, epsilon: Number) -> Any:
    """`direction / (size + epsilon)` of each leaf, formed in float32 at least."""

    def quotient(m: jax.Array, s: jax.Array) -> jax.Array:
        dtype = wide(s.dtype)
        s = s.astype(dtype)
        return (m.astype(dtype) / (s + in_dtype_of(epsilon, s))).astype(m.dtype)

    return jax.tree.map(quotient, direction, size)


@constructor
def adagrad(rate: Rate, *, average: str = "mean", epsilon: Number = 1e-8) -> Optimizer:
    """AdaGrad: the gradient over the root of the mean of all squares so far (D-8, D-9).

        a_n = a_{n-1} + (J_n^2 - a_{n-1}) / n
        q_{n+1} = q_n - rate J_n / (sqrt(a_n) + epsilon)

    D-9 gives q_n the gradient J_n, which would be implicit: it is the one of q_{n-1}, as in D-8.
    The mean that D-9 calls AdaGrad is not the classical method, which sums the squares, so that its
    rate falls like 1/sqrt(n); `average="sum"` does.

    >>> optimizer = jnn.adagrad(0.5)
    >>> j = jnp.array([6.0, 5.0])
    >>> print(optimizer.update(j, optimizer.init(j))[0].round(4))
    [-0.5 -0.5]

    Args:
      rate: a number or a schedule.
      average: `"mean"` (D-9) or `"sum"` (classical).
      epsilon: added outside the root.
    """
    check_rate("adagrad", rate)
    check_numbers("adagrad", epsilon=epsilon)
    errors.choice("adagrad", "average", average, ("mean", "sum"))
    size = rms(mean() if average == "mean" else total())
    return chain(over_size(size, epsilon=epsilon), descend(rate))


@constructor
def rmsprop(
    rate: Rate,
    beta: Number = 0.9,
    *,
    epsilon: Number = 1e-8,
    centred: bool = False,
    momentum: Number = 0.0,
) -> Optimizer:
    """RMSProp: the gradient over the root of the exponential mean of its squares (D-10).

        e_n = beta e_{n-1} + (1 - beta) J_n^2     q_{n+1} = q_n - rate J_n / (sqrt(e_n) + epsilon)

    As in D-10 the average is not corrected for its start at zero: the first step is larger by
    `1 / sqrt(1 - beta)`.

    >>> optimizer = jnn.rmsprop(0.5)
    >>> j = jnp.array([6.0, 5.0])
    >>> print(optimizer.update(j, optimizer.init(j))[0].round(4))
    [-1.5811 -1.5811]

    Args:
      rate: a number or a schedule.
      beta: what is kept of the average, in [0, 1).
      epsilon: added outside the root.
      centred: divides by the standard deviation instead, `sqrt(e_n(J^2) - e_n(J)^2)`.
      momentum: what is kept of the last quotients, in [0, 1): `t_n = momentum t_{n-1} + quotient`.
    """
    check_rate("rmsprop", rate)
    check_numbers("rmsprop", beta=beta, momentum=momentum, below=1)
    check_numbers("rmsprop", epsilon=epsilon)
    size = deviation(beta) if centred else rms(exponential(beta))
    still = isinstance(momentum, int | float) and momentum == 0
    rolling = [] if still else [trace(momentum)]
    return chain(over_size(size, epsilon=epsilon), *rolling, descend(rate))


def check_adam(name: str, rate: Any, beta1: Any, beta2: Any, epsilon: Any) -> None:
    """The settings that all of Adam's kin have."""
    check_rate(name, rate)
    check_numbers(name, beta1=beta1, beta2=beta2, below=1)
    check_numbers(name, epsilon=epsilon)


@constructor
def adam_direction(beta1: Number = 0.9, beta2: Number = 0.999, epsilon: Number = 1e-8) -> Optimizer:
    """What `adam` multiplies by its rate: `m / (sqrt(v) + epsilon)`, both averages corrected.

    >>> direction = jnn.optim.adam_direction()
    >>> g = jnp.array([5.0, -0.1])
    >>> print(direction.update(g, direction.init(g))[0].round(5))
    [ 1. -1.]
    """
    return over_size(rms(unbiased(beta2)), follow(unbiased(beta1)), epsilon)


@constructor
def adam(
    rate: Rate = 1e-3, beta1: Number = 0.9, beta2: Number = 0.999, *, epsilon: Number = 1e-8
) -> Optimizer:
    """Adam: the corrected average of gradients over the root of that of their squares (D-11).

        m_n = (beta1 (1 - beta1^{n-1}) m_{n-1} + (1 - beta1) J_n) / (1 - beta1^n)
        v_n = (beta2 (1 - beta2^{n-1}) v_{n-1} + (1 - beta2) J_n^2) / (1 - beta2^n)
        q_{n+1} = q_n - rate m_n / (sqrt(v_n) + epsilon)

    D-11 prints `1 - beta1^n` under the root too, and no epsilon. Its squares fade with beta2, and
    so must their correction: then the first step is `rate` in every entry; as printed it would be
    ten times that with the usual settings. As in D-9, the gradient is the one of the point that is
    left.

    >>> optimizer = jnn.adam(0.5)
    >>> j = jnp.array([6.0, 5.0])
    >>> print(optimizer.update(j, optimizer.init(j))[0].round(4))
    [-0.5 -0.5]

    Args:
      rate: alpha, a number or a schedule.
      beta1: what is kept of the average of gradients, in [0, 1).
      beta2: what is kept of the average of squares, in [0, 1).
      epsilon: added outside the root.
    """
    check_adam("adam", rate, beta1, beta2, epsilon)
    return chain(adam_direction(beta1, beta2, epsilon), descend(rate))


@constructor
def adamw(
    rate: Rate = 1e-3,
    beta1: Number = 0.9,
    beta2: Number = 0.999,
    *,
    epsilon: Number = 1e-8,
    decay: Number = 1e-2,
    where: Where | None = None,
) -> Optimizer:
    """Adam with decoupled weight decay: the pull does not pass through the averages.

        q_{n+1} = q_n - rate_n (m_n / (sqrt(v_n) + epsilon) + decay q_n)

    >>> optimizer = jnn.adamw(0.5, decay=0.5)
    >>> q, j = jnp.array([2.0, 1.0]), jnp.array([6.0, 5.0])
    >>> print(optimizer.update(j, optimizer.init(q), q)[0].round(4))
    [-1.   -0.75]

    Args:
      rate: a number or a schedule.
      beta1: what is kept of the average of gradients, in [0, 1).
      beta2: what is kept of the average of squares, in [0, 1).
      epsilon: added outside the root.
      decay: the strength of the pull to the origin.
      where: which parameters decay, as in `only`: e.g. `lambda path, x: x.ndim > 1`, no biases.
    """
    check_adam("adamw", rate, beta1, beta2, epsilon)
    check_numbers("adamw", decay=decay)
    return chain(adam_direction(beta1, beta2, epsilon), pull(decay, where=where), descend(rate))


pull = decay  # By a name that the keyword `decay` does not hide.


@constructor
def amsgrad(
    rate: Rate = 1e-3, beta1: Number = 0.9, beta2: Number = 0.999, *, epsilon: Number = 1e-8
) -> Optimizer:
    """AMSGrad: Adam with the largest `v_n` so far, so that the step of an entry never grows again.

        q_{n+1} = q_n - rate m_n / (sqrt(max(v_1, ..., v_n)) + epsilon)

    The paper corrects neither average for its start; here both are, and the largest is taken after.

    >>> optimizer = jnn.amsgrad(0.5)
    >>> j = jnp.array([6.0, 5.0])
    >>> print(optimizer.update(j, optimizer.init(j))[0].round(4))
    [-0.5 -0.5]
    """
    check_adam("amsgrad", rate, beta1, beta2, epsilon)
    size = rms(largest(unbiased(beta2)))
    return chain(over_size(size, follow(unbiased(beta1)), epsilon), descend(rate))


@constructor
def nadam(
    rate: Rate = 1e-3, beta1: Number = 0.9, beta2: Number = 0.999, *, epsilon: Number = 1e-8
) -> Optimizer:
    """Nadam: Adam whose average looks one step ahead, as Nesterov's momentum does.

        m*_n = (1 - w_{n+1}) m_n + w_n J_n   with the weights  w_n = (1 - beta1) / (1 - beta1^n)
        q_{n+1} = q_n - rate m*_n / (sqrt(v_n) + epsilon)

    That is the average of step n+1, if its gradient were the present one. In Dozat's notation, with
    e_n uncorrected: `beta1 e_n / (1 - beta1^{n+1}) + (1 - beta1) J_n / (1 - beta1^n)`.

    >>> optimizer = jnn.nadam(1.0)
    >>> j = jnp.array([6.0, 5.0])
    >>> print(optimizer.update(j, optimizer.init(j))[0].round(1))
    [-1.5 -1.5]
    """
    check_adam("nadam", rate, beta1, beta2, epsilon)
    average = unbiased(beta1)

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        del params, extra
        state = average.update(grads, state)
        now = unbiased_weight(beta1, state.count)
        then = unbiased_weight(beta1, advance(state.count))

        def look(m: jax.Array, g: jax.Array) -> jax.Array:
            return in_dtype_of(1 - then, m) * m + in_dtype_of(now, m) * g.astype(m.dtype)

        return jax.tree.map(look, state.value, grads), state

    ahead = Optimizer(average.init, update)
    return chain(over_size(rms(unbiased(beta2)), ahead, epsilon), descend(rate))


@constructor
def adamax(
    rate: Rate = 2e-3, beta1: Number = 0.9, beta2: Number = 0.999, *, epsilon: Number = 1e-8
) -> Optimizer:
    """AdaMax: Adam with the largest size of the gradient, fading, instead of the root mean square.

        u_n = max(beta2 u_{n-1}, |J_n|)        q_{n+1} = q_n - rate m_n / (u_n + epsilon)

    The paper has no epsilon, and divides 0 by 0 where no gradient came.

    >>> optimizer = jnn.adamax(0.5)
    >>> j = jnp.array([6.0, 0.0])
    >>> print(optimizer.update(j, optimizer.init(j))[0].round(4))
    [-0.5 -0. ]
    """
    check_adam("adamax", rate, beta1, beta2, epsilon)
    size = fading_maximum(beta2)
    return chain(over_size(size, follow(unbiased(beta1)), epsilon), descend(rate))
