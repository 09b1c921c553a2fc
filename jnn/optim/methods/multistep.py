"""Multistep methods on the gradient flow dq/dt = -J: one gradient a step, and those of the past.

Delmas proposes two (D-13, D-14) as better than Euler's, and asks for more. Both are unstable; the
methods of Adams and Bashforth are stable, with smaller steps than Euler's.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.optim.optimizer import Optimizer
from jnn.optim.rates import Rate, advance, at, check_rate, in_dtype_of, zero, zeros_like
from jnn.types import Grads, Params, State, Updates
from jnn.value import constructor


class MultistepState(NamedTuple):
    """The step's count, and the last moves and gradients, newest first."""

    step: jax.Array
    moves: tuple[Any, ...]
    gradients: tuple[Any, ...]


Coefficients = Sequence[float]


@constructor
def multistep(
    rate: Rate,
    moves: Coefficients,
    gradients: Coefficients,
    start: Sequence[tuple[Coefficients, Coefficients]] = (),
) -> Optimizer:
    """A linear multistep method, from the moves `s_i = q_{i+1} - q_i` and gradients of the past.

        s_n = a_0 s_{n-1} + a_1 s_{n-2} + ... - rate (b_0 J_n + b_1 J_{n-1} + ...)

    Euler's method has `b = [1]`, the heavy ball `a = [p]`, `b = [1]`. The first steps, whose past
    is missing, are Euler's, or those that `start` gives.

    >>> two_step = jnn.optim.multistep(0.1, [], [1.5, -0.5])
    >>> q = jnp.array(1.0)
    >>> state = two_step.init(q)
    >>> for _ in range(2):
    ...     updates, state = two_step.update(2 * q, state)
    ...     q = jnn.apply_updates(q, updates)
    >>> round(q.item(), 4)  # 0.8 - 0.1 (1.5 * 1.6 - 0.5 * 2)
    0.66

    Args:
      rate: the time step: a number or a schedule. The coefficients assume that it changes slowly.
      moves: a_0, a_1, ...
      gradients: b_0, b_1, ...
      start: the pair (moves, gradients) of each of the first steps.
    """
    check_rate("multistep", rate)
    kept, past = len(moves), len(gradients) - 1
    if past < 0:
        errors.fail("multistep", "gradients", "one coefficient or more", list(gradients))
    missing = max(kept, past)
    first = [*start, *[((), (1.0,))] * (missing - len(start))]
    table = [*first, (tuple(moves), tuple(gradients))]
    for a, b in table:
        if len(a) > kept or len(b) > past + 1:
            expected = f"at most {kept} moves and {past + 1} gradients a step"
            errors.fail("multistep", "start", expected, (list(a), list(b)))
    a_table = np.array([[*a, *[0.0] * (kept - len(a))] for a, _ in table])
    b_table = np.array([[*b, *[0.0] * (past + 1 - len(b))] for _, b in table])

    def init(params: Params) -> State:
        old = tuple(zeros_like(params) for _ in range(kept))
        return MultistepState(zero(), old, tuple(zeros_like(params) for _ in range(past)))

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        del params, extra
        row = jnp.minimum(state.step, len(table) - 1)
        a = jnp.asarray(a_table, float)[row]
        b = jnp.asarray(b_table, float)[row] * jnp.asarray(at(rate, state.step), float)
        known = (grads, *state.gradients)

        def move(*leaves: jax.Array) -> jax.Array:
            old, new = leaves[:kept], leaves[kept:]
            g = new[0]
            s = -in_dtype_of(b[0], g) * g
            for i in range(1, past + 1):
                s -= in_dtype_of(b[i], g) * new[i].astype(g.dtype)
            for i in range(kept):
                s += in_dtype_of(a[i], g) * old[i].astype(g.dtype)
            return s

        step = jax.tree.map(move, *state.moves, *known)
        keep = _push(step, state.moves), _push(grads, state.gradients)
        return step, MultistepState(advance(state.step), *keep)

    return Optimizer(init, update)


def _push(newest: Any, past: tuple[Any, ...]) -> tuple[Any, ...]:
    """The past with the newest in front and without the oldest, dtypes kept."""
    if not past:
        return past
    cast = jax.tree.map(lambda x, old: x.astype(old.dtype), newest, past[0])
    return (cast, *past[:-1])


@constructor
def midpoint(rate: Rate) -> Optimizer:
    """The midpoint rule, `q_{n+1} = q_{n-1} - 2 alpha J_n`, started by Euler (D-13). Unstable.

    Delmas suggests it as an improvement. Its local error is small, but where the curvature is
    lambda, errors grow by the roots of `z^2 + 2 alpha lambda z - 1`: their product is -1, so one of
    them is below -1 at every rate, e.g. -1.105 at `alpha lambda = 0.1`. It diverges from every
    minimum.

    >>> print(jnn.optim.multistep_roots([-1.0], [2.0], curvature=0.1).round(3))
    [-1.105  0.905]

    Args:
      rate: alpha, the time step.
    """
    check_rate("midpoint", rate)
    return multistep(rate, [-1.0], [2.0])


@constructor
def three_step(rate: Rate) -> Optimizer:
    """Delmas' three-step rule (D-14), started by two steps of Euler. Unstable.

        q_{n+1} = -1.5 q_n + 3 q_{n-1} - 0.5 q_{n-2} - 3 alpha J_n

    Its local error is of order alpha^4, better than the midpoint's. But even without any gradient,
    errors grow by the roots of `z^3 + 1.5 z^2 - 3 z + 0.5`: 1, 0.186 and -2.686. It diverges at
    every rate, the sooner the smaller: consistency is not enough.

    >>> print(jnn.optim.multistep_roots([-2.5, 0.5], [3.0]).round(3))
    [-2.686  1.     0.186]

    Args:
      rate: alpha, the time step.
    """
    check_rate("three_step", rate)
    return multistep(rate, [-2.5, 0.5], [3.0])


@constructor
def adams_bashforth(rate: Rate, order: int = 2) -> Optimizer:
    """Adams and Bashforth's methods: stable higher order from one gradient a step.

        order 2:  q_{n+1} = q_n - alpha (3/2 J_n - 1/2 J_{n-1})
        order 3:  q_{n+1} = q_n - alpha (23/12 J_n - 16/12 J_{n-1} + 5/12 J_{n-2})

    They are what D-13 and D-14 look for: all roots but one are 0 without a gradient. Of curvature
    lambda they bear `alpha lambda < 1` (order 2) and `< 6/11` (order 3), where Euler bears 2: they
    follow the flow more closely, in smaller steps. Started by Euler, then by the second order.

    >>> optimizer = jnn.adams_bashforth(0.1)
    >>> j = jnp.array([6.0, 5.0])
    >>> state = optimizer.init(j)
    >>> for _ in range(2):
    ...     updates, state = optimizer.update(j, state)
    >>> print(updates.round(3))
    [-0.6 -0.5]

    Args:
      rate: alpha, the time step.
      order: 2 or 3.
    """
    check_rate("adams_bashforth", rate)
    errors.choice("adams_bashforth", "order", order, (2, 3))
    if order == 2:
        return multistep(rate, [], [3 / 2, -1 / 2])
    start = [((), (1.0,)), ((), (3 / 2, -1 / 2))]
    return multistep(rate, [], [23 / 12, -16 / 12, 5 / 12], start)


def multistep_roots(
    moves: Coefficients, gradients: Coefficients, curvature: Any = 0.0
) -> np.ndarray:
    """By what a multistep method multiplies its errors each step, on a quadratic; largest first.

    They are the roots of

        z^{k+1} = z^k + sum a_i (z^{k-i} - z^{k-i-1}) - curvature sum b_i z^{k-i}

    and the method converges where all of them are inside the unit circle.

    >>> jnn.optim.multistep_roots([], [1.0], curvature=0.25).tolist()  # Euler: 1 - 0.25
    [0.75]
    >>> jnn.optim.multistep_roots([], [1.0], curvature=np.array([0.25, 1j])).shape
    (2, 1)

    Args:
      moves: a_0, a_1, ... as in `multistep`.
      gradients: b_0, b_1, ...
      curvature: the rate times the second derivative; at 0 the root 1 is the one of the flow
        itself. An array of them, complex ones too, gives the roots of each on a last axis.
    """
    k = max(len(moves), len(gradients) - 1)
    curvature = np.asarray(curvature)
    # The matrix that takes errors to the next step's: its first row is the recursion.
    companion = np.zeros((*curvature.shape, k + 1, k + 1), np.result_type(curvature, float))
    companion[..., range(1, k + 1), range(k)] = 1
    companion[..., 0, 0] = 1
    for i, a in enumerate(moves):
        companion[..., 0, i] += a
        companion[..., 0, i + 1] -= a
    for i, b in enumerate(gradients):
        companion[..., 0, i] -= b * curvature
    roots = np.linalg.eigvals(companion)
    if not (np.iscomplexobj(companion) or roots.imag.any()):
        roots = roots.real  # Newer NumPy's are complex always.
    return np.take_along_axis(roots, np.argsort(-abs(roots), axis=-1), axis=-1)
