"""Linear systems: trees, preconditioners, several right sides, and the invariants of conjugacy."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np

import jnn


def test_conjugate_gradients_of_a_tree_with_and_without_preconditioner():
    with jax.enable_x64(True):
        random = np.random.default_rng(3)
        m = random.normal(size=(8, 8))
        diagonal = 10.0 ** np.arange(8)
        a = jnp.asarray(m @ m.T + np.diag(diagonal))
        b = jnp.asarray(random.normal(size=8))
        multiply = lambda v: {"u": a[:, :3] @ v["u"] + a[:, 3:] @ v["w"]}  # noqa: E731
        split = lambda v: {"u": v["u"][:3], "w": v["u"][3:]}  # noqa: E731
        found = jnn.cg(lambda v: split(multiply(v)), split({"u": b}))
        exact = np.linalg.solve(a, b)
        x = np.concatenate([found.x["u"], found.x["w"]])
        np.testing.assert_allclose(x, exact, rtol=1e-7)
        jacobi = jnn.cg(a, b, preconditioner=lambda v: v / jnp.diag(a))
        np.testing.assert_allclose(jacobi.x, exact, rtol=1e-7)
        assert jacobi.success
        assert jacobi.steps < found.steps
        many = jax.vmap(lambda b: jnn.cg(a, b).x)(jnp.stack([b, 2 * b]))
        np.testing.assert_allclose(many, [exact, 2 * exact], rtol=1e-7)


def test_residuals_are_orthogonal_and_directions_conjugate():
    with jax.enable_x64(True):
        random = np.random.default_rng(1)
        m = random.normal(size=(6, 6))
        a, b = jnp.asarray(m @ m.T + 6 * np.eye(6)), jnp.asarray(random.normal(size=6))
        xs = np.stack([jnn.cg(a, b, max_steps=k, tol=0.0).x for k in range(1, 6)])
        xs = np.concatenate([np.zeros((1, 6)), xs])
        r, d = np.asarray(b) - xs @ np.asarray(a), np.diff(xs, axis=0)
        gram = r @ r.T
        np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0, atol=1e-12)  # H-161
        conjugate = d @ a @ d.T
        np.testing.assert_allclose(conjugate - np.diag(np.diag(conjugate)), 0, atol=1e-12)
        np.testing.assert_allclose(np.tril(r[1:] @ d.T), 0, atol=1e-12)  # H-162


def test_an_indefinite_matrix_is_no_success():
    assert not jnn.cg(jnp.diag(jnp.array([1.0, -1.0])), jnp.ones(2)).success


def test_several_right_sides_each_stop_by_themselves(random):
    with jax.enable_x64(True):
        m = random.normal(size=(9, 9))
        a = jnp.asarray(m @ m.T + np.eye(9))
        b = jnp.asarray(np.stack([random.normal(size=9), np.zeros(9), a[:, 0]], axis=1))
        found = jnn.cg(a, b)
        np.testing.assert_allclose(found.x, np.linalg.solve(a, b), atol=1e-9)
        assert found.steps[1] == 0
        assert bool(jnp.all(found.success))


def test_bicgstab_solves_what_is_not_symmetric(random):
    with jax.enable_x64(True):
        a = jnp.asarray(random.normal(size=(30, 30)) + 12 * np.eye(30))
        b = jnp.asarray(random.normal(size=(30, 2)))
        found = jnn.bicgstab(a, b)
        assert bool(jnp.all(found.success))
        np.testing.assert_allclose(found.x, np.linalg.solve(a, b), rtol=1e-9, atol=1e-12)
        assert not jnn.cg(a, b[:, 0], max_steps=30).success
        one = jnn.bicgstab(lambda v: a @ v, b[:, 0], preconditioner=lambda v: v / jnp.diag(a))
        np.testing.assert_allclose(one.x, found.x[:, 0], rtol=1e-8)
        zero = jnn.bicgstab(a, jnp.zeros(30))
        assert bool(zero.success)
        assert zero.steps == 0


def test_solutions_have_derivatives(random):
    with jax.enable_x64(True):
        m = random.normal(size=(4, 4))
        a, b = jnp.asarray(m @ m.T + np.eye(4)), jnp.asarray(random.normal(size=4))

        def size(solve, a, b):
            return jnp.sum(solve(a, b) ** 2)

        for solve, c in ((jnn.cg, a), (jnn.bicgstab, a + jnp.triu(jnp.ones((4, 4))))):
            expected = jax.grad(partial(size, jnp.linalg.solve), (0, 1))(c, b)
            of_matrix = partial(size, lambda a, b, solve=solve: solve(a, b).x)
            of_function = partial(size, lambda a, b, solve=solve: solve(lambda v: a @ v, b).x)
            for found in (jax.grad(of_matrix, (0, 1)), jax.jacfwd(of_function, (0, 1))):
                chex.assert_trees_all_close(found(c, b), expected, rtol=1e-7)
