"""Schedules: functions from the step, counted from 0, to the rate of that step (H-118's mu_i).

Any function that JAX can trace is a schedule; these are the usual ones. Settings are numbers. Where
the steps of one are left out, it takes as many as the run that `jnn.fit` makes.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.optim.rates import Rate, Schedule, at, check_numbers, check_rate
from jnn.value import constructor


def _float(step: Any) -> jax.Array:
    return jnp.asarray(step).astype(float)


def _fraction(step: Any, steps: float) -> jax.Array:
    """How much of `steps` is over, from 0 to 1."""
    return jnp.clip(_float(step) / steps, 0.0, 1.0)


def _steps(function: str, steps: int | None) -> int:
    """How many they are, once a step is asked for."""
    if steps is None:
        remedy = "It can be left out in an optimizer for jnn.fit: see jnn.optim.spanning."
        errors.fail(function, "steps", "how long it lasts", None, remedy)
    return steps


def _check_steps(function: str, steps: int | None) -> None:
    if steps is not None:
        errors.positive_integer(function, "steps", steps)


@constructor
def constant(rate: float) -> Schedule:
    """The same rate at every step.

    >>> float(jnn.schedules.constant(0.5)(7))
    0.5
    """
    check_numbers("constant", rate=rate)
    return lambda step: jnp.asarray(rate, float)


@constructor
def step(rate: float, factor: float, every: int) -> Schedule:
    """A stair: `rate factor^floor(n / every)`.

    >>> schedule = jnn.schedules.step(1.0, 0.5, every=10)
    >>> [float(schedule(n)) for n in (0, 9, 10, 20)]
    [1.0, 1.0, 0.5, 0.25]
    """
    check_numbers("step", rate=rate, factor=factor)
    errors.positive_integer("step", "every", every)
    return lambda step: rate * factor ** _float(jnp.asarray(step) // every)


@constructor
def piecewise(rates: Sequence[float], boundaries: Sequence[int]) -> Schedule:
    """Constant pieces: `rates[0]` before `boundaries[0]`, then `rates[1]`, and so on.

    >>> schedule = jnn.schedules.piecewise([1.0, 0.1, 0.01], [100, 200])
    >>> [round(float(schedule(n)), 4) for n in (0, 99, 100, 200)]
    [1.0, 1.0, 0.1, 0.01]
    """
    for rate in rates:
        check_numbers("piecewise", rates=rate)
    return join([constant(rate) for rate in rates], boundaries)


@constructor
def exponential(rate: float, factor: float, every: float = 1) -> Schedule:
    """Exponential decay: `rate factor^(n / every)`.

    >>> schedule = jnn.schedules.exponential(1.0, 0.25, every=10)
    >>> [float(schedule(n)) for n in (0, 5, 10)]
    [1.0, 0.5, 0.25]
    """
    check_numbers("exponential", rate=rate, factor=factor)
    check_numbers("exponential", every=every, low=math.ulp(0))
    return lambda step: rate * factor ** (_float(step) / every)


@constructor
def inverse_time(rate: float, every: float = 1, *, power: float = 1) -> Schedule:
    """Decay like 1/t: `rate / (1 + n / every)^power`.

    With a power above 1/2 and up to 1 the rates add to infinity and their squares do not: what
    stochastic descent needs to converge.

    >>> schedule = jnn.schedules.inverse_time(1.0, every=10)
    >>> [float(schedule(n)) for n in (0, 10, 30)]
    [1.0, 0.5, 0.25]
    """
    check_numbers("inverse_time", rate=rate, power=power)
    check_numbers("inverse_time", every=every, low=math.ulp(0))
    return lambda step: rate / (1 + _float(step) / every) ** power


@constructor
def polynomial(start: float, end: float, steps: int | None = None, *, power: float = 1) -> Schedule:
    """From `start` to `end` in so many steps: `end + (start - end) (1 - n / steps)^power`.

    >>> schedule = jnn.schedules.polynomial(1.0, 0.0, 10, power=2)
    >>> [float(schedule(n)) for n in (0, 5, 10, 11)]
    [1.0, 0.25, 0.0, 0.0]
    """
    check_numbers("polynomial", start=start, end=end, power=power)
    _check_steps("polynomial", steps)

    def schedule(n: Any) -> jax.Array:
        return end + (start - end) * (1 - _fraction(n, _steps("polynomial", steps))) ** power

    return schedule


@constructor
def linear(start: float, end: float, steps: int | None = None) -> Schedule:
    """A straight line from `start` to `end` in so many steps, up or down.

    >>> schedule = jnn.schedules.linear(0.0, 1.0, 4)
    >>> [float(schedule(n)) for n in (0, 1, 4, 5)]
    [0.0, 0.25, 1.0, 1.0]
    """
    return polynomial(start, end, steps)


def _half_wave(fraction: jax.Array, start: float, end: float) -> jax.Array:
    return end + (start - end) * (1 + jnp.cos(jnp.pi * fraction)) / 2


@constructor
def cosine(rate: float, steps: int | None = None, *, end: float = 0.0) -> Schedule:
    """Half a cosine from `rate` down to `end` in so many steps.

    >>> schedule = jnn.schedules.cosine(1.0, 10)
    >>> [round(float(schedule(n)), 4) for n in (0, 5, 10, 11)]
    [1.0, 0.5, 0.0, 0.0]
    """
    check_numbers("cosine", rate=rate, end=end)
    _check_steps("cosine", steps)
    return lambda step: _half_wave(_fraction(step, _steps("cosine", steps)), rate, end)


@constructor
def cosine_restarts(
    rate: float, steps: int, *, end: float = 0.0, growth: int = 1, factor: float = 1.0
) -> Schedule:
    """Half cosines again and again, each `growth` times as long and `factor` times as high.

    The first lasts `steps`; `end` is not reached, since the step that would is the restart.

    >>> schedule = jnn.schedules.cosine_restarts(1.0, 10, growth=2, factor=0.5)
    >>> [round(float(schedule(n)), 4) for n in (0, 5, 10, 20, 30)]
    [1.0, 0.5, 0.5, 0.25, 0.25]
    """
    check_numbers("cosine_restarts", rate=rate, end=end, factor=factor)
    errors.positive_integer("cosine_restarts", "steps", steps)
    errors.positive_integer("cosine_restarts", "growth", growth)
    starts = [0]  # Of every wave that begins below 2^31: integers, so that corners are exact.
    if growth > 1:
        while (begin := starts[-1] + steps * growth ** (len(starts) - 1)) < 2**31:
            starts.append(begin)

    def schedule(n: Any) -> jax.Array:
        n = jnp.asarray(n).astype(jnp.int32)
        if growth == 1:
            wave, length = n // steps, jnp.asarray(steps)
            begin = wave * steps
        else:
            begins = jnp.asarray(starts, jnp.int32)
            wave = jnp.sum(n >= begins) - 1
            begin, length = begins[wave], steps * jnp.asarray(growth, float) ** _float(wave)
        top = rate * factor ** _float(wave)
        return end + (top - end) * (1 + jnp.cos(jnp.pi * _float(n - begin) / length)) / 2

    return schedule


@constructor
def warm_up(rate: Rate, steps: float, *, start: float = 0.0) -> Schedule:
    """A straight line from `start` in so many steps, and then `rate`, a number or a schedule.

    A number of steps below 1 is a share of the run that `jnn.fit` makes: `warm_up(cosine(1e-3),
    0.1)` rises for a tenth of it, and falls for the rest.

    >>> schedule = jnn.schedules.warm_up(jnn.schedules.cosine(1.0, 10), 4)
    >>> [round(float(schedule(n)), 4) for n in (0, 1, 4, 9, 14)]
    [0.0, 0.25, 1.0, 0.5, 0.0]
    """
    check_rate("warm_up", rate)
    check_numbers("warm_up", start=start)
    if not isinstance(steps, float) or not 0 < steps < 1:
        errors.positive_integer("warm_up", "steps", steps)

    def rise(n: Any) -> jax.Array:
        top = jnp.asarray(at(rate, jnp.zeros((), jnp.int32)), float)
        return start + (top - start) * _fraction(n, steps)

    if isinstance(steps, float):  # A share, of what only the run knows.
        return lambda n: _steps("warm_up", None)
    return join([rise, rate], [steps])


def rising(steps: float, all_of_them: int) -> int:
    """How many steps a warm-up has, where it may have been told a share of all.

    >>> from jnn.optim.schedules import rising
    >>> rising(10, 400), rising(0.25, 400)
    (10, 100)
    """
    return max(1, round(steps * all_of_them)) if isinstance(steps, float) else int(steps)


@constructor
def one_cycle(
    peak: float,
    steps: int | None = None,
    *,
    rise: float = 0.3,
    start: float = 1 / 25,
    end: float = 1e-4,
) -> Schedule:
    """One cycle: half a cosine up to `peak`, and half a cosine down to almost nothing.

    >>> schedule = jnn.schedules.one_cycle(1.0, 10, rise=0.5, start=0.25, end=0.0)
    >>> [round(float(schedule(n)), 4) for n in (0, 5, 10)]
    [0.25, 1.0, 0.0]

    Args:
      peak: the highest rate.
      steps: how long the cycle lasts, by default the run; the rate stays afterwards.
      rise: the part of the steps that goes up, in (0, 1).
      start: the first rate, as a part of `peak`.
      end: the last rate, as a part of `peak`.
    """
    check_numbers("one_cycle", peak=peak, start=start, end=end)
    _check_steps("one_cycle", steps)
    check_numbers("one_cycle", rise=rise, low=math.ulp(0), below=1)

    def schedule(n: Any) -> jax.Array:
        count = _steps("one_cycle", steps)
        up = rise * count
        growing = _half_wave(_fraction(n, up), start * peak, peak)
        falling = _half_wave(_fraction(_float(n) - up, count - up), peak, end * peak)
        return jnp.where(_float(n) < up, growing, falling)

    return schedule


@constructor
def join(schedules: Sequence[Rate], boundaries: Sequence[int]) -> Schedule:
    """One schedule after another: each counts its own steps from the boundary where it begins.

    >>> schedule = jnn.schedules.join([1.0, jnn.schedules.linear(0.5, 0.0, 2)], [10])
    >>> [float(schedule(n)) for n in (0, 9, 10, 11)]
    [1.0, 1.0, 0.5, 0.25]
    """
    if len(boundaries) != len(schedules) - 1:
        expected = f"of length {len(schedules) - 1}, between {len(schedules)} pieces"
        errors.fail("join", "boundaries", expected, list(boundaries))
    if sorted(set(boundaries)) != list(boundaries):
        errors.fail("join", "boundaries", "increasing", list(boundaries))
    for piece in schedules:
        check_rate("join", piece)

    def schedule(n: Any) -> jax.Array:
        n = jnp.asarray(n)
        rate = jnp.asarray(at(schedules[0], n), float)
        for begin, piece in zip(boundaries, schedules[1:], strict=True):
            later = jnp.asarray(at(piece, jnp.maximum(n - begin, 0)), float)
            rate = jnp.where(n >= begin, later, rate)
        return rate

    return schedule


OPEN = (polynomial, linear, cosine, one_cycle)  # Their steps may be left out.
