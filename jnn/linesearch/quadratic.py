"""The exact step on a quadratic (H-139)."""

import jax
import jax.numpy as jnp

from jnn.arithmetic import nonzero


def quadratic(slope: jax.Array | float, curvature: jax.Array | float) -> jax.Array:
    """The minimiser along a line on which the function is a parabola (H-139).

    With `slope = -r^T d` at the origin and `curvature = d^T A d`, the step is
    `alpha = d^T r / d^T A d`. Where the curvature is not positive there is no minimum: infinity.

    >>> jnn.linesearch.quadratic(-4.0, 2.0).item()
    2.0
    """
    slope, curvature = jnp.asarray(slope), jnp.asarray(curvature)
    return jnp.where(curvature > 0, -slope / nonzero(curvature), jnp.inf)
