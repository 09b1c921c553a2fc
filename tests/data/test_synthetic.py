"""Synthetic sets: the documents' numbers, and the shapes that the names promise."""

import numpy as np
import pytest

from jnn import data
from tests.golden import golden


def test_the_documents_over_fitting_experiment():
    """T-1, T-2: errors of polynomials by degree, with the noise of the worked numbers."""
    case = golden("LCURVE-T1-2")
    made = data.over_fitting(alpha=tuple(case["inputs"]["alpha"]))
    x, size = made.x, 0.5 * np.sqrt(2)
    train = made.truth + size * np.sin(1e3 * x**2 + 1)
    test = made.truth + size * np.sin(1.7e3 * x**2 + 2)
    for i, degree in enumerate(case["inputs"]["degs"]):
        basis = np.polynomial.legendre.legvander(2 * (x - x[0]) / (x[-1] - x[0]) - 1, int(degree))
        q, _ = np.linalg.qr(basis)
        fitted = q @ (q.T @ train)
        outputs = case["outputs"]
        np.testing.assert_allclose(np.mean((fitted - train) ** 2), outputs["train_mse"][i])
        np.testing.assert_allclose(np.mean((fitted - test) ** 2), outputs["test_mse"][i])
    oracle = np.stack([x, np.sin(10 * x), np.exp(2 * x)], 1)
    solved = np.linalg.lstsq(oracle, train, rcond=None)[0]
    np.testing.assert_allclose(solved, case["outputs"]["oracle"])


def test_the_noise_of_the_experiment():
    made = data.over_fitting(20000)
    for noisy in (made.train, made.test):
        assert abs((noisy - made.truth).std() - 0.5) < 0.01
    assert abs(np.corrcoef(made.train - made.truth, made.test - made.truth)[0, 1]) < 0.02


@pytest.mark.parametrize("make", [data.two_moons, data.circles, data.spirals, data.xor])
def test_classes_are_balanced_shuffled_and_reproducible(make):
    x, y = make(501)
    assert x.dtype == np.float32
    assert y.dtype == np.int32
    assert x.shape == (501, 2)
    assert abs(np.bincount(y)[0] - 250.5) < 2
    assert 0.3 < np.mean(y[1:] != y[:-1]) < 0.7
    np.testing.assert_array_equal(x, make(501).x)
    assert np.abs(x - make(501, seed=1).x).max() > 0.1
    with pytest.raises(ValueError, match="positive integer"):
        make(0)


def test_each_set_has_its_shape():
    x, y = data.two_moons(100, noise=0)
    centres = np.where(y[:, None] == 1, [1, 0.5], [0, 0])
    np.testing.assert_allclose(np.hypot(*(x - centres).T), 1, rtol=1e-6)
    assert (np.where(y == 1, 0.5 - x[:, 1], x[:, 1]) >= 0).all()
    x, y = data.circles(100, ratio=0.25, noise=0)
    np.testing.assert_allclose(np.hypot(*x.T), np.where(y == 1, 0.25, 1), rtol=1e-6)
    x, y = data.spirals(100, arms=3, turns=2, noise=0)
    radius = np.hypot(*x.T)
    turn = np.arctan2(x[:, 1], x[:, 0]) / (2 * np.pi) - 2 * radius - y / 3
    np.testing.assert_allclose(turn, np.round(turn), atol=1e-5)
    x, y = data.xor(100, noise=0)
    np.testing.assert_array_equal(np.abs(x), 1)
    assert len(np.unique(x, axis=0)) == 4
