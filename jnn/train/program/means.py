"""What a batch is measured by: means over its samples or tokens, each with its weight.

    mean = sum_i w_i f_i / sum_i w_i

Weights, (n,) or (n, tokens), are relative: a batch's mean is divided by their sum, so that what
weighs nothing, as the padding of a sequence, might as well not be there.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors

Values = dict[str, jax.Array]  # The loss and the metrics, by name.


class Totals(NamedTuple):
    """The loss and the metrics, summed over so many samples, or over weights of that sum."""

    values: Values
    count: jax.Array

    @property
    def means(self) -> Values:
        """The means over these samples; NaN where there are none."""
        return {name: v / self.count.astype(v.dtype) for name, v in self.values.items()}

    def __add__(self, other: Any) -> "Totals":  # pyright: ignore[reportIncompatibleMethodOverride]
        """The sums over both."""
        return jax.tree.map(lambda a, b: a + b.astype(a.dtype), self, other)


def nothing(names: Sequence[str]) -> Totals:
    """Totals over no samples."""
    return Totals({name: jnp.zeros((), jnp.float32) for name in names}, jnp.float32(0))


def added(values: Values, counts: jax.Array, made: Any = None) -> Totals:
    """The sums of batches whose means and weights are stacked; of those that were `made`."""
    totals = {name: v * counts.astype(v.dtype) for name, v in values.items()}
    if made is not None:
        totals, counts = jax.tree.map(lambda a: jnp.where(made, a, 0), (totals, counts))
    return Totals({name: total.sum() for name, total in totals.items()}, counts.sum())


def ignored(loss: Any) -> int | None:
    """The label that a loss passes over, where it is a partial with that setting.

    >>> from jnn.train.program.means import ignored
    >>> ignored(functools.partial(jnn.softmax_cross_entropy, ignore=-1))
    -1
    """
    inner = getattr(loss, "function", loss)
    return inner.keywords.get("ignore") if isinstance(inner, functools.partial) else None


def weights_of(loss: Any, t: Any, weights: Any = None) -> jax.Array | None:
    """What samples or tokens weigh: nothing where the loss passes over their label."""
    weights = None if weights is None else jnp.asarray(weights).astype(jnp.float32)
    label = ignored(loss)
    if label is None:
        return weights
    real = (jnp.asarray(t) != label).astype(jnp.float32)
    return real if weights is None else real * by_token(weights, real.shape)


def tokens(t: Any, weights: jax.Array | None) -> Any:
    """How many labels have part in a mean, if weights are 1 and 0; at least 1."""
    return t.size if weights is None else jnp.maximum(weights.sum(), 1)


def count_of(t: Any, weights: jax.Array | None) -> jax.Array:
    """What a batch weighs among others: the sum of its weights, or its number of samples."""
    return jnp.float32(len(jax.tree.leaves(t)[0])) if weights is None else weights.sum()


def weighted_mean(name: str, values: Any, t: Any, weights: jax.Array | None) -> jax.Array:
    """The mean of a loss or a metric over a batch, in float32 at least.

    Where each token has a value and each sample a weight, a sample's value is the mean of those of
    its tokens; where each sample has a value and each token a weight, a sample weighs as much as
    its tokens. Where all weigh nothing, the mean is 0.
    """
    n = len(jax.tree.leaves(t)[0])
    single = jnp.ndim(values) == 0
    if (single and weights is not None) or (not single and jnp.shape(values)[0] != n):
        expected = "a function that returns one value a sample"
        expected += ", or their mean" if weights is None else ""
        errors.fail("fit", name, expected, errors.describe(values))
    values = jnp.asarray(values)
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    if weights is None:
        return values.mean()
    shared = min(values.ndim, weights.ndim)
    if values.shape[:shared] != weights.shape[:shared]:
        expected = f"of shape ({n},), or of the first axes of `{name}`, {values.shape}"
        remedy = "One weight a sample, or one a token."
        errors.fail("fit", "weights", expected, errors.describe(weights), remedy)
    w = weights.sum(range(shared, weights.ndim))
    each = values.mean(range(shared, values.ndim))
    total = w.sum()
    # A value that weighs nothing is not in the sum, whatever it is.
    each = jnp.where(w == 0, jnp.zeros_like(each), each * w.astype(each.dtype))
    return each.sum() / jnp.where(total > 0, total, 1).astype(each.dtype)


def parts_of_mean(shape: tuple[int, ...], weights: jax.Array | None) -> jax.Array:
    """The share that each of the values of that shape has in their mean."""
    if weights is None:
        return jnp.full(shape, 1 / math.prod(shape))
    w = weights.sum(range(len(shape), weights.ndim))
    return by_token(w, shape) / (w.sum() * math.prod(shape[w.ndim :]))


def by_token(weights: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Weights of samples as those of their tokens."""
    if weights.shape != shape[: weights.ndim]:
        expected = f"of the first axes of the targets, {shape}"
        errors.fail("fit", "weights", expected, errors.describe(weights))
    axes = range(weights.ndim, len(shape))
    return jnp.broadcast_to(jnp.expand_dims(weights, tuple(axes)), shape)
