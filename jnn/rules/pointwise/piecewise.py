"""Activations made of straight pieces, and of parabolas: what they do at their kinks is said."""

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors
from jnn.rules.core.rule import Example, rule
from jnn.rules.pointwise.elementwise import elementwise, kink, live
from jnn.xla.platform import is_for


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
def relu(x: jax.Array) -> jax.Array:
    """The rectifier `y = max(x, 0)` (X-139..140).

    At the kink, x = 0, the derivative is 0 by choice; X-139 leaves it open.

    Saves: y, whose sign is all that the derivative needs. On a TPU its sign alone, a bit.

    >>> jax.grad(jnn.rules.relu)(0.0).item()
    0.0
    """
    return jnp.where(x <= 0, jnp.zeros_like(x), x)  # So that NaN stays NaN.


def rectified(x: jax.Array) -> jax.Array:
    """`max(x, 0)`, on a TPU in the operation of that name, which fuses with what is before it."""
    return lax.max(x, jnp.zeros_like(x)) if is_for("tpu") else relu.parts.definition(x)


@elementwise(relu, saves="signs", value=rectified)
def relu_derivative(y, v):
    return live(y, v)


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


@rule
def relu6(x: jax.Array) -> jax.Array:
    """The rectifier with a ceiling, `y = min(max(x, 0), 6)`, of networks in few bits.

    At the kinks, x = 0 and x = 6, the derivative is 0 by choice.

    Saves: y.

    >>> jnn.rules.relu6(8.0).item()
    6.0
    """
    return jnp.where(x >= 6, jnp.full_like(x, 6), jnp.where(x <= 0, jnp.zeros_like(x), x))


@elementwise(relu6, saves="y")
def relu6_derivative(y, v):
    return jnp.where((y > 0) & (y < 6), v, jnp.zeros_like(v))


relu6.kink(kink(0.0, 6.0))


@rule
def hard_sigmoid(x: jax.Array) -> jax.Array:
    """A sigmoid of three straight pieces, `y = min(max(x / 6 + 1 / 2, 0), 1)`.

    At the kinks, |x| = 3, the derivative is 0 by choice, as it is where y rounds to 1.

    Saves: y.

    >>> jnn.rules.hard_sigmoid(0.0).item()
    0.5
    """
    return _ramp(x)


@elementwise(hard_sigmoid, saves="y")
def hard_sigmoid_derivative(y, v):
    return jnp.where((y > 0) & (y < 1), v / 6, jnp.zeros_like(v))


def _ramp(x: jax.Array) -> jax.Array:
    inside = (x + 3) / 6
    return jnp.where(x >= 3, jnp.ones_like(x), jnp.where(x <= -3, jnp.zeros_like(x), inside))


hard_sigmoid.kink(kink(-3.0, 3.0))


@rule
def hard_swish(x: jax.Array) -> jax.Array:
    """The input times a hard sigmoid, `y = x min(max(x / 6 + 1 / 2, 0), 1)`: 0, a parabola, x.

    Between the kinks `y' = x / 3 + 1 / 2`. At the kinks the derivative is that of the straight
    piece by choice: 0 at x = -3, where the parabola's is -1/2, and 1 at x = 3, where it is 3/2.

    Saves: x. Where y < 0 two places have one value.

    >>> jax.grad(jnn.rules.hard_swish)(0.0).item()
    0.5
    """
    return jnp.where(x <= -3, jnp.zeros_like(x), x * _ramp(x))


@elementwise(hard_swish, saves="x")
def hard_swish_derivative(x, v):
    bent = (x > -3) & (x < 3)
    return v * (_ramp(x) + jnp.where(bent, x / 6, jnp.zeros_like(x)))


hard_swish.kink(kink(-3.0, 3.0))


@rule
def soft_shrink(x: jax.Array, *, threshold: float = 0.5) -> jax.Array:
    """Nearer to 0 by the threshold: `y = x - sign(x) threshold`, and 0 where |x| is no larger.

    It is the proximal step of an L1 penalty. At the kinks, |x| = threshold, the derivative is 0 by
    choice.

    Saves: y, which is 0 where the derivative is.

    >>> jnn.rules.soft_shrink(-2.0).item()
    -1.5
    """
    far = x - jnp.sign(x) * threshold
    return jnp.where(jnp.abs(x) <= threshold, jnp.zeros_like(x), far)


@elementwise(soft_shrink, saves="y")
def soft_shrink_derivative(y, v, *, threshold):
    return jnp.where(y == 0, jnp.zeros_like(v), v)


@soft_shrink.check
def soft_shrink_check(x, *, threshold):
    errors.floating("soft_shrink", x=x)
    errors.number("soft_shrink", "threshold", threshold, low=0)


soft_shrink.kink(kink(-0.5, 0.5))
soft_shrink.example(lambda random: Example(random.normal(size=(3, 4)), threshold=0.3))


@rule
def hard_shrink(x: jax.Array, *, threshold: float = 0.5) -> jax.Array:
    """The input where it is beyond the threshold, else 0.

    It jumps at |x| = threshold; there the derivative is 0 by choice.

    Saves: y, which is 0 where the derivative is.

    >>> jnn.rules.hard_shrink(-2.0).item(), jnn.rules.hard_shrink(0.5).item()
    (-2.0, 0.0)
    """
    return jnp.where(jnp.abs(x) <= threshold, jnp.zeros_like(x), x)


@elementwise(hard_shrink, saves="y")
def hard_shrink_derivative(y, v, *, threshold):
    return jnp.where(y == 0, jnp.zeros_like(v), v)


@hard_shrink.check
def hard_shrink_check(x, *, threshold):
    errors.floating("hard_shrink", x=x)
    errors.number("hard_shrink", "threshold", threshold, low=0)


hard_shrink.example(lambda random: Example(random.normal(size=(3, 4)), threshold=0.3))
