"""Slopes of functions measured by central differences, each with a bar for its error.

A ladder of falling steps h is extrapolated to h = 0 (Richardson's way: each further column removes
one more even power of h). Of all estimates the one with the smallest bar wins; the bar is what the
last extrapolation still changed, plus the round-off of the function divided by the step. On smooth
functions of size and curvature about one the bars are 1e-12 to 1e-13.
"""

from typing import NamedTuple

import numpy as np

EPS = float(np.finfo(np.float64).eps)

RATIO = 4.0
# Not round numbers, so that no step is a multiple of a function's period; down to 2e-7.
STEPS = 0.1937 * RATIO ** -np.arange(11)

# Points x + k h d at which the round-off of a function is measured.
NOISE_STEPS = 2.0**-26 * np.arange(16)


class Slopes(NamedTuple):
    """Measured slopes: arrays of one shape."""

    value: np.ndarray
    bar: np.ndarray  # The error of `value`; infinite where nothing could be measured.
    kink: np.ndarray  # Whether the slope jumps here; then from `left` to `right`.
    left: np.ndarray
    right: np.ndarray


def measure(
    steps: np.ndarray, centre: np.ndarray, plus: np.ndarray, minus: np.ndarray, noise: np.ndarray
) -> Slopes:
    """Slopes from the values at x, at x + h d and at x - h d; the steps h fall by `RATIO`.

    `noise` is the standard deviation of one value's round-off.
    """
    h = steps.reshape(-1, *[1] * centre.ndim)
    noise = np.maximum(noise, EPS / 2 * np.maximum(np.abs(plus), np.abs(minus)))
    with np.errstate(all="ignore"):  # A function may overflow at the wide steps.
        value, bar = _extrapolate((plus - minus) / (2 * h), h, noise)
        return Slopes(value, bar, *_kinks(centre, plus, minus, h, noise))


def _extrapolate(
    column: np.ndarray, h: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    finest = column[-1]
    # Wide steps can agree among themselves and still miss what happens close to x.
    near = 2 * np.abs(finest - column[-2]) + 50 * noise[-1] / h[-1]
    value, bar = finest, np.full(finest.shape, np.inf)
    for order in range(1, 5):
        factor = RATIO ** (2 * order)
        better = (factor * column[1:] - column[:-1]) / (factor - 1)
        # Ridders' choice: of the changes against both parents the larger one.
        change = np.maximum(np.abs(better - column[1:]), np.abs(better - column[:-1]))
        bars = change + 8 * noise[order:] / h[order:]
        bars = np.where(np.abs(better - finest) <= near, bars, np.inf)
        best = np.argmin(np.where(np.isnan(bars), np.inf, bars), axis=0)[None]
        candidate = np.take_along_axis(bars, best, 0)[0]
        value = np.where(candidate < bar, np.take_along_axis(better, best, 0)[0], value)
        bar = np.fmin(bar, candidate)
        column = better
    return value, bar


def _kinks(centre, plus, minus, h, noise) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the even part falls like h instead of h^2, down to the last step that shows it."""
    even = np.abs(plus - 2 * centre + minus)
    seen = even > 50 * noise
    last = len(h) - 1 - np.argmax(seen[::-1], axis=0)[None]

    def at(steps, index):
        return np.take_along_axis(np.broadcast_to(steps, even.shape), index, 0)[0]

    ratio = RATIO * at(even, last) / at(even, np.maximum(last - 1, 0))
    stays = (last[0] == len(h) - 1) | (at(even, last) < RATIO * 100 * at(noise, last))
    kink = seen.any(0) & (last[0] > 0) & (ratio > 0.7) & (ratio < 1.5) & stays
    step = at(h, last)
    return kink, (centre - at(minus, last)) / step, (at(plus, last) - centre) / step


def round_off(series: np.ndarray, eps: float = EPS) -> np.ndarray:
    """The standard deviation of the round-off in the values at `NOISE_STEPS`, which lead.

    So close together a smooth function is a straight line, and fourth differences are noise
    (Hamming's table, as in Moré and Wild's ECnoise). Half a unit in the last place is the least:
    of float64 where each step makes a difference, else of the coarsest dtype inside the function,
    whose spacing is `eps`.
    """
    with np.errstate(all="ignore"):
        fourth = np.median(np.abs(np.diff(series, 4, axis=0)), axis=0)
        resolved = (np.diff(series, axis=0) != 0).all(0)
    last_place = np.where(resolved, EPS, eps) / 2 * np.abs(series).max(0)
    return np.maximum(1.5 / np.sqrt(70) * fourth, last_place)
