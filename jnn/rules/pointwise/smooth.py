"""Smooth rectifiers: of exponentials, and of the input times a gate."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide, wide
from jnn.rules.core.rule import Example, rule
from jnn.rules.pointwise.elementwise import elementwise, extreme, kink


@rule
def softplus(x: jax.Array) -> jax.Array:
    """The smooth rectifier `y = log(1 + e^x)`, with `y' = sigmoid(x) = 1 - e^-y`.

    The derivative is computed as `2 t / (1 + t)` with `t = tanh(y / 2)`, which cancels nowhere and
    costs less than `expm1`.

    Saves: y, which the next layer saves too.

    >>> jax.grad(jnn.rules.softplus)(0.0).item()
    0.5
    """
    return jnp.logaddexp(x, jnp.zeros_like(x))


@elementwise(softplus, saves="y")
def softplus_derivative(y, v):
    t = jnp.tanh(y / 2)
    return v * 2 * t / (1 + t)


@rule
def elu(x: jax.Array, *, alpha: float = 1.0) -> jax.Array:
    """The exponential linear unit: `y = x` where x > 0, else `alpha (e^x - 1)`.

    At x = 0 the derivative is `alpha` (continuous for alpha = 1, a choice otherwise).

    Saves: x. From y the derivative would be `y + alpha`, which cancels where x is far below 0.

    >>> jax.grad(jnn.rules.elu)(1.0).item()
    1.0
    """
    return jnp.where(x > 0, x, alpha * jnp.expm1(_negative(x)))


@elementwise(elu, saves="x")
def elu_derivative(x, v, *, alpha):
    return jnp.where(x > 0, v, v * alpha * jnp.exp(_negative(x)))


@elu.check
def elu_check(x, *, alpha):
    errors.floating("elu", x=x)
    errors.number("elu", "alpha", alpha, low=0)


elu.kink(lambda random: Example(np.zeros(1), alpha=0.5))
elu.example(lambda random: Example(random.normal(size=(3, 4)), alpha=0.5))


_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


@rule
def selu(x: jax.Array) -> jax.Array:
    """The scaled exponential linear unit, `1.0507 elu(x, alpha=1.6733)`, of self-normalising nets.

    At the kink, x = 0, the derivative is the left one, 1.0507 * 1.6733, by choice.

    Saves: x, for the reason given at `elu`.

    >>> round(jax.grad(jnn.rules.selu)(1.0).item(), 4)
    1.0507
    """
    return _SELU_SCALE * jnp.where(x > 0, x, _SELU_ALPHA * jnp.expm1(_negative(x)))


@elementwise(selu, saves="x")
def selu_derivative(x, v):
    return _SELU_SCALE * jnp.where(x > 0, v, v * _SELU_ALPHA * jnp.exp(_negative(x)))


selu.kink(kink(0.0))


@rule
def celu(x: jax.Array, *, alpha: float = 1.0) -> jax.Array:
    """The `elu` without a kink: `y = x` where x > 0, else `alpha (e^(x/alpha) - 1)`.

    The derivative is 1 where x > 0, else `e^(x/alpha)`, which is 1 at x = 0 for any alpha.

    Saves: x, for the reason given at `elu`.

    >>> jax.grad(lambda x: jnn.rules.celu(x, alpha=2.0))(0.0).item()
    1.0
    """
    return jnp.where(x > 0, x, alpha * jnp.expm1(_negative(x) / alpha))


@elementwise(celu, saves="x")
def celu_derivative(x, v, *, alpha):
    return jnp.where(x > 0, v, v * jnp.exp(_negative(x) / alpha))


@celu.check
def celu_check(x, *, alpha):
    errors.floating("celu", x=x)
    errors.number("celu", "alpha", alpha, low=0)
    if alpha == 0:
        errors.fail("celu", "alpha", "above 0", alpha, "At 0 it is `relu`.")


celu.example(lambda random: Example(random.normal(size=(3, 4)), alpha=0.5))


def _negative(x: jax.Array) -> jax.Array:
    """The negative part of x: what an exponential may see without overflow."""
    return jnp.where(x > 0, jnp.zeros_like(x), x)


@rule
def gelu(x: jax.Array, *, approximate: bool = False) -> jax.Array:
    """The Gaussian error linear unit `y = x Phi(x)`, Phi the normal distribution function.

    Exactly, `y' = Phi(x) + x phi(x)`. With `approximate=True`, Phi is
    `(1 + tanh(u)) / 2` with `u = sqrt(2 / pi) (x + 0.044715 x^3)`, and
    `y' = (1 + t) / 2 + x (1 - t^2) u' / 2` for `t = tanh(u)`.

    Saves: x. Phi and phi are computed again: an error function costs less than a tensor.

    >>> jax.grad(jnn.rules.gelu)(0.0).item()
    0.5
    """
    # Halves x, not Phi: from x = -13 on half of erfc is less than float32 holds, and y is not.
    return (x.astype(wide(x.dtype)) / 2 * _twice_gate(x, approximate)).astype(x.dtype)


@elementwise(gelu, saves="x")
def gelu_derivative(x, v, *, approximate):
    z = x.astype(wide(x.dtype))
    twice = _twice_gate(x, approximate)
    if approximate:
        gate = twice / 2
        # Multiplied in this order, z (1 - t^2) is 0 before z^2 can overflow.
        steep = z * (2 * _SQRT_2_OVER_PI * gate * (1 - gate))
        slope = gate + steep + 3 * 0.044715 * (steep * z) * z
    else:
        # Written as erfc computes it inside, so that the compiler shares the exponential.
        slope = (twice + z * jnp.exp(-jnp.square(z * -_SQRT_HALF)) * _SQRT_2_OVER_PI) / 2
    return v * slope.astype(x.dtype)


def _twice_gate(x: jax.Array, approximate: bool) -> jax.Array:
    """2 Phi(x), computed in float32 for half precisions."""
    z = x.astype(wide(x.dtype))
    if approximate:
        # (1 + tanh(u)) / 2 = sigmoid(2 u), which keeps its digits where tanh(u) is near -1.
        return 2 * lax.logistic(2 * _SQRT_2_OVER_PI * (z + 0.044715 * z * z * z))
    return lax.erfc(z * -_SQRT_HALF)


_SQRT_HALF = 0.5**0.5
_SQRT_2_OVER_PI = (2 / np.pi) ** 0.5

gelu.example(lambda random: Example(random.normal(size=(3, 4)), approximate=True))
gelu.extreme(lambda random: Example(extreme(random).args[0], approximate=True))


@rule
def silu(x: jax.Array) -> jax.Array:
    """The sigmoid linear unit `y = x s` with `s = sigmoid(x)`, and `y' = s (1 + x (1 - s))`.

    Saves: x.

    >>> jax.grad(jnn.rules.silu)(0.0).item()
    0.5
    """
    return x * lax.logistic(x)


@elementwise(silu, saves="x")
def silu_derivative(x, v):
    s = lax.logistic(x)
    return v * s * (1 + x * (1 - s))


@rule
def mish(x: jax.Array) -> jax.Array:
    """The input times a gate, `y = x t` with `t = tanh(softplus(x))`.

    `y' = t + x t'`. With `n = e^x (e^x + 2)` the gate is `t = n / (n + 2)`, and its derivative
    `t' = 4 e^x (1 + e^x) / (n + 2)^2`: one exponential, of `-|x|`, gives both, and nothing cancels
    or overflows.

    Saves: x.

    >>> round(jax.grad(jnn.rules.mish)(0.0).item(), 6)
    0.6
    """
    z = as_wide(x)
    return (z * jnp.tanh(jnp.logaddexp(z, jnp.zeros_like(z)))).astype(x.dtype)


def _mish_value(x):
    gate, _ = _mish_gate(x)
    return (as_wide(x) * gate).astype(x.dtype)


@elementwise(mish, saves="x", value=_mish_value)
def mish_derivative(x, v):
    gate, slope = _mish_gate(x)
    return v * (gate + as_wide(x) * slope).astype(x.dtype)


def _mish_gate(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """tanh(softplus(x)) and its derivative; where x > 0 both fractions are over e^2x and e^4x."""
    z = as_wide(x)
    u = jnp.exp(-jnp.abs(z))
    above = z > 0
    n = jnp.where(above, 1 + 2 * u, u * (u + 2))
    below = n + 2 * jnp.where(above, u * u, jnp.ones_like(u))
    steep = jnp.where(above, u * u, u) * (1 + u)
    return n / below, 4 * steep / jnp.square(below)
