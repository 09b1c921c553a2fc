"""Activations in the shape of an S, and the logarithm of one."""

import jax
import jax.numpy as jnp
from jax import lax

from jnn.rules.core.rule import rule
from jnn.rules.pointwise.elementwise import elementwise


@rule
def sigmoid(x: jax.Array) -> jax.Array:
    """The logistic function `y = 1 / (1 + e^-x)` (X-3), with `y' = y (1 - y)` (X-4, X-13..16).

    Finite at any x: neither branch of `lax.logistic` overflows.

    Saves: y.

    >>> jnn.rules.sigmoid(0.0).item()
    0.5
    """
    return lax.logistic(x)


@elementwise(sigmoid, saves="y")
def sigmoid_derivative(y, v):
    return v * y * (1 - y)


@rule
def soft_logistic(x: jax.Array) -> jax.Array:
    """Delmas' soft logistic `y = (|x| + x + 1) / (2 (|x| + 1))`, with `y' = 1 / (2 (1 + |x|)^2)`.

    It saturates like 1/x rather than e^-x, needs no exponential, and its derivative exists at 0.
    Delmas writes sigma(z) in terms of x; z is meant.

    Saves: x. From y the derivative would be `(1 - |2 y - 1|)^2 / 2`, which cancels where |x| is
    large.

    >>> jnn.rules.soft_logistic(1.0).item(), jax.grad(jnn.rules.soft_logistic)(1.0).item()
    (0.75, 0.125)
    """
    return (jnp.abs(x) + x + 1) / (2 * (jnp.abs(x) + 1))


@elementwise(soft_logistic, saves="x")
def soft_logistic_derivative(x, v):
    return v / (2 * jnp.square(1 + jnp.abs(x)))  # D, after D-14


@rule
def tanh(x: jax.Array) -> jax.Array:
    """The hyperbolic tangent (X-17, without the printed factors), with `y' = 1 - y^2` (X-18).

    Saves: y.

    >>> jax.grad(jnn.rules.tanh)(0.0).item()
    1.0
    """
    return jnp.tanh(x)


@elementwise(tanh, saves="y")
def tanh_derivative(y, v):
    return v * (1 - y) * (1 + y)  # X-18, factored: fewer digits cancel near |y| = 1


@rule
def softsign(x: jax.Array) -> jax.Array:
    """The sign made soft, `y = x / (1 + |x|)`, with `y' = 1 / (1 + |x|)^2`.

    Saves: x. From y the derivative would be `(1 - |y|)^2`, which cancels where |x| is large.

    >>> jnn.rules.softsign(1.0).item()
    0.5
    """
    return x / (1 + jnp.abs(x))


@elementwise(softsign, saves="x")
def softsign_derivative(x, v):
    return v / jnp.square(1 + jnp.abs(x))


@rule
def log_sigmoid(x: jax.Array) -> jax.Array:
    """The logarithm of the logistic function, `y = -log(1 + e^-x)`, with `y' = 1 - e^y`.

    It is `-softplus(-x)`, and its derivative `sigmoid(-x)`, computed as `2 t / (1 + t)` with
    `t = tanh(-y / 2)`, which cancels nowhere.

    Saves: y.

    >>> jnn.rules.log_sigmoid(-100.0).item(), jax.grad(jnn.rules.log_sigmoid)(0.0).item()
    (-100.0, 0.5)
    """
    return -jnp.logaddexp(-x, jnp.zeros_like(x))


@elementwise(log_sigmoid, saves="y")
def log_sigmoid_derivative(y, v):
    t = jnp.tanh(y / -2)
    return v * 2 * t / (1 + t)
