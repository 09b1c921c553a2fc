"""The rectifier with a learned slope."""

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.core.rule import Example, rule


@rule
def prelu(x: jax.Array, slope: jax.Array) -> jax.Array:
    """The leaky rectifier with a learned slope: `y = x` where x > 0, else `slope x`.

    Its derivatives (M-97..99), with the sum over all places that share a slope:

        dx = delta where x > 0, else slope delta        dslope = sum of delta x where x <= 0

    At the kink, x = 0, the derivative is `slope` by choice. The slope may be negative, so that the
    sign of y does not tell that of x.

    Saves: x, slope.

    Args:
      x: inputs, (..., channels).
      slope: one a channel, (channels,), or one for all, ().

    >>> jnn.rules.prelu(jnp.array([-2.0, 3.0]), jnp.array(0.25)).tolist()
    [-0.5, 3.0]
    """
    return jnp.where(x > 0, x, jnp.broadcast_to(slope, x.shape) * x)  # M-97


@prelu.forward
def prelu_forward(x, slope):
    return prelu.parts.definition(x, slope), (x, slope)


@prelu.backward
def prelu_backward(saved, delta):
    x, slope = saved
    above = x > 0
    below = jnp.where(above, jnp.zeros_like(delta), delta)  # Once, for the product and the sum.
    dx = jnp.where(above, delta, jnp.broadcast_to(slope, x.shape) * below)  # M-98
    bent = as_wide(below) * as_wide(x)
    return dx, bent.sum(range(x.ndim - slope.ndim)).astype(slope.dtype)  # M-99


@prelu.tangent
def prelu_tangent(primals, tangents):
    (x, slope), (dx, dslope) = primals, tangents
    slope, dslope = (jnp.broadcast_to(s, x.shape) for s in (slope, dslope))
    above = x > 0
    return jnp.where(above, x, slope * x), jnp.where(above, dx, slope * dx + dslope * x)


@prelu.check
def prelu_check(x, slope):
    errors.floating("prelu", x=x, slope=slope)
    if slope.shape not in ((), x.shape[-1:]):
        expected = f"of shape {x.shape[-1:]}, one a channel, or (), one for all"
        errors.fail("prelu", "slope", expected, errors.describe(slope))


@prelu.example
def prelu_example(random: np.random.Generator) -> Example:
    shape = random.integers(1, 5, random.integers(1, 5))
    return Example(random.normal(size=shape), random.normal(size=shape[-1]))


@prelu.example
def prelu_example_one_for_all(random: np.random.Generator) -> Example:
    return Example(random.normal(size=(3, 4)), np.array(0.25))


@prelu.extreme
def prelu_extreme(random: np.random.Generator) -> Example:
    return Example(1e4 * random.normal(size=(3, 4)), np.array([0.0, 0.25, 1.0, -2.0]))


prelu.kink(lambda random: Example(np.zeros((1, 1)), np.array([0.25])))
