"""Linear maps along an axis in which each output is a weighted sum of few entries.

Outputs and entries are constants of the program, so a map and its transpose alike are gathers:
output o sums `weights[o, k] x[entries[o, k]]` over few k. No scatter is needed on the way back, and
no matrix of mostly zeros.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jnn.arithmetic import as_wide

FEW = 8  # So many entries are added up one by one; more are reduced.


@dataclasses.dataclass(frozen=True, eq=False)
class Taps:
    """A linear map along an axis, its matrix given by its entries that are not zero.

    Attributes:
      outputs: how many entries it makes.
      inputs: of how many.
      rows, columns, values: the matrix' entries: output, input, weight of each.

    >>> pair = Taps(1, 2, np.array([0, 0]), np.array([0, 1]), np.array([0.25, 0.75]))
    >>> pair(jnp.array([[8.0, 4.0]]), axis=1).tolist()
    [[5.0]]
    >>> pair.transposed(jnp.array([[8.0]]), axis=1).tolist()
    [[2.0, 6.0]]
    """

    outputs: int
    inputs: int
    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    @functools.cached_property
    def transposed(self) -> "Taps":
        """The map of the transposed matrix."""
        return Taps(self.inputs, self.outputs, self.columns, self.rows, self.values)

    @functools.cached_property
    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """Entries and weights of each output, (outputs, taps); an output of fewer has weights 0."""
        order = np.argsort(self.rows, kind="stable")
        rows = self.rows[order]
        counts = np.bincount(rows, minlength=self.outputs)
        tap = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        entries = np.zeros((self.outputs, counts.max(initial=0)), np.int32)
        weights = np.zeros(entries.shape)
        entries[rows, tap], weights[rows, tap] = self.columns[order], self.values[order]
        return entries, weights

    @property
    def picks(self) -> bool:
        """Whether each output is an entry as it is."""
        return self.table[1].shape[1] == 1 and bool((self.values == 1).all())

    @property
    def nothing(self) -> bool:
        """Whether it is the identity."""
        whole = np.arange(self.inputs)
        return self.picks and np.array_equal(self.table[0][:, 0], whole)

    def __call__(self, x: jax.Array, axis: int) -> jax.Array:
        """`x` with its axis mapped."""
        entries, weights = self.table
        if entries.shape[1] > FEW:
            return _weighted(taken(x, entries, axis), weights, axis).sum(axis + 1)
        columns = zip(entries.T, weights.T, strict=True)
        return sum((_weighted(taken(x, e, axis), w, axis) for e, w in columns),
                   jnp.zeros((), x.dtype))  # fmt: skip


def _weighted(x: jax.Array, weights: np.ndarray, axis: int) -> jax.Array:
    """`x` times weights that lie from `axis` on; what has no weight counts nothing, be it NaN."""
    if (weights == 1).all():
        return x
    shape = (1,) * axis + weights.shape + (1,) * (x.ndim - axis - weights.ndim)
    weights = weights.reshape(shape)
    if (weights == 0).any():
        x = jnp.where(jnp.broadcast_to(weights != 0, x.shape), x, jnp.zeros_like(x))
    return x * jnp.broadcast_to(jnp.asarray(weights, x.dtype), x.shape)


def taken(x: jax.Array, entries: np.ndarray, axis: int) -> jax.Array:
    """The entries of an axis at constant places, which lie in it."""
    return jnp.take(x, jnp.asarray(entries), axis, mode="clip")


def mapped(x: jax.Array, maps: Sequence[Taps]) -> jax.Array:
    """Images (N, *size, C) with each spatial axis mapped, first those that leave fewest pixels."""
    y = x if all(taps.picks for taps in maps) else as_wide(x)
    axes = [axis for axis, taps in enumerate(maps) if not taps.nothing]
    for axis in sorted(axes, key=lambda axis: maps[axis].outputs / maps[axis].inputs):
        y = maps[axis](y, axis + 1)
    return y.astype(x.dtype)
