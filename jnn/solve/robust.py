"""Losses that outliers do not rule, by weights that are renewed each step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jnn import tree


def huber(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Square up to 1, then linear; of the squared residual, with its derivative."""
    far = z > 1
    root = jnp.sqrt(jnp.where(far, z, 1))
    return jnp.where(far, 2 * root - 1, z), jnp.where(far, 1 / root, 1)


def cauchy(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`log(1 + z)`: an outlier pulls less the farther it lies."""
    return jnp.log1p(z), 1 / (1 + z)


def soft_l1(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`2 (sqrt(1 + z) - 1)`: a smooth Huber."""
    root = jnp.sqrt(1 + z)
    return 2 * z / (root + 1), 1 / root


LOSSES: dict[str, Callable[[jax.Array], tuple[jax.Array, jax.Array]]] = {
    "huber": huber,
    "cauchy": cauchy,
    "soft_l1": soft_l1,
}


def cost(residual: jax.Array, loss: str | None, scale: Any) -> tuple[jax.Array, jax.Array]:
    """Half the sum of `scale^2 rho(r^2 / scale^2)`, and the root of each residual's weight.

    The weight is `rho'`: with it, the gradient is `J^T w r`, and a Gauss-Newton step is one of
    iteratively re-weighted least squares.

    >>> from jnn.solve.robust import cost
    >>> value, root = cost(jnp.array([0.5, 4.0]), "huber", 1.0)
    >>> value.item(), root.tolist()
    (3.625, [1.0, 0.5])
    """
    if loss is None:
        return tree.dot(residual, residual) / 2, jnp.ones_like(residual)
    unit = jnp.asarray(scale, residual.dtype)
    value, weight = LOSSES[loss]((residual / unit) ** 2)
    return unit**2 * jnp.sum(value) / 2, jnp.sqrt(weight)
