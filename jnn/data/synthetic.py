"""Sets made by formula: the documents' regression, and the classes that textbooks draw."""

from typing import NamedTuple

import numpy as np

from jnn import errors


class Points(NamedTuple):
    """Points `x`, float32 (n, features), and what belongs to each: labels, int32, or values."""

    x: np.ndarray
    y: np.ndarray


class Regression(NamedTuple):
    """Two noisy readings of one function at the same places, and the function itself."""

    x: np.ndarray
    train: np.ndarray
    test: np.ndarray
    truth: np.ndarray


def over_fitting(
    n: int = 101,
    *,
    alpha: tuple[float, float, float] = (0.3, 1.0, 0.5),
    sigma: float = 0.5,
    seed: int = 0,
) -> Regression:
    """The regression on which Treister shows over-fitting (T-1, T-2), in float64.

        y = a1 x + a2 sin(10 x) + a3 exp(2 x) + sigma e

    at n places from 0.01 to 1.01, with normal noise e, drawn apart for training and testing.

    >>> data = jnn.data.over_fitting()
    >>> data.x.shape, bool(data.train.std() > data.truth.std())
    ((101,), True)
    """
    errors.positive_integer("over_fitting", "n", n)
    x = np.linspace(0.01, 1.01, n)
    a1, a2, a3 = alpha
    truth = a1 * x + a2 * np.sin(10 * x) + a3 * np.exp(2 * x)
    noise = sigma * np.random.default_rng(seed).standard_normal((2, n))
    return Regression(x, truth + noise[0], truth + noise[1], truth)


def two_moons(n: int = 1000, *, noise: float = 0.1, seed: int = 0) -> Points:
    """Two half circles of radius 1 that reach into each other, one a class.

    >>> x, y = jnn.data.two_moons(4, noise=0)
    >>> sorted(y.tolist()), x.shape
    ([0, 0, 1, 1], (4, 2))
    """
    random, y = _labels("two_moons", n, 2, noise, seed)
    angle = np.pi * random.random(n)
    x = np.stack([np.cos(angle), np.sin(angle)], -1)
    x = np.where(y[:, None] == 1, [1.0, 0.5] - x, x)
    return _noisy(random, x, y, noise)


def circles(n: int = 1000, *, ratio: float = 0.5, noise: float = 0.05, seed: int = 0) -> Points:
    """A circle of radius 1, class 0, around one of radius `ratio`, class 1.

    >>> x, y = jnn.data.circles(4, noise=0)
    >>> print(np.hypot(*x[y == 1].T))
    [0.5 0.5]
    """
    random, y = _labels("circles", n, 2, noise, seed)
    angle = 2 * np.pi * random.random(n)
    x = np.where(y == 1, ratio, 1.0)[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    return _noisy(random, x, y, noise)


def spirals(
    n: int = 1000, *, arms: int = 2, turns: float = 1.5, noise: float = 0.02, seed: int = 0
) -> Points:
    """Spirals that wind out from the origin to radius 1, one a class.

    >>> x, y = jnn.data.spirals(6, arms=3, noise=0)
    >>> sorted(y.tolist()), bool((np.hypot(*x.T) <= 1).all())
    ([0, 0, 1, 1, 2, 2], True)
    """
    errors.positive_integer("spirals", "arms", arms)
    random, y = _labels("spirals", n, arms, noise, seed)
    radius = np.sqrt(random.random(n))  # As dense outside as inside.
    angle = 2 * np.pi * (turns * radius + y / arms)
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    return _noisy(random, x, y, noise)


def xor(n: int = 1000, *, noise: float = 0.1, seed: int = 0) -> Points:
    """The corners of a square: class 1 where the signs differ, which no line separates.

    >>> x, y = jnn.data.xor(8, noise=0)
    >>> bool(((x[:, 0] * x[:, 1] < 0) == (y == 1)).all())
    True
    """
    random, corner = _labels("xor", n, 4, noise, seed)
    bits = np.stack([corner & 1, corner >> 1], -1)
    return _noisy(random, 2.0 * bits - 1, bits[:, 0] ^ bits[:, 1], noise)


def _labels(
    function: str, n: int, classes: int, noise: float, seed: int
) -> tuple[np.random.Generator, np.ndarray]:
    """A generator, and labels in random order whose numbers differ by one at most."""
    errors.positive_integer(function, "n", n)
    errors.number(function, "noise", noise, low=0)
    random = np.random.default_rng(seed)
    return random, random.permutation(np.arange(n) % classes)


def _noisy(random: np.random.Generator, x: np.ndarray, y: np.ndarray, noise: float) -> Points:
    x = x + noise * random.standard_normal(x.shape)
    return Points(x.astype(np.float32), y.astype(np.int32))
