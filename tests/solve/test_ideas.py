"""What Hedberg would try (§8): a step that sets itself, floating means, switching, a subset."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.solve.result import SolverStatus


def valley(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def bowl(x):
    scale = jnp.geomspace(1, 30, x.size, dtype=x.dtype)
    return jnp.sum(scale * (x - 1) ** 2) / 2 + jnp.sum((x - 1) ** 4)


BY_NAME = {
    "every": jnn.steepest_descent(every=8),
    "mean": jnn.steepest_descent(mean=0.6),
    "both": jnn.steepest_descent(mean=0.6, every=8),
    "switching": jnn.solve.switching(),
    "subset": jnn.solve.active_subset(3),
}


@pytest.mark.parametrize("name", BY_NAME)
def test_each_finds_the_minimum_and_counts_its_evaluations(name):
    calls = []

    def counted(x):
        jax.debug.callback(lambda v: calls.append(v), x[0])
        return bowl(x)

    found = jnn.minimize(counted, jnp.linspace(-1, 2, 9), BY_NAME[name], tol=1e-3, history=True)
    jax.effects_barrier()
    assert found.success, found.message
    assert found.evaluations == len(calls)
    np.testing.assert_allclose(found.params, 1, atol=1e-2)
    values = found.history.value[: int(found.steps) + 1]
    assert np.all(np.diff(values) <= 1e-6)  # Never uphill.


def test_steps_between_accurate_searches_cost_one_evaluation_each():
    start = jnp.linspace(-1, 2, 9)
    spent = {}
    for every in (1, 8):
        found = jnn.minimize(bowl, start, jnn.steepest_descent(every=every), tol=1e-3, history=True)
        spent[every] = np.diff(found.history.evaluations[: int(found.steps) + 1])
    assert spent[1].min() > 4
    assert np.median(spent[8]) == 1
    assert spent[8][0] > 4
    assert spent[8].sum() < spent[1].sum() / 2


def test_a_mean_of_gradients_is_the_recurrence():
    told = []
    start, solver = jnp.linspace(0, 2, 4), jnn.steepest_descent(mean=0.5)
    found = jnn.minimize(bowl, start, solver, max_steps=2, callback=told.append)
    jax.effects_barrier()
    zero, one, two = (jax.grad(bowl)(x) for x in (start, *(p.params for p in told)))
    mean = (zero + one) / 2
    np.testing.assert_allclose(found.state.memory.own.mean, (mean + two) / 2, rtol=1e-5)
    ratio = (told[1].params - told[0].params) / -mean
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-2)


def test_the_strong_method_takes_over_and_beats_the_weak_one_alone():
    with jax.enable_x64(True):
        start = jnp.array([-1.2, 1.0])
        weak = jnn.minimize(valley, start, jnn.steepest_descent(), max_steps=100)
        both = jnn.minimize(valley, start, jnn.solve.switching(strong=jnn.bfgs()), tol=1e-8)
    assert both.success
    assert both.state.memory.second
    np.testing.assert_allclose(both.params, 1, atol=1e-6)
    assert not weak.success
    assert 3 * both.evaluations < weak.evaluations


def test_where_both_methods_stall_the_search_does():
    @jax.custom_vjp
    def f(x):
        return jnp.sum(x**2)

    f.defvjp(lambda x: (f(x), x), lambda x, g: (-2 * x * g,))
    weak = jnn.steepest_descent(search=jnn.linesearch.wolfe)
    found = jnn.minimize(f, jnp.ones(2), jnn.solve.switching(weak))
    assert found.message == SolverStatus.STALLED.sentence
    np.testing.assert_allclose(found.params, 1, rtol=1e-5)


def test_a_subset_moves_no_other_entries_and_batches():
    start = jnp.array([1.0, 4.0, 1.0, -3.0, 1.5])
    solver = jnn.solve.active_subset(2)
    found = jnn.minimize(bowl, start, solver, max_steps=1)
    np.testing.assert_array_equal(found.params != start, [False, True, False, True, False])
    slope = jax.grad(bowl)(found.params)
    np.testing.assert_allclose(found.state.gradient, slope, rtol=1e-3, atol=1e-5)
    starts = jnp.stack([start, -start])
    batch = jax.vmap(lambda x: jnn.minimize(bowl, x, solver, tol=1e-3))(starts)
    assert batch.success.all()
    newton = jnn.solve.active_subset(2, solver=jnn.newton_cg())
    assert jnn.minimize(bowl, start, newton, tol=1e-3).success


def test_the_curve_along_a_direction_is_the_function_there():
    tree = {"a": jnp.float32(2), "b": jnp.array([1.0, -1.0])}
    f = lambda p, c: c * (p["a"] ** 2 + jnp.sum(p["b"] ** 4))  # noqa: E731
    curve = jnn.solve.error_curve(f, tree, args=(0.5,))
    assert curve.alpha[0] == 0
    assert len(curve.alpha) == len(curve.value) == len(curve.slope) == 82
    np.testing.assert_allclose(curve.value[0], 3.0)
    np.testing.assert_allclose(curve.slope[0], -(2**2 + 2 * 2**2))  # -|g|^2
    up = jax.tree.map(jnp.ones_like, tree)
    curve = jnn.solve.error_curve(f, tree, up, alphas=jnp.array([0.5]), args=(1.0,))
    np.testing.assert_allclose(curve.value, [2.5**2 + 1.5**4 + 0.5**4], rtol=1e-6)
    np.testing.assert_allclose(curve.slope, [5 + 4 * (1.5**3 - 0.5**3)], rtol=1e-6)
    with pytest.raises(ValueError, match="a tree like x"):
        jnn.solve.error_curve(f, tree, jnp.ones(3), args=(1.0,))
