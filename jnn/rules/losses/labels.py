"""Targets of the entropies: class indices, or one number a class (one-hot or soft).

Class indices are an integer array with one axis less than the prediction. A label that names no
class cannot be seen when a function is traced; its sample's loss and gradient are NaN, so that it
does not pass for a good one.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide


def are_indices(x: jax.Array, t: jax.Array) -> bool:
    """Whether `t` holds class indices, rather than one number a class."""
    return t.ndim == x.ndim - 1


def is_class(x: jax.Array, t: jax.Array) -> jax.Array:
    """Where in `x` the class is that of its sample; no scatter, so that it fuses."""
    t = _wide(t)
    return t[..., None] == lax.broadcasted_iota(t.dtype, x.shape, x.ndim - 1)


def is_other(x: jax.Array, t: jax.Array) -> jax.Array:
    """0 where in `x` the class is that of its sample, else 1: a factor in a sum over the others.

    Of arithmetic, which the CPU's kernels of sums take in with the exponential before it; a choice
    would have all exponentials in memory first.
    """
    if x.shape[-1] * jnp.finfo(x.dtype).eps > 1:  # The places are not told apart in this dtype.
        return 1 - is_class(x, t).astype(x.dtype)
    place = jnp.arange(x.shape[-1], dtype=x.dtype).reshape((1,) * t.ndim + (-1,))
    return jnp.minimum(jnp.abs(place - t[..., None].astype(x.dtype)), jnp.ones((), x.dtype))


def pick_class(x: jax.Array, t: jax.Array) -> jax.Array:
    """The entry of each sample's class, (..., n) to (...); of class 0 or n - 1 if there is none."""
    return jnp.take_along_axis(x, _wide(t)[..., None], -1, mode="clip")[..., 0]


def validity(x: jax.Array, t: jax.Array, ignore: int | None = None) -> jax.Array:
    """1 for each label, 0 for the ignored one, NaN for a label that names no class."""
    labels, one = _wide(t), jnp.ones(t.shape, x.dtype)
    row = jnp.where((labels >= 0) & (labels < x.shape[-1]), one, jnp.full_like(one, jnp.nan))
    return row if ignore is None else jnp.where(t == ignore, jnp.zeros_like(row), row)


def _wide(t: jax.Array) -> jax.Array:
    """Labels in a dtype that holds the number of classes too."""
    return t.astype(jnp.int32) if t.dtype.itemsize < 4 else t


def amounts(t: jax.Array, dtype: Any, weights: jax.Array | None, ignore: int | None) -> jax.Array:
    """How much samples count in a mean: the weight of their class, or 1; 0 if they are ignored."""
    row = jnp.ones(t.shape, dtype)
    if ignore is not None:
        row = jnp.where(t == ignore, jnp.zeros_like(row), row)
    return row if weights is None else row * jnp.take(as_wide(weights), t, mode="clip")


def weighed(y: jax.Array, weights: jax.Array | None) -> jax.Array:
    """What is of each sample, by its weight; 0 where that is 0, whatever it is."""
    if weights is None:
        return y
    return jnp.where(weights.astype(bool), weights.astype(y.dtype) * y, jnp.zeros_like(y))


def uncounted(t: jax.Array, weights: jax.Array | None, ignore: int | None) -> jax.Array | None:
    """Which samples do not count, ignored or of weight 0; None where all do."""
    off = None if ignore is None else t == ignore
    if weights is None:
        return off
    return weights == 0 if off is None else off | (weights == 0)


def check_labels(function: str, argument: str, x: jax.Array, t: jax.Array) -> None:
    """`t` fits the prediction `x` in one of the forms."""
    errors.floating(function, **{argument: x})
    if x.ndim == 0 or x.shape[-1] == 0:
        expected = "of shape (..., n), one number a class"
        errors.fail(function, argument, expected, errors.describe(x))
    if t.shape not in (x.shape, x.shape[:-1]):
        errors.fail(
            function, "t", f"of shape {x.shape[:-1]} (class indices) or {x.shape} (one-hot or "
            f"soft) to fit `{argument}` {errors.describe(x)}", errors.describe(t),
            "Axes of size 1 are not broadcast: reshape it.",
        )  # fmt: skip
    if not are_indices(x, t):
        per_class(function, argument, x, t)
    elif not jnp.issubdtype(t.dtype, jnp.integer):
        remedy = f"Class indices are integers; one-hot targets have shape {x.shape}."
        errors.fail(function, "t", "an integer array", errors.describe(t), remedy, TypeError)


def per_class(function: str, argument: str, x: jax.Array, t: jax.Array) -> None:
    """`t` has one number for each of the prediction's: boolean, integer or of its dtype."""
    remedy = "Axes of size 1 are not broadcast: reshape it."
    errors.shape(function, "t", t, x.shape, remedy)
    if errors.is_floating(t):
        errors.floating(function, **{argument: x, "t": t})


def check_ignore(function: str, t: jax.Array, ignore: int | None) -> None:
    """`ignore` is None or a class index that the dtype of `t` holds."""
    bounds = jnp.iinfo(t.dtype)
    if ignore is not None and not (
        hasattr(ignore, "__index__") and bounds.min <= ignore <= bounds.max
    ):
        errors.fail(function, "ignore", f"an integer that {t.dtype.name} holds", ignore)
