"""Elementwise rules, each told by its definition and one line of derivative.

The Jacobian of an elementwise map is diagonal, J = diag(f'(x)) (T-13), hence its own transpose: one
function, `v -> f'(x) v`, is backward and tangent both. It is given what the forward saves, the
output `y` where that determines f' accurately, else the input `x`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.rules.core.rule import Example, Rule
from jnn.xla.platform import is_for

Derivative = Callable[..., jax.Array]


def elementwise(
    of: Rule, *, saves: str, value: Callable[..., jax.Array] | None = None
) -> Callable[[Derivative], Derivative]:
    """Completes a rule of one argument from `derivative(saved, v, **settings) = f' v`.

    Args:
      of: the rule, so far only its definition.
      saves: "x", "y" or "" for what the derivative takes: the input, the output or nothing; or
        "signs" for what `signs` makes of the output.
      value: how the value is computed, where the definition is not the best way to do it.

    >>> @jnn.rule
    ... def square(x):
    ...     return x * x
    >>> @jnn.rules.elementwise(square, saves="x")
    ... def square_derivative(x, v):
    ...     return 2 * x * v
    >>> jax.grad(square)(3.0).item()
    6.0
    """
    errors.choice("elementwise", "saves", saves, ("x", "y", "signs", ""))

    def complete(derivative: Derivative) -> Derivative:
        # Other rules use these parts raw (a residual step), without naming the settings.
        defaults = of.parts.definition.__kwdefaults__ or {}

        def forward(x: jax.Array, **settings: Any) -> tuple[jax.Array, jax.Array | None]:
            y = (value or of.parts.definition)(x, **settings)
            kept = {"x": x, "y": y, "": None}
            return y, signs(y) if saves == "signs" else kept[saves]

        def backward(saved: Any, delta: jax.Array, **settings: Any) -> tuple[jax.Array]:
            if saves == "x":  # Else XLA keeps what the forward made of it, in float32, instead.
                saved = lax.optimization_barrier(saved)
            return (derivative(saved, delta, **{**defaults, **settings}),)

        def tangent(primals: Any, tangents: Any, **settings: Any) -> tuple[jax.Array, jax.Array]:
            y, saved = forward(*primals, **settings)
            return y, derivative(saved, *tangents, **{**defaults, **settings})

        of.forward(forward)
        of.backward(backward)
        of.tangent(tangent)
        of.check(lambda x, **settings: errors.floating(of.name, x=x))
        of.example(ordinary)
        of.extreme(extreme)
        of.elementwise = True
        return derivative

    return complete


def signs(y: jax.Array) -> jax.Array:
    """What tells where y is positive: y itself, which the next layer keeps anyway.

    On a TPU y > 0, of which its compiler makes bits, and reads those instead.
    """
    return y > 0 if is_for("tpu") else y


def live(y: jax.Array, delta: jax.Array) -> jax.Array:
    """What comes back through the rectifier, whose `y`, or its signs, is told (X-139)."""
    positive = y if y.dtype == bool else y > 0
    return jnp.where(positive, delta, jnp.zeros_like(delta))


def ordinary(random: np.random.Generator) -> Example:
    return Example(2 * random.normal(size=random.integers(1, 5, random.integers(0, 4))))


def extreme(random: np.random.Generator) -> Example:
    magnitudes = np.array([1e-30, 1e-8, 1e-3, 20.0, 90.0, 1e4])
    return Example(np.concatenate([magnitudes, -magnitudes]))


def kink(*points: float) -> Callable[[np.random.Generator], Example]:
    return lambda random: Example(np.array(points))
