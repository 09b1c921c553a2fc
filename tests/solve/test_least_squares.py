"""Levenberg-Marquardt and Gauss-Newton: certified fits, rank deficiency, statuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.solve.result import SolverStatus
from tests.problems import nist

T = np.linspace(0, 2, 9)


def decay(p):
    t = jnp.asarray(T, p["a"].dtype)
    return p["a"] * jnp.exp(-p["b"] * t) - (2 * jnp.exp(-1.5 * t) + 0.01 * jnp.sin(9 * t))


START = {"a": np.float64(1), "b": np.float64(0)}


@pytest.mark.parametrize("method", ["lm", "gauss_newton"])
def test_a_fit_of_a_tree_is_stationary(method):
    with jax.enable_x64(True):
        fit = jnn.least_squares(decay, START, method=method)
        assert fit.success, fit.message
        slope = jax.grad(lambda p: jnp.sum(decay(p) ** 2) / 2)(fit.params)
        assert abs(slope["a"]) < 1e-11
        assert abs(slope["b"]) < 1e-11
        np.testing.assert_allclose(fit.value, jnp.sum(decay(fit.params) ** 2) / 2, rtol=1e-12)


def test_geodesic_acceleration_reaches_the_same_fit():
    with jax.enable_x64(True):
        plain = jnn.least_squares(decay, START)
        bent = jnn.least_squares(decay, START, jnn.levenberg_marquardt(geodesic=True))
        np.testing.assert_allclose(bent.params["b"], plain.params["b"], rtol=1e-9)
        assert bent.evaluations == 2 * bent.steps + 1


def test_a_parameter_without_influence_does_not_move():
    with jax.enable_x64(True):
        f = lambda x: jnp.stack([x[0] + x[1] - 2, 2 * (x[0] + x[1]) - 4, x[0] * 0 + 1])  # noqa: E731
        fit = jnn.least_squares(f, jnp.array([3.0, 1.0, 7.0]))
        assert fit.success
        np.testing.assert_allclose(fit.params, [2, 0, 7], atol=1e-9)  # The shortest step.


def test_more_parameters_than_residuals():
    fit = jnn.least_squares(lambda x: jnp.sum(x**2, keepdims=True) - 4, jnp.ones(5))
    np.testing.assert_allclose(jnp.sum(fit.params**2), 4, rtol=1e-5)


def test_a_start_that_is_no_number_and_lanes_of_a_batch():
    f = lambda x: jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])  # noqa: E731
    starts = jnp.array([[-1.2, 1.0], [jnp.nan, 1.0], [1.0, 1.0]])
    fit = jax.vmap(lambda x: jnn.least_squares(f, x))(starts)
    assert fit.status[1] == SolverStatus.NOT_FINITE
    assert fit.steps[1] == fit.steps[2] == 0
    np.testing.assert_allclose(fit.params[0], 1, rtol=1e-4)


def test_hedbergs_residual_has_a_finite_slope_at_a_perfect_fit():
    error = lambda p: p * jnp.array([[1.0, 2.0], [0.5, 1.0]])  # noqa: E731
    fit = jnn.least_squares(lambda p: jnn.solve.norm_residual(error(p)), jnp.float32(1))
    assert abs(fit.params) < 1e-6
    jacobian = jax.jacrev(lambda p: jnn.solve.norm_residual(error(p)))(jnp.float32(0))
    np.testing.assert_array_equal(jacobian, 0)


AVAILABLE = nist.available()
# Few, of every kind: all of them are in the slow test.
QUICK = [name for name in ("Misra1a", "DanWood", "Kirby2") if name in AVAILABLE]


@pytest.mark.skipif(not AVAILABLE, reason=f"NIST's data files are not in {nist.FOLDER}")
def test_the_certified_sum_of_squares_belongs_to_the_certified_parameters():
    with jax.enable_x64(True):
        for name in AVAILABLE:
            problem = nist.load(name)
            residual = problem.residual(jnp.asarray(problem.certified))
            # Lanczos1 is exact data: its sum is of the certified digits' rounding.
            np.testing.assert_allclose(
                jnp.sum(residual**2), problem.sum_of_squares, rtol=1e-6, atol=2e-20, err_msg=name
            )


def fit(name, dtype=jnp.float64):
    problem = nist.load(name)
    go = jax.jit(lambda b: jnn.least_squares(problem.residual, b)[:5])
    for start in problem.starts:
        params, _, _, _, evaluations = go(jnp.asarray(start, dtype))
        yield problem.digits(params), int(evaluations)


@pytest.mark.skipif(not QUICK, reason=f"NIST's data files are not in {nist.FOLDER}")
def test_a_few_certified_fits():
    with jax.enable_x64(True):
        for name in QUICK:
            for digits, evaluations in fit(name):
                assert digits >= 8, name
                assert evaluations <= 40, name


@pytest.mark.parametrize("linear", ["cholesky", "cg"])
def test_the_normal_equations_and_products_alone_reach_the_same_fit(linear):
    solver = jnn.levenberg_marquardt(linear=linear)
    with jax.enable_x64(True):
        plain = jnn.least_squares(decay, START)
        other = jnn.least_squares(decay, START, solver)
        assert other.success, other.message
        np.testing.assert_allclose(other.params["b"], plain.params["b"], rtol=1e-7)
        robust = [jnn.least_squares(decay, START, s, loss="cauchy", scale=0.01)
                  for s in (solver, None)]  # fmt: skip
        np.testing.assert_allclose(robust[0].params["b"], robust[1].params["b"], rtol=1e-4)
    with pytest.raises(ValueError, match="heeds bounds"):
        jnn.least_squares(decay, START, solver, bounds=(0.0, 1.0))


def test_products_alone_fit_more_parameters_than_a_jacobian_has_room_for():
    n = 20_000  # The Jacobian would have 4e8 entries.
    target = jnp.cos(jnp.arange(n, dtype=jnp.float32))
    f = lambda x: jnp.concatenate([x**3 + x - target, 0.1 * jnp.diff(x)])  # noqa: E731
    fit = jnn.least_squares(f, jnp.zeros(n), jnn.levenberg_marquardt(linear="cg"))
    slope = jax.grad(lambda x: jnp.sum(f(x) ** 2) / 2)(fit.params)
    assert jnp.max(jnp.abs(slope)) < 1e-5
    assert fit.steps < 20
