"""Embedding as a layer: a trained row for each of a vocabulary's tokens."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jnn import errors, rules
from jnn.layers.core.initialisers import Initialiser, check_initialisers, normal
from jnn.layers.core.layer import Apply, Init, check_dtype, described, layer, pure
from jnn.layers.core.ragged import ONE
from jnn.types import Batch, Key

_ABOUT_ZERO = normal(1.0)


class EmbeddingParams(NamedTuple):
    """The table w, (vocabulary, size)."""

    w: jax.Array


@functools.partial(layer, sees=ONE)
def embedding(
    vocabulary: int,
    size: int,
    *,
    padding: int | None = None,
    weights: Initialiser = _ABOUT_ZERO,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """Token ids, integers of any shape, to rows of `size` numbers each: `y = w[x]`.

    An id outside 0 ... vocabulary - 1 gives a row of NaN: see `jnn.rules.embedding`, the rule.

    Args:
      vocabulary: the number of rows.
      size: of each row.
      padding: an id whose rows are 0 and that is not trained, for example -1; None for none.
      weights: initialiser of the table.
      dtype: of the table; None for float32.

    >>> net = jnn.embedding(100, 8, padding=-1)
    >>> tokens = jnp.array([[5, 17, 99], [3, -1, -1]])
    >>> params, _ = net.init(jax.random.key(0), tokens)
    >>> net(params, tokens).shape
    (2, 3, 8)
    """
    errors.positive_integer("embedding", "vocabulary", vocabulary)
    errors.positive_integer("embedding", "size", size)
    if padding is not None and not hasattr(padding, "__index__"):
        errors.fail("embedding", "padding", "None or an integer", repr(padding))
    check_initialisers("embedding", weights=weights)
    check_dtype("embedding", dtype)

    def init(key: Key, x: Batch) -> tuple[EmbeddingParams, tuple[()]]:
        if not (hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.integer)):
            remedy = "Tokens are row numbers, e.g. tokens.astype(jnp.int32)."
            got = described(x)
            errors.fail("embedding", "x", "an integer array", got, remedy, TypeError)
        taken = jnp.dtype(jnp.float32 if dtype is None else dtype)
        return EmbeddingParams(weights(key, (vocabulary, size), taken)), ()

    def apply(params: EmbeddingParams, x: jax.Array) -> jax.Array:
        if not isinstance(params, EmbeddingParams) or params.w.shape != (vocabulary, size):
            expected = f"EmbeddingParams of {vocabulary} rows of {size}"
            errors.fail("embedding", "params", expected, described(params), "Make them by init.")
        return rules.embedding(x, params.w, padding=padding)

    return init, pure(apply)
