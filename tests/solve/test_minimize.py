"""`minimize`: every method, statuses, and how it behaves under JAX's transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from jax import lax

import jnn
from jnn.solve.result import Result, SolverStatus
from jnn.xla.kernel import wish

METHODS = ["lbfgs", "bfgs", "cg", "newton_cg", "powell", "steepest_descent"]


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def bowl(p):
    """Strictly convex with its minimum, 0, at a = 1, b = (2, -3)."""
    a, b = p["a"] - 1, p["b"] - jnp.array([2.0, -3.0], p["b"].dtype)
    return jnp.sum(jnp.log(jnp.cosh(b))) + a**2 + a**4 + jnp.sum(b * a) ** 2 + jnp.sum(b**2)


START = {"a": np.float64(3), "b": np.zeros(2)}


@pytest.mark.compiler
@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_minimum_of_a_tree(method):
    with jax.enable_x64(True):
        found = jnn.minimize(bowl, START, method=method)
        assert found.success, found.message
        np.testing.assert_allclose(found.params["a"], 1, atol=1e-5)
        np.testing.assert_allclose(found.params["b"], [2, -3], atol=1e-5)
        assert found.x is found.params
        assert (found.fun, found.nit, found.nfev) == (found.value, found.steps, found.evaluations)


@pytest.mark.parametrize("method", ["lbfgs", "bfgs", "cg", "newton_cg"])
def test_rosenbrock_as_scipy_in_no_more_evaluations(method):
    with jax.enable_x64(True):
        found = jnn.minimize(rosenbrock, jnp.array([-1.2, 1.0]), method=method, tol=1e-5)
    theirs = {"lbfgs": "L-BFGS-B", "bfgs": "BFGS", "cg": "CG", "newton_cg": "BFGS"}[method]
    rosen, slope = scipy.optimize.rosen, scipy.optimize.rosen_der
    peer = scipy.optimize.minimize(rosen, [-1.2, 1.0], jac=slope, method=theirs)
    assert found.success
    np.testing.assert_allclose(found.x, peer.x, atol=1e-4)
    assert 4 * int(found.nfev) <= 5 * peer.nfev


def test_evaluations_steps_callback_and_history_are_exact():
    calls, told = [], []

    def counted(x):
        jax.debug.callback(lambda v: calls.append(v), x[0])
        return rosenbrock(x)

    found = jnn.minimize(
        counted, jnp.array([-1.2, 1.0]), callback=told.append, history=True, max_steps=12
    )
    jax.effects_barrier()
    assert found.evaluations == len(calls)
    assert found.steps == len(told) == 12
    assert found.message == SolverStatus.OUT_OF_STEPS.sentence
    assert not found.success
    assert [int(p.step) for p in told] == list(range(1, 13))
    np.testing.assert_array_equal([p.value for p in told], found.history.value[1:])
    np.testing.assert_allclose(rosenbrock(told[-1].params), told[-1].value, rtol=1e-4)
    assert found.history.evaluations[12] == found.evaluations
    np.testing.assert_allclose(found.history.value[0], 24.2, rtol=1e-6)
    assert found.value == np.min(found.history.value)


def test_the_function_is_traced_at_most_twice():
    traces = []

    def f(x):
        traces.append(x)
        return rosenbrock(x)

    for method in METHODS[:3]:
        traces.clear()
        jnn.minimize(f, jnp.array([-1.2, 1.0]), method=method, max_steps=5)
        assert 1 <= len(traces) <= 2, method


def test_a_start_at_the_minimum_and_one_that_is_no_number():
    there = jnn.minimize(rosenbrock, jnp.ones(2))
    assert there.message == SolverStatus.SMALL_GRADIENT.sentence
    assert (int(there.steps), int(there.evaluations)) == (0, 1)
    lost = jnn.minimize(lambda x: jnp.sum(x) * jnp.nan, jnp.ones(2))
    assert lost.message == SolverStatus.NOT_FINITE.sentence
    assert lost.steps == 0
    np.testing.assert_array_equal(lost.params, 1)


def test_walls_of_nan_are_stepped_back_from():
    f = lambda x: jnp.sum(x - jnp.log(x))  # noqa: E731  NaN below 0; minimum at 1.
    found = jnn.minimize(f, jnp.array([30.0, 1e-2, 5.0]))
    assert found.success, found.message
    np.testing.assert_allclose(found.params, 1, atol=1e-3)


def test_what_falls_for_ever_stops_with_a_status():
    found = jnn.minimize(lambda x: -jnp.sum(jnp.exp(x)), jnp.zeros(2), max_steps=30)
    assert not found.success
    assert found.status in (SolverStatus.UNBOUNDED, SolverStatus.STALLED, SolverStatus.OUT_OF_STEPS)
    assert found.value < -1e4


def test_a_wrong_gradient_stalls_and_says_so():
    @jax.custom_vjp
    def f(x):
        return jnp.sum(x**2)

    f.defvjp(lambda x: (f(x), x), lambda x, g: (-2 * x * g,))
    found = jnn.minimize(f, jnp.ones(2))
    assert found.message == SolverStatus.STALLED.sentence
    np.testing.assert_allclose(found.params, 1, rtol=1e-5)


def test_lanes_of_a_batch_stop_by_themselves_and_jit_does_not_raise():
    starts = jnp.array([[-1.2, 1.0], [1.0, 1.0], [3.0, -2.0], [jnp.nan, 0.0]])
    search = lambda x: jnn.minimize(rosenbrock, x, jnn.bfgs())  # noqa: E731
    together = jax.jit(jax.vmap(search))(starts)
    assert together.success.tolist() == [True, True, True, False]
    assert together.message[3] == SolverStatus.NOT_FINITE.sentence
    assert together.steps[1] == together.steps[3] == 0
    assert together.steps[0] != together.steps[2]
    alone = search(starts[0])
    assert abs(int(together.steps[0]) - int(alone.steps)) <= 2
    np.testing.assert_allclose(together.params[:3], 1, atol=2e-2)


def test_aux_and_args_and_tolerances():
    def f(x, centre, scale):
        return scale * jnp.sum((x - centre) ** 2), {"point": 2 * x}

    found = jnn.minimize(f, jnp.zeros(3), has_aux=True, args=(jnp.arange(3.0), 4.0))
    np.testing.assert_allclose(found.params, jnp.arange(3.0), atol=1e-4)
    np.testing.assert_array_equal(found.aux["point"], 2 * found.params)
    loose = jnn.solve.Tolerance(gradient=0.0, value=1e-2)
    early = jnn.minimize(rosenbrock, jnp.array([-1.2, 1.0]), tol=loose)
    assert early.message == SolverStatus.SMALL_CHANGE.sentence
    short = jnn.minimize(
        rosenbrock, jnp.array([-1.2, 1.0]), tol=jnn.solve.Tolerance(gradient=0.0, step=0.2)
    )
    assert short.message == SolverStatus.SMALL_STEP.sentence


def test_bad_arguments_raise_when_traced():
    with pytest.raises(ValueError, match="returns a scalar"):
        jnn.minimize(lambda x: x, jnp.ones(2))
    with pytest.raises(TypeError, match="`x0` must be floating"):
        jnn.minimize(rosenbrock, jnp.array([1, 2]))
    with pytest.raises(ValueError, match="`x0` must be a tree with at least one number"):
        jnn.minimize(rosenbrock, jnp.ones(0))
    with pytest.raises(ValueError, match="'lbfgs'"):
        jnn.minimize(rosenbrock, jnp.ones(2), method="simplex")
    with pytest.raises(TypeError, match=r"jnn\.lbfgs"):
        jnn.minimize(rosenbrock, jnp.ones(2), "bfgs")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="heeds bounds, got bfgs"):
        jnn.minimize(rosenbrock, jnp.ones(2), jnn.bfgs(), bounds=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"pair \(low, high\)"):
        jnn.minimize(rosenbrock, jnp.ones(2), bounds=0.0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="low <= high"):
        jnn.minimize(rosenbrock, jnp.ones(2), bounds=(1.0, 0.0))
    with pytest.raises(ValueError, match=r"got \(float32\[\], int 3\). For .* has_aux=True"):
        jnn.minimize(lambda x: (rosenbrock(x), 3), jnp.ones(2))
    with pytest.raises(ValueError, match=r"a pair, a scalar and aux, got float32\[\]"):
        jnn.minimize(rosenbrock, jnp.ones(2), has_aux=True)
    with pytest.raises(ValueError, match=r"args=\(a,\)"):
        jnn.minimize(jnp.vdot, jnp.ones(2), args=jnp.ones(2))  # pyright: ignore[reportArgumentType]


def test_what_falls_without_end_is_told_apart():
    for f in (jnp.sum, lambda x: -jnp.sum(jnp.exp(x))):
        found = jnn.minimize(f, jnp.zeros(2))
        assert found.message == SolverStatus.UNBOUNDED.sentence
        assert found.value < -1e37


@pytest.mark.parametrize("solver", [jnn.lbfgs(), jnn.newton_cg()])
def test_half_precision(solver):
    found = jnn.minimize(lambda x: jnp.sum((x - 1) ** 2), jnp.zeros(2, jnp.float16), solver)
    assert found.params.dtype == jnp.float16
    np.testing.assert_allclose(found.params, 1, rtol=1e-2)


def test_a_second_call_compiles_nothing():
    traces = []

    def f(x, centre):
        traces.append(x)
        return jnp.sum((x - centre) ** 4)

    for centre in (1.0, 2.0):
        found = jnn.minimize(f, jnp.zeros(2), jnn.lbfgs(memory=3), args=(centre,))
        np.testing.assert_allclose(found.params, centre, atol=0.1)
    assert len(traces) == 1


def test_bounds_hold_and_the_solution_is_scipys():
    random = np.random.default_rng(5)
    m = random.normal(size=(12, 12))
    a, b = m @ m.T + np.eye(12), 10 * random.normal(size=12)

    def f(x):
        return (
            x @ jnp.asarray(a, x.dtype) @ x / 2 - x @ jnp.asarray(b, x.dtype) + 0.1 * jnp.sum(x**4)
        )

    low, high = np.full(12, -0.4), np.full(12, 0.7)
    low[3], high[4] = -np.inf, np.inf
    with jax.enable_x64(True):
        pair = jax.jit(jax.value_and_grad(f))
        start = jnp.asarray(random.normal(size=12) * 3)
        found = jnn.minimize(f, start, bounds=(jnp.asarray(low), jnp.asarray(high)), tol=1e-9)
        theirs = scipy.optimize.minimize(
            lambda x: pair(jnp.asarray(x)), start, jac=True, method="L-BFGS-B",
            bounds=list(zip(low, high, strict=True)), options={"ftol": 0, "gtol": 1e-10},
        )  # fmt: skip
    assert found.success
    x = np.asarray(found.params)
    assert np.all((x >= low) & (x <= high))
    assert 3 < np.sum((x == low) | (x == high)) < 12
    np.testing.assert_allclose(x, theirs.x, atol=1e-7)
    assert int(found.evaluations) <= 2 * theirs.nfev


def test_bfgs_keeps_a_large_matrix_for_few_unknowns_and_scales_it_for_many():
    def work(n, condition, solver):
        curvatures = condition ** jnp.linspace(0, 1, n)
        f = lambda x: 50 * jnp.sum(curvatures * (x - 1) ** 2)  # noqa: E731
        found = jnn.minimize(f, jnp.zeros(n), solver, tol=1e-3)
        assert found.success
        return int(found.evaluations)

    with jax.enable_x64(True):
        assert 3 * work(8, 1e8, jnn.bfgs()) <= 2 * work(8, 1e8, jnn.bfgs(scaled=True))
        assert 2 * work(50, 3.0, jnn.bfgs()) < work(50, 3.0, jnn.bfgs(scaled=False))


def test_scaled_bfgs_does_not_see_the_unit_of_the_value():
    def run(solver, c):
        start = jnp.array([-1.2, 1.0])
        return jnn.minimize(lambda x: c * rosenbrock(x), start, solver, tol=0.1 * c)

    with jax.enable_x64(True):
        one, two = (run(jnn.bfgs(scaled=True), c) for c in (1.0, 1024.0))
        three = run(jnn.bfgs(), 1024.0)
    assert one.evaluations == two.evaluations
    np.testing.assert_allclose(one.params, two.params, rtol=1e-6)
    assert np.abs(np.asarray(three.params - two.params)).max() > 1e-6


def test_damping_keeps_pairs_that_armijo_would_lose():
    damped = jnn.lbfgs(damped=True, search=jnn.linesearch.armijo)
    plain = jnn.lbfgs(search=jnn.linesearch.armijo)
    start = jnp.array([-1.2, 1.0])
    one, two = (jnn.minimize(rosenbrock, start, s, max_steps=300) for s in (damped, plain))
    assert one.success
    np.testing.assert_allclose(one.params, 1, atol=1e-2)
    assert 2 * int(one.evaluations) <= 3 * int(two.evaluations)


def test_the_solution_is_differentiable_by_the_implicit_function_theorem():
    def inner(x, weights):
        aux = {"x": x, "key": jax.random.key(0), "byte": jnp.uint8(3)}
        return jnp.sum(weights * (x - 1) ** 2) + jnp.sum(x**4), aux

    def solution(weights, **settings):
        found = jnn.minimize(
            inner, jnp.zeros(3), args=(weights,), has_aux=True, implicit=True, tol=1e-10, **settings
        )
        return found

    with jax.enable_x64(True):
        weights = jnp.array([0.5, 2.0, 3.0])
        x = solution(weights).params
        # (12 x^2 + 2 w) dx = -2 (x - 1) dw
        expected = np.diag(-2 * (x - 1) / (12 * x**2 + 2 * weights))
        for jacobian in (jax.jacrev, jax.jacfwd):
            slope = jacobian(lambda w: solution(w).params)(weights)
            np.testing.assert_allclose(slope, expected, rtol=1e-8, atol=1e-12)
        # The value's slope is the envelope's; the run comes along untouched.
        np.testing.assert_allclose(jax.grad(lambda w: solution(w).value)(weights), (x - 1) ** 2)
        found = jax.jit(solution)(weights)
        assert found.message == SolverStatus.SMALL_GRADIENT.sentence
        assert (found.steps > 2) & (found.evaluations > 3)
        np.testing.assert_array_equal(found.aux["x"], found.params)
        assert found.aux["byte"] == 3
        # At a bound the solution does not move.
        held = jax.jacrev(lambda w: solution(w, bounds=(-1.0, 0.55)).params)(weights)
        np.testing.assert_allclose(held[1:], 0, atol=1e-12)
        np.testing.assert_allclose(held[0], expected[0], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("kernel", ["0", "1"])
def test_without_it_a_solution_has_derivatives_in_forward_mode_only(kernel):
    with wish(kernel):
        forward_mode_only()


def forward_mode_only():
    def solution(a):
        return jnn.minimize(lambda x: jnp.sum((x - a) ** 2) + jnp.sum(x**4), jnp.zeros(2)).params

    a = jnp.array([1.0, -2.0])
    expected = np.diag(1 / (1 + 6 * solution(a) ** 2))
    np.testing.assert_allclose(jax.jacfwd(solution)(a), expected, rtol=1e-2, atol=1e-4)
    with pytest.raises(ValueError, match=r"minimize: `implicit` must be True for reverse"):
        jax.jacrev(solution)(a)
    apart = jax.grad(lambda a: jnp.sum(a - lax.stop_gradient(solution(a))))
    np.testing.assert_array_equal(apart(a), 1)


def test_progress_prints_a_line_a_step(capsys):
    jnn.minimize(rosenbrock, jnp.array([-1.2, 1.0]), progress=True, max_steps=3)
    jax.effects_barrier()
    assert capsys.readouterr().out.count("step ") == 3


def test_a_result_prints_its_sentence_and_no_state():
    found = jnn.minimize(rosenbrock, jnp.array([-1.2, 1.0]), jnn.lbfgs())
    shown = repr(found).splitlines()
    assert found.message in shown[0]
    assert [line.split()[0] for line in shown[1:]] == list(Result._fields[:5])
    batch = jax.vmap(lambda x: jnn.minimize(rosenbrock, x))(jnp.ones((2, 2)))
    assert str(batch).count("Converged") == 2
    jax.eval_shape(lambda x: str(jnn.minimize(rosenbrock, x)) and x, jnp.ones(2))
