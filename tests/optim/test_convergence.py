"""Minima that the methods promise to reach: a quadratic, and Rosenbrock's valley."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn

A = np.array([[3.0, 1.0], [1.0, 2.0]])
B = np.array([1.0, -1.0])
MINIMISER = np.array([0.6, -0.8])


def quadratic(q):
    return q @ jnp.asarray(A) @ q / 2 - jnp.asarray(B) @ q


def rosenbrock(q):
    x, y = q
    return 100 * (y - x**2) ** 2 + (1 - x) ** 2


def test_the_problems_are_right_at_a_third_point():
    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(rosenbrock)(jnp.array([-1.2, 1.0]))
        assert value == pytest.approx(24.2)
        np.testing.assert_allclose(gradient, [-215.6, -88.0])
        np.testing.assert_allclose(jax.grad(quadratic)(jnp.array([2.0, 1.0])), [6.0, 5.0])
        np.testing.assert_allclose(jax.grad(quadratic)(jnp.asarray(MINIMISER)), 0, atol=1e-15)


def minimise(function, optimizer, start, steps):
    gradient = jax.grad(function)

    def step(carry, _):
        q, state = carry
        updates, state = optimizer.update(gradient(q), state, q, gradient=gradient)
        return (jnn.apply_updates(q, updates), state), None

    with jax.enable_x64(True):
        q = jnp.asarray(start)
        scan = jax.jit(lambda q: jax.lax.scan(step, (q, optimizer.init(q)), length=steps)[0][0])
        return np.asarray(scan(q))


FADING = jnn.schedules.exponential(0.3, 0.5, every=40)
SLOWLY = jnn.schedules.exponential(0.3, 0.5, every=80)

# The methods that converge at a fixed rate, and those of which the steps only shrink with the rate.
QUADRATIC = {
    "gd": jnn.gd(0.3),
    "momentum": jnn.momentum(0.1, 0.5),
    "averaged_momentum": jnn.averaged_momentum(0.5),
    "heavy_ball": jnn.heavy_ball(0.1, 0.5),
    "nesterov": jnn.nesterov(0.1, 0.5),
    "damped_particle": jnn.damped_particle(0.4, 2.0),
    "adagrad, sum": jnn.adagrad(1.0, average="sum"),
    "adams_bashforth, 2": jnn.adams_bashforth(0.15),
    "adams_bashforth, 3": jnn.adams_bashforth(0.1, 3),
    "heun": jnn.heun(0.3),
    "rk4": jnn.rk4(0.5),
    "chebyshev": jnn.chebyshev(3.0, 5),
    "adagrad": jnn.adagrad(FADING),
    "rmsprop": jnn.rmsprop(FADING),
    "rmsprop, centred": jnn.rmsprop(FADING, centred=True, momentum=0.3),
    "adam": jnn.adam(FADING),
    "adamw": jnn.adamw(FADING, decay=0.0),
    "amsgrad": jnn.amsgrad(0.5),
    "nadam": jnn.nadam(FADING),
    "radam": jnn.radam(SLOWLY),
    "adamax": jnn.adamax(SLOWLY),
    "lion": jnn.lion(FADING),
    "lamb": jnn.lamb(FADING),
    "full_adagrad": jnn.full_adagrad(FADING),
    "full_rmsprop": jnn.full_rmsprop(FADING),
}


@pytest.mark.parametrize("name", QUADRATIC)
def test_a_quadratic_is_minimised(name):
    q = minimise(quadratic, QUADRATIC[name], [2.0, 1.0], 900)
    np.testing.assert_allclose(q, MINIMISER, atol=2e-4)


ROSENBROCK = {
    "gd": (jnn.gd(1e-3), 40_000),
    "heavy_ball": (jnn.heavy_ball(1e-3, 0.9), 6_000),
    "nesterov": (jnn.nesterov(1e-3, 0.9), 6_000),
    "adam": (jnn.adam(0.02), 6_000),
    "chebyshev": (jnn.chebyshev(0.02, 10), 3_000),
}


@pytest.mark.parametrize("name", ROSENBROCK)
def test_the_end_of_rosenbrocks_valley_is_reached(name):
    optimizer, steps = ROSENBROCK[name]
    q = minimise(rosenbrock, optimizer, [-1.2, 1.0], steps)
    np.testing.assert_allclose(q, [1.0, 1.0], atol=1e-3)


def test_descent_contracts_by_the_slowest_eigenvalue():
    """Euler on a quadratic: the error shrinks by the largest |1 - rate lambda|, no faster."""
    rate = 0.1
    factor = max(abs(1 - rate * np.linalg.eigvalsh(A)))
    errors = [
        np.linalg.norm(minimise(quadratic, jnn.gd(rate), [2.0, 1.0], n) - MINIMISER)
        for n in (60, 61)
    ]
    assert errors[1] / errors[0] == pytest.approx(factor, rel=1e-6)
