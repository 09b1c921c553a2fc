"""The cotangent of a table of rows that were looked up: the sum, for each row, of what it got.

    embedding.table(places, delta)    dw[v] = sum over i with places[i] = v of delta[i]

`places` (n,) are row numbers, `delta` is (n, size), and the setting is the number of rows; a place
that is no row counts nothing. Half precisions are summed in float32.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jnn.arithmetic import as_wide, wide
from jnn.rules.core.chunks import sum_over_chunks
from jnn.rules.core.product import Call, Product
from jnn.xla.control import differing, marked

SMALL = (
    1024  # Rows. Of fewer, the matrix units of a GPU or TPU sum faster than it sorts: see below.
)
MOST = 2**24  # Numbers of a one-hot matrix that are made at once.


TOGETHER = 8  # So many rows are added in one pass over memory.


def _default(call: Call) -> str:
    """On a CPU the scatter, one pass in order; elsewhere what has an order and no loop.

    A GPU's scatter adds in any order, and by compare-and-swap where many places are equal; a TPU's
    is a loop over places. A product with n places of `rows` rows takes 2 n rows operations a
    column, and sorted sums log8 n passes over delta: on today's units, equal near 1000 rows.
    """
    if call.platform == "cpu":
        return "scatter"
    return "one_hot" if call.setting <= SMALL else "sorted"


def _draw(random, call: Call):
    """Places of which some are no row, and a cotangent."""
    (n, dtype), (shape, kind) = call.arrays
    places = random.integers(0, call.setting + 1, n)
    return jnp.asarray(places, dtype), jnp.asarray(random.normal(size=shape), kind)


table_delta = Product("embedding.table", _default, _draw)


@table_delta.implementation("scatter")
def table_scatter(places: jax.Array, delta: jax.Array, rows: int) -> jax.Array:
    """Each row of delta added where it belongs; on a CPU one after the other."""
    zeros = jnp.zeros((rows, delta.shape[1]), wide(delta.dtype))
    zeros = marked(zeros, differing(places) | differing(delta))
    # Row numbers are not negative; what lies behind the last row is left out.
    return zeros.at[places].add(as_wide(delta), mode="drop").astype(delta.dtype)


@table_delta.implementation("one_hot")
def table_one_hot(places: jax.Array, delta: jax.Array, rows: int) -> jax.Array:
    """The product with a matrix of zeros and ones, which is never whole; for small tables.

    Like every product, it passes on what is not finite in delta: to all rows of that column.
    """

    def part(places: jax.Array, delta: jax.Array) -> jax.Array:
        own = lax.broadcasted_iota(places.dtype, (len(places), rows), 1)
        hot = (jnp.broadcast_to(places[:, None], own.shape) == own).astype(delta.dtype)
        inside = jnp.broadcast_to((places < rows)[:, None], delta.shape)
        return lax.dot_general(
            hot, jnp.where(inside, delta, jnp.zeros_like(delta)), (((0,), (0,)), ((), ())),
            precision=lax.Precision.HIGHEST, preferred_element_type=wide(delta.dtype),
        )  # fmt: skip

    return sum_over_chunks(part, (places, delta), max(1, MOST // rows)).astype(delta.dtype)


@table_delta.implementation("sorted")
def table_sorted(places: jax.Array, delta: jax.Array, rows: int) -> jax.Array:
    """Rows of delta in the order of their places, equal places summed as a tree: no scatter.

    After k passes each row of x is the sum of the last 8^k with its place, as far as there are so
    many; so the last row of each place is its sum. The order of a sum depends on `places` alone.
    """
    if not len(places):
        return jnp.zeros((rows, delta.shape[1]), delta.dtype)
    order = jnp.argsort(places, stable=True)
    places, x = (jnp.take(a, order, axis=0, mode="clip") for a in (places, as_wide(delta)))
    reach = 1
    while reach < len(places):
        x, reach = _reaching(x, places, reach), TOGETHER * reach
    each = jnp.arange(rows, dtype=places.dtype)
    last = jnp.maximum(jnp.searchsorted(places, each, side="right") - 1, 0)
    found = jnp.take(places, last, mode="clip") == each
    sums = jnp.take(x, last, axis=0, mode="clip")
    found = jnp.broadcast_to(found[:, None], sums.shape)
    return jnp.where(found, sums, jnp.zeros_like(sums)).astype(delta.dtype)


def _reaching(x: jax.Array, places: jax.Array, reach: int) -> jax.Array:
    """Sums of the last `reach` rows of a place, as sums of eight times as many."""
    row, total = jnp.arange(len(places)), x
    for step in range(reach, min(TOGETHER * reach, len(places)), reach):
        same = (_later(places, step) == places) & (row >= step)  # M-81
        before = jnp.where(jnp.broadcast_to(same[:, None], x.shape), _later(x, step), 0)
        total = total + before
    return total


def _later(a: jax.Array, step: int) -> jax.Array:
    """Each row where the one `step` behind it is."""
    around = [(step, -step, 0), *[(0, 0, 0)] * (a.ndim - 1)]
    return lax.pad(a, jnp.zeros((), a.dtype), around)
