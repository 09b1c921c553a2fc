"""Losses of regression, one value a sample: each is a function of the error y - t, summed over it.

A reduction over the samples is the caller's to choose: `.mean()` (D-19, T-7) or `.sum()` (Borasi
§1.1). The setting `outputs` and the argument `weights` say how the n outputs of a sample count:
`sum_i w_i f(y_i - t_i)`, and divided by n where `outputs="mean"` (D-22, D-23).
"""

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.rules.core.rule import Example, rule
from jnn.rules.losses.terms import check_outputs, error, of_error, reduced


@rule
def squared_error(
    y: jax.Array, t: jax.Array, weights: jax.Array | None = None, *, outputs: str = "sum"
) -> jax.Array:
    """The squared distance `sum_i (y_i - t_i)^2` (Borasi §1.1, D-15): without a half.

    With the cotangent v of its sample, `dy = 2 v (y - t)`, `dt = -dy` (B-10, H-31).

    Saves: one hidden tensor, weights. The error y - t is all that the derivative needs of y and t.

    Args:
      y: predictions, (..., n); the last axis is reduced, also if it has size 1.
      t: targets of the same shape.
      weights: one number an output, (n,) (D-23).
      outputs: "sum", or "mean" for the 1/n of D-22.

    >>> jnn.squared_error(jnp.array([[1.0, 3.0]]), jnp.zeros((1, 2)), outputs="mean").tolist()
    [5.0]
    """
    return reduced(jnp.square(error(y, t)), weights, outputs, y.dtype)


squared_error.squares = 2.0


@of_error(squared_error)
def squared_error_term(e):
    return jnp.square(e), 2 * e


@rule
def half_squared_error(
    y: jax.Array, t: jax.Array, weights: jax.Array | None = None, *, outputs: str = "sum"
) -> jax.Array:
    """Half the squared distance, `sum_i (y_i - t_i)^2 / 2` (D-21, H-20..23, H-105, X-95).

    With the cotangent v of its sample, `dy = v (y - t)`, `dt = -dy`: the delta of a linear output
    (H-23). X-77, 85, 95 and 113 print the half here and there, and X-85 the error as y - y^.

    Saves: one hidden tensor, weights. The error y - t is all that the derivative needs of y and t.

    Args:
      y: predictions, (..., n); the last axis is reduced, also if it has size 1.
      t: targets of the same shape.
      weights: one number an output, (n,) (D-23).
      outputs: "sum", or "mean" for the 1/n of D-22.

    >>> jax.grad(jnn.half_squared_error)(jnp.array([1.0, 3.0]), jnp.zeros(2)).tolist()
    [1.0, 3.0]
    """
    return reduced(jnp.square(error(y, t)) / 2, weights, outputs, y.dtype)


half_squared_error.squares = 1.0


@of_error(half_squared_error)
def half_squared_error_term(e):
    return jnp.square(e) / 2, e


@rule
def absolute_error(
    y: jax.Array, t: jax.Array, weights: jax.Array | None = None, *, outputs: str = "sum"
) -> jax.Array:
    """The absolute error `sum_i |y_i - t_i|`, whose minimiser is a median.

    With the cotangent v of its sample, `dy = v sign(y - t)`, `dt = -dy`. At the kink, y = t, the
    derivative is 0 by choice.

    Saves: one hidden tensor, weights. The error y - t is all that the derivative needs of y and t.

    Args:
      y: predictions, (..., n); the last axis is reduced, also if it has size 1.
      t: targets of the same shape.
      weights: one number an output, (n,) (D-23).
      outputs: "sum", or "mean" for the 1/n of D-22.

    >>> jax.grad(jnn.absolute_error)(jnp.array([1.0, 3.0]), jnp.array([1.0, 5.0])).tolist()
    [0.0, -1.0]
    """
    e = error(y, t)
    return reduced(e * jnp.sign(e), weights, outputs, y.dtype)  # Its slope at 0 is 0.


@of_error(absolute_error)
def absolute_error_term(e):
    return jnp.abs(e), jnp.sign(e)


@absolute_error.kink
def absolute_error_kink(random: np.random.Generator) -> Example:
    y = random.normal(size=(3, 2))
    return Example(y, y)


@rule
def huber(
    y: jax.Array,
    t: jax.Array,
    weights: jax.Array | None = None,
    *,
    delta: float = 1.0,
    outputs: str = "sum",
) -> jax.Array:
    """Huber's loss, half the square of small errors and `delta (|e| - delta / 2)` of large ones.

    With the cotangent v of its sample, `dy = v clip(y - t, -delta, delta)`, `dt = -dy`: errors
    beyond delta pull no harder (the robust least squares of Treister's contents, §4).

    Saves: one hidden tensor, weights. The error y - t is all that the derivative needs of y and t.

    Args:
      y: predictions, (..., n); the last axis is reduced, also if it has size 1.
      t: targets of the same shape.
      weights: one number an output, (n,) (D-23).
      delta: the error from which on the loss grows linearly.
      outputs: "sum", or "mean" for the 1/n of D-22.

    >>> jax.grad(jnn.huber)(jnp.array([0.5, 300.0]), jnp.zeros(2)).tolist()
    [0.5, 1.0]
    """
    e = jnp.abs(error(y, t))
    small = jnp.minimum(e, delta)
    return reduced(jnp.square(small) / 2 + delta * (e - small), weights, outputs, y.dtype)


@of_error(huber)
def huber_term(e, *, delta):
    inside = jnp.clip(e, -delta, delta)
    return inside * (e - inside / 2), inside


@huber.check
def huber_check(y, t, weights, *, delta, outputs):
    check_outputs("huber")(y, t, weights, outputs=outputs)
    errors.number("huber", "delta", delta, low=0)


huber.example(lambda random: Example(*random.normal(size=(2, 3, 4)), delta=0.3))


@rule
def smooth_l1(
    y: jax.Array,
    t: jax.Array,
    weights: jax.Array | None = None,
    *,
    delta: float = 1.0,
    outputs: str = "sum",
) -> jax.Array:
    """Huber's loss over delta: the slope of large errors is 1, whatever delta.

    `e^2 / (2 delta)` of small errors and `|e| - delta / 2` of large ones. With the cotangent v of
    its sample, `dy = v clip((y - t) / delta, -1, 1)`, `dt = -dy`.

    Saves: one hidden tensor, weights. The error y - t is all that the derivative needs of y and t.

    Args:
      y: predictions, (..., n); the last axis is reduced, also if it has size 1.
      t: targets of the same shape.
      weights: one number an output, (n,).
      delta: the error from which on the loss grows linearly.
      outputs: "sum", or "mean" for 1/n of it.

    >>> jax.grad(jnn.smooth_l1)(jnp.array([0.5, 300.0]), jnp.zeros(2)).tolist()
    [0.5, 1.0]
    """
    e = jnp.abs(error(y, t))
    small = jnp.minimum(e, delta)
    return reduced(jnp.square(small) / (2 * delta) + (e - small), weights, outputs, y.dtype)


@of_error(smooth_l1)
def smooth_l1_term(e, *, delta):
    slope = jnp.clip(e / delta, -1, 1)
    return slope * (e - delta / 2 * slope), slope


@smooth_l1.check
def smooth_l1_check(y, t, weights, *, delta, outputs):
    check_outputs("smooth_l1")(y, t, weights, outputs=outputs)
    errors.number("smooth_l1", "delta", delta, low=0)
    if delta == 0:
        errors.fail("smooth_l1", "delta", "above 0", delta, "Write absolute_error.")


smooth_l1.example(lambda random: Example(*random.normal(size=(2, 3, 4)), delta=0.3))
