"""Treister's two residual steps, T-22 and T-23.

His columns are our rows: W1, W2 of the equations are our `w1`, `w2` transposed.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.arithmetic import contract, outer_sum
from jnn.rules.core.rule import Example, Rule, rule
from jnn.rules.pointwise.activation import activation as chosen


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
    hidden = chosen("residual", activation).parts.definition(_affine(x, w1, b))
    return x + contract(hidden, w2)  # T-22


@residual.forward
def residual_forward(x, w1, b, w2, *, activation):
    hidden, kept = chosen("residual", activation).parts.forward(_affine(x, w1, b))
    return x + contract(hidden, w2), (x, w1, w2, hidden, kept)


@residual.backward
def residual_backward(saved, delta, *, activation):
    x, w1, w2, hidden, kept = saved
    (u,) = chosen("residual", activation).parts.backward(kept, contract(delta, w2.T))  # s' W2^T v
    dx = delta + contract(u, w1.T)  # dx = v + W1^T u
    dw1 = outer_sum(x, u)  # dW1 = u x^T
    db = u.sum(range(u.ndim - 1))
    dw2 = outer_sum(hidden, delta)  # dW2 = v s^T
    return dx, dw1, db, dw2


@residual.tangent
def residual_tangent(primals, tangents, *, activation):
    (x, w1, b, w2), (dx, dw1, db, dw2) = primals, tangents
    step = chosen("residual", activation).parts.tangent
    hidden, dhidden = step((_affine(x, w1, b),), (_affine(dx, w1, db) + contract(x, dw1),))
    return x + contract(hidden, w2), dx + contract(dhidden, w2) + contract(hidden, dw2)


@residual.check
def residual_check(x, w1, b, w2, *, activation):
    _check("residual", x, w1, b, w2, activation)
    remedy = "Where input and output differ in size, use residual_projection."
    errors.shape("residual", "w2", w2, w1.shape[::-1], remedy)


@rule
def residual_projection(
    x: jax.Array,
    w1: jax.Array,
    b: jax.Array,
    w2: jax.Array,
    *,
    activation: str | Rule = "tanh",
) -> jax.Array:
    """The residual step `y = W2 x + s(W1 x + b)` of T-23, where the size changes.

    Treister prints all parameters as n x n though the sizes differ, and no derivatives. With W1 and
    W2 of shape (m, n) and the cotangent v of y, summed over the batch:

        u = s'(z) v    db = u    dW1 = u x^T    dW2 = v x^T    dx = W2^T v + W1^T u

    Saves: x, w1, w2, 1 hidden tensor.

    Args:
      x: inputs, (..., n).
      w1: weights under the activation, (n, m).
      b: their biases, (m,).
      w2: the projection's weights, (n, m).
      activation: its name, or an elementwise rule.

    >>> x, w1, b, w2 = jnp.ones((5, 2)), jnp.zeros((2, 3)), jnp.zeros(3), jnp.ones((2, 3))
    >>> jnn.rules.residual_projection(x, w1, b, w2)[0].tolist()
    [2.0, 2.0, 2.0]
    """
    step = chosen("residual_projection", activation).parts.definition
    return contract(x, w2) + step(_affine(x, w1, b))  # T-23


@residual_projection.forward
def residual_projection_forward(x, w1, b, w2, *, activation):
    step = chosen("residual_projection", activation).parts.forward
    y, kept = step(_affine(x, w1, b))
    return contract(x, w2) + y, (x, w1, w2, kept)


@residual_projection.backward
def residual_projection_backward(saved, delta, *, activation):
    x, w1, w2, kept = saved
    (u,) = chosen("residual_projection", activation).parts.backward(kept, delta)  # u = s'(z) v
    dx = contract(delta, w2.T) + contract(u, w1.T)  # dx = W2^T v + W1^T u
    db = u.sum(range(u.ndim - 1))
    return dx, outer_sum(x, u), db, outer_sum(x, delta)  # dW1 = u x^T, dW2 = v x^T


@residual_projection.tangent
def residual_projection_tangent(primals, tangents, *, activation):
    (x, w1, b, w2), (dx, dw1, db, dw2) = primals, tangents
    step = chosen("residual_projection", activation).parts.tangent
    y, dy = step((_affine(x, w1, b),), (_affine(dx, w1, db) + contract(x, dw1),))
    return contract(x, w2) + y, contract(dx, w2) + contract(x, dw2) + dy


@residual_projection.check
def residual_projection_check(x, w1, b, w2, *, activation):
    _check("residual_projection", x, w1, b, w2, activation)
    errors.shape("residual_projection", "w2", w2, w1.shape, "Both map the input to the output.")


def _affine(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
    z = contract(x, w)
    return z + jnp.broadcast_to(b, z.shape)


def _check(function: str, x: jax.Array, w1: jax.Array, b: jax.Array, w2: jax.Array, choice) -> None:
    chosen(function, choice)
    errors.floating(function, x=x, w1=w1, b=b, w2=w2)
    errors.rank(function, "w1", w1, 2)
    errors.rank(function, "w2", w2, 2)
    if x.shape[-1:] != w1.shape[:1]:
        expected = f"of shape (..., {w1.shape[0]}) to fit `w1` {errors.describe(w1)}"
        errors.fail(function, "x", expected, errors.describe(x), "Weights are (in, out).")
    errors.shape(function, "b", b, w1.shape[1:], "One bias a hidden unit.")


def _examples(activation: str, projection: bool):
    def make(random: np.random.Generator) -> Example:
        batch, n, m = random.integers(1, 5, 3)
        shapes = ((batch, n), (n, m), (m,), (n, m) if projection else (m, n))
        return Example(*(random.normal(size=shape) for shape in shapes), activation=activation)

    return make


def _extreme(projection: bool):
    def make(random: np.random.Generator) -> Example:
        x, w1, b, w2 = _examples("tanh", projection)(random).args
        return Example(1e3 * x, w1, b, w2)  # Units saturate; no sum leaves float16.

    return make


for _rule, _projects in ((residual, False), (residual_projection, True)):
    # One activation that saves its output, one that saves its input, one that saves nothing.
    for _name in ("tanh", "silu", "identity"):
        _rule.example(_examples(_name, _projects))
    _rule.extreme(_extreme(_projects))
