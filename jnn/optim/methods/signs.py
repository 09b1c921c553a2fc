"""Steps along signs: Lion's."""

from typing import Any

import jax
import jax.numpy as jnp

from jnn.optim.averages import exponential
from jnn.optim.methods.descent import descend, pulling
from jnn.optim.optimizer import Optimizer, chain
from jnn.optim.rates import Number, Rate, check_numbers, check_rate, in_dtype_of
from jnn.optim.selection import Where
from jnn.types import Grads, Params, State, Updates
from jnn.value import constructor


@constructor
def lion(
    rate: Rate = 1e-4,
    beta1: Number = 0.9,
    beta2: Number = 0.99,
    *,
    decay: Number = 0.0,
    where: Where | None = None,
) -> Optimizer:
    """Lion: every entry moves by the rate, along the sign of an average; one average is kept.

        u_n = sign(beta1 m_{n-1} + (1 - beta1) J_n)      m_n = beta2 m_{n-1} + (1 - beta2) J_n
        q_{n+1} = q_n - rate (u_n + decay q_n)

    The sign of 0 is 0.

    >>> optimizer = jnn.lion(0.5)
    >>> j = jnp.array([6.0, -0.01])
    >>> print(optimizer.update(j, optimizer.init(j))[0].round(4))
    [-0.5  0.5]

    Args:
      rate: a number or a schedule; a third to a tenth of Adam's.
      beta1: the weight of the average in the step, in [0, 1).
      beta2: what is kept of the average, in [0, 1).
      decay: the strength of the decoupled pull to the origin.
      where: which parameters decay, as in `only`.
    """
    check_rate("lion", rate)
    check_numbers("lion", beta1=beta1, beta2=beta2, below=1)
    check_numbers("lion", decay=decay)
    average = exponential(beta2)

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        del params, extra

        def sign(g: jax.Array, m: jax.Array) -> jax.Array:
            g = g.astype(m.dtype)
            return jnp.sign(m + in_dtype_of(1 - beta1, m) * (g - m))

        updates = jax.tree.map(sign, grads, state.value)
        return updates, average.update(grads, state)

    direction = Optimizer(average.init, update)
    return chain(direction, *pulling(decay, where), descend(rate))
