"""The solvers' worked numbers of the documents, corrected."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.solve.methods.bfgs import change, rank_two
from jnn.solve.methods.lbfgs import empty, forget, store, two_loop
from jnn.solve.methods.marquardt import damped_step, decompose
from tests.golden import golden


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def case(name):
    given = golden(name)
    arrays = {k: jnp.asarray(v, jnp.float64) for k, v in given["inputs"].items()}
    return arrays, given["outputs"]


def close(ours, theirs, rtol=1e-10):
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-13)


def quadratic(a, b):
    return lambda x: x @ a @ x / 2 - b @ x


def exact(phi, origin, start):
    """The exact step on a quadratic, as a line search (H-139)."""
    del start
    slope = origin[1]
    # Two gradients on the line give its curvature.
    _, slope_there, _ = phi(jnp.ones_like(slope))
    alpha = jnn.linesearch.quadratic(slope, slope_there - slope)
    there = phi(alpha)
    one = jnp.int32(1)
    return jnn.linesearch.Search(alpha, there[0], there[1], there[2], alpha, alpha, one, 0 * one)


def test_conjugate_gradients_end_in_two_steps():
    given, expected = case("CG-H156-161")
    for steps in (1, 2):
        found = jnn.cg(given["A"], given["b"], given["x0"], max_steps=steps)
        close(found.x, expected["x"][steps - 1])
        assert found.steps == steps
    close(found.residual_norm, 0.0)


def test_gram_schmidt_in_the_inner_product_of_a_matrix():
    given, expected = case("CGS-H148-149")
    close(jnn.solve.conjugate_directions(given["A"], given["u"]), expected["d"])


def test_nonlinear_conjugate_gradients_on_a_quadratic_are_the_linear_ones():
    given, expected = case("NLCG-H164-169")
    f = quadratic(given["A"], given["b"])
    for beta in ("PR+", "FR", "HS", "DY", "HZ"):
        solver = jnn.nonlinear_cg(beta=beta, search=exact)
        found = jnn.minimize(f, given["x0"], solver, max_steps=3, tol=0.0, history=True)
        close(found.params, expected["x"][2], 1e-8)
        values = jax.vmap(f)(jnp.asarray(expected["x"]))
        close(found.history.value[1:], values, 1e-8)


@pytest.mark.parametrize("beta", ["PR+", "FR", "HS", "DY"])
def test_pairs_change_nothing_on_a_quadratic_and_a_preconditioner_ends_in_one_step(beta):
    a, b = jnp.diag(jnp.arange(1.0, 9.0)).at[0, 1].set(0.5).at[1, 0].set(0.5), jnp.ones(8)
    f, x0 = quadratic(a, b), jnp.linspace(-1.0, 2.0, 8)

    def values(steps, **settings):
        solver = jnn.nonlinear_cg(beta=beta, search=exact, **settings)
        return jnn.minimize(f, x0, solver, max_steps=steps, tol=0.0, history=True).history.value

    close(values(7, memory=3), values(7, memory=0), 1e-8)
    close(
        values(1, preconditioner=partial(jnp.linalg.solve, a))[1], -b @ jnp.linalg.solve(a, b) / 2
    )


def test_one_update_of_the_inverse_hessian():
    given, expected = case("BFGS-update-H182")
    h, s, y = given["H"], given["s"], given["y"]
    h = rank_two(h, *change(s, y, h @ y, s @ y))
    close(h, expected["H_next"])
    close(h @ y, s)  # The secant equation.


@pytest.mark.parametrize("settings", [{}, {"damped": True, "search": jnn.linesearch.armijo}])
def test_the_next_direction_is_that_of_the_updated_matrix(settings):
    f, x0 = lambda x: jnp.sum(jnp.cosh(x - jnp.arange(4.0))) + x[0] * x[1], jnp.zeros(4)
    state = jnn.minimize(f, x0, jnn.bfgs(**settings), max_steps=3, tol=0.0).state
    own = state.memory.own
    close(own.ahead, -own.h @ state.gradient)
    close(own.h, own.h.T)


def test_algorithm_one_lands_on_the_minimiser_after_two_steps():
    given, expected = case("BFGS-Alg1-corrected")
    f = quadratic(given["A"], given["b"])
    solver = jnn.bfgs(scaled=True, search=exact)
    first = jnn.minimize(f, given["x0"], solver, max_steps=1, tol=0.0)
    close(first.params, expected["x1"])
    close(first.state.memory.own.h, expected["H1"])
    close(jnn.minimize(f, given["x0"], solver, max_steps=2, tol=0.0).params, expected["x2"])


@pytest.mark.parametrize("room", [0, 20])  # Few unknowns, in loops; many, with matrices.
@pytest.mark.parametrize(("name", "memory"), [("LBFGS-twoloop-m2", 2), ("LBFGS-twoloop-k1", 3)])
def test_the_two_loops_with_a_full_and_a_half_full_ring(name, memory, room):
    given, expected = case(name)
    n = len(given["g"])

    def pad(v):
        return jnp.pad(v, (0, room))

    g, old = pad(given["g"]), pad(jnp.arange(1.0, n + 1))
    pairs = empty(g, memory)
    assert (pairs.inverse is None) == (room == 0)
    if memory == 2:
        pairs = store(pairs, old, 3 * old)  # Falls out of the ring.
    for s, y in zip(given["S"], given["Y"], strict=True):
        pairs = store(pairs, pad(s), pad(y))
    close(two_loop(pairs, g)[:n], expected["r"])
    if "H_dense" in expected:
        dense = jax.vmap(partial(two_loop, pairs))(jnp.eye(n, n + room))
        close(dense[:, :n], expected["H_dense"])
        close(pairs.gamma, expected["h0"])
    for y in (-pad(given["Y"][0]), jnp.inf * g):  # Negative curvature, and none at all.
        refused = store(pairs, pad(given["S"][0]), y)
        assert refused.count == pairs.count
        close(two_loop(refused, g)[:n], expected["r"])
    none = forget(pairs, jnp.bool_(True))
    close(two_loop(none, g), pairs.gamma * g)
    s, y = pad(given["S"][0]), pad(given["Y"][0])
    again = store(none, s, y)
    close(two_loop(again, g), two_loop(store(empty(g, memory), s, y), g))


def test_the_initial_matrix_of_few_unknowns_is_larger():
    s, y = jnp.array([1.0, 0.0, 2.0]), jnp.array([3.0, 1.0, 1.0])
    for few, gamma in ((0, 5 / 11), (1, 5 / 11), (2, (5 / 11) ** 0.5)):  # Two of s move.
        close(store(empty(s, 2), s, y, few=few).gamma, gamma)
    f = quadratic(jnp.diag(jnp.array([1.0, 100.0])), jnp.ones(2))
    one, two = (
        jnn.minimize(f, jnp.zeros(2), jnn.lbfgs(scaled=scaled), max_steps=2, tol=0.0).state
        for scaled in (False, True)
    )
    assert one.memory.own.gamma > 1.01 * two.memory.own.gamma


def network(given):
    # The documents' order: the input index runs fastest, so W is ravelled by columns.
    order = [("W1", "b1"), ("W2", "b2")]
    flat = jnp.concatenate([jnp.concatenate([given[w].T.ravel(), given[b]]) for w, b in order])

    def error(p):
        w1, b1, w2, b2 = p[:4].reshape(2, 2).T, p[4:6], p[6:10].reshape(2, 2).T, p[10:]
        hidden = jnp.tanh(given["X"] @ w1 + b1[None])
        return given["T"] - jnp.tanh(hidden @ w2 + b2[None])

    return error, flat


@pytest.mark.parametrize("kind", ["norm", "comp"])
def test_one_step_of_levenberg_and_marquardt(kind):
    given, expected = case("LM-step")
    error, p = network(given)
    residual = {
        "norm": lambda p: jnn.solve.norm_residual(error(p)),
        "comp": lambda p: error(p).ravel(),
    }[kind]
    r, jacobian = residual(p), jax.jacrev(residual)(p)
    close(jacobian, expected[f"J_{kind}"], 1e-9)
    if kind == "norm":
        close(r, expected["r_norm"])
    step = damped_step(decompose(r, jacobian, None, jnp.zeros_like(p)), given["lambda"], 0.0)
    close(step, expected[f"delta_{kind}"], 1e-8)
    # The document's residual, one norm a sample, goes up where the components go down.
    after = jnp.sum(error(p + step) ** 2) / 2
    close(after, expected[f"E_after_{kind}"], 1e-8)


def test_the_truncated_svd_of_a_singular_system():
    given, expected = case("SVD-PINV-H116-117")
    close(jnn.solve.svd_solve(given["A"], given["b"]), expected["x"])
