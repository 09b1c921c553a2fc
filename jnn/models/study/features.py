"""Functions of the data that a regression is linear in (D-15): powers, waves, polynomials.

Learned ones (D-16) are the layers of a network before its last: see `jnn.models.part`.
"""

from itertools import combinations_with_replacement
from math import pi
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors


def monomials(x: jax.Array, degree: int) -> jax.Array:
    """Products of up to `degree` features, x_1, ..., x_1^2, x_1 x_2, ..., without the constant.

    Args:
      x: samples, (..., n).
      degree: the most factors.

    >>> jnn.models.monomials(jnp.array([[2.0, 3.0]]), 2).tolist()
    [[2.0, 3.0, 4.0, 6.0, 9.0]]
    """
    errors.positive_integer("monomials", "degree", degree)
    _check("monomials", x)
    columns = range(x.shape[-1])
    found: dict[tuple[int, ...], jax.Array] = {(): jnp.ones_like(x[..., 0])}
    for count in range(1, degree + 1):
        for factors in combinations_with_replacement(columns, count):
            found[factors] = found[factors[:-1]] * x[..., factors[-1]]
    return jnp.stack([value for factors, value in found.items() if factors], axis=-1)


def trigonometric(x: jax.Array, degree: int, *, period: float = 2 * pi) -> jax.Array:
    """Sine and cosine of 1, ..., `degree` waves a period, of each feature.

    Args:
      x: samples, (..., n).
      degree: the most waves.
      period: the length of the longest wave.

    >>> print(jnn.models.trigonometric(jnp.array([[0.1]]), 2, period=1).round(2))
    [[0.59 0.81 0.95 0.31]]
    """
    errors.positive_integer("trigonometric", "degree", degree)
    _check("trigonometric", x)
    angles = [k * (2 * pi / period) * x for k in range(1, degree + 1)]
    return jnp.concatenate([wave for a in angles for wave in (jnp.sin(a), jnp.cos(a))], axis=-1)


class Orthonormal(NamedTuple):
    """Polynomials that are orthonormal on the points which they were made from.

    >>> basis = jnn.models.orthonormal(jnp.arange(4.0), 1)
    >>> basis(jnp.array([1.5])).round(3).tolist()  # The mean is orthogonal to the slope.
    [[0.5, 0.0]]

    Attributes:
      values: at those points, (m, degree + 1); its columns are orthonormal.
      interval: the least and the largest of the points.
      recurrence: (degree + 1, degree), how each arises from those before.
      norms: (degree,), what each was divided by.
    """

    values: jax.Array
    interval: jax.Array
    recurrence: jax.Array
    norms: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        """The polynomials at other points, (..., degree + 1)."""
        s = _scaled(x, self.interval)
        columns = [jnp.broadcast_to(self.values[0, 0], s.shape)]
        for k in range(len(self.norms)):
            sofar = jnp.stack(columns, axis=-1)
            product = jnp.tensordot(sofar, self.recurrence[: k + 1, k], 1)
            columns.append((s * columns[-1] - product) / self.norms[k])
        return jnp.stack(columns, axis=-1)


def orthonormal(x: jax.Array, degree: int) -> Orthonormal:
    """The polynomials up to a degree, orthonormalised on the points x (T-2).

    Treister takes the QR factors of the matrix of powers, which from degree 20 or so is singular to
    rounding. Here each column is the last one times x, made orthogonal to all before, twice
    (Arnoldi's process): the same Q in exact arithmetic, and orthonormal to rounding at any degree.

    Between m points that are equally spaced, polynomials of a degree far above 2 sqrt(m) are large,
    and so are their errors when they are called there.

    Args:
      x: the points, (m,), more of them than `degree`.
      degree: the highest power.

    >>> basis = jnn.models.orthonormal(jnp.linspace(0, 1, 101), 100)
    >>> q = basis.values
    >>> q.shape, bool(jnp.abs(q.T @ q - jnp.eye(101)).max() < 1e-5)
    ((101, 101), True)
    """
    errors.positive_integer("orthonormal", "degree", degree)
    errors.floating("orthonormal", x=x)
    errors.rank("orthonormal", "x", x, 1)
    if degree >= len(x):
        errors.fail("orthonormal", "degree", f"below the number of points, {len(x)}", degree)
    interval = jnp.stack([x.min(), x.max()])
    s = _scaled(x, interval)
    q = jnp.zeros_like(x, shape=(len(x), degree + 1)).at[:, 0].set(len(x) ** -0.5)
    empty = (jnp.zeros_like(x, shape=(degree + 1, degree)), jnp.zeros_like(x, shape=(degree,)))

    def step(k: jax.Array, carry: tuple) -> tuple:
        q, recurrence, norms = carry
        v = s * q[:, k]
        once = _product(q.T, v)
        v = v - _product(q, once)
        again = _product(q.T, v)  # What rounding has left.
        v = v - _product(q, again)
        norm = jnp.sqrt((v * v).sum())
        q = q.at[:, k + 1].set(v / norm)
        return q, recurrence.at[:, k].set(once + again), norms.at[k].set(norm)

    q, recurrence, norms = lax.fori_loop(0, degree, step, (q, *empty))
    return Orthonormal(q, interval, recurrence, norms)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _scaled(x: jax.Array, interval: jax.Array) -> jax.Array:
    """From the interval to [-1, 1]."""
    low, high = jnp.broadcast_to(interval[:, None], (2, x.size)).reshape(2, *x.shape)
    return (2 * x - low - high) / (high - low)


def _check(function: str, x: jax.Array) -> None:
    errors.floating(function, x=x)
    if not x.ndim or not x.shape[-1]:
        errors.fail(function, "x", "of shape (..., n), one feature a column", errors.describe(x))
