"""Mixed precision: the network computes in half precision, the parameters stay in float32."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors


@dataclass(frozen=True)
class Precision:
    """The settings of `mixed`."""

    dtype: str
    scale: float
    every: int


class Scaling(NamedTuple):
    """The present loss scale, and how many steps went well with it."""

    scale: jax.Array
    good: jax.Array


def mixed(dtype: str = "bfloat16", *, scale: float = 2.0**15, every: int = 2000) -> Precision:
    """Computes the network in half precision, with parameters, loss and optimizer in float32.

    So are the layers' states: a running average would lose its updates. A layer is given its state
    in float32 beside parameters and inputs in half precision, and returns it so.

    In float16 small gradients vanish, so the loss is multiplied by a scale before it is
    differentiated and the gradients are divided by it. A step whose gradients overflow is skipped
    and halves the scale; `every` good ones in a row double it. bfloat16 needs no scale.

    >>> jnn.train.mixed("float16").scale
    32768.0

    Args:
      dtype: "bfloat16" or "float16".
      scale: the first scale, for float16.
      every: after how many good steps the scale doubles.
    """
    errors.choice("mixed", "dtype", dtype, ("bfloat16", "float16"))
    errors.number("mixed", "scale", scale, low=1)
    errors.positive_integer("mixed", "every", every)
    return Precision(dtype, float(scale), every)


def initial(precision: Precision | None) -> Scaling | tuple[()]:
    """The scale before the first step; nothing where none is needed."""
    if precision is None or precision.dtype != "float16":
        return ()
    return Scaling(jnp.float32(precision.scale), jnp.int32(0))


def narrow(precision: Precision | None, tree: Any) -> Any:
    """Floating arrays in the dtype of the computation."""
    if precision is None:
        return tree
    return _cast(tree, jnp.dtype(precision.dtype))


def like(tree: Any, original: Any) -> Any:
    """Arrays in the dtypes of the original tree: the layers' states stay as they were."""
    return jax.tree.map(lambda x, o: x.astype(o.dtype), tree, original)


def _cast(tree: Any, dtype: Any) -> Any:
    def cast(x: jax.Array) -> jax.Array:
        return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(cast, tree)


def adjust_scale(precision: Precision, scaling: Scaling, finite: jax.Array) -> Scaling:
    """The scale after a step: halved after an overflow, doubled after many good steps."""
    good = jnp.where(finite, scaling.good + 1, 0)
    grown = good >= precision.every
    up = jnp.where(grown, 2 * scaling.scale, scaling.scale)
    scale = jnp.where(finite, up, jnp.maximum(scaling.scale / 2, 1))
    # A scale that float32 cannot hold would never come back.
    scale = jnp.minimum(scale, jnp.float32(2.0**100))
    return Scaling(scale, jnp.where(grown, 0, good))
