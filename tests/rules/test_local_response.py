"""Local response normalisation: loops over channels, and planted errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules import local_response_norm
from jnn.rules.normal.local_response import _sums


def by_loops(x, delta, size, alpha, beta, bias):
    """Value and cotangent by the full Jacobian of each row."""
    y, dx = np.empty_like(x), np.zeros_like(x)
    channels = x.shape[-1]
    for row in np.ndindex(x.shape[:-1]):
        for c in range(channels):
            seen = [j for j in range(c - size // 2, c - size // 2 + size) if 0 <= j < channels]
            d = bias + alpha / size * sum(x[(*row, j)] ** 2 for j in seen)
            y[(*row, c)] = x[(*row, c)] * d**-beta
            dx[(*row, c)] += delta[(*row, c)] * d**-beta
            for j in seen:
                slope = -beta * d ** (-beta - 1) * 2 * alpha / size * x[(*row, j)]
                dx[(*row, j)] += delta[(*row, c)] * x[(*row, c)] * slope
    return y, dx


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
def test_values_and_gradients_equal_loops(random, size):
    settings = {"size": size, "alpha": 0.7, "beta": 0.6, "bias": 0.4}
    x, delta = random.normal(size=(2, 2, 3, 6))
    with jax.enable_x64(True):
        y, pull = jax.vjp(functools.partial(local_response_norm, **settings), jnp.asarray(x))
        got = y, *pull(jnp.asarray(delta))
    for g, w in zip(got, by_loops(x, delta, **settings), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-14)


def planted(wrong):
    def backward(x, delta, *, size, alpha, beta, bias):
        d = bias + alpha / size * _sums(x * x, size // 2, size)
        power, before, scale = d**-beta, (size - 1) // 2, 2 * alpha * beta / size
        if wrong == "no cross term":
            return (power * delta - scale * x * (delta * x * power / d),)
        if wrong == "the window of the forward":
            before = size // 2  # Which differs where the size is even.
        if wrong == "alpha not divided":
            scale = 2 * alpha * beta
        if wrong == "the denominator of the other channel":
            return (power * delta - scale * x * power / d * _sums(delta * x, before, size),)
        if wrong == "constant denominator":
            return (power * delta,)
        return (power * delta - scale * x * _sums(delta * x * power / d, before, size),)

    return local_response_norm.replace(backward=backward)


WRONG = [
    "no cross term",
    "the window of the forward",
    "alpha not divided",
    "the denominator of the other channel",
    "constant denominator",
]


@pytest.mark.parametrize("wrong", WRONG)
def test_planted_errors_are_found(wrong):
    suites = ["agreement", "differences"]
    assert not jnn.verify.check(planted(wrong), suites=suites).ok
    assert jnn.verify.check(planted(""), suites=suites).ok


def test_half_precision_squares_in_single():
    x = jnp.full((2, 8), 300.0, jnp.float16)  # Whose square float16 does not hold.
    y, pull = jax.vjp(functools.partial(local_response_norm, alpha=1.0), x)
    assert jnp.isfinite(y).all()
    assert (jnp.abs(y) > 0).all()
    assert jnp.isfinite(pull(jnp.ones_like(y))[0]).all()


def test_nan_reaches_its_neighbours_alone():
    x = jnp.ones(9).at[4].set(jnp.nan)
    where = jnp.isnan(local_response_norm(x, size=3)).tolist()
    assert where == [False] * 3 + [True] * 3 + [False] * 3


def test_what_does_not_fit_says_so():
    with pytest.raises(ValueError, match="`size` must be a positive integer, got 0"):
        local_response_norm(jnp.ones(3), size=0)
    with pytest.raises(ValueError, match="`bias` must be above 0, got 0"):
        local_response_norm(jnp.ones(3), bias=0.0)
    with pytest.raises(ValueError, match="`x` must be an array with channels on the last axis"):
        local_response_norm(jnp.ones(()))


def test_the_layer():
    net = jnn.serial(jnn.conv(8, 3), jnn.relu(), jnn.local_response_norm(size=3))
    x = jnp.ones((2, 5, 5, 1))
    params, _ = net.init(jax.random.key(0), x)
    hidden = jnn.rules.relu(jnn.rules.conv(x, *params[0]))
    np.testing.assert_allclose(net(params, x), local_response_norm(hidden, size=3), rtol=1e-6)
