"""K-means: centres such that the samples lie close to the nearest of them.

It stands in Treister's table of contents, without a section; this is the usual algorithm of Lloyd,
from centres drawn by k-means++ (Arthur and Vassilvitskii 2007).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors
from jnn.arithmetic import wide


class KMeans(NamedTuple):
    """What `kmeans` found.

    Attributes:
      centres: (k, n).
      labels: of each sample the number of its centre, the nearest; the first of equals.
      inertia: the sum of the squared distances.
      steps: how often the centres moved.
      converged: whether the last step changed nothing.
    """

    centres: jax.Array
    labels: jax.Array
    inertia: jax.Array
    steps: jax.Array
    converged: jax.Array


def kmeans(
    key: jax.Array | None,
    x: jax.Array,
    k: int,
    *,
    centres: jax.Array | None = None,
    steps: int = 100,
) -> KMeans:
    """Lloyd's iterations from drawn or given centres, until no sample changes its centre.

    Distances and means are matrix products; no array is larger than x or (samples, k). A centre
    that loses all samples stays where it is. A pure function: it may be jitted and mapped.

    Args:
      key: to draw the first centres; None where they are given.
      x: samples, (samples, n).
      k: the number of centres.
      centres: the first ones, (k, n); None to draw them by k-means++.
      steps: how many iterations at most; 0 leaves the first centres.

    >>> x = jnp.array([[0.0, 0.0], [0.0, 1.0], [5.0, 5.0], [5.0, 6.0]])
    >>> found = jnn.models.kmeans(jax.random.key(0), x, 2)
    >>> sorted(found.centres.tolist()), found.inertia.item()
    ([[0.0, 0.5], [5.0, 5.5]], 1.0)
    """
    errors.floating("kmeans", x=x)
    errors.rank("kmeans", "x", x, 2)
    errors.positive_integer("kmeans", "k", k)
    if k > len(x):
        errors.fail("kmeans", "k", f"at most the number of samples, {len(x)}", k)
    if centres is None:
        if key is None:
            errors.fail("kmeans", "key", "a random key, where no centres are given", None)
        first = plus_plus(key, x, k)
    else:
        first = centres
    errors.floating("kmeans", x=x, centres=first)
    errors.shape("kmeans", "centres", first, (k, x.shape[1]), "One centre a row.")
    # About the mean of the samples, so that far from the origin no digits are lost.
    about = x.mean(0, keepdims=True)
    x, first = x - about, first - about

    def step(state: Any) -> Any:
        count, centres, labels, _ = state
        centres = _means(x, labels, centres)
        new = _nearest(x, centres)
        return count + 1, centres, new, (new == labels).all()

    start = (jnp.zeros((), jnp.int32), first, _nearest(x, first), jnp.zeros((), bool))
    count, last, labels, converged = lax.while_loop(
        lambda state: (state[0] < steps) & ~state[3], step, start
    )
    away = (x - last[labels]).astype(wide(x.dtype))
    return KMeans(last + about, labels, (away * away).sum(), count, converged)


def plus_plus(key: jax.Array, x: jax.Array, k: int) -> jax.Array:
    """The centres of k-means++: samples, each drawn as its squared distance from those before.

    >>> jnn.models.plus_plus(jax.random.key(0), jnp.array([[1.0], [1.0], [9.0]]), 2).sum().item()
    10.0
    """
    errors.positive_integer("plus_plus", "k", k)
    first, rest = jax.random.split(key)
    one = x[jax.random.randint(first, (), 0, len(x))]

    def square(c: jax.Array) -> jax.Array:
        away = x - c[None]
        return (away * away).sum(1)

    def draw(i: jax.Array, state: Any) -> Any:
        centres, nearest = state
        # Log 0 is -inf: a sample that is a centre already is never drawn while another is left.
        new = x[jax.random.categorical(jax.random.fold_in(rest, i), jnp.log(nearest))]
        return centres.at[i].set(new), jnp.minimum(nearest, square(new))

    centres = jnp.zeros_like(x, shape=(k, x.shape[1])).at[0].set(one)
    return lax.fori_loop(1, k, draw, (centres, square(one)))[0]


def _nearest(x: jax.Array, centres: jax.Array) -> jax.Array:
    """Of each sample the nearest centre: |c|^2 - 2 x c orders them as |x - c|^2 does."""
    product = jnp.matmul(x, centres.T, precision=lax.Precision.HIGHEST)
    square = (centres * centres).sum(1)
    return jnp.argmin(jnp.broadcast_to(square, product.shape) - 2 * product, axis=1)


def _means(x: jax.Array, labels: jax.Array, centres: jax.Array) -> jax.Array:
    """The mean of each centre's samples, a product with the indicators of the labels."""
    mine = jax.nn.one_hot(labels, len(centres), dtype=x.dtype)
    total = jnp.matmul(mine.T, x, precision=lax.Precision.HIGHEST)
    count = jnp.broadcast_to(mine.sum(0)[:, None], total.shape)
    return jnp.where(count > 0, total / jnp.maximum(count, 1), centres)
