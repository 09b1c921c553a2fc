"""Robust losses, bounds, hand-written derivatives and implicit differentiation of fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import jnn
from jnn.solve.robust import LOSSES, cost
from tests.golden import golden

T = np.linspace(0, 3, 25)
START = {"a": np.float64(0), "b": np.float64(0)}


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def curve(p):
    outliers = np.where(np.arange(25) % 8 == 3, 4.0, 0.0)
    return p[0] * jnp.exp(-p[1] * T) - (2 * np.exp(-1.3 * T) + 0.02 * np.cos(7 * T) + outliers)


@pytest.mark.parametrize("loss", LOSSES)
def test_robust_fits_are_scipys_and_withstand_outliers(loss):
    fit = jnn.least_squares(curve, jnp.array([1.0, 1.0]), loss=loss, scale=0.1)
    plain = jnn.least_squares(curve, jnp.array([1.0, 1.0]))
    theirs = scipy.optimize.least_squares(
        lambda p: np.asarray(curve(jnp.asarray(p))), [1.0, 1.0], loss=loss, f_scale=0.1,
        xtol=1e-14, ftol=1e-14, gtol=1e-14,
    )  # fmt: skip
    assert fit.success, fit.message
    np.testing.assert_allclose(fit.params, theirs.x, rtol=1e-6)
    np.testing.assert_allclose(fit.value, theirs.cost, rtol=1e-9)
    truth = np.array([2.0, 1.3])
    assert np.abs(fit.params - truth).max() < 0.4 * np.abs(plain.params - truth).max()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_weight_is_the_slope_of_its_loss(loss):
    r = jnp.array([-3.0, -0.5, 0.0, 0.2, 2.5])
    _, root = cost(r, loss, 0.7)
    slope = jax.grad(lambda r: cost(r, loss, 0.7)[0])(r)
    np.testing.assert_allclose(root**2 * r, slope, rtol=1e-12)


def test_huber_regression_of_the_table_of_contents():
    case = golden("TOC-robust-LS")
    a, y = (jnp.asarray(case["inputs"][k], jnp.float64) for k in ("A", "y"))
    residual = lambda x: a @ x - y  # noqa: E731
    start = jnp.zeros(a.shape[1])
    plain = jnn.least_squares(residual, start)
    np.testing.assert_allclose(plain.params, case["outputs"]["least_squares"], atol=1e-8)
    delta = float(case["inputs"]["delta"])
    robust = jnn.least_squares(residual, start, loss="huber", scale=delta)
    np.testing.assert_allclose(robust.params, case["outputs"]["huber"], atol=1e-5)


def test_bounds_of_a_fit_are_scipys():
    low, high = np.array([0.0, 0.0]), np.array([1.6, 3.0])
    fit = jnn.least_squares(curve, jnp.ones(2), bounds=(jnp.asarray(low), jnp.asarray(high)))
    theirs = scipy.optimize.least_squares(
        lambda p: np.asarray(curve(jnp.asarray(p))), [1.0, 1.0], bounds=(low, high),
        xtol=1e-14, ftol=1e-14, gtol=1e-14,
    )  # fmt: skip
    assert fit.success, fit.message
    np.testing.assert_allclose(fit.params, theirs.x, rtol=1e-6)
    assert fit.params[0] == 1.6


def test_a_network_is_fitted_by_its_hand_written_backward(random):
    net = jnn.serial(jnn.dense(4), jnn.tanh(), jnn.dense(1))
    x = jnp.asarray(random.uniform(-2, 2, (40, 1)))
    start, _ = net.init(jax.random.key(0), x)
    start = jax.tree.map(lambda p: p.astype(jnp.float64), start)

    def residual(params):
        return net(params, x) - jnp.sin(2 * x)

    fits = {}
    for mode in ("backward", "forward", "autodiff"):
        with jnn.derivatives(mode):
            fits[mode] = jnn.least_squares(lambda p: residual(p), start, max_steps=30)
    assert fits["backward"].value < 1e-2
    for mode in ("forward", "autodiff"):
        np.testing.assert_allclose(fits[mode].value, fits["backward"].value, rtol=1e-3)


def test_a_fit_is_differentiable_in_its_data():
    def residual(p, y):
        return p["a"] * T + p["b"] - y, jnp.sum(y)

    def slope(y, implicit=True):
        fit = jnn.least_squares(residual, START, args=(y,), has_aux=True, implicit=implicit)
        return fit.params["a"]

    design = np.stack([T, np.ones(25)], axis=1)
    y = jnp.asarray(np.sin(T))
    np.testing.assert_allclose(jax.grad(slope)(y), np.linalg.pinv(design)[0], atol=1e-10)
    with pytest.raises(ValueError, match="least_squares: `implicit` must be True"):
        jax.grad(slope)(y, implicit=False)
    with pytest.raises(ValueError, match="`scale` must be above 0, got 0"):
        jnn.least_squares(residual, START, args=(y,), loss="huber", scale=0.0)


@pytest.mark.parametrize("linear", ["svd", "cholesky"])
def test_half_precision(linear):
    solver = jnn.levenberg_marquardt(linear=linear)
    found = jnn.least_squares(lambda x: 2 * x - 1, jnp.zeros(2, jnp.float16), solver)
    assert found.params.dtype == jnp.float16
    np.testing.assert_allclose(found.params, 0.5, rtol=1e-2)
