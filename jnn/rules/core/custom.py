"""What JAX is told of a rule: a function with a custom VJP, a custom JVP, or its definition.

Between the hand-written parts and JAX stands only bookkeeping: shapes and dtypes of cotangents are
held to those of the arguments, and arguments that several devices share get the sum.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.errors import RuleError
from jnn.rules.core.product import choices
from jnn.rules.core.sharded import as_sharded, divided, division, vary_like
from jnn.xla.platform import held_for, platforms

Settings = dict[str, Any]


def by_autodiff(rule: Any, settings: Settings) -> Callable[..., Any]:
    """The definition, left to JAX."""
    return functools.partial(rule.parts.definition, **settings)


def by_forward(rule: Any, settings: Settings) -> Callable[..., Any]:
    """The forward with the hand-written tangent; without one, the definition's own serves."""
    if rule.parts.tangent is None:
        return by_autodiff(rule, settings)
    forward, tangent = _part(rule, "forward"), rule.parts.tangent

    def value(*args: Any) -> Any:
        return _pair(rule, forward(*as_arrays(args), **settings))[0]

    def value_and_tangent(primals: Any, tangents: Any) -> Any:
        y, dy = _apply(functools.partial(tangent, **settings), as_arrays(primals), tangents)
        return y, jax.tree.map(_tangent_like, dy, y)

    function = jax.custom_jvp(_named(value, rule.name))
    function.defjvp(value_and_tangent, symbolic_zeros=True)
    return function


def by_backward(rule: Any, settings: Settings) -> Callable[..., Any]:
    """The forward with the hand-written backward."""
    forward, backward = _part(rule, "forward"), _part(rule, "backward")

    def value(*args: Any) -> Any:
        return _pair(rule, forward(*as_arrays(args), **settings))[0]

    def value_and_saved(*args: Any) -> Any:
        args = as_arrays(args)
        y, saved = _pair(rule, forward(*args, **settings))
        return y, (saved, _Types(jax.tree.map(jax.typeof, args)), _Held.here())

    def cotangents(residuals: Any, delta: Any) -> Any:
        saved, types, held = residuals

        def pull(saved: Any, delta: Any) -> Any:
            # A cotangent is pulled back under the contexts of the call.
            with choices(held.choices), held_for(held.platforms), divided(held.division):
                return _fit(rule, backward(saved, delta, **settings), types.tree)

        return as_sharded(pull, types.tree)(saved, as_arrays(delta))

    function = jax.custom_vjp(_named(value, rule.name))
    function.defvjp(value_and_saved, cotangents)

    def call(*args: Any) -> Any:
        try:
            return function(*args)  # If jvp led here: `with jnn.derivatives("forward")` allows it.
        except TypeError as error:
            if "forward-mode" in str(error):
                error.add_note(
                    f"rule '{rule.name}' is differentiated backwards here. For jvp, jacfwd and "
                    'linearize call it under jnn.derivatives("forward") (hand-written tangents) '
                    'or jnn.derivatives("autodiff").'
                )
            raise

    return call


def as_arrays(tree: Any) -> Any:
    """NumPy arrays and Python numbers as JAX arrays, weak types kept."""

    def convert(x: Any) -> Any:
        known = isinstance(x, jax.Array) or getattr(x, "dtype", None) == jax.dtypes.float0
        return x if known else jnp.asarray(x)

    return jax.tree.map(convert, tree)


def _part(rule: Any, part: str) -> Callable[..., Any]:
    function = getattr(rule.parts, part)
    if function is None:
        raise RuleError(
            f"rule '{rule.name}' has no {part}: write one under @{rule.name}.{part}, or call it "
            'under jnn.derivatives("autodiff").'
        )
    return function


def _pair(rule: Any, result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise RuleError(
            f"rule '{rule.name}': forward must return a pair (value, saved), got "
            f"{jax.tree.map(errors.describe, result)}."
        )
    return result


def _fit(rule: Any, cotangents: Any, types: tuple[Any, ...]) -> tuple[Any, ...]:
    """Cotangents in the form that JAX asks for; whatever does not fit is named."""
    if not isinstance(cotangents, tuple) or len(cotangents) != len(types):
        count = len(cotangents) if isinstance(cotangents, tuple) else type(cotangents).__name__
        raise RuleError(
            f"rule '{rule.name}': backward must return a tuple of {len(types)} cotangents, one "
            f"for each of ({', '.join(rule.arguments)}), got {count}."
        )
    return tuple(map(functools.partial(_fit_argument, rule), rule.arguments, cotangents, types))


def _fit_argument(rule: Any, argument: str, cotangent: Any, types: Any) -> Any:
    if cotangent is None or not jax.tree.leaves(types):
        return None  # Symbolic zeros; an argument that is absent has nothing else.

    def fit(t: Any, d: Any) -> Any:
        if d is None or not jnp.issubdtype(t.dtype, jnp.inexact):
            return None
        if not isinstance(d, jax.Array | np.ndarray | float | int) or jnp.shape(d) != t.shape:
            raise RuleError(
                f"rule '{rule.name}': backward returned {errors.describe(d)} as the cotangent of "
                f"`{argument}`, which is {errors.describe(t)}."
            )
        return vary_like(_of_dtype(d, t.dtype), t)

    try:
        return jax.tree.map(fit, types, cotangent)
    except ValueError as error:
        raise RuleError(
            f"rule '{rule.name}': the cotangent of `{argument}` must have its structure "
            f"{jax.tree.structure(types)}, got {jax.tree.structure(cotangent)}."
        ) from error


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = name
    return function


@jax.tree_util.register_static
class _Types:
    """The types of a rule's arguments, which travel beside the saved values at no cost."""

    def __init__(self, tree: Any):
        self.tree = tree
        leaves, structure = jax.tree.flatten(tree)
        self._key = (tuple(leaves), structure)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Types) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@jax.tree_util.register_static
class _Held(NamedTuple):
    """What held where a rule was called: choices of implementations, platforms, devices."""

    choices: Any
    platforms: tuple[str, ...]
    division: Any

    @classmethod
    def here(cls) -> "_Held":
        return cls(choices.value, platforms(), division())


def _apply(tangent: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """Value and tangent; the terms of arguments that do not move are not computed.

    The tangent is linear in `tangents`, so it is its own JVP; and JAX's JVP of it in the moving
    arguments alone drops the products with the zeros of the others.
    """
    leaves, structure = jax.tree.flatten(tangents)
    still = [isinstance(leaf, jax.custom_derivatives.SymbolicZero) for leaf in leaves]
    moving = tuple(leaf for leaf, zero in zip(leaves, still, strict=True) if not zero)

    def linear(*moving: Any) -> Any:
        rest = iter(moving)
        full = [
            _zeros(leaf) if zero else next(rest) for leaf, zero in zip(leaves, still, strict=True)
        ]
        y, dy = tangent(primals, structure.unflatten(full))
        return dy, y

    if not any(still):
        return linear(*moving)[::-1]
    _, dy, y = jax.jvp(linear, moving, moving, has_aux=True)
    return y, dy


def _zeros(like: Any) -> Any:
    zeros = np.zeros if like.dtype == jax.dtypes.float0 else jnp.zeros
    return zeros(like.shape, like.dtype)


def _tangent_like(dy: Any, y: Any) -> Any:
    return _of_dtype(dy, y.dtype) if jnp.issubdtype(y.dtype, jnp.inexact) else dy


def _of_dtype(x: Any, dtype: Any) -> jax.Array:
    """`x` in that dtype; if it has it already, untouched, so that a weak type stays weak."""
    return x if isinstance(x, jax.Array) and x.dtype == dtype else jnp.asarray(x, dtype)
