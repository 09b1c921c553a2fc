"""Losses of vectors by how far they lie apart: by their angle, and of one from two others."""

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.arithmetic import as_wide, nonzero
from jnn.rules.core.rule import Example, rule


@rule
def cosine(y: jax.Array, t: jax.Array) -> jax.Array:
    """One less the cosine of the angle between two vectors, `1 - y . t / (|y| |t|)`.

    With the cotangent v, the unit vectors p of y and q of t, and their cosine c,

        dy = -v (q - c p) / |y|    dt = -v (p - c q) / |t|

    A vector of zeros has the cosine 0 to all, and by choice no derivative.

    Saves: y, t.

    Args:
      y: vectors, (..., n); the last axis is reduced.
      t: vectors of the same shape.

    >>> y, t = jnp.array([[3.0, 0.0], [3.0, 0.0]]), jnp.array([[5.0, 0.0], [0.0, 2.0]])
    >>> jnn.cosine(y, t).tolist()
    [0.0, 1.0]
    """
    p, q = _unit(as_wide(y))[0], _unit(as_wide(t))[0]
    return (1 - (p * q).sum(-1)).astype(y.dtype)


def _unit(x):
    """Unit vectors, and the inverse of the lengths; zeros for a vector of zeros."""
    largest = nonzero(jnp.abs(x).max(-1, keepdims=True, initial=0))
    scaled = x / largest  # No square overflows.
    inverse = _inverse(jnp.square(scaled).sum(-1, keepdims=True))
    return scaled * inverse, inverse / largest


def _inverse(squares):
    """One over the length that a sum of squares gives, 0 for that of zeros."""
    return jnp.where(squares == 0, 0, 1 / jnp.sqrt(nonzero(squares)))


@cosine.forward
def cosine_forward(y, t):
    return cosine.parts.definition(y, t), (y, t)


@cosine.backward
def cosine_backward(saved, delta):
    (p, by_y), (q, by_t) = map(_unit, map(as_wide, saved))
    v, c = as_wide(delta)[..., None], (p * q).sum(-1, keepdims=True)
    return -v * by_y * (q - c * p), -v * by_t * (p - c * q)


@cosine.tangent
def cosine_tangent(primals, tangents):
    (p, by_y), (q, by_t) = map(_unit, map(as_wide, primals))
    dy, dt = map(as_wide, tangents)
    c = (p * q).sum(-1, keepdims=True)
    along = by_y * (q - c * p) * dy + by_t * (p - c * q) * dt
    return cosine.parts.definition(*primals), -along.sum(-1)


@cosine.check
def cosine_check(y, t):
    _check("cosine", y=y, t=t)


def _check(function, **vectors):
    errors.floating(function, **vectors)
    (first, x), *others = vectors.items()
    if x.ndim == 0:
        errors.fail(function, first, "of shape (..., n)", errors.describe(x))
    for name, other in others:
        errors.shape(function, name, other, x.shape)


def _vectors(count):
    def make(random: np.random.Generator) -> Example:
        shape = tuple(random.integers(2, 5, random.integers(1, 4)))
        return Example(*random.normal(size=(count, *shape)))

    return make


cosine.example(_vectors(2))


@cosine.extreme
def cosine_extreme(random: np.random.Generator) -> Example:
    y, t = random.normal(size=(2, 3, 4))
    y[0] = 0
    return Example(1e30 * y, t)


@rule
def triplet(
    anchor: jax.Array, positive: jax.Array, negative: jax.Array, *, margin: float = 1.0
) -> jax.Array:
    """How much nearer the positive should be: `max(0, |a - p| - |a - n| + margin)`.

    With the cotangent v, and the unit vectors g of a - p and h of a - n, where the loss is above 0

        da = v (g - h)    dp = -v g    dn = v h

    and 0 elsewhere, at the kink too. Equal vectors have no direction: it counts as 0.

    Saves: anchor, positive, negative.

    Args:
      anchor: vectors a, (..., n); the last axis is reduced.
      positive: vectors p of the same shape, that should lie near.
      negative: vectors n of the same shape, that should lie far.
      margin: by how much.

    >>> a, p, n = jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]]), jnp.array([[0.0, 5.5]])
    >>> jnn.triplet(a, p, n).tolist()
    [0.5]
    """
    loss = _length(anchor, positive) - _length(anchor, negative) + margin
    return jnp.where(loss <= 0, 0, loss).astype(anchor.dtype)


def _length(a, b):
    squares = jnp.square(as_wide(a) - as_wide(b)).sum(-1)
    return jnp.where(squares == 0, 0, jnp.sqrt(nonzero(squares)))


def _directions(anchor, positive, negative, margin):
    """Of the samples that lose g and h, zeros of the others."""
    sides = [as_wide(anchor) - as_wide(x) for x in (positive, negative)]
    squares = [jnp.square(side).sum(-1, keepdims=True) for side in sides]
    inverse = list(map(_inverse, squares))
    near, far = (x * y for x, y in zip(squares, inverse, strict=True))
    won = near - far + margin <= 0
    return tuple(side * jnp.where(won, 0, x) for side, x in zip(sides, inverse, strict=True))


@triplet.forward
def triplet_forward(anchor, positive, negative, *, margin):
    value = triplet.parts.definition(anchor, positive, negative, margin=margin)
    return value, (anchor, positive, negative)


@triplet.backward
def triplet_backward(saved, delta, *, margin):
    g, h = _directions(*saved, margin=margin)
    v = as_wide(delta)[..., None]
    return v * (g - h), -v * g, v * h


@triplet.tangent
def triplet_tangent(primals, tangents, *, margin):
    g, h = _directions(*primals, margin=margin)
    da, dp, dn = map(as_wide, tangents)
    along = (g * (da - dp) - h * (da - dn)).sum(-1)
    return triplet.parts.definition(*primals, margin=margin), along


@triplet.check
def triplet_check(anchor, positive, negative, *, margin):
    _check("triplet", anchor=anchor, positive=positive, negative=negative)
    errors.number("triplet", "margin", margin, low=0)


triplet.example(_vectors(3))
triplet.example(lambda random: Example(*random.normal(size=(3, 5, 3)), margin=0.3))


@triplet.kink
def triplet_kink(random: np.random.Generator) -> Example:
    a, n = random.normal(size=(2, 3, 4))
    return Example(a, a, n)


@triplet.extreme
def triplet_extreme(random: np.random.Generator) -> Example:
    a, p, n = random.normal(size=(3, 3, 4))
    return Example(100 * a, 100 * p, n)
