"""Moving averages (D, footnote 4), of gradients and of parameters.

All of them are one step, `a_n = a_{n-1} + w_n (x_n - a_{n-1})`, with different weights `w_n`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn.arithmetic import as_wide
from jnn.optim.rates import Number, advance, check_numbers, in_dtype_of, wide_like, zero, zeros_like
from jnn.value import constructor, written


class AverageState(NamedTuple):
    """How many values came, and their average, a pytree like them."""

    count: jax.Array
    value: Any


class Average(NamedTuple):
    """A running average of pytrees.

    Attributes:
      init: `init(x) -> state`, before any value came; only shapes and dtypes of `x` matter.
      update: `update(x, state) -> state`.
      value: `value(state)`, the average so far.
    """

    init: Callable[[Any], Any]
    update: Callable[[Any, Any], Any]
    value: Callable[[Any], Any] = lambda state: state.value

    def __repr__(self) -> str:
        return written(self)


@constructor
def weighted(weight: Callable[[jax.Array], Number]) -> Average:
    """The average `a_n = a_{n-1} + w_n (x_n - a_{n-1})` from zero, with `w_n = weight(n)`, n >= 1.

    >>> last = jnn.optim.weighted(lambda n: 1.0)
    >>> last.value(last.update(jnp.array(3.0), last.init(0.0))).item()
    3.0
    """

    def init(x: Any) -> Any:
        return AverageState(zero(), zeros_like(x))

    def update(x: Any, state: Any) -> Any:
        n = advance(state.count)
        w = weight(n)

        def move(a: jax.Array, x: jax.Array) -> jax.Array:
            return a + in_dtype_of(w, a) * (x.astype(a.dtype) - a)

        return AverageState(n, jax.tree.map(move, state.value, x))

    return Average(init, update)


@constructor
def mean() -> Average:
    """The plain mean, `a_n = a_{n-1} + (x_n - a_{n-1}) / n` (D fn 4).

    The footnote checks that the weights add to one and prints `(1/n) sum_{k=1}^n = 1`, without the
    summand, which is 1.

    >>> average = jnn.optim.mean()
    >>> state = average.init(0.0)
    >>> for x in jnp.array([1.0, 2.0, -1.0, 0.5]):
    ...     state = average.update(x, state)
    >>> average.value(state).item()
    0.625
    """
    return weighted(lambda n: 1 / n.astype(float))


@constructor
def exponential(beta: Number) -> Average:
    """The exponential average from zero, `e_n = beta e_{n-1} + (1 - beta) x_n` (D fn 4).

    Its weights add to `1 - beta^n` only: it starts too small.

    >>> average = jnn.optim.exponential(0.75)
    >>> average.value(average.update(jnp.array(4.0), average.init(0.0))).item()
    1.0

    Args:
      beta: what is kept of the past, in [0, 1).
    """
    check_numbers("exponential", beta=beta, below=1)
    return weighted(lambda n: 1 - beta)


@constructor
def unbiased(beta: Number) -> Average:
    """The exponential average corrected for its start, `e_n / (1 - beta^n)` (D fn 4).

    It is kept corrected: dividing the recursion of `e_n` by `1 - beta^n` leaves the common step
    with `w_n = (1 - beta) / (1 - beta^n)`, from 1 at the first value down to `1 - beta`.

    >>> average = jnn.optim.unbiased(0.75)
    >>> average.value(average.update(jnp.array(4.0), average.init(0.0))).item()
    4.0

    Args:
      beta: what is kept of the past, in [0, 1).
    """
    check_numbers("unbiased", beta=beta, below=1)
    return weighted(lambda n: unbiased_weight(beta, n))


def unbiased_weight(beta: Number, n: jax.Array) -> jax.Array:
    """`(1 - beta) / (1 - beta^n)`, without cancellation where beta is near 1."""
    if isinstance(beta, int | float):
        log = jnp.asarray(math.log(beta) if beta else -math.inf, float)
    else:
        log = jnp.log(beta).astype(float)
    return jnp.expm1(log) / jnp.expm1(log * n.astype(float))


@constructor
def total() -> Average:
    """The sum of all values: no average, but kept as one.

    >>> sum = jnn.optim.total()
    >>> state = sum.init(0.0)
    >>> for x in jnp.array([1.0, 2.0, -1.0, 0.5]):
    ...     state = sum.update(x, state)
    >>> sum.value(state).item()
    2.5
    """

    def update(x: Any, state: Any) -> Any:
        value = jax.tree.map(lambda a, x: a + x.astype(a.dtype), state.value, x)
        return AverageState(advance(state.count), value)

    return Average(lambda x: AverageState(zero(), zeros_like(x)), update)


# Averages whose value is the size of a gradient: what adaptive methods divide by.


@constructor
def rms(average: Average) -> Average:
    """The root of an average of squares, kept in float32 at least.

    In float16 a gradient of 1e-4 has the square 0, and in bfloat16 an average with `beta = 0.999`
    would not move: a 256th of it is the least that it can change by.

    >>> size = jnn.optim.rms(jnn.optim.mean())
    >>> state = size.init(0.0)
    >>> for x in jnp.array([1.0, 7.0]):
    ...     state = size.update(x, state)
    >>> size.value(state).item()
    5.0
    """

    def update(x: Any, state: Any) -> Any:
        return average.update(jax.tree.map(lambda x: jnp.square(as_wide(x)), x), state)

    def init(x: Any) -> Any:
        return average.init(wide_like(x))

    return Average(init, update, lambda state: jax.tree.map(jnp.sqrt, average.value(state)))


class DeviationState(NamedTuple):
    """The exponential averages of the values and of their squares, less its square."""

    mean: Any
    variance: Any


@constructor
def deviation(beta: Number) -> Average:
    """The exponential standard deviation, the root of `e_n(x^2) - e_n(x)^2`.

    The difference is never formed, since it cancels. With `d = x_n - m_{n-1}` and `w = 1 - beta` it
    obeys `s_n = beta (s_{n-1} + w d^2)`, `m_n = m_{n-1} + w d`, and cannot become negative. Both
    are kept in float32 at least.

    >>> size = jnn.optim.deviation(0.5)
    >>> state = size.init(0.0)
    >>> for x in jnp.array([2.0, 4.0]):
    ...     state = size.update(x, state)
    >>> round(size.value(state).item() ** 2, 4), 0.25 * 2.0**2 + 0.5 * 4.0**2 - (0.5 + 2.0) ** 2
    (2.75, 2.75)

    Args:
      beta: what is kept of the past, in [0, 1).
    """
    check_numbers("deviation", beta=beta, below=1)

    def update(x: Any, state: Any) -> Any:
        def spread(s: jax.Array, m: jax.Array, x: jax.Array) -> jax.Array:
            return in_dtype_of(beta, s) * (
                s + in_dtype_of(1 - beta, s) * jnp.square(x.astype(m.dtype) - m)
            )

        def move(m: jax.Array, x: jax.Array) -> jax.Array:
            return m + in_dtype_of(1 - beta, m) * (x.astype(m.dtype) - m)

        variance = jax.tree.map(spread, state.variance, state.mean, x)
        return DeviationState(jax.tree.map(move, state.mean, x), variance)

    def value(state: Any) -> Any:
        return jax.tree.map(jnp.sqrt, state.variance)

    def init(x: Any) -> Any:
        wide = wide_like(x)
        return DeviationState(zeros_like(wide), zeros_like(wide))

    return Average(init, update, value)


@constructor
def fading_maximum(beta: Number) -> Average:
    """The largest size, fading: `u_n = max(beta u_{n-1}, |x_n|)`.

    >>> size = jnn.optim.fading_maximum(0.5)
    >>> state = size.init(0.0)
    >>> for x in jnp.array([8.0, -1.0, 3.0]):
    ...     state = size.update(x, state)
    >>> size.value(state).item()
    3.0

    Args:
      beta: what is kept of the past, in [0, 1).
    """
    check_numbers("fading_maximum", beta=beta, below=1)

    def update(x: Any, state: Any) -> Any:
        def larger(u: jax.Array, x: jax.Array) -> jax.Array:
            return jnp.maximum(in_dtype_of(beta, u) * u, jnp.abs(x).astype(u.dtype))

        return AverageState(advance(state.count), jax.tree.map(larger, state.value, x))

    return Average(lambda x: AverageState(zero(), zeros_like(x)), update)


class LargestState(NamedTuple):
    """The state of the average, and the largest value that it took."""

    average: Any
    value: Any


@constructor
def largest(average: Average) -> Average:
    """The largest value that another average has taken, entry by entry.

    >>> top = jnn.optim.largest(jnn.optim.mean())
    >>> state = top.init(0.0)
    >>> for x in jnp.array([4.0, 1.0]):
    ...     state = top.update(x, state)
    >>> top.value(state).item()
    4.0
    """

    def update(x: Any, state: Any) -> Any:
        inner = average.update(x, state.average)
        return LargestState(inner, jax.tree.map(jnp.maximum, state.value, average.value(inner)))

    return Average(lambda x: LargestState(average.init(x), zeros_like(x)), update)
