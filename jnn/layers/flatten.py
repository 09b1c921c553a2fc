"""Flattening: all axes of a sample in one, or all but its channels."""

import math

import jax

from jnn import errors
from jnn.layers.core.layer import Apply, Init, layer, pure, without_parameters
from jnn.types import Params


@layer
def flatten() -> tuple[Init, Apply]:
    """Joins all axes behind the first, which is the batch, into one (D-40..42, in C order).

    >>> net = jnn.flatten()
    >>> net((), jnp.zeros((8, 5, 5, 3))).shape
    (8, 75)
    """

    def apply(params: Params, x: jax.Array) -> jax.Array:
        if not x.shape:
            errors.fail("flatten", "x", "an array with a batch axis", errors.describe(x))
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))  # D-41

    return without_parameters, pure(apply)


@layer
def as_sequence(*, rows: bool = False) -> tuple[Init, Apply]:
    """An image as a sequence of its pixels, row by row: (N, *size, C) to (N, pixels, C).

    Args:
      rows: whether a row is one place, with all its pixels: (N, height, ...) to (N, height, rest).

    >>> jnn.as_sequence()((), jnp.zeros((8, 5, 4, 3))).shape
    (8, 20, 3)
    >>> jnn.as_sequence(rows=True)((), jnp.zeros((8, 5, 4, 3))).shape
    (8, 5, 12)
    """
    errors.choice("as_sequence", "rows", rows, (False, True))

    def apply(params: Params, x: jax.Array) -> jax.Array:
        if x.ndim < 3:
            errors.fail("as_sequence", "x", "(batch, *size, channels)", errors.describe(x))
        places = x.shape[1:2] if rows else (math.prod(x.shape[1:-1]),)
        return x.reshape(x.shape[0], *places, math.prod(x.shape[1:]) // max(*places, 1))

    return without_parameters, pure(apply)
