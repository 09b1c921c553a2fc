"""`newton_cg`: its Krylov space, the bounded step in it, and where both lead."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.solve.methods import newton


def symmetric(dtype, n=12):
    """A matrix of eigenvalues of both signs over four decades, and a vector."""
    random = np.random.default_rng(3)
    q, _ = np.linalg.qr(random.normal(size=(n, n)))
    values = np.geomspace(1e-2, 1e2, n) * (-1.0) ** np.arange(n)
    return jnp.asarray((q * values) @ q.T, dtype), jnp.asarray(random.normal(size=n), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_krylov_space_is_orthonormal_and_makes_the_matrix_tridiagonal(dtype):
    with jax.enable_x64(dtype == np.float64):
        h, g = symmetric(dtype)
        near = 200 * np.finfo(dtype).eps
        space = newton.lanczos(lambda v: h @ v, g, jnp.linalg.norm(g), jnp.zeros((), dtype), 100)
        assert space.count == 12
        np.testing.assert_allclose(space.v @ space.v.T, np.eye(12), atol=near)
        np.testing.assert_allclose(space.v @ h @ space.v.T, space.t, atol=100 * near)
        # Fewer products leave the rest of the space empty.
        part = newton.lanczos(lambda v: h @ v, g, jnp.linalg.norm(g), jnp.zeros((), dtype), 5)
        np.testing.assert_allclose(part.v, space.v[:5], atol=10 * near)
        loose = newton.lanczos(lambda v: h @ v, g, jnp.linalg.norm(g), jnp.asarray(9.0, dtype), 9)
        assert (loose.count, loose.v[1:].any()) == (1, False)


def test_the_residual_is_that_of_the_solution_in_the_space():
    with jax.enable_x64(True):
        h, g = symmetric(np.float64)
        size = jnp.linalg.norm(g)
        for count in (1, 4, 7):
            space = newton.lanczos(lambda v: h @ v, g, size, jnp.float64(0), count)
            d = np.linalg.solve(space.t, size * np.eye(count)[0]) @ space.v
            expected = jnp.linalg.norm(g - h @ d) / size
            np.testing.assert_allclose(abs(space.rest) / size, expected, rtol=1e-6)
            np.testing.assert_allclose(space.d, -d, rtol=1e-6)
            assert not space.convex


def test_a_step_is_newtons_without_the_signs_of_curvature_and_no_longer_than_the_radius():
    with jax.enable_x64(True):
        h, g = symmetric(np.float64)
        values, q = np.linalg.eigh(h)
        size = jnp.linalg.norm(g)
        space = newton.lanczos(lambda v: h @ v, g, size, jnp.float64(0), 12)
        free = newton.bounded_step(space.t, size, jnp.float64(jnp.inf)) @ space.v
        np.testing.assert_allclose(free, -q @ (q.T @ g / abs(values)), rtol=1e-8)
        assert g @ free < 0
        for radius in (1e-6, 1.0, 0.9 * jnp.linalg.norm(free)):
            d = newton.bounded_step(space.t, size, jnp.float64(radius)) @ space.v
            assert 0.999 * radius <= jnp.linalg.norm(d) <= newton.BEYOND * radius
            # |H| d + s d = -g for one s.
            s = -(q.T @ g) / (q.T @ d) - abs(values)
            np.testing.assert_allclose(s, s.mean(), rtol=1e-5)


def test_a_product_that_is_no_number_ends_the_space():
    g = jnp.array([3.0, 4.0, 0.0])
    space = newton.lanczos(lambda v: v * jnp.nan, g, jnp.float32(5), jnp.float32(0), 3)
    assert space.count == 1
    d = newton.bounded_step(space.t, jnp.float32(5), jnp.float32(jnp.inf)) @ space.v
    np.testing.assert_allclose(d, -g, rtol=1e-6)  # What is left is the gradient.


def test_newton_multiplies_with_the_hessian_of_logistic_regression():
    with jax.enable_x64(True):
        random = np.random.default_rng(7)
        x = np.asarray(random.normal(size=(40, 3)))
        t = (x @ [1.0, -2.0, 0.5] + random.normal(size=40) > 0).astype(np.float64)

        def loss(w):  # By its hand-written rule.
            return jnn.sigmoid_cross_entropy(jnp.asarray(x) @ w, jnp.asarray(t))

        found = jnn.minimize(loss, jnp.zeros(3), jnn.newton_cg(), tol=1e-10)
        w = np.zeros(3)
        for _ in range(8):  # Newton's method with X^T D X / m as a matrix.
            p = 1 / (1 + np.exp(-x @ w))
            w -= np.linalg.solve((x.T * (p * (1 - p))) @ x / 40, x.T @ (p - t) / 40)
        assert found.success
        np.testing.assert_allclose(found.params, w, rtol=1e-8)
        assert found.steps <= 8  # As fast, too.


def test_newton_follows_a_bent_valley_of_negative_curvature():
    # CUTEst's GROWTHLS: the growth of elements in Gaussian elimination, by its size.
    n = np.array([8.0, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 25])
    growth = [8.0, 8.4305, 9.5294, 10.4627, 12.0, 13.0205, 14.5949, 16.1078, 18.0596, 20.4569,
              24.25, 32.9863]  # fmt: skip
    logs = np.log(n)

    def misfit(u):
        return jnp.sum((u[0] * jnp.exp(logs * (u[1] + logs * u[2])) - np.array(growth)) ** 2)

    with jax.enable_x64(True):
        start = jnp.array([100.0, 0.0, 0.0])
        found = jnn.minimize(misfit, start, jnn.newton_cg(), tol=1e-6, max_steps=200)
        assert found.success
        np.testing.assert_allclose(found.value, 1.0040405841, rtol=1e-9)


def test_newton_leaves_a_saddle():
    f = lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + 50 * x[1] ** 2  # noqa: E731
    for scale in (1.0, 1e-6):  # The size of a function does not matter.
        found = jnn.minimize(
            lambda x, s=scale: s * f(x), jnp.array([1e-3, 1.0]), jnn.newton_cg(), tol=1e-5 * scale
        )
        assert found.success
        assert found.evaluations < 40
        np.testing.assert_allclose(found.params, [1, 0], atol=1e-4)
