"""Positions that are added to a sequence, learned or not."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jnn import errors, rules
from jnn.layers.core.initialisers import Initialiser, check_initialisers, normal
from jnn.layers.core.layer import (
    Apply,
    Init,
    check_dtype,
    fed,
    fed_by,
    layer,
    pure,
    without_parameters,
)
from jnn.layers.core.ragged import ALL, ONE, Ragged, array_of, joined, places
from jnn.types import Batch, Key

_SMALL = normal(0.02)


@functools.partial(layer, sees=ALL)
def learned_positions(
    length: int | None = None, *, weights: Initialiser = _SMALL, dtype: DTypeLike | None = None
) -> tuple[Init, Apply]:
    """Adds a learned vector to each place of (batch, time, features), for up to `length` places.

    The parameters are the vectors, (length, features).

    Args:
      length: the most places; None for as many as the example has.
      weights: initialiser of the vectors.
      dtype: of the vectors, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net = jnn.learned_positions(16)
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((2, 5, 3)))
    >>> params.shape, net(params, jnp.zeros((2, 5, 3))).shape
    ((16, 3), (2, 5, 3))
    """
    if length is not None:
        errors.positive_integer("learned_positions", "length", length)
    check_initialisers("learned_positions", weights=weights)
    check_dtype("learned_positions", dtype)

    def init(key: Key, x: Batch) -> tuple[jax.Array, tuple[()]]:
        x = array_of(x)
        n, taken = fed_by("learned_positions", x, dtype)
        errors.rank("learned_positions", "x", x, 3)
        return weights(key, (length or x.shape[1], n), taken), ()

    def apply(params: jax.Array, given: Any) -> Any:
        x = array_of(given)
        errors.rank("learned_positions", "x", x, 3)
        if x.shape[1] > len(params):
            errors.fail("learned_positions", "x", f"of {len(params)} places at most",
                        errors.describe(x), "A greater length has more of them.")  # fmt: skip
        x = fed(x, params, dtype)
        errors.floating("learned_positions", params=params, x=x)
        if isinstance(given, Ragged):
            return given.with_x(x + rules.embedding(places(given), params))
        return x + jnp.broadcast_to(params[None, : x.shape[1]], x.shape)

    return init, pure(apply)


@functools.partial(layer, sees=ALL)
def sinusoidal_positions(*, base: float = 10000.0) -> tuple[Init, Apply]:
    """Adds sines and cosines of each place to (batch, time, features); nothing is learned.

    Features 2 i and 2 i + 1 are the sine and the cosine of `place base^(-2 i / features)`.

    >>> y = jnn.sinusoidal_positions()((), jnp.zeros((1, 2, 4)))
    >>> [round(float(a), 4) for a in y[0, 1]]
    [0.8415, 0.5403, 0.01, 0.9999]
    """
    errors.number("sinusoidal_positions", "base", base, low=1)

    def apply(params: tuple[()], given: Any) -> Any:
        x = array_of(given)
        errors.floating("sinusoidal_positions", x=x)
        errors.rank("sinusoidal_positions", "x", x, 3)
        _, time, features = x.shape
        pairs = -(-features // 2)
        rates = base ** (-2 * np.arange(pairs) / max(features, 1))
        angles = np.arange(time)[:, None] * rates
        waves = np.stack([np.sin(angles), np.cos(angles)], -1).reshape(time, 2 * pairs)
        table = jnp.asarray(waves[:, :features], x.dtype)
        rows = table[places(given)] if isinstance(given, Ragged) else table[None]
        return joined(lambda x: x + jnp.broadcast_to(rows, x.shape), given)

    return without_parameters, pure(apply)


@functools.partial(layer, sees=ONE)
def at_most(length: int) -> tuple[Init, Apply]:
    """Passes sequences, (batch, time, ...), of up to `length` places, and refuses longer ones.

    It stands where nothing else in a network is as long as what it was trained on.

    >>> jnn.at_most(4)((), jnp.zeros((2, 4))).shape
    (2, 4)
    """
    errors.positive_integer("at_most", "length", length)

    def apply(params: tuple[()], x: jax.Array) -> jax.Array:
        if jnp.ndim(x) < 2 or x.shape[1] > length:
            errors.fail("at_most", "x", f"(batch, time, ...) of {length} places at most",
                        errors.describe(x), "It is the network's context.")  # fmt: skip
        return x

    return without_parameters, pure(apply)
