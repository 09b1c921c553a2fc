"""Radial basis functions: units that answer to the distance of a sample from their centre."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.core.product import Call, Product
from jnn.rules.core.rule import Example, rule

KERNELS = ("norm", "squared")


@rule
def radial(x: jax.Array, centres: jax.Array, beta: jax.Array, *, kernel: str = "norm") -> jax.Array:
    """Radial basis functions, `z_i = exp(-beta_i |x - c_i|)` or with the square (H-46..54).

    H-54 prints the distance itself, and calls it the usual choice; that is the Gaussian, of the
    squared distance. With `kernel="norm"` a unit has a cusp at its centre, where its derivative is
    0 here (autodiff of the root says NaN); with "squared" it is smooth. With r_i = |x - c_i|:

        a_i = -beta_i z_i delta_i / r_i  for "norm",    -2 beta_i z_i delta_i  for "squared"
        dx = sum_i a_i (x - c_i)    dc_i = -sum a_i (x - c_i)
        dbeta_i = -sum r_i z_i delta_i,  or  -sum r_i^2 z_i delta_i

    Differences are taken before anything is multiplied. To write |x|^2 - 2 x c + |c|^2 would make a
    matrix product of it, and leave no digit right near a centre.

    Saves: x, centres, beta, y, 1 hidden tensor, the distances.

    Args:
      x: samples, (..., n).
      centres: one a unit, (units, n).
      beta: how fast a unit falls off, not negative, (units,).
      kernel: "norm" for the distance, "squared" for its square.

    >>> x, centres, beta = jnp.array([[3.0, 4.0]]), jnp.zeros((1, 2)), jnp.array([0.2])
    >>> round(jnn.rules.radial(x, centres, beta).item(), 4)  # exp(-1)
    0.3679
    """
    x, centres, beta = map(as_wide, (given := x, centres, beta))
    away = x[..., None, :] - centres.reshape((1,) * (x.ndim - 1) + centres.shape)
    square = (away * away).sum(-1)
    moved = square != 0
    root = jnp.sqrt(jnp.where(moved, square, jnp.ones_like(square)))
    distance = jnp.where(moved, root, jnp.zeros_like(root))  # Its derivative at 0 is 0.
    falls = distance if kernel == "norm" else square
    return jnp.exp(-jnp.broadcast_to(beta, falls.shape) * falls).astype(given.dtype)  # H-54


@radial.forward
def radial_forward(x, centres, beta, *, kernel):
    square = squares(_rows(x), as_wide(centres)).reshape(*x.shape[:-1], len(centres))
    distance = jnp.sqrt(square)
    z = _fallen(distance if kernel == "norm" else square, beta).astype(x.dtype)
    return z, (x, centres, beta, z, distance.astype(x.dtype))


@radial.backward
def radial_backward(saved, delta, *, kernel):
    x, centres, beta, z, r = map(as_wide, saved)
    falling = z * as_wide(delta)
    if kernel == "norm":
        a = -jnp.broadcast_to(beta, r.shape) * falling * _over(r)
    else:
        a = -2 * jnp.broadcast_to(beta, r.shape) * falling
        r = r * r
    dx, dcentres = pulled(_rows(a), _rows(x), centres)
    return dx.reshape(x.shape), dcentres, -(r * falling).sum(range(r.ndim - 1))


@radial.tangent
def radial_tangent(primals, tangents, *, kernel):
    (x, centres, beta), (dx, dcentres, dbeta) = primals, tangents
    z, (*_, distance) = radial_forward(x, centres, beta, kernel=kernel)
    x, dx, centres, dcentres = _rows(x), _rows(dx), as_wide(centres), as_wide(dcentres)
    slope = (_away(x, centres) * _away(dx, dcentres)).sum(-1).reshape(distance.shape)
    r, beta, dbeta = (as_wide(each) for each in (distance, beta, dbeta))
    if kernel == "norm":
        falls, dfalls = r, slope * _over(r)
    else:
        falls, dfalls = r * r, 2 * slope
    beta, dbeta = (jnp.broadcast_to(each, r.shape) for each in (beta, dbeta))
    return z, (-as_wide(z) * (beta * dfalls + dbeta * falls)).astype(z.dtype)


@radial.check
def radial_check(x, centres, beta, *, kernel):
    errors.floating("radial", x=x, centres=centres, beta=beta)
    errors.choice("radial", "kernel", kernel, KERNELS)
    errors.rank("radial", "centres", centres, 2)
    if x.shape[-1:] != centres.shape[1:]:
        expected = f"of shape (..., {centres.shape[1]}) to fit `centres`"
        errors.fail("radial", "x", expected, errors.describe(x), "Centres are (units, n).")
    errors.shape("radial", "beta", beta, centres.shape[:1], "One number a unit.")


# Sums over pairs of a sample and a centre. None holds the differences, (samples, units, n).

MANY = 1024  # With so many pairs a CPU is faster feature by feature.


def _default(call: Call) -> str:
    (samples, _), (units, _) = (shape for shape, _ in call.arrays[-2:])
    return "by_features" if call.platform == "cpu" and samples * units >= MANY else "at_once"


squares = Product("radial.squares", _default)
pulled = Product("radial.input", _default)


@squares.implementation("at_once")
def at_once(x: jax.Array, centres: jax.Array) -> jax.Array:
    """The squared distances, (samples, units)."""
    away = _away(x, centres)
    return (away * away).sum(-1)


@squares.implementation("by_features")
def by_features(x: jax.Array, centres: jax.Array) -> jax.Array:
    """A scan over features, each of which adds to all pairs."""

    def add(total: jax.Array, feature: Any) -> tuple[jax.Array, None]:
        one, other = feature
        away = one[:, None] - other[None]
        return total + away * away, None

    start = jnp.zeros_like(x, shape=(len(x), len(centres)))
    return lax.scan(add, start, (x.T, centres.T))[0]


@pulled.implementation("at_once")
def pulled_at_once(a: jax.Array, x: jax.Array, centres: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`sum_k a_ik (x_i - c_k)` for each sample, and minus the sum over samples for each centre."""
    dx = (a[:, :, None] * _away(x, centres)).sum(1)
    # A barrier, so that each sum takes its own differences and none are kept.
    x, centres = lax.optimization_barrier((x, centres))
    return dx, -(a[:, :, None] * _away(x, centres)).sum(0)


@pulled.implementation("by_features")
def pulled_by_features(
    a: jax.Array, x: jax.Array, centres: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A scan over features."""

    def add(_: None, feature: Any) -> tuple[None, tuple[jax.Array, jax.Array]]:
        one, other = feature
        terms = a * (one[:, None] - other[None])
        return None, (terms.sum(1), -terms.sum(0))

    dx, dcentres = lax.scan(add, None, (x.T, centres.T))[1]
    return dx.T, dcentres.T


def _away(x: jax.Array, centres: jax.Array) -> jax.Array:
    """X - c for each sample and unit, (samples, units, n)."""
    return x[:, None] - centres[None]


def _rows(x: jax.Array) -> jax.Array:
    return as_wide(x).reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _over(r: jax.Array) -> jax.Array:
    """1 / r, and 0 at a centre."""
    return jnp.where(r != 0, 1 / jnp.where(r != 0, r, jnp.ones_like(r)), jnp.zeros_like(r))


def _fallen(falls: jax.Array, beta: jax.Array) -> jax.Array:
    return jnp.exp(-jnp.broadcast_to(as_wide(beta), falls.shape) * falls)


def _example(kernel: str, *batch: int):
    def make(random: np.random.Generator) -> Example:
        n, units = random.integers(1, 4, 2)
        beta = random.uniform(0.2, 1.0, units)
        return Example(
            random.normal(size=(*batch, n)), random.normal(size=(units, n)), beta, kernel=kernel
        )

    return make


def _extreme(kernel: str):
    def make(random: np.random.Generator) -> Example:
        """Far from the origin, samples at a centre, next to one, and where nothing answers."""
        centres = 100 + random.normal(size=(2, 3))
        x = np.stack([centres[0], centres[1] + 1e-3, centres[0] + 1e4])
        return Example(x, centres, np.array([0.5, 2.0]), kernel=kernel)

    return make


def _at_a_centre(random: np.random.Generator) -> Example:
    return Example(np.array([[1.0, 2.0]]), np.array([[1.0, 2.0]]), np.array([0.7]))


for _kernel in ("norm", "squared"):
    radial.example(_example(_kernel, 3))
    radial.extreme(_extreme(_kernel))
radial.example(_example("squared", 2, 2))
radial.example(_example("norm"))
radial.kink(_at_a_centre)
