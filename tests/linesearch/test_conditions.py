"""Armijo and Wolfe: held to the inequalities that they promise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.linesearch.search import SearchStatus
from tests.golden import golden

C1, C2 = 1e-3, 0.1


def run(search, phi, start: Any = 1.0, origin=None, **settings):
    """The search under `jit`, from one start or, under `vmap`, from each of several."""
    go = lambda start: search(phi, origin or phi(0.0), start=start, **settings)  # noqa: E731
    return jax.jit(jax.vmap(go) if jnp.ndim(start) else go)(start)


def lanes(found):
    """The results of a batch, one by one."""
    n = len(found.alpha)
    return [jax.tree.map(lambda leaf, i=i: leaf[i], found) for i in range(n)]


wolfe, armijo = jnn.linesearch.wolfe, jnn.linesearch.armijo

# The functions of Moré and Thuente's paper, section 5.


def rational(t):
    return -t / (t**2 + 2)


def power(t, b=0.004):
    return (t + b) ** 5 - 2 * (t + b) ** 4


def corner(t, b=0.01, waves=39):
    bend = jnp.where(
        t <= 1 - b, 1 - t, jnp.where(t >= 1 + b, t - 1, (t - 1) ** 2 / (2 * b) + b / 2)
    )
    angle = waves * jnp.pi / 2
    return bend + 2 * (1 - b) / (waves * jnp.pi) * jnp.sin(angle * t)


def yanai(t, b1, b2):
    g1, g2 = jnp.sqrt(1 + b1**2) - b1, jnp.sqrt(1 + b2**2) - b2
    return g1 * jnp.sqrt((1 - t) ** 2 + b2**2) + g2 * jnp.sqrt(t**2 + b1**2)


FUNCTIONS = {
    "rational": rational,
    "power": power,
    "corner": corner,
    "yanai_even": lambda t: yanai(t, 0.001, 0.001),
    "yanai_right": lambda t: yanai(t, 0.01, 0.001),
    "yanai_left": lambda t: yanai(t, 0.001, 0.01),
}


def holds(phi, found, c1=C1, c2=C2, strong=True, noise=1e-12):
    f0, s0 = phi(0.0)
    f, slope = phi(found.alpha)
    level = noise * abs(f0)
    decrease = (f <= f0 + c1 * found.alpha * s0) or (f <= f0 + level and slope <= (2 * c1 - 1) * s0)
    return bool(decrease and (abs(slope) <= -c2 * s0 if strong else slope >= c2 * s0))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_wolfe_conditions_hold_from_any_first_step(name):
    with jax.enable_x64(True):
        phi = jax.value_and_grad(FUNCTIONS[name])
        starts = jnp.array([1e-3, 1e-1, 1.0, 1e1, 1e3])
        for start, found in zip(starts, lanes(run(wolfe, phi, starts, c1=C1, c2=C2)), strict=True):
            assert found.success, (start, found.message)
            assert holds(phi, found), start
            assert found.evaluations <= 16
            np.testing.assert_allclose(found.value, phi(found.alpha)[0], rtol=1e-12)


@pytest.mark.parametrize("strong", [True, False])
def test_float32_ends_where_rounding_hides_the_decrease(strong):
    # Around the minimum the value is 1 to the last bit; the slope still tells.
    f = lambda t: 1 + (t - 1e-4) ** 2  # noqa: E731
    phi = jax.value_and_grad(f)
    found = run(wolfe, phi, c2=0.1, strong=strong)
    assert found.success, found.message
    slope = 2 * (float(found.alpha) - 1e-4)
    assert abs(slope) <= 0.1 * 2e-4 if strong else slope >= -0.1 * 2e-4
    assert found.evaluations <= 10


def test_weak_accepts_what_strong_does_not():
    phi = jax.value_and_grad(lambda t: (t - 0.4) ** 2)  # At 0.75: lower, but steeper uphill.
    weak = run(wolfe, phi, start=0.75, c2=0.1, strong=False)
    strong = run(wolfe, phi, start=0.75, c2=0.1)
    assert weak.alpha == 0.75
    assert weak.evaluations == 1
    assert abs(strong.alpha - 0.4) < 0.04


@pytest.mark.parametrize(("height", "across", "up"), [(1e3, 1.0, 1.0), (0.0, 1e6, 1e-6)])
def test_wolfe_is_invariant_to_height_and_scale(height, across, up):
    with jax.enable_x64(True):
        for name in ("rational", "yanai_left"):
            f = FUNCTIONS[name]
            phi = jax.value_and_grad(f)
            moved = jax.value_and_grad(lambda t, f=f: up * f(t / across) + height)
            plain = run(wolfe, phi, start=10.0, c2=C2)
            found = run(wolfe, moved, start=10.0 * across, c2=C2)
            assert found.evaluations == plain.evaluations
            np.testing.assert_allclose(found.alpha / across, plain.alpha, rtol=1e-6)


@pytest.mark.parametrize("hole", [jnp.nan, jnp.inf])
def test_both_step_back_from_values_that_are_not_finite(hole):
    phi = jax.value_and_grad(lambda t: jnp.where(t < 0.3, (t - 0.2) ** 2, hole))
    for search in (wolfe, armijo):
        for found in lanes(run(search, phi, jnp.array([1.0, 1e4]))):
            assert found.success, found.message
            assert 0 < found.alpha < 0.3


def test_a_slope_that_is_not_finite_is_a_wall_too():
    phi = lambda t: ((t - 0.2) ** 2, jnp.where(t < 0.3, 2 * (t - 0.2), jnp.nan))  # noqa: E731
    found = run(wolfe, phi)
    assert found.success
    assert found.alpha < 0.3


@pytest.mark.parametrize("search", [wolfe, armijo])
def test_no_descent_and_no_number_are_statuses_without_an_evaluation(search):
    up, flat = jax.value_and_grad(lambda t: t * 1.0), jax.value_and_grad(lambda t: 0 * t)
    for phi in (up, flat):
        found = run(search, phi)
        assert found.message == SearchStatus.NOT_DESCENT.sentence
        assert found.alpha == 0
        assert found.evaluations == 0
    nan = lambda t: (t * jnp.nan, t * jnp.nan)  # noqa: E731
    found = run(search, nan)
    assert found.message == SearchStatus.NOT_FINITE.sentence
    assert found.evaluations == 0


def test_a_fall_for_ever_ends_with_a_status():
    phi = jax.value_and_grad(lambda t: -t)
    free = run(wolfe, phi, max_evaluations=12)
    assert free.message == SearchStatus.OUT_OF_EVALUATIONS.sentence
    assert free.evaluations == 12
    assert free.value < -1e4
    bound = run(wolfe, phi, longest=5.0)
    assert bound.message == SearchStatus.AT_LIMIT.sentence
    assert bound.alpha == 5


def test_growth_is_how_far_it_goes_at_once():
    phi = jax.value_and_grad(lambda t: (t - 1000.0) ** 2)
    near, far = run(wolfe, phi, c2=0.1), run(wolfe, phi, c2=0.1, growth=1000.0)
    assert (near.success, far.success) == (True, True)
    assert far.evaluations == 2  # The second trial is where the secant meets zero.
    assert near.evaluations > 5


def test_a_lying_slope_ends_with_a_status():
    phi = lambda t: (1 + t, -jnp.ones_like(t))  # noqa: E731
    for search in (wolfe, armijo):
        found = search(phi, (jnp.float32(1), jnp.float32(-1)), max_evaluations=200)
        assert found.evaluations < 200
        assert found.alpha <= 1e-7  # A step that float32 cannot tell from none.
        assert found.value == 1


def test_armijo_promises_its_inequality():
    with jax.enable_x64(True):
        for f in FUNCTIONS.values():
            phi = jax.value_and_grad(f)
            f0, s0 = phi(0.0)
            starts = jnp.array([1e-3, 1.0, 1e3])
            for start, found in zip(starts, lanes(run(armijo, phi, starts, c1=0.1)), strict=True):
                assert found.success
                assert found.value <= f0 + 0.1 * found.alpha * s0
                assert found.alpha <= start


def test_armijo_interpolates_and_needs_no_slope_after_the_first():
    # On a parabola the second trial is the minimiser itself.
    f = lambda t: (t - 1) ** 2  # noqa: E731
    found = armijo(lambda t: f(t), (f(0.0), -2.0), start=3.0)
    np.testing.assert_allclose(found.alpha, 1.0, rtol=1e-6)
    assert found.evaluations == 2


@pytest.mark.parametrize("search", [wolfe, armijo])
def test_carry_and_count_are_those_of_the_calls(search):
    calls = []

    def phi(t):
        jax.debug.callback(calls.append, t)
        value, slope = jax.value_and_grad(corner)(t)
        return value, slope, {"point": 2 * t}

    origin = (*jax.value_and_grad(corner)(0.0), {"point": jnp.float32(0)})
    found = search(phi, origin, start=7.0)
    jax.effects_barrier()
    assert found.evaluations == len(calls)
    assert found.carry["point"] == 2 * found.alpha


def test_lanes_of_a_batch_stop_by_themselves():
    phi = jax.value_and_grad(rational)
    search = lambda start: wolfe(phi, phi(0.0), start=start, c2=C2)  # noqa: E731
    starts = jnp.array([1e-2, 1.4, 1e2])
    together = jax.jit(jax.vmap(search))(starts)
    for i, start in enumerate(starts):
        alone = run(wolfe, phi, start, c2=C2)
        assert together.evaluations[i] == alone.evaluations
        np.testing.assert_allclose(together.alpha[i], alone.alpha, rtol=1e-4)


def test_the_searches_agree_with_the_documents_flags():
    case = golden("WOLFE-H187-190")
    with jax.enable_x64(True):
        a, b, x, p = (jnp.asarray(case["inputs"][k], jnp.float64) for k in ("A", "b", "x", "p"))

        def f(t):
            q = x + t * p
            return q @ a @ q / 2 - b @ q

        phi = jax.value_and_grad(f)

        def taken(search, **settings):
            # A first step with the property is taken as it is; any other is left.
            starts = jnp.array([float(text) for text in case["outputs"]])
            return (run(search, phi, starts, **settings).alpha == starts).tolist()

        flags = [case["outputs"][text] for text in case["outputs"]]
        decrease = [row["armijo"] for row in flags]
        weak = [row["armijo"] and row["curvature"] for row in flags]
        strong = [row["armijo"] and row["strong"] for row in flags]
        assert taken(armijo) == decrease
        assert taken(wolfe, strong=False) == weak
        assert taken(wolfe) == strong


def test_bad_settings_raise():
    phi = jax.value_and_grad(rational)
    with pytest.raises(ValueError, match="origin"):
        wolfe(phi, 0.0)
    with pytest.raises(ValueError, match="c2"):
        run(wolfe, phi, c1=0.5, c2=0.1)
    with pytest.raises(ValueError, match="growth"):
        run(wolfe, phi, growth=1.0)
