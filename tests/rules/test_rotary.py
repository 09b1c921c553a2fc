"""Rotary positions against complex numbers in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnn.rules import rotary
from jnn.rules.attention.rotary import rotary_backward
from jnn.verify import check


def by_complex_numbers(x, positions, base=10000.0):
    """Each pair as a complex number, times e^(i angle)."""
    half = x.shape[-1] // 2
    angles = np.atleast_2d(positions)[..., None] * base ** (-np.arange(half) / half)
    turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angles)[:, :, None]
    return np.concatenate([turned.real, turned.imag], -1)


def test_values_are_those_of_complex_numbers(random):
    x = random.normal(size=(2, 5, 3, 8))
    with jax.enable_x64(True):
        for positions in (np.arange(5), random.integers(0, 999, (2, 5)), random.normal(size=5)):
            np.testing.assert_allclose(
                rotary(x, positions), by_complex_numbers(x, positions), atol=1e-12
            )


@pytest.mark.parametrize("last", [0, 10**3, 10**6, -(10**6)])
def test_far_places_are_turned_as_accurately(random, last):
    x = random.normal(size=(1, 4, 1, 64)).astype(np.float32)
    positions = last + np.arange(4)
    error = np.abs(rotary(x, positions) - by_complex_numbers(x.astype(float), positions)).max()
    assert error < 2e-5
    if last == 10**6:  # Which float32 alone would not do.
        naive = by_complex_numbers(x, positions.astype(np.float32) * np.float32(1 + 6e-8))
        assert np.abs(naive - rotary(x, positions)).max() > 1e-2


def test_scores_depend_on_the_difference_of_places(random):
    q, k = (random.normal(size=(1, 1, 1, 16)).astype(np.float32) for _ in range(2))
    scores = [
        float((rotary(q, np.array([5 + by])) * rotary(k, np.array([2 + by]))).sum())
        for by in (0, 90, 4000)
    ]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-4)


def test_angles_of_half_precision_are_float32(random):
    x = jnp.asarray(random.normal(size=(1, 3, 1, 8)), jnp.bfloat16)
    y = rotary(x, np.array([1000, 2000, 3000]))
    assert y.dtype == jnp.bfloat16
    exact = by_complex_numbers(np.asarray(x, float), np.array([1000, 2000, 3000]))
    np.testing.assert_allclose(y.astype(jnp.float32), exact, atol=2e-2)


def test_a_backward_by_the_same_angle_is_rejected():
    def wrong(positions, delta, *, base):
        return rotary_backward(-positions, delta, base=base)

    assert not check(rotary.replace(backward=wrong), suites=["agreement"]).ok


@pytest.mark.parametrize(
    ("args", "settings", "words"),
    [
        ((jnp.ones((1, 2, 1, 3)), np.arange(2)), {}, "an even size"),
        ((jnp.ones((1, 2, 4)), np.arange(2)), {}, "rank 4"),
        ((jnp.ones((1, 2, 1, 4)), np.arange(3)), {}, "jnp.arange"),
        ((jnp.ones((1, 2, 1, 4)), np.ones(2, bool)), {}, "jnp.arange"),
        ((jnp.ones((1, 2, 1, 4)), np.arange(2)), {"base": 0.5}, "between 1 and inf"),
    ],
)
def test_bad_input(args, settings, words):
    with pytest.raises(ValueError, match=words):
        rotary(*args, **settings)
