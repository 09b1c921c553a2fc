"""Multistep methods and those of several stages, as integrators of dq/dt = -J(q)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.optim import chebyshev_limit, multistep_roots


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def integrate(optimizer, gradient, q, steps):
    """The point after so many steps, in one compiled scan."""

    def step(carry, _):
        q, state = carry
        updates, state = optimizer.update(gradient(q), state, q, gradient=gradient)
        return (jnn.apply_updates(q, updates), state), None

    q = jnp.asarray(q)
    scan = jax.jit(lambda q: jax.lax.scan(step, (q, optimizer.init(q)), length=steps)[0][0])
    return np.asarray(scan(q))


# D-13 and D-14: consistent, and unstable.


@pytest.mark.parametrize("curvature", [1e-3, 0.01, 0.1, 1.0])
def test_d13_has_a_root_below_minus_one_at_every_rate(curvature):
    roots = multistep_roots([-1.0], [2.0], curvature)
    assert np.prod(roots) == pytest.approx(-1)
    assert roots[0] < -1
    np.testing.assert_allclose(np.polyval([1, 2 * curvature, -1], roots), 0, atol=1e-12)


def test_d13_the_root_of_the_documents():
    assert round(multistep_roots([-1.0], [2.0], 0.1)[0], 3) == -1.105


def test_d13_diverges_from_a_minimum_however_small_the_rate():
    case = {"A": np.array([[3.0, 1.0], [1.0, 2.0]]), "b": np.array([1.0, -1.0])}

    def gradient(q):
        return jnp.asarray(case["A"]) @ q - jnp.asarray(case["b"])

    q = integrate(jnn.midpoint(0.01), gradient, [2.0, 1.0], 600)
    error = np.linalg.norm(q - [0.6, -0.8])
    assert error > 1e5
    euler = integrate(jnn.gd(0.01), gradient, [2.0, 1.0], 600)
    assert np.linalg.norm(euler - [0.6, -0.8]) < 1e-3


def test_d13_errors_grow_by_its_root():
    points = [integrate(jnn.midpoint(0.1), lambda q: q, 1.0, n) for n in (200, 201)]
    assert points[1] / points[0] == pytest.approx(multistep_roots([-1.0], [2.0], 0.1)[0], rel=1e-6)


def test_d14_is_not_stable_even_without_a_gradient():
    roots = multistep_roots([-2.5, 0.5], [3.0])
    np.testing.assert_allclose(roots, [-2.6861406616, 1.0, 0.1861406616], rtol=1e-9)
    np.testing.assert_allclose(np.polyval([1, 1.5, -3, 0.5], roots), 0, atol=1e-12)


def test_d14_diverges_from_a_minimum():
    q = integrate(jnn.three_step(0.01), lambda q: q, 1.0, 60)
    assert abs(q) > 1e18


@pytest.mark.parametrize(
    ("moves", "gradients", "order"),
    [
        ([], [1.0], 1),
        ([-1.0], [2.0], 2),  # D-13
        ([-2.5, 0.5], [3.0], 3),  # D-14: consistent indeed
        ([], [3 / 2, -1 / 2], 2),
        ([], [23 / 12, -16 / 12, 5 / 12], 3),
    ],
)
def test_multistep_methods_have_their_order(moves, gradients, order):
    """They are exact where the flow is a polynomial of that degree, and not of one more."""

    def defect(degree):
        q, slope = (lambda t: t**degree), (lambda t: degree * t ** (degree - 1) if degree else 0.0)
        left = q(1.0) - q(0.0)
        left -= sum(a * (q(-i) - q(-i - 1.0)) for i, a in enumerate(moves))
        return left - sum(b * slope(-float(i)) for i, b in enumerate(gradients))

    assert max(abs(defect(d)) for d in range(order + 1)) < 1e-13
    assert abs(defect(order + 1)) > 1e-3


# Methods that are stable.


@pytest.mark.parametrize(
    ("moves", "gradients", "limit"),
    [
        ([], [1.0], 2.0),
        ([], [3 / 2, -1 / 2], 1.0),
        ([], [23 / 12, -16 / 12, 5 / 12], 6 / 11),
    ],
)
def test_the_largest_rate_that_is_stable(moves, gradients, limit):
    assert abs(multistep_roots(moves, gradients, 0.99 * limit)[0]) < 1
    assert abs(multistep_roots(moves, gradients, 1.01 * limit)[0]) > 1


def errors(make, gradient, start, exact):
    return [abs(integrate(make(1 / n), gradient, start, n) - exact) for n in (40, 80)]


@pytest.mark.parametrize(
    ("make", "order"),
    [
        (jnn.gd, 1),
        (jnn.adams_bashforth, 2),
        (jnn.heun, 2),
        (jnn.rk4, 4),
        (lambda rate: jnn.chebyshev(rate, 4), 1),
        (lambda rate: jnn.chebyshev(rate, 4, order=2), 2),
        (lambda rate: jnn.optim.runge_kutta(rate, [[2 / 3]], [1 / 4, 3 / 4]), 2),
    ],
    ids=["gd", "adams_bashforth", "heun", "rk4", "chebyshev 1", "chebyshev 2", "ralston"],
)
def test_halving_the_rate_divides_the_error_by_two_to_the_order(make, order):
    # dq/dt = -q^2 from 1 is 1 / (1 + t): not linear, so that the tables are tried in full.
    coarse, fine = errors(make, lambda q: q**2, 1.0, 0.5)
    assert np.log2(coarse / fine) == pytest.approx(order, abs=0.15)


def damping_of(make, x):
    """By what one step multiplies q where the curvature is x and the rate 1."""
    optimizer, q = make(1.0), jnp.ones(len(x))

    def gradient(q):
        return jnp.asarray(x) * q

    return np.asarray(q + optimizer.update(gradient(q), optimizer.init(q), q, gradient=gradient)[0])


@pytest.mark.parametrize(("order", "stages"), [(1, 1), (1, 2), (1, 5), (1, 20), (2, 2), (2, 10)])
def test_chebyshev_steps_are_stable_up_to_their_limit(order, stages):
    limit = chebyshev_limit(stages, order=order)
    x = np.linspace(0, limit, 500)[1:]
    factor = abs(damping_of(lambda rate: jnn.chebyshev(rate, stages, order=order), x))
    assert factor.max() < 1
    beyond = damping_of(
        lambda rate: jnn.chebyshev(rate, stages, order=order), np.array([1.2 * limit])
    )
    assert abs(beyond[0]) > 1


def test_the_limit_of_chebyshev_steps_grows_with_the_square_of_the_stages():
    assert chebyshev_limit(20, damping=0.0) == pytest.approx(2 * 20**2)
    assert chebyshev_limit(40) / chebyshev_limit(20) == pytest.approx(4, rel=1e-3)
    assert chebyshev_limit(20, order=2) == pytest.approx(0.65 * 20**2, rel=0.02)


def test_one_stage_is_eulers_step():
    optimizer, q = jnn.chebyshev(0.1, 1), jnp.asarray(3.0)
    updates, _ = optimizer.update(2 * q, optimizer.init(q), q, gradient=lambda q: 2 * q)
    np.testing.assert_allclose(updates, -0.6, rtol=1e-14)


@pytest.mark.parametrize("make", [jnn.heun, jnn.rk4, jnn.chebyshev])
def test_the_gradients_asked_for_are_counted(make):
    calls = []

    def gradient(q):
        calls.append(q)
        return q

    optimizer, q = make(0.1), {"w": jnp.ones(2)}
    optimizer.update(q, optimizer.init(q), q, gradient=gradient)
    assert len(calls) + 1 == {jnn.heun: 2, jnn.rk4: 4, jnn.chebyshev: 5}[make]


def test_the_heavy_ball_is_a_multistep_method():
    ours = integrate(jnn.optim.multistep(0.1, [0.9], [1.0], [((), (1.0,))]), lambda q: q, 1.0, 30)
    theirs = integrate(jnn.heavy_ball(0.1, 0.9), lambda q: q, 1.0, 30)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_without_the_gradient_function_the_error_says_how_to_give_it():
    optimizer, q = jnn.heun(0.1), jnp.ones(2)
    with pytest.raises(TypeError, match=r"`gradient` must be given to update.*gradient=\.\.\."):
        optimizer.update(q, optimizer.init(q), q)


def test_roots_of_many_curvatures_at_once(random):
    curvature = random.normal(size=(2, 3)) + 1j * random.normal(size=(2, 3))
    roots = multistep_roots([-2.5, 0.5], [3.0, 0.25], curvature)
    assert roots.shape == (2, 3, 3)
    for place in np.ndindex(2, 3):
        alone = multistep_roots([-2.5, 0.5], [3.0, 0.25], curvature[place])
        np.testing.assert_allclose(abs(roots[place]), abs(alone), rtol=1e-12)
        mu = curvature[place]
        polynomial = [1, 1.5 + 3 * mu, -3 + 0.25 * mu, 0.5]
        np.testing.assert_allclose(np.polyval(polynomial, roots[place]), 0, atol=1e-11)
