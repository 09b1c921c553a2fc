"""Feature maps against golden numbers and NumPy; the elbow of the documents' L-curve."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn import data
from jnn.layers import DenseParams
from jnn.models import elbow, logistic, mlp, monomials, orthonormal, part, trigonometric
from tests.draw import parameters
from tests.golden import golden


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def test_monomials_are_the_features_of_delmas():
    """D-15: a regression on them, with the squared loss that he takes."""
    inputs, outputs = golden("D-15").values()
    phi = monomials(jnp.asarray(inputs["X_rows"]), 2)
    np.testing.assert_allclose(phi, outputs["phi"])
    params = DenseParams(jnp.asarray(inputs["w"])[:, None], jnp.asarray([inputs["b"]]))
    p = logistic.predict(params, phi)
    np.testing.assert_allclose(p[:, 0], outputs["p"], rtol=1e-12)
    loss = jnn.squared_error(p, jnp.asarray(inputs["y"])[:, None]).sum()
    np.testing.assert_allclose(loss, outputs["loss"], rtol=1e-12)


def test_monomials_and_waves_by_numpy(random):
    x = random.normal(size=(5, 2))
    a, b = x.T
    cubes = np.stack([a, b, a**2, a * b, b**2, a**3, a**2 * b, a * b**2, b**3], 1)
    np.testing.assert_allclose(monomials(jnp.asarray(x), 3), cubes, rtol=1e-12)
    waves = [f(k * np.pi * x) for k in (1, 2) for f in (np.sin, np.cos)]
    found = trigonometric(jnp.asarray(x), 2, period=2)
    np.testing.assert_allclose(found, np.hstack(waves), atol=1e-12)


def test_learned_features_are_a_network_before_its_last_layer(random):
    """D-16."""
    net, x = mlp([4, 1]), jnp.asarray(random.normal(size=(6, 3)))
    params = parameters(net, x)
    first, first_params = part(net, params, 0, 1)
    p = jnn.rules.sigmoid(net(params, x))
    np.testing.assert_allclose(logistic.predict(params[1], first(first_params, x)), p, rtol=1e-12)


def test_the_l_curve_of_treister():
    """T-1, T-2, figures 1 and 2, with the noise of the worked numbers; degrees up to 100."""
    case = golden("LCURVE-T1-2")
    made = data.over_fitting(alpha=tuple(case["inputs"]["alpha"]))
    x, size = made.x, 0.5 * np.sqrt(2)
    train = made.truth + size * np.sin(1e3 * x**2 + 1)
    test = made.truth + size * np.sin(1.7e3 * x**2 + 2)
    q = np.asarray(orthonormal(jnp.asarray(x), 100).values)
    np.testing.assert_allclose(q.T @ q, np.eye(101), atol=1e-13)
    fitted = np.cumsum(q * (q.T @ train), axis=1)[:, 1:]  # A column for each degree.
    train_mse, test_mse = (((fitted - y[:, None]) ** 2).mean(0) for y in (train, test))
    at = case["inputs"]["degs"].astype(int) - 1
    np.testing.assert_allclose(train_mse[at], case["outputs"]["train_mse"], rtol=1e-9)
    np.testing.assert_allclose(test_mse[at], case["outputs"]["test_mse"], rtol=1e-9)
    assert train_mse[-1] < 1e-25  # As many coefficients as points: the noise is fitted too.
    picked = 1 + elbow(np.arange(1, 101), train_mse)
    assert 5 <= picked <= 10
    assert test_mse[picked - 1] < 1.05 * test_mse.min()
    assert test_mse[-1] > 1.8 * test_mse.min()


def test_orthonormal_polynomials_at_other_points(random):
    """They are the polynomials that NumPy fits."""
    x, y = np.sort(random.uniform(-3, 5, 60)), random.normal(size=60)
    basis = orthonormal(jnp.asarray(x), 8)
    between = np.linspace(-3, 5, 50)
    theirs = np.polynomial.Legendre.fit(x, y, 8)(between)
    ours = np.asarray(basis(jnp.asarray(between))) @ (np.asarray(basis.values).T @ y)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(basis(jnp.asarray(x)), basis.values, atol=1e-12)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="`degree` must be below the number of points, 3, got 3"):
        orthonormal(jnp.arange(3.0), 3)
    with pytest.raises(TypeError, match=r"monomials: `x` must be a floating array, got int"):
        monomials(jnp.arange(3), 2)
    with pytest.raises(ValueError, match="three or more increasing numbers"):
        elbow([1, 3, 2], [3.0, 2.0, 1.0])
