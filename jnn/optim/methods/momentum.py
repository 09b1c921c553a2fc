"""Momentum: everybody's, the documents' forms and what maps each onto the others, Nesterov's."""

from typing import Any, NamedTuple

import jax

from jnn import errors
from jnn.optim.averages import Average, exponential
from jnn.optim.methods.descent import descend
from jnn.optim.optimizer import Optimizer, chain
from jnn.optim.rates import (
    Number,
    Rate,
    advance,
    at,
    check_numbers,
    check_rate,
    in_dtype_of,
    zero,
    zeros_like,
)
from jnn.types import Grads, Params, State, Updates
from jnn.value import constructor


@constructor
def follow(average: Average) -> Optimizer:
    """A transform that puts a running average in the gradient's place.

    >>> smooth = jnn.optim.follow(jnn.optim.mean())
    >>> state = smooth.init(0.0)
    >>> for g in jnp.array([1.0, 3.0]):
    ...     m, state = smooth.update(g, state)
    >>> m.item()
    2.0
    """

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        del params, extra
        state = average.update(grads, state)
        return average.value(state), state

    return Optimizer(average.init, update)


class TraceState(NamedTuple):
    """The fading sum of what came, a pytree like the parameters."""

    trace: Any


@constructor
def trace(beta: Number, *, ahead: bool = False) -> Optimizer:
    """A transform that adds up, fading: `t_n = beta t_{n-1} + u_n`.

    With `ahead` it returns `u_n + beta t_n` instead of `t_n`: Nesterov's look ahead.

    >>> fading = jnn.optim.trace(0.5)
    >>> state = fading.init(0.0)
    >>> for u in jnp.array([4.0, 1.0]):
    ...     t, state = fading.update(u, state)
    >>> t.item()
    3.0
    """
    check_numbers("trace", beta=beta, below=1)

    def init(params: Params) -> State:
        return TraceState(zeros_like(params))

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        del params, extra

        def add(u: jax.Array, t: jax.Array) -> jax.Array:
            return u.astype(t.dtype) + in_dtype_of(beta, t) * t

        fading = jax.tree.map(add, grads, state.trace)
        updates = jax.tree.map(add, grads, fading) if ahead else fading
        return updates, TraceState(fading)

    return Optimizer(init, update)


@constructor
def momentum(rate: Rate, beta: Number = 0.9) -> Optimizer:
    """Gradient descent with momentum, as other libraries have it under this name.

        v_n = beta v_{n-1} + J_n        q_{n+1} = q_n - rate_n v_n

    At a constant rate it is the documents' `heavy_ball`. A changing rate scales the whole step
    here, and there only what is new in it. For an average in the place of the sum, whose steps are
    `1 - beta` times these, see `averaged_momentum`.

    >>> optimizer = jnn.momentum(0.1, beta=0.9)
    >>> q = jnp.array(1.0)
    >>> state = optimizer.init(q)
    >>> for _ in range(2):
    ...     updates, state = optimizer.update(2 * q, state)
    ...     q = jnn.apply_updates(q, updates)
    >>> round(q.item(), 4)
    0.46

    Args:
      rate: a number or a schedule.
      beta: what is kept of the sum, in [0, 1).
    """
    check_rate("momentum", rate)
    check_numbers("momentum", beta=beta, below=1)
    return chain(trace(beta), descend(rate))


@constructor
def heavy_ball(rate: Rate, beta: Number = 0.9) -> Optimizer:
    """The heavy ball, `x_{i+1} = x_i - mu_i J_i + p (x_i - x_{i-1})` (H-121).

    Hedberg writes `+ p Delta x_{i-1}` and leaves Delta undefined: it is `x_i - x_{i-1}`, the last
    step. At a constant rate it is `momentum`, put together of the same two in the other order.

    >>> optimizer = jnn.heavy_ball(0.1, beta=0.9)
    >>> x = jnp.array(1.0)
    >>> state = optimizer.init(x)
    >>> for _ in range(2):
    ...     updates, state = optimizer.update(2 * x, state)
    ...     x = jnn.apply_updates(x, updates)
    >>> round(x.item(), 4)
    0.46

    Args:
      rate: mu_i, a number or a schedule. A step keeps the rate with which it was made.
      beta: p, what is kept of the last step, in [0, 1).
    """
    check_rate("heavy_ball", rate)
    check_numbers("heavy_ball", beta=beta, below=1)
    return chain(descend(rate), trace(beta))


@constructor
def nesterov(rate: Rate, beta: Number = 0.9) -> Optimizer:
    """Nesterov's accelerated gradient: the gradient is taken where momentum is about to lead.

        x_{n+1} = y_n - rate_n J(y_n)        y_{n+1} = x_{n+1} + beta (x_{n+1} - x_n)

    The parameters are the points `y`. With the step `s_n = x_{n+1} - x_n = beta s_{n-1} - rate_n
    J(y_n)`, the two lines are `y_{n+1} = y_n - rate_n J(y_n) + beta s_n`: a look ahead.

    >>> optimizer = jnn.nesterov(0.1, beta=0.9)
    >>> y = jnp.array(1.0)
    >>> updates, _ = optimizer.update(2 * y, optimizer.init(y))
    >>> round(jnn.apply_updates(y, updates).item(), 4)
    0.62

    Args:
      rate: a number or a schedule.
      beta: what is kept of the last step, in [0, 1).
    """
    check_rate("nesterov", rate)
    check_numbers("nesterov", beta=beta, below=1)
    return chain(descend(rate), trace(beta, ahead=True))


@constructor
def averaged_momentum(rate: Rate, beta: Number = 0.9) -> Optimizer:
    """Momentum as an exponential average of gradients.

        m_{n+1} = beta m_n + (1 - beta) J_n        q_{n+1} = q_n - rate m_{n+1}

    It is the form of which Delmas says that `m = -gamma v`, `beta = 1 - gamma alpha` lead to it
    from the damped particle (after D-7). The relabelling is right, but the rate changes with it, to
    `alpha / gamma`; see `momentum_forms`. It takes steps `1 - beta` times those of `momentum` with
    the same settings.

    >>> optimizer = jnn.averaged_momentum(0.1, beta=0.9)
    >>> q = jnp.array(1.0)
    >>> updates, _ = optimizer.update(2 * q, optimizer.init(q))
    >>> round(jnn.apply_updates(q, updates).item(), 4)
    0.98

    Args:
      rate: a number or a schedule.
      beta: what is kept of the average, in [0, 1).
    """
    check_rate("averaged_momentum", rate)
    check_numbers("averaged_momentum", beta=beta, below=1)
    return chain(follow(exponential(beta)), descend(rate))


class ParticleState(NamedTuple):
    """The step's count and the velocity."""

    step: jax.Array
    velocity: Any


@constructor
def damped_particle(rate: Rate, friction: Number) -> Optimizer:
    """A particle that rolls down with friction, `d2q/dt2 = -J - gamma dq/dt` (D-5..7).

        v_{n+1} = -alpha J_n + (1 - gamma alpha) v_n        q_{n+1} = q_n + alpha v_{n+1}

    D-7 is called Euler's method, and is the semi-implicit one: q moves by the new velocity.

    >>> optimizer = jnn.damped_particle(0.5, friction=1.0)
    >>> q = jnp.array([2.0, 1.0])
    >>> updates, _ = optimizer.update(jnp.array([6.0, 5.0]), optimizer.init(q))
    >>> print(jnn.apply_updates(q, updates))
    [ 0.5  -0.25]

    Args:
      rate: alpha, the time step: a number or a schedule.
      friction: gamma, at least 0, and `gamma alpha` at most 1: else the velocity turns each step.
    """
    check_rate("damped_particle", rate)
    check_numbers("damped_particle", friction=friction)
    if isinstance(rate, int | float) and isinstance(friction, int | float) and friction * rate > 1:
        bound = f"at most 1 / rate = {1 / rate:g}"
        errors.fail("damped_particle", "friction", bound, f"{friction:g}", "Lower the rate.")

    def init(params: Params) -> State:
        return ParticleState(zero(), zeros_like(params))

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        del params, extra
        alpha = at(rate, state.step)

        def accelerate(g: jax.Array, v: jax.Array) -> jax.Array:
            return in_dtype_of(1 - friction * alpha, v) * v - in_dtype_of(alpha, v) * g.astype(
                v.dtype
            )

        velocity = jax.tree.map(accelerate, grads, state.velocity)
        updates = jax.tree.map(lambda v: in_dtype_of(alpha, v) * v, velocity)
        return updates, ParticleState(advance(state.step), velocity)

    return Optimizer(init, update)


class MomentumForms(NamedTuple):
    """One method in three forms, each with the settings of its constructor, in order."""

    damped_particle: tuple[float, float]
    heavy_ball: tuple[float, float]
    averaged_momentum: tuple[float, float]


def momentum_forms(**form: tuple[float, float]) -> MomentumForms:
    """The settings with which the three forms of momentum take the same steps.

    At a constant rate, as here, `momentum` is `heavy_ball`.

    With the step `s_n = q_{n+1} - q_n`, D-7 says `s_n = -alpha^2 J_n + (1 - gamma alpha) s_{n-1}`:
    a heavy ball of rate `alpha^2` and `beta = 1 - gamma alpha`. The average form of rate r says
    `s_n = -r (1 - beta) J_n + beta s_{n-1}`, hence `r = alpha^2 / (1 - beta) = alpha / gamma`.
    Where Delmas relabels (after D-7), the rate stays alpha; then the steps differ.

    >>> forms = jnn.optim.momentum_forms(damped_particle=(0.1, 2.0))
    >>> [tuple(round(x, 3) for x in form) for form in forms]
    [(0.1, 2.0), (0.01, 0.8), (0.05, 0.8)]
    >>> jnn.optim.momentum_forms(heavy_ball=(0.1, 0.9)).averaged_momentum[0].__round__(3)
    1.0

    Args:
      **form: one of `damped_particle=(rate, friction)`, `heavy_ball=(rate, beta)` and
        `averaged_momentum=(rate, beta)`, rates above 0 and friction too.
    """
    if len(form) != 1 or not set(form) <= set(MomentumForms._fields):
        expected = f"one of {', '.join(MomentumForms._fields)}"
        errors.fail("momentum_forms", "form", expected, ", ".join(form) or "none", kind=TypeError)
    ((name, (rate, other)),) = form.items()
    check_numbers("momentum_forms", rate=rate)
    if name == "damped_particle":
        mu, beta = rate**2, 1 - rate * other
    elif name == "heavy_ball":
        mu, beta = rate, other
    else:
        mu, beta = rate * (1 - other), other
    check_numbers("momentum_forms", beta=beta, below=1)
    alpha = mu**0.5
    return MomentumForms((alpha, (1 - beta) / alpha), (mu, beta), (mu / (1 - beta), beta))
