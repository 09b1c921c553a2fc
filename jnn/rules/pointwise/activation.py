"""Activations: a definition, what is saved, and one line of derivative each."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import wide
from jnn.rules.core.rule import Example, Rule, rule
from jnn.rules.pointwise.elementwise import elementwise, extreme, kink


@rule
def identity(x: jax.Array) -> jax.Array:
    """The identity `y = x`, for a layer with a linear output (H-20).

    Saves: nothing.

    >>> jnn.rules.identity(2.0).item()
    2.0
    """
    return x


@elementwise(identity, saves="")
def identity_derivative(_, v):
    return v


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
def relu(x: jax.Array) -> jax.Array:
    """The rectifier `y = max(x, 0)` (X-139..140).

    At the kink, x = 0, the derivative is 0 by choice; X-139 leaves it open.

    Saves: y, whose sign is all that the derivative needs.

    >>> jax.grad(jnn.rules.relu)(0.0).item()
    0.0
    """
    return jnp.where(x <= 0, jnp.zeros_like(x), x)  # So that NaN stays NaN.


@elementwise(relu, saves="y")
def relu_derivative(y, v):
    return jnp.where(y > 0, v, jnp.zeros_like(v))


relu.kink(kink(0.0))


@rule
def leaky_relu(x: jax.Array, *, slope: float = 0.01) -> jax.Array:
    """The leaky rectifier: `y = x` where x > 0, else `slope x`.

    At the kink, x = 0, the derivative is `slope` by choice.

    Saves: y, whose sign is that of x, since the slope is positive.

    >>> jnn.rules.leaky_relu(-2.0, slope=0.5).item()
    -1.0
    """
    return jnp.where(x > 0, x, slope * x)


@elementwise(leaky_relu, saves="y")
def leaky_relu_derivative(y, v, *, slope):
    return jnp.where(y > 0, v, slope * v)


@leaky_relu.check
def leaky_relu_check(x, *, slope):
    errors.floating("leaky_relu", x=x)
    errors.number("leaky_relu", "slope", slope, low=0)


leaky_relu.kink(kink(0.0))
leaky_relu.example(lambda random: Example(random.normal(size=(3, 4)), slope=0.3))


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
    return (x.astype(wide(x.dtype)) * _gelu_gate(x, approximate)).astype(x.dtype)


@elementwise(gelu, saves="x")
def gelu_derivative(x, v, *, approximate):
    z = x.astype(wide(x.dtype))
    gate = _gelu_gate(x, approximate)
    if approximate:
        # Multiplied in this order, z (1 - t^2) is 0 before z^2 can overflow.
        steep = z * (2 * _SQRT_2_OVER_PI * gate * (1 - gate))
        slope = gate + steep + 3 * 0.044715 * (steep * z) * z
    else:
        # Written as erfc computes it inside, so that the compiler shares the exponential.
        slope = gate + z * jnp.exp(-jnp.square(z * -_SQRT_HALF)) * (_SQRT_2_OVER_PI / 2)
    return v * slope.astype(x.dtype)


def _gelu_gate(x: jax.Array, approximate: bool) -> jax.Array:
    """Phi(x), computed in float32 for half precisions."""
    z = x.astype(wide(x.dtype))
    if approximate:
        # (1 + tanh(u)) / 2 = sigmoid(2 u), which keeps its digits where tanh(u) is near -1.
        return lax.logistic(2 * _SQRT_2_OVER_PI * (z + 0.044715 * z * z * z))
    return lax.erfc(z * -_SQRT_HALF) / 2


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
def hard_tanh(x: jax.Array) -> jax.Array:
    """The clipped identity `y = min(max(x, -1), 1)`.

    At the kinks, |x| = 1, the derivative is 0 by choice.

    Saves: y.

    >>> jnn.rules.hard_tanh(-3.0).item()
    -1.0
    """
    one = jnp.ones_like(x)
    return jnp.where(x >= 1, one, jnp.where(x <= -1, -one, x))


@elementwise(hard_tanh, saves="y")
def hard_tanh_derivative(y, v):
    return jnp.where(jnp.abs(y) < 1, v, jnp.zeros_like(v))


hard_tanh.kink(kink(-1.0, 1.0))

ACTIVATIONS = {r.name: r for r in tuple(vars().values()) if isinstance(r, Rule)}


def activation(function: str, choice: str | Rule) -> Rule:
    """The elementwise rule that `choice` names, or is; `function` asks, and errors name it."""
    if isinstance(choice, str):
        errors.choice(function, "activation", choice, ACTIVATIONS)
        return ACTIVATIONS[choice]
    if not isinstance(choice, Rule) or not choice.elementwise:
        remedy = f"Names: {', '.join(ACTIVATIONS)}; or make one by jnn.rules.elementwise."
        expected = "a name or an elementwise rule"
        errors.fail(function, "activation", expected, repr(choice), remedy, TypeError)
    return choice
