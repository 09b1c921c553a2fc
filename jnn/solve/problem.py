"""What a solver may ask about the function that it lowers, and the box that it stays in."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jnn import errors, tree

FREE = "They are (low, high), not one pair a number; -jnp.inf and jnp.inf stand for no bound."


class Box(NamedTuple):
    """Bounds `low <= x <= high`, as flat vectors."""

    low: jax.Array
    high: jax.Array


class Objective(NamedTuple):
    """A function on flat vectors; `box` is None where x is free."""

    value: Callable[[jax.Array], Any]  # x -> (value, aux)
    gradient: Callable[[jax.Array], Any]  # x -> (value, gradient, aux)
    product: Callable[[jax.Array, jax.Array], jax.Array]  # x, v -> Hessian times v
    residual: Callable[[jax.Array], Any]  # x -> (residuals, aux)
    jacobian: Callable[[jax.Array], jax.Array]  # x -> their Jacobian
    products: Callable[[jax.Array], Any]  # x -> (v -> Jacobian v, u -> its transpose times u)
    weigh: Callable[[jax.Array], Any]  # residuals -> (value, root of each one's weight)
    box: Box | None = None
    robust: bool = False  # Whether the weights are not all 1.

    def project(self, x: jax.Array) -> jax.Array:
        """The nearest point within the bounds."""
        return x if self.box is None else jnp.clip(x, self.box.low, self.box.high)

    def allow(self, x: jax.Array, direction: jax.Array) -> jax.Array:
        """The direction without the entries that lead straight out of the box."""
        if self.box is None:
            return direction
        out = (x <= self.box.low) & (direction < 0) | (x >= self.box.high) & (direction > 0)
        return jnp.where(out, 0, direction)

    def size(self, x: jax.Array, gradient: jax.Array) -> jax.Array:
        """The largest entry of the gradient, or of the projected gradient `x - P(x - g)`."""
        return tree.largest(gradient if self.box is None else x - self.project(x - gradient))


def flat_box(function: str, bounds: Any, x0: Any) -> Box | None:
    """The two bounds, numbers or trees like `x0`, as flat vectors."""
    if bounds is None:
        return None
    if not isinstance(bounds, tuple) or len(bounds) != 2:
        errors.fail(
            function, "bounds", "a pair (low, high)", errors.describe(bounds),
            f"Each is a number or a tree like x0. {FREE}",
        )  # fmt: skip

    def spread(bound: Any) -> jax.Array:
        number = jax.tree.structure(bound) == jax.tree.structure(0.0) and jnp.ndim(bound) == 0
        full = jax.tree.map(lambda _: bound, x0) if number else bound
        if jax.tree.structure(full) != jax.tree.structure(x0):
            errors.fail(
                function, "bounds", "numbers or trees like x0", errors.describe(bound), FREE
            )
        alike = lambda b, x: jnp.broadcast_to(jnp.asarray(b, jnp.result_type(x)), jnp.shape(x))  # noqa: E731
        return tree.ravel(function, jax.tree.map(alike, full, x0))[0]

    box = Box(*map(spread, bounds))
    if not any(isinstance(bound, Tracer) for bound in box) and np.any(box.low > box.high):
        errors.fail(function, "bounds", "a pair (low, high), low <= high", errors.describe(bounds))
    return box
