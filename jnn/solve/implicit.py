"""Derivatives of a solution: by the implicit function theorem, or else in forward mode only."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.interpreters import ad, batching, mlir

from jnn import errors
from jnn.solve.linear import cg
from jnn.solve.problem import Box


def attach(
    slope: Callable[[jax.Array], jax.Array], solution: jax.Array, box: Box | None
) -> jax.Array:
    """The solution of `slope(x) = 0`, which is known, with derivatives in what `slope` closes over.

    From `slope(x(theta), theta) = 0` follows `H dx = -(d slope / d theta) dtheta`, solved by
    conjugate gradients with products of the Hessian H. Entries at a bound do not move.
    """

    def root(x: jax.Array) -> jax.Array:
        if box is None:
            return slope(x)
        low, high = (lax.stop_gradient(bound) for bound in box)
        held = lax.stop_gradient((x <= low) | (x >= high))
        return jnp.where(held, x - jnp.clip(lax.stop_gradient(x), low, high), slope(x))

    def tangent(linear: Callable, y: jax.Array) -> jax.Array:
        return cg(linear, y).x

    return lax.custom_root(root, lax.stop_gradient(solution), lambda _, x: x, tangent)


def forward_only(function: str, run: Any) -> Any:
    """The run of a loop, which has tangents but no cotangents; whoever asks is told what to do."""
    one = partial(_forward_only().bind, function=function)
    return jax.tree.map(lambda x: one(x) if errors.is_floating(x) else x, run)


def _no_cotangent(*_: Any, function: str) -> Any:
    errors.fail(
        function, "implicit", "True for reverse-mode derivatives (grad, vjp, jacrev)", False,
        "In forward mode (jvp, jacfwd) the loop itself can be differentiated.",
    )  # fmt: skip


@cache
def _forward_only() -> Any:
    from jax.extend.core import Primitive  # Slow to import.

    primitive = Primitive("forward_only")
    primitive.def_impl(lambda x, **_: x)
    primitive.def_abstract_eval(lambda x, **_: x)
    ad.deflinear2(primitive, _no_cotangent)
    batching.defvectorized(primitive)
    mlir.register_lowering(primitive, lambda _, x, **__: [x])
    return primitive
