"""Sums in which half precisions accumulate in float32, and divisors that are never 0."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


def wide(dtype: Any) -> Any:
    """The dtype in which values of `dtype` are summed: float32 for half precisions, else itself."""
    return jnp.dtype(jnp.float32) if jnp.dtype(dtype).itemsize < 4 else jnp.dtype(dtype)


def as_wide(x: jax.Array) -> jax.Array:
    """`x` in the dtype in which it is summed."""
    return x.astype(wide(x.dtype))


def contract(a: jax.Array, b: jax.Array, axes: int | Sequence[Sequence[int]] = 1) -> jax.Array:
    """`jnp.tensordot(a, b, axes)`, accumulated in `wide` and returned in the operands' dtype."""
    return wide_contract(a, b, axes).astype(jnp.result_type(a, b))


def wide_contract(a: jax.Array, b: jax.Array, axes: int | Sequence[Sequence[int]] = 1) -> jax.Array:
    """The same, returned as it was accumulated."""
    return jnp.tensordot(a, b, axes, preferred_element_type=wide(jnp.result_type(a, b)))


def outer_sum(a: jax.Array, b: jax.Array) -> jax.Array:
    """Contracts every leading axis: the sum over a batch of outer products, `sum a b^T`."""
    leading = tuple(range(a.ndim - 1))
    return contract(a, b, (leading, leading))


def nonzero(x: jax.Array) -> jax.Array:
    """`x` with 1 for 0, to divide by where the quotient does not count.

    >>> from jnn.arithmetic import nonzero
    >>> nonzero(jnp.array([0.0, -2.0])).tolist()
    [1.0, -2.0]
    """
    return jnp.where(x == 0, 1, x)
