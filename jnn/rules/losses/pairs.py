"""Losses of a prediction and its target that are no function of their difference."""

import jax
import jax.numpy as jnp
import numpy as np

from jnn.arithmetic import as_wide, nonzero
from jnn.rules.core.rule import Example, rule
from jnn.rules.losses.terms import of_pair, reduced


def _positive(random: np.random.Generator, shape):
    return random.normal(size=shape), random.uniform(0.1, 1, shape)


def _signs(random: np.random.Generator, shape):
    return 3 * random.normal(size=shape), random.choice([-1.0, 1.0], shape)


@rule
def kl_divergence(
    y: jax.Array, t: jax.Array, weights: jax.Array | None = None, *, outputs: str = "sum"
) -> jax.Array:
    """The divergence `sum_i t_i (log t_i - y_i)` of probabilities t from those with logarithms y.

    With the cotangent v of its sample,

        dy = -v t    dt = v (log t - y + 1)

    It is 0 where t is the exponential of y; for y = `log_softmax` of logits it is their
    cross-entropy less the entropy of t. A probability t = 0 adds 0; its derivative is 0 by choice.

    Saves: y, t, weights.

    Args:
      y: logarithms of the predicted probabilities, (..., n).
      t: probabilities of the same shape.
      weights: one number an output, (n,).
      outputs: "sum", or "mean" for 1/n of it.

    >>> t = jnp.array([0.25, 0.75])
    >>> jnn.kl_divergence(jnp.log(t), t).item(), jnn.kl_divergence(jnp.zeros(2), jnp.ones(2)).item()
    (0.0, 0.0)
    """
    x, p = as_wide(y), as_wide(t)
    log = jnp.log(nonzero(p))
    return reduced(jnp.where(p == 0, 0, p * (log - x)), weights, outputs, y.dtype)


@of_pair(kl_divergence, _positive)
def kl_divergence_term(y, t):
    lacking = jnp.where(t == 0, 0, jnp.log(nonzero(t)) - y)
    return t * lacking, -t, jnp.where(t == 0, 0, lacking + 1)


@rule
def poisson(
    y: jax.Array, t: jax.Array, weights: jax.Array | None = None, *, outputs: str = "sum"
) -> jax.Array:
    """The likelihood of counts t at rates `exp(y)`: `sum_i exp(y_i) - t_i y_i`.

    That is -log of the Poisson distribution without the log t! that no prediction changes. With the
    cotangent v of its sample, `dy = v (exp(y) - t)`, `dt = -v y`.

    Saves: y, t, weights.

    Args:
      y: logarithms of the predicted rates, (..., n).
      t: counts of the same shape, of a floating dtype.
      weights: one number an output, (n,).
      outputs: "sum", or "mean" for 1/n of it.

    >>> jax.grad(lambda y: jnn.poisson(y, jnp.array([3.0, 0.0])))(jnp.zeros(2)).tolist()
    [-2.0, 1.0]
    """
    x = as_wide(y)
    return reduced(jnp.exp(x) - as_wide(t) * x, weights, outputs, y.dtype)


@of_pair(poisson, _positive)
def poisson_term(y, t):
    rate = jnp.exp(y)
    return rate - t * y, rate - t, -y


@rule
def hinge(
    y: jax.Array, t: jax.Array, weights: jax.Array | None = None, *, outputs: str = "sum"
) -> jax.Array:
    """What a margin lacks to 1: `sum_i max(0, 1 - t_i y_i)`, of targets -1 and 1.

    With the cotangent v of its sample, `dy = -v t` and `dt = -v y` where the margin t y is below 1,
    and 0 elsewhere, at the kink t y = 1 too.

    Saves: y, t, weights.

    Args:
      y: predictions, (..., n).
      t: -1 or 1, of the same shape and of a floating dtype.
      weights: one number an output, (n,).
      outputs: "sum", or "mean" for 1/n of it.

    >>> jnn.hinge(jnp.array([[0.25], [2.0]]), jnp.ones((2, 1))).tolist()
    [0.75, 0.0]
    """
    lacking = 1 - as_wide(t) * as_wide(y)
    return reduced(jnp.where(lacking <= 0, 0, lacking), weights, outputs, y.dtype)


@of_pair(hinge, _signs)
def hinge_term(y, t):
    lacking = 1 - t * y
    far = lacking <= 0
    return jnp.where(far, 0, lacking), jnp.where(far, 0, -t), jnp.where(far, 0, -y)


@hinge.kink
def hinge_kink(random: np.random.Generator) -> Example:
    t = random.choice([-1.0, 1.0], (3, 2))
    return Example(t, t)


@rule
def squared_hinge(
    y: jax.Array, t: jax.Array, weights: jax.Array | None = None, *, outputs: str = "sum"
) -> jax.Array:
    """The square of what a margin lacks to 1: `sum_i max(0, 1 - t_i y_i)^2`, of targets -1 and 1.

    With the cotangent v of its sample and the lack u, `dy = -2 v u t`, `dt = -2 v u y`.

    Saves: y, t, weights.

    Args:
      y: predictions, (..., n).
      t: -1 or 1, of the same shape and of a floating dtype.
      weights: one number an output, (n,).
      outputs: "sum", or "mean" for 1/n of it.

    >>> jax.grad(jnn.squared_hinge)(jnp.array([0.5, 2.0]), jnp.ones(2)).tolist()
    [-1.0, -0.0]
    """
    lacking = 1 - as_wide(t) * as_wide(y)
    return reduced(jnp.square(jnp.where(lacking <= 0, 0, lacking)), weights, outputs, y.dtype)


@of_pair(squared_hinge, _signs)
def squared_hinge_term(y, t):
    lacking = jnp.maximum(1 - t * y, 0)
    return jnp.square(lacking), -2 * lacking * t, -2 * lacking * y


@squared_hinge.kink
def squared_hinge_kink(random: np.random.Generator) -> Example:
    t = random.choice([-1.0, 1.0], (3, 2))
    return Example(t, t)


@kl_divergence.extreme
def kl_divergence_extreme(random: np.random.Generator) -> Example:
    return Example(-1e4 * random.uniform(size=(3, 4)), random.uniform(0.1, 1, (3, 4)))


@poisson.extreme
def poisson_extreme(random: np.random.Generator) -> Example:
    return Example(np.array([[-1e4, -50.0, 9.0]]), np.array([[3.0, 0.0, 1e4]]))


@hinge.extreme
@squared_hinge.extreme
def hinge_extreme(random: np.random.Generator) -> Example:
    y, t = _signs(random, (3, 4))
    return Example(100 * y, t)
