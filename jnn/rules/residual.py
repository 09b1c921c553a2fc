"""Treister's two residual steps, T-22 and T-23.

His columns are our rows: W1, W2 of the equations are our `w1`, `w2` transposed.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.rules.activation import activation as chosen
from jnn.rules.arithmetic import dot, mixed
from jnn.rules.rule import Example, Rule, rule


@rule
def residual(
    x: jax.Array,
    w1: jax.Array,
    b: jax.Array,
    w2: jax.Array,
    *,
    activation: str | Rule = "tanh",
) -> jax.Array:
    """The residual step `y = x + W2 s(W1 x + b)` of T-22; input and output have one size.

    With the cotangent v of y (Treister §4.1.3), summed over the batch:

        u = s'(z) W2^T v    db = u    dW1 = u x^T    dW2 = v s(z)^T    dx = v + W1^T u

    Saves: x, w1, w2, 1 hidden tensor (2 where the activation saves its input).

    Args:
      x: inputs, (..., n).
      w1: weights into the hidden units, (n, hidden).
      b: their biases, (hidden,).
      w2: weights back, (hidden, n).
      activation: its name, or an elementwise rule.

    >>> x, w1, b, w2 = jnp.ones((5, 2)), jnp.ones((2, 3)), jnp.zeros(3), jnp.zeros((3, 2))
    >>> jnn.rules.residual(x, w1, b, w2).tolist() == x.tolist()
    True
    """
    z = dot(x, w1) + _rows(b, x)
    return x + dot(chosen("residual", activation).parts.definition(z), w2)  # T-22
