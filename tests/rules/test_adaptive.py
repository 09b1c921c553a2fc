"""Adaptive pooling and padding that counts: loops over windows, work done, planted errors."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules import adaptive_max_pool, adaptive_mean_pool, max_pool, mean_pool
from jnn.rules.images.taps import Taps, mapped
from tests.rules.test_images import operations, pulled


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


POOLS = {"max": adaptive_max_pool, "mean": adaptive_mean_pool}
SIZES = [((6, 8), (3, 2)), ((5, 7), (3, 4)), ((7, 3), (2, 5)), ((1, 4), (3, 1)), ((23,), (2,)),
         ((4,), (9,)), ((3, 4, 5), (2, 3, 3)), ((20, 30), (1, 1))]  # fmt: skip


def by_loops(x, delta, size):
    """Values and cotangents of max and of mean pooling, window by window."""
    top, mean = (np.zeros((len(x), *size, x.shape[-1])) for _ in range(2))
    dtop, dmean = np.zeros_like(x), np.zeros_like(x)
    for n, *place, c in np.ndindex(top.shape):
        seen = (
            range(int(np.floor(i * k / m)), int(np.ceil((i + 1) * k / m - 1e-9)))
            for i, k, m in zip(place, x.shape[1:-1], size, strict=True)
        )
        pixels = [(n, *pixel, c) for pixel in itertools.product(*seen)]
        values, d = [x[p] for p in pixels], delta[n, *place, c]
        top[n, *place, c], mean[n, *place, c] = max(values), np.mean(values)
        dtop[pixels[int(np.argmax(values))]] += d
        for p in pixels:
            dmean[p] += d / len(pixels)
    return (top, dtop), (mean, dmean)


@pytest.mark.parametrize(("image", "size"), SIZES)
def test_pooling_equals_loops_over_windows(random, image, size):
    x = np.round(random.normal(size=(2, *image, 2)), 1)  # Ties occur.
    delta = random.normal(size=(2, *size, 2))
    for pool, (value, dx) in zip(POOLS.values(), by_loops(x, delta, size), strict=True):
        got, back = pulled(functools.partial(pool, size=size), x, delta)
        np.testing.assert_allclose(got, value, atol=1e-14)
        np.testing.assert_allclose(back, dx, atol=1e-13)


def test_windows_that_tile_are_those_of_ordinary_pooling(random):
    x = jnp.asarray(random.normal(size=(2, 12, 8, 3)))
    for ours, theirs in zip(POOLS.values(), (max_pool, mean_pool), strict=True):
        got = jax.jit(functools.partial(ours, size=(3, 4)))(x)
        np.testing.assert_allclose(got, theirs(x, window=(4, 2)), rtol=1e-14)


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_no_backward_scatters(pool):
    for size in (1, 3, 4, 11):
        found = operations(functools.partial(pool, size=size), jnp.zeros((2, 8, 8, 3)))
        assert "scatter" not in found


def test_the_winner_takes_one_byte():
    ledger = jnn.residuals(functools.partial(adaptive_max_pool, size=3), jnp.zeros((2, 8, 8, 3)))
    (winner,) = ledger.hand
    assert (winner.shape, winner.dtype) == ((2, 3, 3, 3), jnp.uint8)
    assert (
        jnn.residuals(functools.partial(adaptive_mean_pool, size=3), jnp.zeros((2, 8, 8, 3))).hand
        == ()
    )


def test_a_window_of_minus_infinity_has_a_winner():
    x = jnp.full((1, 5, 5, 1), -jnp.inf)
    y, pull = jax.vjp(functools.partial(adaptive_max_pool, size=3), x)
    assert (y == -jnp.inf).all()
    assert pull(jnp.ones_like(y))[0].sum() == 9


def test_nan_wins():
    x = jnp.zeros((1, 5, 1)).at[0, 2].set(jnp.nan)
    assert jnp.isnan(adaptive_max_pool(x, size=2)).all()  # Both windows see the middle.


def tiling(n, m):
    """Windows that do not overlap: the last pixel of each is left to the next."""
    starts = [i * n // m for i in range(m)] + [n]
    seen = [(i, q, 1 / (starts[i + 1] - starts[i])) for i in range(m)
            for q in range(starts[i], starts[i + 1])]  # fmt: skip
    return Taps(m, n, *map(np.array, zip(*seen, strict=True)))


def test_planted_errors_of_means_are_found():
    def not_overlapping(shares, delta, *, size):
        maps = [tiling(n, m).transposed for n, m in zip(shares.image, size, strict=True)]
        return (mapped(delta, maps),)

    def by_the_widest(shares, delta, *, size):
        maps = [t.transposed for t in shares.means]
        least = [
            dataclasses.replace(t, values=np.full(t.values.shape, t.values.min())) for t in maps
        ]
        return (mapped(delta, least),)

    x = np.random.default_rng(0).normal(size=(2, 5, 7, 2))
    for wrong in (not_overlapping, by_the_widest):
        rule = adaptive_mean_pool.replace(backward=wrong)
        report = jnn.verify.check(rule, (x,), settings={"size": (3, 4)}, suites=["agreement"])
        assert not report.ok


@pytest.mark.parametrize("wrong", ["one window a pixel", "the last of equals"])
def test_planted_errors_of_maxima_are_found(wrong):
    def backward(saved, delta, *, size):
        if wrong == "one window a pixel":  # Where two windows share a pixel, one of them counts.
            return (jnp.sign(adaptive_max_pool.parts.backward(saved, jnp.ones_like(delta))[0]),)
        flipped = adaptive_max_pool.parts.forward(jnp.flip(x, (1, 2)), size=size)[1]
        d = adaptive_max_pool.parts.backward(flipped, jnp.flip(delta, (1, 2)), size=size)[0]
        return (jnp.flip(d, (1, 2)),)

    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, size=(1, 5, 5, 1)).astype(float))
    if wrong == "one window a pixel":
        x = x + 0.1 * jnp.arange(25.0).reshape(x.shape)
    rule = adaptive_max_pool.replace(backward=backward)
    report = jnn.verify.check(rule, (np.asarray(x),), settings={"size": 3}, suites=["agreement"])
    assert not report.ok


@pytest.mark.parametrize("count_padding", [False, True])
def test_padding_counts_if_asked(random, count_padding):
    x = random.normal(size=(2, 5, 6, 3))
    pool = functools.partial(mean_pool, window=3, stride=2, padding=1, count_padding=count_padding)
    y, pull = jax.vjp(pool, jnp.asarray(x))
    delta = random.normal(size=y.shape)
    wide, there = (np.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0))) for a in (x, np.ones_like(x)))
    dx, value = np.zeros_like(wide), np.empty(y.shape)
    for i, j in np.ndindex(y.shape[1:3]):
        at = (slice(None), slice(2 * i, 2 * i + 3), slice(2 * j, 2 * j + 3))
        count = 9 if count_padding else there[at].sum((1, 2))
        value[:, i, j] = wide[at].sum((1, 2)) / count
        dx[at] += (delta[:, i, j] / count)[:, None, None]
    np.testing.assert_allclose(y, value, atol=1e-14)
    np.testing.assert_allclose(pull(jnp.asarray(delta))[0], dx[:, 1:-1, 1:-1], atol=1e-14)


def test_the_wrong_count_is_found():
    def backward(seen, delta, **settings):
        return mean_pool.parts.backward(seen, delta, **settings | {"count_padding": False})

    rule = mean_pool.replace(backward=backward)
    assert not jnn.verify.check(rule, suites=["agreement"], seeds=5).ok


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_what_does_not_fit_says_so(pool):
    with pytest.raises(ValueError, match="`size` must be a positive integer, got 0"):
        pool(jnp.zeros((2, 4, 4, 3)), size=0)
    with pytest.raises(ValueError, match="`size` must be an integer or 2 of them"):
        pool(jnp.zeros((2, 4, 4, 3)), size=(1, 2, 3))
    with pytest.raises(ValueError, match="`x` must be images"):
        pool(jnp.zeros((4, 3)), size=2)


def test_the_layers(random):
    x = jnp.asarray(random.normal(size=(2, 5, 7, 3)))
    for net, want in (
        (jnn.adaptive_max_pool(3), adaptive_max_pool(x, size=3)),
        (jnn.adaptive_mean_pool((3, 2)), adaptive_mean_pool(x, size=(3, 2))),
        (
            jnn.mean_pool(3, padding=1, count_padding=True),
            mean_pool(x, window=3, padding=1, count_padding=True),
        ),
    ):
        assert net.init(jax.random.key(0), x) == ((), ())
        np.testing.assert_array_equal(net((), x), want)
