"""The gradient, Jacobian and transpose tests: right, wrong and undecidable derivatives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.verify import gradient_test, jacobian_test, transpose_test
from jnn.verify.differences import slopes
from tests.golden import golden


def smooth(x):
    return (jnp.sin(x) * jnp.exp(x)).sum()


def smooth_gradient(x):
    return (jnp.sin(x) + jnp.cos(x)) * jnp.exp(x)


# The two columns.


def test_the_columns_of_t38_and_t39():
    case = golden("GRADTEST-T38-39")
    inputs, expected = case["inputs"], case["outputs"]
    report = gradient_test(
        smooth, inputs["x"], directions=[inputs["d"]], eps=float(inputs["eps0"]), halvings=5
    )
    np.testing.assert_allclose(report.first[0], expected["first"], rtol=1e-13)
    np.testing.assert_allclose(report.corrected[0], expected["second"], rtol=0, atol=4e-15)
    for column, ratios in ((report.first, "ratios_first"), (report.corrected, "ratios_second")):
        np.testing.assert_allclose(column[0, :-1] / column[0, 1:], expected[ratios], rtol=1e-9)
    assert report.ok
    assert report.eps.tolist() == [0.1, 0.05, 0.025, 0.0125, 0.00625, 0.003125]


def test_the_fitted_orders_stop_at_round_off(random):
    x = random.normal(size=6)
    right = gradient_test(smooth, x, halvings=40)
    wrong = gradient_test(smooth, x, halvings=40, gradient=lambda x: 1.01 * smooth_gradient(x))
    for report, order in ((right, 2), (wrong, 1)):
        assert report.corrected.min() < report.round_off.max()
        np.testing.assert_allclose(report.first_orders, 1, atol=0.01)
        np.testing.assert_allclose(report.corrected_orders, order, atol=0.02)
    assert right.ok
    assert not wrong.ok


# What is wrong is found, and named.


def test_one_wrong_entry_in_a_thousand_is_named_every_time():
    for seed in range(20):
        random = np.random.default_rng(seed)
        x, entry = random.normal(size=1000), int(random.integers(1000))

        def half(x, entry=entry):
            return (1 - jnp.tanh(x) ** 2).at[entry].multiply(0.5)

        report = gradient_test(lambda x: jnp.tanh(x).sum(), x, gradient=half, seed=seed)
        assert report.verdict == "wrong"
        assert [e.input for e in report.wrong] == [f"x[{entry}]"]
        np.testing.assert_allclose(report.wrong[0].given, 0.5 * report.wrong[0].measured, rtol=1e-6)


def test_an_entry_wrong_by_a_millionth_is_named(random):
    x = random.normal(size=1000)

    def nearly(x):
        return (1 - jnp.tanh(x) ** 2).at[537].add(1e-6)

    report = gradient_test(lambda x: jnp.tanh(x).sum(), x, gradient=nearly)
    assert report.verdict == "wrong"
    assert [e.input for e in report.wrong] == ["x[537]"]


def test_one_wrong_entry_of_a_jacobian_is_named(random):
    x, w = random.normal(size=(4, 5)), random.normal(size=(5, 6))
    wrong = jnn.rules.affine.replace(
        backward=lambda saved, delta: (
            delta @ saved[1].T,
            (saved[0].T @ delta).at[3, 2].multiply(1 + 1e-9),
            None,
        )
    )
    report = jacobian_test(lambda x: wrong(*x), (x, w))
    # Each of the four samples has its own term in that entry.
    assert {e.input for e in report.wrong} == {"x[1][3, 2]"}
    assert {e.output for e in report.wrong} == {f"f(x)[{i}, 2]" for i in range(4)}


def test_a_wrong_entry_hides_in_no_tiny_component(random):
    scale = jnp.ones(50).at[20].set(1e-9)
    x = random.normal(size=50)

    def f(x):
        return jnp.sum(scale.astype(x.dtype) * jnp.sin(x))

    report = gradient_test(
        f, x, gradient=lambda x: (scale.astype(x.dtype) * jnp.cos(x)).at[20].multiply(0.5)
    )
    assert [e.input for e in report.wrong] == ["x[20]"]


@pytest.mark.parametrize(
    ("gradient", "sentence"),
    [
        (lambda x: -smooth_gradient(x), "its sign is wrong"),
        (lambda x: 2 * smooth_gradient(x), "it is 2 times what it should be"),
        (lambda x: smooth_gradient(x) + 1, "6 of 6 entries are wrong."),
        (lambda x: 0 * x, "it is 0 times what it should be"),
        (lambda x: smooth_gradient(x).at[2].set(jnp.nan), "1 of 6 entries is wrong."),
    ],
)
def test_the_report_says_what_was_seen(random, gradient, sentence):
    report = gradient_test(smooth, random.normal(size=6), gradient=gradient)
    assert report.verdict == "wrong"
    assert sentence in report.reason
    assert "is given as" in str(report)


@pytest.mark.parametrize("given", ["jvp", "vjp"])
def test_a_missing_transpose_is_recognised(random, given):
    w = random.normal(size=(5, 5))
    wrong = {"jvp": lambda x, v, w: v @ w.T, "vjp": lambda x, u, w: u @ w}[given]
    right = {"jvp": lambda x, v, w: v @ w, "vjp": lambda x, u, w: u @ w.T}[given]
    x = random.normal(size=5)
    report = jacobian_test(jnn.rules.affine, x, args=(w,), **{given: wrong})
    assert report.verdict == "wrong"
    assert "transpose" in report.reason
    assert jacobian_test(jnn.rules.affine, x, args=(w,), **{given: right}).verdict == "right"


def test_the_wrong_leaf_of_a_tree_is_named(random):
    x = {"a": random.normal(size=(2, 3)), "b": random.normal(size=4)}
    report = gradient_test(
        lambda x: jnp.sum(x["a"] ** 2) + jnp.sin(x["b"]).sum(),
        x,
        gradient=lambda x: {"a": 2 * x["a"], "b": -jnp.cos(x["b"])},
    )
    assert {e.input for e in report.wrong} == {f"x['b'][{i}]" for i in range(4)}
    assert "For x['b'], its sign is wrong." in report.reason


# Many entries: sums with random signs.


@pytest.mark.parametrize("given", ["jvp", "vjp"])
@pytest.mark.parametrize("error", [0.5, 1e-6])
def test_one_wrong_entry_among_many_is_found_by_halving(random, given, error):
    x, entry = random.normal(size=5000), int(random.integers(5000))

    def linear(x, v):
        return ((1 - jnp.tanh(x) ** 2) * v).at[entry].add(error * v[entry])

    settings: dict[str, Any] = {given: linear}
    report = jacobian_test(jnp.tanh, x, directions=2, **settings)
    assert report.verdict == "wrong"
    assert [(e.output, e.input) for e in report.wrong] == [(f"f(x)[{entry}]", f"x[{entry}]")]
    np.testing.assert_allclose(report.wrong[0].given - report.wrong[0].measured, error, rtol=1e-3)


def test_many_entries_that_are_right(random):
    x = random.normal(size=5000)
    report = jacobian_test(jnn.rules.relu, x)
    assert report.verdict == "right"
    assert "5 sums of all 25000000 entries" in report.reason
    assert report.resolution < 1e-6


def test_many_wrong_entries_need_no_culprit(random):
    x = random.normal(size=5000)
    report = gradient_test(lambda x: (x**2).sum(), x, gradient=lambda x: 2.001 * x)
    assert report.verdict == "wrong"
    assert len(report.wrong) == 1


def test_entries_are_checked_one_by_one_on_request(random):
    x = random.normal(size=40)
    sums = gradient_test(smooth, x, elementwise=False)
    assert sums.ok
    assert "sums of all 40 entries" in sums.reason
    entries = gradient_test(jnp.sum, random.normal(size=4200), elementwise=True, directions=1)
    assert "All 4200 entries" in entries.reason


# Where differences say less.


def test_a_linear_function_is_right_though_round_off_is_reached_at_once(random):
    report = gradient_test(lambda x: 3 * x.sum(), random.normal(size=4))
    assert report.verdict == "right"
    assert np.isnan(report.corrected_orders).all()
    np.testing.assert_allclose(report.first_orders, 1, atol=1e-3)


def test_a_constant_function_has_the_gradient_zero(random):
    x = random.normal(size=4)

    def constant(x):
        return jnp.full((), 7, x.dtype)

    assert gradient_test(constant, x).verdict == "right"
    assert gradient_test(constant, x, gradient=lambda x: 1e-6 + 0 * x).verdict == "wrong"


def test_where_all_is_zero_a_wrong_entry_shows():
    report = gradient_test(
        lambda x: 0 * x.sum(), np.ones(3), gradient=lambda x: jnp.zeros_like(x).at[1].set(1e-9)
    )
    assert [e.input for e in report.wrong] == ["x[1]"]


def test_a_kink_does_not_cover_what_is_undecided():
    x = np.array([0.0, 1.0])
    report = gradient_test(lambda x: jnn.rules.relu(x[0]) + jnp.floor(x[1]), x)
    assert report.verdict == "inconclusive"


@pytest.mark.parametrize("power", [2, 3, 4])
def test_a_stationary_point_is_no_obstacle(power):
    assert gradient_test(lambda x: (x**power).sum(), np.zeros(3)).verdict == "right"


def test_any_slope_between_those_of_both_sides_is_accepted_at_a_kink():
    x = np.array([0.0, 1.5, -2.0])

    def relu(x):
        return jnn.rules.relu(x).sum()

    report = gradient_test(relu, x)
    assert (report.verdict, report.ok) == ("kink", True)
    assert "d f(x) / d x[0]: 0 between 0 and 1" in report.reason
    for slope, verdict in ((1.0, "kink"), (0.5, "kink"), (1.1, "wrong"), (-0.1, "wrong")):
        given = np.array([slope, 1, 0])
        assert gradient_test(relu, x, gradient=lambda x, g=given: jnp.asarray(g)).verdict == verdict
    beside = gradient_test(relu, x, gradient=lambda x: jnp.array([0.0, 1, 1], x.dtype))
    assert [e.input for e in beside.wrong] == ["x[2]"]
    assert gradient_test(relu, x, elementwise=False).verdict == "inconclusive"


@pytest.mark.parametrize("distance", [1e-1, 1e-3, 1e-5])
def test_a_kink_nearby_is_none_here(distance):
    x = np.array([distance, -distance])
    assert gradient_test(lambda x: jnn.rules.relu(x).sum(), x).verdict == "right"
    report = gradient_test(lambda x: jnn.rules.relu(x).sum(), x, gradient=lambda x: 0.5 + 0 * x)
    assert len(report.wrong) == 2


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda x: jnp.sqrt(jnp.abs(x[0] * x[1])), np.zeros(2)),
        (lambda x: jnp.floor(x).sum(), np.array([1.0, 0.5])),
        (lambda x: jnp.sqrt(x).sum(), np.array([0.0, 1.0])),
    ],
)
def test_a_function_without_derivative_is_inconclusive(f, x):
    given = np.where(x > 0.9, 0.5, 0.0) * (x[0] != 1)
    report = gradient_test(f, x, gradient=lambda x: jnp.asarray(given))
    assert report.verdict == "inconclusive"


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_function_that_rounds_inside_is_inconclusive(random, dtype):
    report = gradient_test(lambda x: jnp.sin(x.astype(dtype)).sum(), random.normal(size=9))
    assert report.verdict == "inconclusive"
    assert "take the casts out" in report.reason


def test_a_function_that_is_not_finite_is_inconclusive():
    x = np.array([1.0, -1.0])
    for report in (jacobian_test(jnp.log, x), transpose_test(jnp.log, x, jvp=lambda x, v: v / 0)):
        assert (report.verdict, report.ok) == ("inconclusive", False)
        assert report.reason == "f(x)[1] is nan: f must be finite at x."
        assert report.reason in str(report)


def test_nothing_to_check_is_right():
    assert gradient_test(jnp.sum, np.zeros((0, 3))).ok
    assert jacobian_test(lambda x: x[:0], np.zeros(3)).ok
    assert transpose_test(lambda x: x[:0], np.zeros(3)).ok


# Inputs of every kind.


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_everything_runs_in_float64_whatever_the_setting(dtype):
    assert jnp.zeros(1).dtype == jnp.float32
    x = {"x": np.linspace(-1, 1, 5).astype(dtype), "scale": 0.5}
    seen = []

    def f(x):
        seen.append((x["x"].dtype, x["scale"].dtype))
        return jnp.sin(x["x"] * x["scale"]).sum()

    report = gradient_test(f, x)
    assert report.ok
    assert report.resolution < 1e-10
    assert set(seen) == {(np.dtype("float64"), np.dtype("float64"))}
    assert jnp.zeros(1).dtype == jnp.float32


def test_integers_and_keys_are_left_alone(random):
    labels = np.array([2, 0, 1])
    x = (random.normal(size=(3, 4)), labels, np.array([True, False, True]), None, jax.random.key(0))

    def f(x):
        logits, labels, mask, nothing, key = x
        assert nothing is None
        seed = jax.random.key_data(key).sum().astype(logits.dtype)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits - seed), labels[:, None], 1)
        return jnp.where(mask, chosen[:, 0], 0).sum(), labels.max()

    assert gradient_test(lambda x: f(x)[0], x).ok
    assert jacobian_test(f, x).ok
    assert transpose_test(f, x).ok


def test_arguments_may_be_held_fixed(random):
    x, w, t = (random.normal(size=s).astype(np.float32) for s in ((3, 2), (2, 4), (3, 4)))
    report = gradient_test(
        lambda w, x, t: ((jnn.rules.affine(x, w) - t) ** 2).sum(), w, args=(x, t)
    )
    assert report.ok
    assert "All 8 entries" in report.reason
    with pytest.raises(TypeError) as caught:
        gradient_test(lambda w: jnn.rules.affine(jnp.asarray(x), w).sum(), w)
    assert any("pass them in `x`, or in `args`" in note for note in caught.value.__notes__)


def test_jitted_functions_and_every_mode(random):
    x, w = random.normal(size=(3, 2)), random.normal(size=(2, 2))
    f = jax.jit(lambda x: jnn.rules.tanh(jnn.rules.affine(*x)))
    for mode in ("backward", "forward", "autodiff"):
        with jnn.derivatives(mode):
            assert jacobian_test(f, (x, w)).ok
    assert transpose_test(f, (x, w)).ok


def test_the_default_derivative_is_that_of_the_mode(random):
    wrong_backward = jnn.rules.tanh.replace(backward=lambda y, delta: (delta * (1 - y),))
    wrong_tangent = jnn.rules.tanh.replace(
        tangent=lambda primals, tangents: (jnp.tanh(*primals), tangents[0] * jnp.tanh(*primals))
    )
    x = random.normal(size=3)
    for rule, mode in ((wrong_backward, "backward"), (wrong_tangent, "forward")):
        for here in ("backward", "forward", "autodiff"):
            with jnn.derivatives(here):
                assert jacobian_test(rule, x).ok == (here != mode)


# The transpose test.


def test_the_transpose_test_is_relative(random):
    n = 20000
    report = transpose_test(jnn.rules.tanh, random.normal(size=n), directions=3)
    assert report.ok
    # T-tt: Treister asks for less than the machine's epsilon, which right code misses.
    assert np.abs(report.forward - report.backward).max() > np.finfo(float).eps
    assert report.error.max() < 1e-15


@pytest.mark.parametrize("error", [0.5, 1e-6, 1e-9])
def test_the_transpose_test_names_a_wrong_entry(random, error):
    x, w = random.normal(size=(4, 5)), random.normal(size=(5, 6))
    wrong = jnn.rules.affine.replace(
        backward=lambda saved, delta: (
            (delta @ saved[1].T).at[1, 3].add(error * delta[1, 4]),
            saved[0].T @ delta,
            None,
        )
    )
    report = transpose_test(lambda x: wrong(*x), (x, w))
    assert report.verdict == "wrong"
    assert [(e.output, e.input) for e in report.wrong] == [("f(x)[1, 4]", "x[0][1, 3]")]
    np.testing.assert_allclose(report.wrong[0].given - report.wrong[0].measured, error, rtol=1e-6)


def test_the_transpose_test_takes_both_sides_from_the_user(random):
    w, x = random.normal(size=(3, 4)), random.normal(size=3)
    f = jnn.rules.affine
    right = transpose_test(
        f, x, args=(w,), jvp=lambda x, v, w: v @ w, vjp=lambda x, u, w: u @ w.T, directions=2
    )
    assert right.ok
    assert len(right.error) == 2
    wrong = transpose_test(f, x, args=(w,), jvp=lambda x, v, w: v @ w, vjp=lambda x, u, w: -u @ w.T)
    assert not wrong.ok
    np.testing.assert_allclose(wrong.forward, -wrong.backward)


def test_a_foreign_custom_vjp_has_no_jvp_of_its_own():
    @jax.custom_vjp
    def f(x):
        return x**2

    f.defvjp(lambda x: (x**2, x), lambda x, delta: (2 * x * delta,))
    with pytest.raises(TypeError) as caught:
        transpose_test(f, jnp.ones(3))
    assert any("Give the JVP" in note for note in caught.value.__notes__)
    assert transpose_test(f, jnp.ones(3), jvp=lambda x, v: 2 * x * v).ok
    assert jacobian_test(f, jnp.ones(3)).ok


# What cannot be tested says so.


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: gradient_test(lambda x: x, np.ones(3)),
            "`f` must be a function with a real scalar",
        ),
        (
            lambda: gradient_test(lambda x: x, np.ones(1)),
            "`f` must be a function with a real scalar",
        ),
        (lambda: gradient_test(jnp.sum, np.arange(3)), "`x` must be a tree with floating leaves"),
        (lambda: gradient_test(jnp.sum, np.ones(3), gradient=lambda x: x[:2]), "of shape (3,)"),
        (
            lambda: gradient_test(lambda x: x[0] * x[1], (1.0, 2.0), gradient=lambda x: x[0]),
            "of structure",
        ),
        (lambda: gradient_test(jnp.sum, np.ones(3), directions=0), "`directions`"),
        (lambda: gradient_test(jnp.sum, np.ones(3), directions=[np.ones(2)]), "`directions`"),
        (lambda: gradient_test(jnp.sum, np.ones(3), halvings=0), "`halvings`"),
        (lambda: gradient_test(jnp.sum, np.ones(3), eps=0.0), "`eps`"),
        (lambda: jacobian_test(jnp.sin, 1.0, jvp=jnp.sin, vjp=jnp.sin), "`vjp` must be None"),
    ],
)
def test_bad_calls_say_what_is_expected(call, sentence):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert sentence in str(caught.value)


def test_reports_are_frozen_and_print(random):
    report = gradient_test(smooth, random.normal(size=3))
    with pytest.raises(AttributeError):
        report.__setattr__("verdict", "wrong")
    lines = str(report).splitlines()
    assert lines[0] == "gradient_test: right"
    assert lines[3].split() == ["eps", "first", "difference", "ratio", "corrected", "ratio"]
    assert (
        lines[6].split()[2]
        == f"{report.first[report.shown, 0] / report.first[report.shown, 1]:.2f}"
    )
    assert "(1.00, 2.00)" in lines[-1]


# The ladder of differences.


FUNCTIONS = {
    "sin": (np.sin, np.cos),
    "exp": (lambda x: np.exp(3 * x), lambda x: 3 * np.exp(3 * x)),
    "steep": (lambda x: np.tanh(50 * x), lambda x: 50 / np.cosh(50 * x) ** 2),
    "fast": (lambda x: np.sin(40 * x), lambda x: 40 * np.cos(40 * x)),
    "narrow": (
        lambda x: np.exp(-((20 * x) ** 2)),
        lambda x: -800 * x * np.exp(-((20 * x) ** 2)),
    ),
    "on top of much": (lambda x: 1e4 + np.sin(x), np.cos),
    "fraction": (lambda x: 1 / (1 + 25 * x * x), lambda x: -50 * x / (1 + 25 * x * x) ** 2),
    "power": (lambda x: np.abs(x) ** 2.5, lambda x: 2.5 * x * np.abs(x) ** 0.5),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_measured_slope_is_as_exact_as_its_bar_says(random, name):
    f, slope = FUNCTIONS[name]
    x = random.normal(size=2000)
    noise = slopes.round_off(np.stack([f(x + k) for k in slopes.NOISE_STEPS]))
    plus, minus = (np.stack([f(x + s * h) for h in slopes.STEPS]) for s in (1, -1))
    found = slopes.measure(slopes.STEPS, f(x), plus, minus, noise.max())
    assert not found.kink.any()
    assert (np.abs(found.value - slope(x)) <= 2 * found.bar).all()
    largest = np.abs(slope(x)).max()
    assert np.median(found.bar) < 1e-10 * max(largest, np.abs(f(x)).max())
    assert found.bar.max() < 1e-6 * max(largest, np.abs(f(x)).max())
