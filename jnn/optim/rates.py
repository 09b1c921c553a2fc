"""Settings of optimizers: checked numbers, rates that may be schedules, and the step's count."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jnn import errors
from jnn.arithmetic import wide

Number = float | jax.Array
Schedule = Callable[[Any], Number]
Rate = Number | Schedule

_LAST = jnp.iinfo(jnp.int32).max


def in_dtype_of(value: Number, x: jax.Array) -> jax.Array:
    """A number in the dtype of `x`: rates and weights never change the dtype of what they scale."""
    return jnp.asarray(value, x.dtype)


def zero() -> jax.Array:
    """A count that has not begun."""
    return jnp.zeros((), jnp.int32)


def advance(count: jax.Array) -> jax.Array:
    """The next count; the last that int32 holds stays."""
    return count + (count < _LAST).astype(count.dtype)


def zeros_like(tree: Any) -> Any:
    """Zeros of the shapes and dtypes of `tree`, never weakly typed."""
    return jax.tree.map(lambda x: jnp.zeros(jnp.shape(x), jnp.result_type(x)), tree)


def wide_like(tree: Any) -> Any:
    """The shapes of `tree`, in the dtypes in which sums of its squares are kept."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(jnp.shape(x), wide(jnp.result_type(x))), tree
    )


def check_numbers(
    function: str, low: float = 0, below: float = float("inf"), **values: Any
) -> None:
    """Each value is a number with `low <= value < below`; traced ones only have to be scalars."""
    for argument, value in values.items():
        scalar = isinstance(value, int | float) or (hasattr(value, "item") and jnp.ndim(value) == 0)
        if isinstance(value, bool) or not scalar:
            shown = errors.describe(value)
            errors.fail(function, argument, "a number or a scalar array", shown, kind=TypeError)
        if isinstance(value, Tracer):
            continue
        if not low <= value < below:
            bound = "finite" if below == float("inf") else f"below {below:g}"
            errors.fail(function, argument, f"at least {low:g} and {bound}", f"{float(value):g}")


def check_rate(function: str, rate: Any) -> None:
    """`rate` is a number of at least zero, or a schedule."""
    if not callable(rate):
        check_numbers(function, rate=rate)


def at(rate: Rate, step: jax.Array) -> Number:
    """The rate of that step, counted from 0."""
    return rate(step) if callable(rate) else rate
