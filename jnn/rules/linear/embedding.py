"""Embedding: rows of a table by their numbers."""

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.rules.core.rule import Example, rule
from jnn.rules.core.sharded import by_device
from jnn.rules.linear.table import table_delta


@rule
def embedding(ids: jax.Array, table: jax.Array, *, padding: int | None = None) -> jax.Array:
    """The rows of `table` that ids name: `y[..., :] = table[ids[...]]` (M-79).

    That is the product of one-hot rows with the table; its derivative adds each row of the
    cotangent to the row that was read, wherever ids repeat (M-80):

        dtable[v] = sum over ids = v of delta

    A number that names no row, negative ones included, can only be seen by the running program: its
    row of y is NaN, so that it does not pass for another, and no row of the table gets its
    cotangent. What adds the rows up is the product `embedding.table`: a scatter on a CPU; a one-hot
    product or sums in sorted order elsewhere, whose bits are the same on every run.

    Saves: ids, table. Of the table only the shape is read.

    Args:
      ids: integers of any shape.
      table: (rows, size).
      padding: an id whose rows of y are 0 and get no gradient, or None. It need not be a row of the
        table: -1 will do. (PyTorch's `padding_idx` reads the row, which it once set to 0.)

    >>> table = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    >>> jnn.rules.embedding(jnp.array([1, 0, -1, 2]), table, padding=-1).tolist()
    [[3.0, 4.0], [1.0, 2.0], [0.0, 0.0], [nan, nan]]
    >>> jax.grad(lambda w: jnn.rules.embedding(jnp.array([1, 1]), w).sum())(table).tolist()
    [[0.0, 0.0], [2.0, 2.0]]
    """
    y = _selected(_is_row(ids, table), jnp.take(table, _wide(ids), axis=0, mode="clip"), jnp.nan)
    return y if padding is None else _selected(ids != padding, y, 0)  # M-79


@embedding.forward
def embedding_forward(ids, table, *, padding):
    y = _selected(_is_row(ids, table), jnp.take(table, _wide(ids), axis=0, mode="clip"), jnp.nan)
    return y if padding is None else _selected(ids != padding, y, 0), (ids, table)


@embedding.backward
def embedding_backward(saved, delta, *, padding):
    ids, table = saved
    rows, size = table.shape
    counts = _counts(ids, table, padding)
    wide = _wide(ids)
    places = jnp.where(counts, wide, jnp.full_like(wide, rows)).ravel()

    def of(delta, places):
        return (), table_delta(places, delta, setting=rows)  # M-80

    return None, by_device(of, (delta.reshape(-1, size), places))[1]


@embedding.tangent
def embedding_tangent(primals, tangents, *, padding):
    (ids, table), (_, dtable) = primals, tangents
    y, _ = embedding_forward(ids, table, padding=padding)
    dy = jnp.take(dtable, _wide(ids), axis=0, mode="clip")
    return y, _selected(_counts(ids, table, padding), dy, 0)


def _is_row(ids, table):
    ids = _wide(ids)
    return (ids >= 0) & (ids < table.shape[0])


def _counts(ids, table, padding):
    """Whether an id names a row that is read."""
    known = _is_row(ids, table)
    return known if padding is None else known & (ids != padding)


def _selected(where, y, otherwise):
    """Rows of y, and `otherwise` in the others."""
    return jnp.where(jnp.broadcast_to(where[..., None], y.shape), y, jnp.full_like(y, otherwise))


def _wide(ids):
    """Ids in a dtype that holds the number of rows too."""
    return ids.astype(jnp.int32) if ids.dtype.itemsize < 4 else ids


@embedding.check
def embedding_check(ids, table, *, padding):
    errors.floating("embedding", table=table)
    errors.rank("embedding", "table", table, 2)
    if not table.shape[0]:
        errors.fail("embedding", "table", "a table of at least one row", errors.describe(table))
    if not (hasattr(ids, "dtype") and jnp.issubdtype(ids.dtype, jnp.integer)):
        remedy = "Ids are row numbers: cast them, e.g. ids.astype(jnp.int32)."
        errors.fail("embedding", "ids", "an integer array", errors.describe(ids), remedy, TypeError)
    if padding is None:
        return
    bounds = jnp.iinfo(ids.dtype)
    if not hasattr(padding, "__index__") or not bounds.min <= padding <= bounds.max:
        errors.fail("embedding", "padding", f"None or an integer that {ids.dtype.name} holds",
                    repr(padding))  # fmt: skip


def _example(**settings):
    def make(random: np.random.Generator) -> Example:
        rows, size = random.integers(1, 6, 2)
        shape = tuple(random.integers(1, 5, random.integers(0, 4)))
        ids = random.integers(-1 if settings else 0, rows, shape)
        return Example(ids, random.normal(size=(rows, size)), **settings)

    return make


embedding.example(_example())
embedding.example(_example(padding=-1))


@embedding.example
def embedding_repeated(random: np.random.Generator) -> Example:
    return Example(np.array([[2, 0, 2], [2, 1, 2]]), random.normal(size=(4, 3)), padding=1)


@embedding.extreme
def embedding_extreme(random: np.random.Generator) -> Example:
    return Example(random.integers(0, 3, 40), 1e4 * random.normal(size=(3, 4)))
