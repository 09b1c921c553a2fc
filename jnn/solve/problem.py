"""What a solver may ask about the function that it lowers, and the box that it stays in."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from jnn import errors, tree
from jnn.solve.robust import cost

FREE = "They are (low, high), not one pair a number; -jnp.inf and jnp.inf stand for no bound."
Flat = Callable[[jax.Array], Any]  # x -> (value or residuals, aux)


class Box(NamedTuple):
    """Bounds `low <= x <= high`, as flat vectors."""

    low: jax.Array
    high: jax.Array


@dataclass(frozen=True, eq=False)
class Objective:
    """A function on flat vectors; `box` is None where x is free."""

    _: KW_ONLY
    box: Box | None = None

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
        return tree.largest_entry(gradient if self.box is None else x - self.project(x - gradient))


# What is asked is inside `jit`, so that each is traced once however often a solver asks.


@dataclass(frozen=True, eq=False)
class Smooth(Objective):
    """A value with its derivatives: what `minimize` lowers."""

    what: ClassVar[str] = "a value"
    driver: ClassVar[str] = "minimize"

    value: Flat
    gradient: Callable[[jax.Array], Any]  # x -> (value, gradient, aux)
    product: Callable[[jax.Array, jax.Array], jax.Array]  # x, v -> Hessian times v

    @classmethod
    def of(cls, flat: Flat, box: Box | None = None) -> Self:
        """The value, the gradient and the Hessian's products of `flat(x) -> (value, aux)`."""

        @jax.jit
        def gradient(x: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
            (value, aux), slope = jax.value_and_grad(flat, has_aux=True)(x)
            return value, slope, aux

        @jax.jit
        def product(x: jax.Array, v: jax.Array) -> jax.Array:
            return jax.jvp(lambda x: jax.grad(flat, has_aux=True)(x)[0], (x,), (v,))[1]

        return cls(jax.jit(flat), gradient, product, box=box)


@dataclass(frozen=True, eq=False)
class Squares(Objective):
    """Residuals with their derivatives: what `least_squares` lowers is half the sum of squares."""

    what: ClassVar[str] = "residuals"
    driver: ClassVar[str] = "least_squares"

    residual: Flat
    jacobian: Callable[[jax.Array], jax.Array]
    products: Callable[[jax.Array], Any]  # x -> (v -> Jacobian v, u -> its transpose times u)
    weigh: Callable[[jax.Array], Any]  # residuals -> (value, root of each one's weight)
    robust: bool = False  # Whether the weights are not all 1.

    @classmethod
    def of(
        cls, flat: Flat, box: Box | None = None, loss: str | None = None, scale: Any = 1.0
    ) -> Self:
        """What is asked of `flat(x) -> (residuals, aux)`; the loss is one of `solve.robust`."""

        def alone(x: jax.Array) -> jax.Array:
            return flat(x)[0]

        return cls(
            jax.jit(flat),
            jax.jit(lambda x: jacobian_of(alone, x)(x)),
            lambda x: linear_maps(alone, x),
            lambda residuals: cost(residuals, loss, scale),
            loss is not None,
            box=box,
        )

    def value(self, x: jax.Array) -> tuple[jax.Array, Any]:
        """Half the sum of the squares, each as the loss counts it, and the aux."""
        residuals, aux = self.residual(x)
        return self.weigh(residuals)[0], aux


def jacobian_of(flat: Callable, x: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """The Jacobian by tangents or by rows, whichever are fewer."""
    if x.size > jax.eval_shape(flat, x).shape[0]:
        return jax.jacrev(flat)
    try:
        jax.eval_shape(jax.jacfwd(flat), x)
        return jax.jacfwd(flat)
    except TypeError:  # Something in it has a backward only.
        return transposed_columns(flat)


def linear_maps(flat: Callable, x: jax.Array) -> tuple[Callable, Callable]:
    """The products with the Jacobian at x and with its transpose, from one backward."""
    residuals, pull = jax.vjp(flat, x)
    push = jax.linear_transpose(lambda u: pull(u)[0], residuals)
    return lambda v: push(v)[0], lambda u: pull(u)[0]


def transposed_columns(flat: Callable) -> Callable[[jax.Array], jax.Array]:
    """The Jacobian by tangents that are transposes of the backward."""

    def jacobian(x: jax.Array) -> jax.Array:
        push, _ = linear_maps(flat, x)
        return jax.vmap(push, out_axes=1)(jnp.eye(x.size, dtype=x.dtype))

    return jacobian


def flat_box(function: str, bounds: Any, x0: Any) -> Box | None:
    """The two bounds, numbers or trees like `x0`, as flat vectors."""
    if bounds is None:
        return None
    if not isinstance(bounds, tuple) or len(bounds) != 2:
        errors.fail(
            function, "bounds", "a pair (low, high)", errors.describe(bounds),
            f"Each is a number or a tree like x0. {FREE}",
        )  # fmt: skip

    def like_x0(bound: Any) -> jax.Array:
        number = jax.tree.structure(bound) == jax.tree.structure(0.0) and jnp.ndim(bound) == 0
        full = jax.tree.map(lambda _: bound, x0) if number else bound
        if jax.tree.structure(full) != jax.tree.structure(x0):
            errors.fail(
                function, "bounds", "numbers or trees like x0", errors.describe(bound), FREE
            )
        alike = lambda b, x: jnp.broadcast_to(jnp.asarray(b, jnp.result_type(x)), jnp.shape(x))  # noqa: E731
        return ravel_pytree(jax.tree.map(alike, full, x0))[0]

    box = Box(*map(like_x0, bounds))
    if not any(isinstance(bound, Tracer) for bound in box) and np.any(box.low > box.high):
        errors.fail(function, "bounds", "a pair (low, high), low <= high", errors.describe(bounds))
    return box
