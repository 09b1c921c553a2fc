"""Problems have types, a solver says which it is for, and numbers are not compiled in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.estimators import MLPClassifier
from jnn.solve.problem import Smooth, Squares
from tests.compilations import compilations

X = np.linspace(-1, 1, 12, dtype=np.float32)[:, None]


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def parts(x):
    return jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])


SOLVERS = {
    Smooth: [
        jnn.lbfgs(), jnn.bfgs(), jnn.nonlinear_cg(), jnn.newton_cg(), jnn.powell(),
        jnn.steepest_descent(), jnn.solve.switching(), jnn.solve.active_subset(1),
    ],
    Squares: [
        jnn.gauss_newton(), *(jnn.levenberg_marquardt(linear=s) for s in ("svd", "cholesky", "cg"))
    ],
}  # fmt: skip


def test_each_solver_says_what_it_solves():
    for kind, solvers in SOLVERS.items():
        assert {solver.solves for solver in solvers} == {kind}


def test_a_solver_for_the_other_kind_is_refused_before_anything_is_traced():
    def never(x):
        raise AssertionError("It was traced.")

    refusal = r"`solver` must be a solver for a value, got gauss_newton, one for residuals\. It is "
    with pytest.raises(ValueError, match=rf"minimize: {refusal}for jnn\.least_squares"):
        jnn.minimize(never, jnp.ones(2), jnn.gauss_newton())
    with pytest.raises(ValueError, match=r"least_squares: .*lbfgs, one for a value.*jnn\.minimize"):
        jnn.least_squares(never, jnp.ones(2), jnn.lbfgs())
    with pytest.raises(ValueError, match="active_subset: `solver`"):
        jnn.solve.active_subset(1, solver=jnn.levenberg_marquardt())
    with pytest.raises(ValueError, match="switching: `strong`"):
        jnn.solve.switching(strong=jnn.gauss_newton())
    with pytest.raises(ValueError, match="MLPClassifier: `solver` must be one for a value"):
        MLPClassifier(solver=jnn.levenberg_marquardt()).fit(X, np.arange(12) % 2)


def test_fit_asks_the_loss_for_squares():
    data, net = (X, np.sin(X)), jnn.dense(1)

    def fit(loss):
        return jnn.fit(net, loss, jnn.levenberg_marquardt(), data, epochs=2, progress=None)

    mine = jnn.half_squared_error.replace()  # Another object, and a sum of squares as well.
    np.testing.assert_array_equal(fit(mine).params.w, fit(jnn.half_squared_error).params.w)
    for loss in (jnn.absolute_error, lambda y, t: jnp.sum((y - t) ** 2, -1)):
        with pytest.raises(ValueError, match="fit: `loss` must be squared_error or half_squ"):
            fit(loss)


@pytest.mark.parametrize(
    ("find", "f", "solver"),
    [
        (jnn.minimize, rosenbrock, jnn.lbfgs()),
        (jnn.least_squares, parts, jnn.levenberg_marquardt()),
    ],
)
def test_other_numbers_compile_nothing(find, f, solver):
    start = jnp.array([-1.2, 1.0])
    first = find(f, start, solver, max_steps=7, tol=1e-3)
    with compilations() as compiled:
        second = find(f, start, solver, max_steps=3, tol=1e-5)
        third = find(f, start, solver, max_steps=10**10, tol=1e-3)
    assert not compiled
    assert (int(first.steps), int(second.steps)) == (7, 3)
    assert third.steps > 7
    with compilations() as compiled:  # The counter counts.
        find(f, start, solver, max_steps=3, history=True)
    assert compiled


def test_a_second_implicit_solution_compiles_nothing_either():
    f = lambda x, a: jnp.sum((x - a) ** 2) + jnp.sum(x**4)  # noqa: E731
    with compilations() as compiled:
        jnn.minimize(f, np.zeros(2), args=(1.0,), implicit=True)
    assert compiled
    with compilations() as compiled:
        found = jnn.minimize(f, np.ones(2), args=(0.0,), implicit=True, max_steps=99)
    assert not compiled
    np.testing.assert_allclose(found.params, 0, atol=1e-3)


def test_the_start_is_ravelled_in_the_program_alone():
    start = {"a": np.ones(3, np.float32), "b": 1.0}
    f = lambda p: jnp.sum((p["a"] - p["b"]) ** 2) + p["b"] ** 2  # noqa: E731
    jnn.minimize(f, start, jnn.lbfgs())
    jax.clear_caches()
    with compilations() as compiled:
        jnn.minimize(f, start, jnn.lbfgs())
    assert len(compiled) == 1


def test_what_is_closed_over_is_hoisted_out_of_an_implicit_solution():
    steps = []

    def solution(a):
        f = lambda x: jnp.sum(jnp.cosh(x - a) + a * x**4)  # noqa: E731
        found = jnn.minimize(f, jnp.zeros(2), jnn.bfgs(), implicit=True, tol=1e-12)
        steps.append(found.steps)
        return found.params

    with jax.enable_x64(True):
        a = jnp.array([0.3, 0.8])
        slope = jax.jacrev(solution)(a)
        eps = 1e-5
        shifts = [(solution(a + d) - solution(a - d)) / (2 * eps) for d in eps * jnp.eye(2)]
        np.testing.assert_allclose(slope, jnp.stack(shifts, 1), atol=1e-8)
        np.testing.assert_allclose(jax.jit(jax.jacrev(solution))(a), slope, rtol=1e-9)
        np.testing.assert_allclose(jax.vmap(jax.jacrev(solution))(a[None])[0], slope, rtol=1e-9)
        np.testing.assert_allclose(jax.jacfwd(solution)(a), slope, rtol=1e-9)
        # Integers of the run come along as they are.
        assert {s.dtype.name for s in steps} == {"int32"}
        # And again: the second derivative, by differences of the first.
        second = jax.jacfwd(jax.jacrev(solution))(a)
        ahead = [(jax.jacrev(solution)(a + d) - slope) / eps for d in eps * jnp.eye(2)]
        np.testing.assert_allclose(second, jnp.stack(ahead, 2), atol=1e-3)
