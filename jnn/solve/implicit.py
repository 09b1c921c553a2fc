"""Derivatives of a solution: by the implicit function theorem, or else in forward mode only."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jnn import errors
from jnn.solve.linear import cg
from jnn.solve.problem import Box


def attach(
    slope: Callable[[jax.Array], jax.Array],
    solve: Callable[[jax.Array], Any],
    x0: jax.Array,
    box: Box | None,
) -> tuple[jax.Array, Any]:
    """The solution of `slope(x) = 0`, with derivatives in what `slope` closes over, and the run.

    From `slope(x(theta), theta) = 0` follows `H dx = -(d slope / d theta) dtheta`, solved by
    conjugate gradients with products of the Hessian H. Entries at a bound do not move.
    """
    dtypes: list[Any] = []

    def root(x: jax.Array) -> jax.Array:
        if box is None:
            return slope(x)
        low, high = (lax.stop_gradient(bound) for bound in box)
        held = lax.stop_gradient((x <= low) | (x >= high))
        return jnp.where(held, x - jnp.clip(lax.stop_gradient(x), low, high), slope(x))

    def search(_: Callable, x: jax.Array) -> tuple[jax.Array, Any]:
        run = solve(x)
        # The aux has any dtypes, and is asked for anew at the solution.
        run = run._replace(state=run.state._replace(aux=None))
        leaves, tree = jax.tree.flatten(run)
        dtypes.extend([tree, *(leaf.dtype for leaf in leaves)])
        return run.state.x, list(map(as_float, leaves))

    def tangent(linear: Callable, y: jax.Array) -> jax.Array:
        return cg(linear, y).x

    # `custom_root` hands zero tangents to what comes along, and knows those of floats only.
    x, leaves = lax.custom_root(root, x0, search, tangent, has_aux=True)
    tree, *kinds = dtypes
    return x, jax.tree.unflatten(tree, map(from_float, leaves, kinds))


FLOATS = {4: jnp.float32, 8: jnp.float64}


def as_float(x: jax.Array) -> jax.Array:
    """The bits of an integer as those of a float."""
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x
    whole = x.astype(jnp.int32) if jnp.issubdtype(x.dtype, bool) else x
    return lax.bitcast_convert_type(whole, FLOATS[whole.dtype.itemsize])


def from_float(x: jax.Array, dtype: Any) -> jax.Array:
    """The integer that `as_float` hid."""
    if jnp.issubdtype(dtype, jnp.floating):
        return x
    whole = jnp.int32 if jnp.issubdtype(dtype, bool) else dtype
    return lax.bitcast_convert_type(x, whole).astype(dtype)


def forward_only(function: str, run: Any) -> Any:
    """The run of a loop, which has tangents but no cotangents; whoever asks is told what to do."""
    one = partial(_forward_only.bind, function=function)
    return jax.tree.map(lambda x: one(x) if errors.is_floating(x) else x, run)


def _no_cotangent(*_: Any, function: str) -> Any:
    errors.fail(
        function, "implicit", "True for reverse-mode derivatives (grad, vjp, jacrev)", False,
        "In forward mode (jvp, jacfwd) the loop itself can be differentiated.",
    )  # fmt: skip


_forward_only = Primitive("forward_only")
_forward_only.def_impl(lambda x, **_: x)
_forward_only.def_abstract_eval(lambda x, **_: x)
ad.deflinear2(_forward_only, _no_cotangent)
batching.defvectorized(_forward_only)
mlir.register_lowering(_forward_only, lambda _, x, **__: [x])
