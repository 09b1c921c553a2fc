"""Methods of several gradients a step on the flow dq/dt = -J: Runge and Kutta's, and Chebyshev's.

The first gradient is the one that `update` is given; for the others it asks the function from
parameters to gradients, `update(grads, state, params, gradient=f)`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpy.polynomial import chebyshev as polynomials

from jnn import errors
from jnn.optim.optimizer import Optimizer, need
from jnn.optim.rates import Rate, advance, at, check_rate, in_dtype_of, zero
from jnn.types import Params, State
from jnn.value import constructor

Moves = Callable[[jax.Array, Any, Any, Callable[[Any], Any]], Any]


class StagesState(NamedTuple):
    """How many steps were taken, for a rate that follows a schedule."""

    step: jax.Array


def _stages(function: str, rate: Rate, step: Moves) -> Optimizer:
    """An optimizer whose update is `step(rate, grads, params, gradient)`."""
    check_rate(function, rate)

    def init(params: Params) -> State:
        del params
        return StagesState(zero())

    def update(
        grads: Any, state: Any, params: Any = None, *, gradient: Any = None, **extra: Any
    ) -> tuple[Any, Any]:
        del extra
        need(function, "params", params)
        need(function, "gradient", gradient)
        now = jnp.asarray(at(rate, state.step), float)
        return step(now, grads, params, gradient), StagesState(advance(state.step))

    return Optimizer(init, update)


def _sum(weights: Sequence[Any], trees: Sequence[Any]) -> Any:
    """`sum w_i tree_i`, in the dtype of each leaf."""

    def add(*leaves: jax.Array) -> jax.Array:
        x = leaves[0]
        parts = [
            in_dtype_of(w, x) * leaf.astype(x.dtype)
            for w, leaf in zip(weights, leaves, strict=True)
        ]
        return sum(parts[1:], parts[0])

    return jax.tree.map(add, *trees)


def _shifted(params: Any, move: Any) -> Any:
    return jax.tree.map(lambda q, u: q + u.astype(q.dtype), params, move)


@constructor
def runge_kutta(
    rate: Rate, stages: Sequence[Sequence[float]], weights: Sequence[float]
) -> Optimizer:
    """An explicit Runge-Kutta method, given by its table.

        k_1 = J(q)        k_i = J(q - rate sum_j stages[i-2][j] k_j)
        q <- q - rate sum_i weights[i] k_i

    >>> ralston = jnn.optim.runge_kutta(0.1, [[2 / 3]], [1 / 4, 3 / 4])
    >>> q = jnp.array(1.0)
    >>> updates, _ = ralston.update(2 * q, ralston.init(q), q, gradient=lambda q: 2 * q)
    >>> round((q + updates).item(), 4)  # 1 - 0.2 + 0.02, of exp(-0.2) = 0.8187
    0.82

    Args:
      rate: the time step: a number or a schedule.
      stages: the rows of the table below its first, which is empty; row i has i entries.
      weights: one for each stage.
    """
    if [len(row) for row in stages] != list(range(1, len(stages) + 1)):
        expected = "rows of 1, 2, 3, ... numbers"
        errors.fail("runge_kutta", "stages", expected, [list(row) for row in stages])
    if len(weights) != len(stages) + 1:
        expected = f"{len(stages) + 1} numbers, one a stage"
        errors.fail("runge_kutta", "weights", expected, list(weights))

    return _explicit("runge_kutta", rate, stages, weights)


def _explicit(
    function: str, rate: Rate, stages: Sequence[Sequence[float]], weights: Sequence[float]
) -> Optimizer:
    def step(h: jax.Array, grads: Any, params: Any, gradient: Callable[[Any], Any]) -> Any:
        k = [grads]
        for row in stages:
            k.append(gradient(_shifted(params, _sum([-h * a for a in row], k))))
        return _sum([-h * w for w in weights], k)

    return _stages(function, rate, step)


@constructor
def heun(rate: Rate) -> Optimizer:
    """Heun's method, of second order and two gradients a step: the mean of slopes at both ends.

        q_{n+1} = q_n - alpha/2 (J(q_n) + J(q_n - alpha J(q_n)))

    Of curvature lambda it bears `alpha lambda < 2`, as Euler does at half the price.

    >>> optimizer = jnn.heun(0.1)
    >>> q = jnp.array(1.0)
    >>> updates, _ = optimizer.update(2 * q, optimizer.init(q), q, gradient=lambda q: 2 * q)
    >>> round((q + updates).item(), 4)
    0.82
    """
    return _explicit("heun", rate, [[1.0]], [1 / 2, 1 / 2])


@constructor
def rk4(rate: Rate) -> Optimizer:
    """The classical Runge-Kutta method, of fourth order and four gradients a step.

    Of curvature lambda it bears `alpha lambda < 2.785`.

    >>> optimizer = jnn.rk4(0.1)
    >>> q = jnp.array(1.0)
    >>> updates, _ = optimizer.update(2 * q, optimizer.init(q), q, gradient=lambda q: 2 * q)
    >>> round((q + updates).item(), 5), round(float(jnp.exp(-0.2)), 5)
    (0.81873, 0.81873)
    """
    table = [[1 / 2], [0.0, 1 / 2], [0.0, 0.0, 1.0]]
    return _explicit("rk4", rate, table, [1 / 6, 1 / 3, 1 / 3, 1 / 6])


class _Chebyshev(NamedTuple):
    """The coefficients of Sommeijer, Shampine and Verwer, one entry a stage from the second."""

    first: float
    mu: list[float]
    nu: list[float]
    rate: list[float]
    gamma: list[float]
    limit: float


def _coefficients(stages: int, order: int, damping: float) -> _Chebyshev:
    def t(j: int, derivative: int = 0) -> float:
        """The j-th Chebyshev polynomial, or a derivative of it, at w0."""
        basis = [0.0] * j + [1.0]
        return float(polynomials.chebval(w0, polynomials.chebder(basis, derivative)))

    s = stages
    w0 = 1 + damping / s**2
    if order == 1:
        w1 = t(s) / t(s, 1)
        b = [1 / t(j) for j in range(s + 1)]
        a = [0.0] * (s + 1)
    else:
        w1 = t(s, 1) / t(s, 2)
        b = [0.0, 0.0] + [t(j, 2) / t(j, 1) ** 2 for j in range(2, s + 1)]
        b[0] = b[1] = b[2]
        a = [1 - b[j] * t(j) for j in range(s + 1)]
    later = range(2, s + 1)
    rate = [2 * b[j] * w1 / b[j - 1] for j in later]
    return _Chebyshev(
        first=b[1] * w1,
        mu=[2 * b[j] * w0 / b[j - 1] for j in later],
        nu=[-b[j] / b[j - 2] for j in later],
        rate=rate,
        gamma=[-a[j - 1] * r for j, r in zip(later, rate, strict=True)],
        limit=(w0 + 1) / w1,
    )


def _damping(order: int, damping: float | None) -> float:
    return (0.05 if order == 1 else 2 / 13) if damping is None else damping


@constructor
def chebyshev(
    rate: Rate, stages: int = 5, *, order: int = 1, damping: float | None = None
) -> Optimizer:
    """Stabilised Chebyshev steps (RKC): the rate may grow with the square of the stages.

        Y_0 = q     Y_1 = Y_0 - mu~_1 alpha J(Y_0)
        Y_j = (1 - mu_j - nu_j) Y_0 + mu_j Y_{j-1} + nu_j Y_{j-2}
              - mu~_j alpha J(Y_{j-1}) - gamma~_j alpha J(Y_0)        q <- Y_s

    with, in the order 1,

        w0 = 1 + damping / s^2       w1 = T_s(w0) / T_s'(w0)        b_j = 1 / T_j(w0)
        mu~_1 = b_1 w1               mu_j = 2 b_j w0 / b_{j-1}      nu_j = -b_j / b_{j-2}
        gamma~_j = 0                 mu~_j = 2 b_j w1 / b_{j-1}

    and in the order 2 the same but

        w1 = T_s'(w0) / T_s''(w0)    b_j = T_j''(w0) / T_j'(w0)^2   b_0 = b_1 = b_2
        gamma~_j = -(1 - b_{j-1} T_{j-1}(w0)) mu~_j

    On a quadratic of curvature lambda one step multiplies the error by a Chebyshev polynomial that
    stays below 1 up to `alpha lambda = 2 s^2`, less damping: s gradients carry s times as far as s
    steps of Euler. But near that limit a step leaves `1 / T_s(w0)` of the error, 0.95 by default:
    it is worth it where the curvatures differ much, by a thousand rather than a hundred.

    >>> optimizer = jnn.chebyshev(0.1, stages=3)
    >>> q = jnp.array(1.0)
    >>> updates, _ = optimizer.update(2 * q, optimizer.init(q), q, gradient=lambda q: 2 * q)
    >>> round((q + updates).item(), 2)  # Of exp(-0.2) = 0.82, to the first order.
    0.81

    Args:
      rate: alpha, at most `chebyshev_limit(stages, order=order)` over the largest curvature.
      stages: gradients a step: at least 1, or 2 for the second order.
      order: 1 or 2; the second bears about a third of the rate and follows the flow more closely.
      damping: how far inside of stability; 0.05 and 2/13 by default.
    """
    _check_stages("chebyshev", stages, order)
    c = _coefficients(stages, order, _damping(order, damping))

    def step(h: jax.Array, grads: Any, params: Any, gradient: Callable[[Any], Any]) -> Any:
        # Of the moves D_j = Y_j - Y_0, whose parts in Y_0 cancel: fewer digits are lost.
        before, move = None, _sum([-h * c.first], [grads])
        for mu, nu, rate, gamma in zip(c.mu, c.nu, c.rate, c.gamma, strict=True):
            parts = [(mu, move), (-h * rate, gradient(_shifted(params, move)))]
            parts += [(nu, before)] if before is not None else []
            parts += [(-h * gamma, grads)] if gamma else []
            before, move = move, _sum(*zip(*parts, strict=True))
        return move

    return _stages("chebyshev", rate, step)


def chebyshev_limit(stages: int, *, order: int = 1, damping: float | None = None) -> float:
    """The largest rate times curvature that `chebyshev` bears.

    About `(2 - 4/3 damping) s^2` in the first order, and `2/3 (s^2 - 1)` in the second.

    >>> [round(jnn.optim.chebyshev_limit(s), 1) for s in (1, 5, 10)]
    [2.0, 48.4, 193.6]
    """
    _check_stages("chebyshev_limit", stages, order)
    return _coefficients(stages, order, _damping(order, damping)).limit


def _check_stages(function: str, stages: Any, order: Any) -> None:
    errors.choice(function, "order", order, (1, 2))
    errors.positive_integer(function, "stages", stages)
    if stages < order:
        errors.fail(function, "stages", f"at least {order} for order {order}", stages)
