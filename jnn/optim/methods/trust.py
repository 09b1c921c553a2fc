"""Trust: RAdam's in its mean square, by degrees, and LAMB's in each array, by its norm."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn.optim.averages import rms, unbiased, unbiased_weight
from jnn.optim.methods.adaptive import adam_direction, check_adam, divide
from jnn.optim.methods.descent import descend, pulling
from jnn.optim.optimizer import Optimizer, chain, need, stateless
from jnn.optim.rates import Number, Rate, advance, check_numbers, check_rate, in_dtype_of, zero
from jnn.optim.selection import Where
from jnn.optim.transforms import squares
from jnn.types import Grads, Params, State, Updates
from jnn.value import constructor


class RadamState(NamedTuple):
    """The step's count, and the averages of gradients and of squares."""

    step: jax.Array
    mean: Any
    square: Any


@constructor
def radam(
    rate: Rate = 1e-3, beta1: Number = 0.9, beta2: Number = 0.999, *, epsilon: Number = 1e-8
) -> Optimizer:
    """RAdam: Adam that waits until its mean square can be trusted, and then trusts it by degrees.

        rho_n = rho - 2 n beta2^n / (1 - beta2^n)   with   rho = 2 / (1 - beta2) - 1
        r_n^2 = (rho_n - 4) (rho_n - 2) rho / ((rho - 4) (rho - 2) rho_n)
        q_{n+1} = q_n - rate r_n m_n / (sqrt(v_n) + epsilon)   if rho_n > 5, else  q_n - rate m_n

    The paper's threshold is 4, where r_n begins at 0; 5 is what implementations use.

    >>> optimizer = jnn.radam(0.5)
    >>> j = jnp.array([6.0, 5.0])
    >>> print(optimizer.update(j, optimizer.init(j))[0].round(4))
    [-3.  -2.5]
    """
    check_adam("radam", rate, beta1, beta2, epsilon)
    average, size = unbiased(beta1), rms(unbiased(beta2))
    long = 2 / (1 - beta2) - 1

    def init(params: Params) -> State:
        return RadamState(zero(), average.init(params), size.init(params))

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        del params, extra
        step = advance(state.step)
        mean, square = average.update(grads, state.mean), size.update(grads, state.square)
        n = step.astype(float)
        # 2 n beta2^n / (1 - beta2^n) = 2 n (w_n / (1 - beta2) - 1)
        rho = long - 2 * n * (unbiased_weight(beta2, step) / (1 - beta2) - 1)
        trusted = rho > 5
        safe = jnp.where(trusted, rho, 6.0)
        root = jnp.sqrt((safe - 4) * (safe - 2) * long / ((long - 4) * (long - 2) * safe))
        scaled = divide(mean.value, size.value(square), epsilon)

        def choose(m: jax.Array, s: jax.Array) -> jax.Array:
            return jnp.where(trusted, in_dtype_of(root, s) * s, m)

        return jax.tree.map(choose, mean.value, scaled), RadamState(step, mean, square)

    return chain(Optimizer(init, update), descend(rate))


@constructor
def trust_ratio() -> Optimizer:
    """A transform that gives the update of each array the norm of the array: `u |q| / |u|`.

    Where either norm is 0 the update stays. Norms are summed in float32 at least.

    >>> layer = jnn.optim.trust_ratio()
    >>> q, u = jnp.array([3.0, 4.0]), jnp.array([0.0, 0.1])
    >>> print(layer.update(u, layer.init(q), q)[0].round(4))
    [0. 5.]
    """

    def scale(u: jax.Array, q: jax.Array) -> jax.Array:
        size = jnp.sqrt(squares(q))
        step = jnp.sqrt(squares(u)).astype(size.dtype)
        known = (size > 0) & (step > 0)
        one = jnp.ones_like(size)
        return u * in_dtype_of(jnp.where(known, size / jnp.where(known, step, one), one), u)

    def update(grads: Grads, params: Params) -> Updates:
        return jax.tree.map(scale, grads, need("trust_ratio", "params", params))

    return stateless(update)


@constructor
def lamb(
    rate: Rate = 1e-3,
    beta1: Number = 0.9,
    beta2: Number = 0.999,
    *,
    epsilon: Number = 1e-6,
    decay: Number = 0.0,
    where: Where | None = None,
) -> Optimizer:
    """LAMB: AdamW whose step in each array has `rate` times the norm of the array.

        u_n = m_n / (sqrt(v_n) + epsilon) + decay q_n        q_{n+1} = q_n - rate u_n |q_n| / |u_n|

    with Adam's averages, and norms of each array of the parameters by itself.

    >>> optimizer = jnn.lamb(0.1)
    >>> q, j = jnp.array([3.0, 4.0]), jnp.array([6.0, 0.0])
    >>> print(optimizer.update(j, optimizer.init(q), q)[0].round(4))
    [-0.5 -0. ]

    Args:
      rate: a number or a schedule.
      beta1: what is kept of the average of gradients, in [0, 1).
      beta2: what is kept of the average of squares, in [0, 1).
      epsilon: added outside the root.
      decay: the strength of the pull to the origin.
      where: which parameters decay, as in `only`.
    """
    check_rate("lamb", rate)
    check_numbers("lamb", beta1=beta1, beta2=beta2, below=1)
    check_numbers("lamb", epsilon=epsilon, decay=decay)
    direction = adam_direction(beta1, beta2, epsilon)
    return chain(direction, *pulling(decay, where), trust_ratio(), descend(rate))
