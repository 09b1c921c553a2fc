"""The 35 problems of Moré, Garbow and Hillstrom (ACM TOMS 7(1), 1981), as residual functions.

Every objective is the plain sum of squares `f = sum r_i^2`. `PROBLEMS` holds the 37 instances on
which evaluation counts are compared: each problem at its standard start, Watson with 6 and with 9
unknowns, and extended Rosenbrock with 10 and with 100. A problem's `minima` are the published
values of f at its local minima; a run solves it when it comes down to any of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tests.problems import mgh_data as data


class Problem(NamedTuple):
    """One instance: residuals, starting point and the published minima of their squares' sum."""

    name: str
    residual: Callable[[jax.Array], jax.Array]
    x0: np.ndarray
    minima: tuple[float, ...] = (0.0,)

    def f(self, x: jax.Array) -> jax.Array:
        """The sum of the squared residuals."""
        r = self.residual(x)
        return jnp.vdot(r, r, precision="highest")

    def solved(self, values: np.ndarray, tolerance: float) -> np.ndarray:
        """Which values lie within `tolerance` of a minimum, relative to the start's height."""
        with jax.enable_x64(True):
            start = float(self.f(jnp.asarray(self.x0)))
        low = np.array(self.minima)
        return np.any(np.asarray(values)[..., None] - low <= tolerance * (start - low), axis=-1)


def count(m, x, start=1):
    """The numbers start, start + 1, ... of MGH's sums, in the precision of `x`."""
    return jnp.arange(start, start + m, dtype=x.dtype)


def array(values, x):
    return jnp.asarray(values, x.dtype)


def rosenbrock(x):
    a, b = x
    return jnp.stack([10 * (b - a**2), 1 - a])


def freudenstein_roth(x):
    a, b = x
    return jnp.stack([-13 + a + ((5 - b) * b - 2) * b, -29 + a + ((b + 1) * b - 14) * b])


def powell_badly_scaled(x):
    a, b = x
    return jnp.stack([1e4 * a * b - 1, jnp.exp(-a) + jnp.exp(-b) - 1.0001])


def brown_badly_scaled(x):
    a, b = x
    return jnp.stack([a - 1e6, b - 2e-6, a * b - 2])


def beale(x):
    a, b = x
    i = count(3, x)
    return array([1.5, 2.25, 2.625], x) - a * (1 - b**i)


def jennrich_sampson(x):
    a, b = x
    i = count(10, x)
    return 2 + 2 * i - (jnp.exp(i * a) + jnp.exp(i * b))


def helical_valley(x):
    a, b, c = x
    quarter = jnp.arctan(b / jnp.where(a == 0, 1, a)) / (2 * jnp.pi)
    theta = jnp.where(a == 0, 0.25 * jnp.sign(b), quarter + jnp.where(a < 0, 0.5, 0.0))
    return jnp.stack([10 * (c - 10 * theta), 10 * (jnp.sqrt(a**2 + b**2) - 1), c])


def bard(x):
    a, b, c = x
    u = count(15, x)
    v = 16 - u
    return array(data.BARD, x) - (a + u / (v * b + jnp.minimum(u, v) * c))


def gaussian(x):
    a, b, c = x
    t = (8 - count(15, x)) / 2
    return a * jnp.exp(-b * (t - c) ** 2 / 2) - array(data.GAUSSIAN, x)


def meyer(x):
    a, b, c = x
    t = 45 + 5 * count(16, x)
    return a * jnp.exp(b / (t + c)) - array(data.MEYER, x)


def gulf(x):
    a, b, c = x
    t = count(99, x) / 100
    y = 25 + (-50 * jnp.log(t)) ** (2 / 3)
    return jnp.exp(-(jnp.abs(y - b) ** c) / a) - t


def box(x):
    a, b, c = x
    t = count(10, x) / 10
    return jnp.exp(-t * a) - jnp.exp(-t * b) - c * (jnp.exp(-t) - jnp.exp(-10 * t))


def extended_powell(x):
    a, b, c, d = x.reshape(-1, 4).T
    rows = [a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2]
    return jnp.concatenate(rows)


def wood(x):
    a, b, c, d = x
    return jnp.stack(
        [
            10 * (b - a**2), 1 - a, 90**0.5 * (d - c**2), 1 - c,
            10**0.5 * (b + d - 2), (b - d) / 10**0.5,
        ]
    )  # fmt: skip


def kowalik_osborne(x):
    a, b, c, d = x
    y, u = array(data.KOWALIK_OSBORNE, x).T
    return y - a * (u**2 + u * b) / (u**2 + u * c + d)


def brown_dennis(x):
    a, b, c, d = x
    t = count(20, x) / 5
    return (a + t * b - jnp.exp(t)) ** 2 + (c + d * jnp.sin(t) - jnp.cos(t)) ** 2


def osborne_1(x):
    a, b, c, d, e = x
    t = 10 * count(33, x, 0)
    return array(data.OSBORNE_1, x) - (a + b * jnp.exp(-t * d) + c * jnp.exp(-t * e))


def biggs(x):
    a, b, c, d, e, g = x
    t = count(13, x) / 10
    y = jnp.exp(-t) - 5 * jnp.exp(-10 * t) + 3 * jnp.exp(-4 * t)
    return c * jnp.exp(-t * a) - d * jnp.exp(-t * b) + g * jnp.exp(-t * e) - y


def osborne_2(x):
    t = count(65, x, 0) / 10
    bells = sum(x[i] * jnp.exp(-((t - x[i + 7]) ** 2) * x[i + 4]) for i in (1, 2, 3))
    return array(data.OSBORNE_2, x) - (x[0] * jnp.exp(-t * x[4]) + bells)


def watson(x):
    t = count(29, x)[:, None] / 29
    j = count(len(x), x, 0)[None, :]
    powers = t**j
    slopes = jnp.where(j > 0, j * t ** jnp.maximum(j - 1, 0), 0)
    inner = slopes @ x - (powers @ x) ** 2 - 1
    return jnp.concatenate([inner, jnp.stack([x[0], x[1] - x[0] ** 2 - 1])])


def extended_rosenbrock(x):
    a, b = x.reshape(-1, 2).T
    return jnp.concatenate([10 * (b - a**2), 1 - a])


def penalty_1(x):
    return jnp.concatenate([1e-5**0.5 * (x - 1), jnp.sum(x**2, keepdims=True) - 0.25])


def penalty_2(x):
    n, e = len(x), jnp.exp(x / 10)
    i = count(n - 1, x, 2)
    y = jnp.exp(i / 10) + jnp.exp((i - 1) / 10)
    rows = [
        x[:1] - 0.2,
        1e-5**0.5 * (e[1:] + e[:-1] - y),
        1e-5**0.5 * (e[1:] - jnp.exp(array(-0.1, x))),
        jnp.sum((n - count(n, x, 0)) * x**2, keepdims=True) - 1,
    ]
    return jnp.concatenate(rows)


def variably_dimensioned(x):
    total = jnp.sum(count(len(x), x) * (x - 1), keepdims=True)
    return jnp.concatenate([x - 1, total, total**2])


def trigonometric(x):
    n = len(x)
    return n - jnp.sum(jnp.cos(x)) + count(n, x) * (1 - jnp.cos(x)) - jnp.sin(x)


def brown_almost_linear(x):
    n = len(x)
    return jnp.concatenate([x[:-1] + jnp.sum(x) - (n + 1), jnp.prod(x, keepdims=True) - 1])


def neighbours(x):
    return jnp.pad(x[:-1], (1, 0)), jnp.pad(x[1:], (0, 1))


def discrete_boundary_value(x):
    n, (below, above) = len(x), neighbours(x)
    h = 1 / (n + 1)
    return 2 * x - below - above + h**2 * (x + h * count(n, x) + 1) ** 3 / 2


def discrete_integral(x):
    n = len(x)
    h = 1 / (n + 1)
    t = h * count(n, x)
    cubes = (x + t + 1) ** 3
    lower = jnp.cumsum(t * cubes)
    weighted = (1 - t) * cubes
    upper = jnp.sum(weighted) - jnp.cumsum(weighted)
    return x + h * ((1 - t) * lower + t * upper) / 2


def broyden_tridiagonal(x):
    below, above = neighbours(x)
    return (3 - 2 * x) * x - below - 2 * above + 1


def broyden_banded(x):
    n = len(x)
    i, j = np.arange(n)[:, None], np.arange(n)[None, :]
    band = (i != j) & (j >= i - 5) & (j <= i + 1)
    return x * (2 + 5 * x**2) + 1 - array(band, x) @ (x * (1 + x))


def linear_full_rank(x, m=20):
    return jnp.pad(x, (0, m - len(x))) - 2 * jnp.sum(x) / m - 1


def linear_rank_1(x, m=20):
    return count(m, x) * jnp.sum(count(len(x), x) * x) - 1


def linear_rank_1_zeros(x, m=20):
    inner = count(len(x) - 2, x, 2) * x[1:-1]
    return jnp.pad(count(m - 2, x) * jnp.sum(inner), 1) - 1


def chebyquad(x):
    n = len(x)
    z = 2 * x - 1
    rows, before, now = [], jnp.ones_like(z), z
    for i in range(1, n + 1):
        rows.append(jnp.mean(now) + (0 if i % 2 else 1 / (i**2 - 1)))
        before, now = now, 2 * z * now - before
    return jnp.stack(rows)


def grid(n):
    return np.arange(1, n + 1) / (n + 1)


def _instance(residual, x0, *minima, name=None):
    x0 = np.array(x0, np.float64)
    return Problem(name or residual.__name__, residual, x0, minima or (0.0,))


OSBORNE_2_START = (1.3, 0.65, 0.65, 0.7, 0.6, 3, 5, 7, 2, 4.5, 5.5)

PROBLEMS = (
    _instance(rosenbrock, (-1.2, 1)),
    _instance(freudenstein_roth, (0.5, -2), 0.0, 48.98425368),
    _instance(powell_badly_scaled, (0, 1)),
    _instance(brown_badly_scaled, (1, 1)),
    _instance(beale, (1, 1)),
    _instance(jennrich_sampson, (0.3, 0.4), 124.36218236),
    _instance(helical_valley, (-1, 0, 0)),
    _instance(bard, (1, 1, 1), 8.2148773e-3, 17.4286),
    _instance(gaussian, (0.4, 1, 0), 1.12793277e-8),
    _instance(meyer, (0.02, 4000, 250), 87.945855171),
    _instance(gulf, (5, 2.5, 0.15)),
    _instance(box, (0, 10, 20)),
    _instance(extended_powell, (3, -1, 0, 1), name="powell_singular"),
    _instance(wood, (-3, -1, -3, -1)),
    _instance(kowalik_osborne, (0.25, 0.39, 0.415, 0.39), 3.0750561e-4, 1.02734e-3),
    _instance(brown_dennis, (25, 5, -5, -1), 85822.20163),
    _instance(osborne_1, (0.5, 1.5, -1, 0.01, 0.02), 5.4648947e-5),
    _instance(biggs, (1, 2, 1, 1, 1, 1), 0.0, 5.655649925e-3),
    _instance(osborne_2, OSBORNE_2_START, 4.01377363e-2),
    _instance(watson, (0,) * 6, 2.28767005e-3, name="watson_6"),
    _instance(watson, (0,) * 9, 1.39976014e-6, name="watson_9"),
    _instance(extended_rosenbrock, (-1.2, 1) * 5, name="extended_rosenbrock_10"),
    _instance(extended_rosenbrock, (-1.2, 1) * 50, name="extended_rosenbrock_100"),
    _instance(extended_powell, (3, -1, 0, 1) * 3),
    _instance(penalty_1, range(1, 11), 7.0876515e-5),
    _instance(penalty_2, (0.5,) * 10, 2.9366053746e-4),
    _instance(variably_dimensioned, 1 - np.arange(1, 11) / 10),
    _instance(trigonometric, (0.1,) * 10, 0.0, 2.79506e-5),
    _instance(brown_almost_linear, (0.5,) * 10, 0.0, 1.0),
    _instance(discrete_boundary_value, grid(10) * (grid(10) - 1)),
    _instance(discrete_integral, grid(10) * (grid(10) - 1)),
    _instance(broyden_tridiagonal, (-1,) * 10),
    _instance(broyden_banded, (-1,) * 10),
    _instance(linear_full_rank, (1,) * 10, 10.0),
    _instance(linear_rank_1, (1,) * 10, 20 * 19 / (2 * 41)),
    _instance(linear_rank_1_zeros, (1,) * 10, (20**2 + 3 * 20 - 6) / (2 * (2 * 20 - 3))),
    _instance(chebyquad, np.arange(1, 9) / 9, 3.51687372568e-3),
)
