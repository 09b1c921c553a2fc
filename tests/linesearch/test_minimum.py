"""Bracketing, golden section and the two of Brent: a minimum along a line, found accurately."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import jnn
from jnn.linesearch.search import SearchStatus
from tests.golden import golden

FINDERS = {
    "golden_section": jnn.linesearch.golden_section,
    "brent": jnn.linesearch.brent,
    "brent_derivative": jnn.linesearch.brent_derivative,
}


def convex(t):
    return jnp.exp(t) - 2 * t  # Minimum at log 2.


def find(name, f, low, high, **settings):
    phi = jax.value_and_grad(f) if name == "brent_derivative" else f
    return jax.jit(lambda a, b: FINDERS[name](phi, a, b, **settings))(low, high)


def closeness(dtype):
    return 3 * float(jnp.finfo(dtype).eps) ** 0.5


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", FINDERS)
def test_the_minimum_wherever_the_bracket_lies(name, dtype):
    with jax.enable_x64(True):
        phi = jax.value_and_grad(convex) if name == "brent_derivative" else convex
        search = jax.jit(lambda a, b: FINDERS[name](phi, a, b))
        for low, high in [(0.0, 2.0), (2.0, 0.0), (-1.0, 1.0), (0.69, 5.0)]:
            found = search(jnp.asarray(low, dtype), jnp.asarray(high, dtype))
            assert found.alpha.dtype == dtype
            assert found.success, found.message
            assert abs(float(found.alpha) - np.log(2)) < closeness(dtype)
            assert found.low <= found.alpha <= found.high


@pytest.mark.parametrize("name", FINDERS)
@pytest.mark.parametrize(
    ("shift", "scale", "height"), [(100, 1, 0), (-3e3, 50, -1e3), (0, 1e-6, 1)]
)
def test_shifting_and_scaling_the_line_shifts_and_scales_the_answer(name, shift, scale, height):
    with jax.enable_x64(True):
        plain = find(name, convex, 0.0, 2.0)
        moved = find(
            name, lambda t: 5 * convex((t - shift) / scale) + height,
            float(shift), shift + 2.0 * scale,
        )  # fmt: skip
        assert moved.success
        size = abs(shift) + scale
        assert abs(moved.alpha - shift - scale * plain.alpha) < 4 * closeness(jnp.float64) * size


@pytest.mark.parametrize("name", FINDERS)
def test_a_minimum_at_either_end(name):
    with jax.enable_x64(True):
        up, down = find(name, lambda t: t * 1.0, 3.0, 5.0), find(name, lambda t: -t, 3.0, 5.0)
        assert up.success
        assert down.success
        assert abs(up.alpha - 3) < 1e-6
        assert abs(down.alpha - 5) < 1e-6


@pytest.mark.parametrize("name", FINDERS)
def test_a_flat_function_ends_inside_the_interval(name):
    found = find(name, lambda t: 0 * t + 7, 1.0, 2.0)
    assert found.success
    assert 1 <= found.alpha <= 2
    assert found.value == 7


@pytest.mark.parametrize("name", FINDERS)
@pytest.mark.parametrize("hole", [jnp.nan, jnp.inf])
def test_values_that_are_not_finite_are_walls(name, hole):
    found = find(name, lambda t: jnp.where(t < 1.5, (t - 1) ** 2, hole), 0.0, 4.0)
    assert found.success
    assert abs(found.alpha - 1) < 2e-3


@pytest.mark.parametrize("name", FINDERS)
def test_nothing_finite_is_a_status(name):
    found = find(name, lambda t: t * jnp.nan, 0.0, 1.0, max_evaluations=12)
    assert found.message == SearchStatus.NOT_FINITE.sentence
    assert found.evaluations <= 12


@pytest.mark.parametrize("name", FINDERS)
def test_evaluations_are_counted_and_bounded(name):
    calls = []

    def counted(t):
        jax.debug.callback(calls.append, t)
        return convex(t)

    found = find(name, counted, 0.0, 2.0, max_evaluations=5)
    jax.effects_barrier()
    assert found.evaluations == len(calls) == 5
    assert found.message == SearchStatus.OUT_OF_EVALUATIONS.sentence


def test_brent_needs_no_more_evaluations_than_scipys():
    with jax.enable_x64(True):
        theirs: Any = scipy.optimize.minimize_scalar(
            lambda t: np.exp(t) - 2 * t, bounds=(0, 2), method="bounded", options={"xatol": 1.5e-8}
        )
        ours = find("brent", convex, 0.0, 2.0)
        assert ours.evaluations <= theirs.nfev + 2
        assert abs(ours.alpha - theirs.x) < 5e-8
        derivative = find("brent_derivative", convex, 0.0, 2.0)
        assert derivative.evaluations <= ours.evaluations


def test_golden_section_keeps_the_documents_brackets():
    case = golden("GOLDEN-SECTION")
    given, expected = case["inputs"], case["outputs"]
    with jax.enable_x64(True):
        a, b, x = (jnp.asarray(given[k], jnp.float64) for k in ("A", "b", "x"))
        g = a @ x - b

        def phi(mu):
            q = x - mu * g
            return q @ a @ q / 2 - b @ q

        # The first interval needs two evaluations, each shorter one a single more.
        for sections, key in [(5, "b5"), (40, "b40")]:
            found = jnn.linesearch.golden_section(
                phi, given["lo"], given["hi"], tolerance=0.0, max_evaluations=sections + 1
            )
            np.testing.assert_allclose([found.low, found.high], expected[key], rtol=0, atol=2e-9)
            assert found.evaluations == sections + 1
        exact = jnn.linesearch.quadratic(-(g @ g), g @ a @ g)  # H-139
        np.testing.assert_allclose(exact, expected["mu_star"], rtol=1e-14)


def test_no_minimum_on_a_line_without_curvature():
    assert jnn.linesearch.quadratic(-1.0, 0.0) == jnp.inf
    assert jnn.linesearch.quadratic(-1.0, -2.0) == jnp.inf


# Brackets.


def test_a_bracket_has_its_lowest_point_in_the_middle():
    with jax.enable_x64(True):
        f = lambda t, minimum: jnp.sqrt(1 + (t - minimum) ** 2)  # noqa: E731
        search = jax.jit(
            lambda minimum, a, b: jnn.linesearch.bracket(lambda t: f(t, minimum), a, b)
        )
        minima, ends = [40.0, -40.0, 0.3, 1e4], [(0.0, 1.0), (1.0, 0.0), (-7.0, -6.5)]
        for minimum, (a, b) in itertools.product(minima, ends):
            found = search(minimum, a, b)
            check_bracket(found, lambda t, m=minimum: f(t, m), minimum)


def check_bracket(found, f, minimum):
    assert found.success
    assert found.low < found.alpha < found.high
    assert found.low <= minimum <= found.high
    assert found.value <= f(found.low)
    assert found.value <= f(found.high)


def test_a_bracket_moves_and_grows_with_the_line():
    with jax.enable_x64(True):
        plain = jnn.linesearch.bracket(lambda t: (t - 9.0) ** 4, 0.0, 1.0)
        moved = jnn.linesearch.bracket(lambda t: ((t - 1000) / 8 - 9.0) ** 4, 1000.0, 1008.0)
        assert moved.evaluations == plain.evaluations
        for mine, theirs in [(moved.low, plain.low), (moved.high, plain.high)]:
            assert abs(mine - 1000 - 8 * theirs) < 1e-6


def test_a_fall_for_ever_is_a_status():
    found = jnn.linesearch.bracket(lambda t: -t, max_evaluations=20)
    assert found.message == SearchStatus.AT_LIMIT.sentence
    assert found.evaluations == 20


def test_a_bracket_on_a_plain_and_before_a_wall():
    flat = jnn.linesearch.bracket(lambda t: 0 * t)
    assert flat.success
    assert flat.evaluations == 3
    wall = jnn.linesearch.bracket(lambda t: jnp.where(t < 5, -t, jnp.nan))
    assert wall.success
    assert wall.alpha < 5 < wall.high


# Bracket and search in one.


@pytest.mark.parametrize("method", ["brent", "brent_derivative", "golden_section"])
def test_exact_finds_the_minimum_on_either_side(method):
    for minimum in (12.0, -12.0):
        phi = jax.value_and_grad(lambda t, m=minimum: jnp.cosh((t - m) / 4))
        found = jnn.linesearch.exact(phi, phi(0.0), method=method)
        assert found.success
        assert abs(found.alpha - minimum) < 0.02


def test_exact_returns_the_origin_where_nothing_is_lower():
    phi = jax.value_and_grad(lambda t: t**2)
    found = jnn.linesearch.exact(phi, phi(0.0))
    assert found.alpha == 0
    assert found.message == SearchStatus.NO_PROGRESS.sentence
    endless = jnn.linesearch.exact(jax.value_and_grad(lambda t: -t), max_evaluations=20)
    assert endless.message == SearchStatus.AT_LIMIT.sentence
    assert endless.evaluations <= 21


def test_the_carry_belongs_to_the_step():
    for search in (jnn.linesearch.golden_section, jnn.linesearch.brent):
        found = search(lambda t: (convex(t), jnp.nan, {"point": 3 * t}), 0.0, 2.0)
        assert found.carry["point"] == 3 * found.alpha
    found = jnn.linesearch.bracket(lambda t: ((t - 3) ** 2, jnp.nan, {"point": 3 * t}))
    assert found.carry["point"] == 3 * found.alpha
    found = jnn.linesearch.exact(lambda t: ((t - 3) ** 2, jnp.nan, {"point": 3 * t}))
    assert found.carry["point"] == 3 * found.alpha


@pytest.mark.parametrize("name", FINDERS)
def test_lanes_of_a_batch_stop_by_themselves(name):
    centres = jnp.array([0.2, 1.0, 1.9])
    f = lambda t, c: (t - c) ** 2 + (t - c) ** 4  # noqa: E731

    def search(c):
        phi = lambda t: f(t, c)  # noqa: E731
        phi = jax.value_and_grad(phi) if name == "brent_derivative" else phi
        return FINDERS[name](phi, 0.0, 2.0)

    together = jax.jit(jax.vmap(search))(centres)
    for i, centre in enumerate(centres):
        alone = find(name, lambda t, c=centre: f(t, c), 0.0, 2.0)
        np.testing.assert_allclose(together.alpha[i], alone.alpha, rtol=2e-3)
        # Rounding decides when an interval is short enough.
        assert abs(int(together.evaluations[i]) - int(alone.evaluations)) <= 3


def test_what_phi_returns_is_checked():
    with pytest.raises(ValueError, match="slope"):
        jnn.linesearch.brent_derivative(lambda t: t**2, 0.0, 1.0)
    with pytest.raises(ValueError, match="tuple of 4"):
        jnn.linesearch.brent(lambda t: (t, t, t, t), 0.0, 1.0)
    with pytest.raises(ValueError, match="method"):
        jnn.linesearch.exact(lambda t: t**2, method="newton")
