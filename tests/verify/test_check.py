"""`check` on rules that are right, and on rules each of which one suite alone finds out."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.__main__ import main
from jnn.rules import Example, Rule, affine, relu, sigmoid, softplus, softsign, tanh
from jnn.verify import SUITES, check

# What comes out of it.


def test_a_right_rule_is_ok_and_says_what_was_run():
    report = check(tanh)
    assert report
    assert report.ok
    assert report.findings == ()
    not_run = {"kinks", "curvature", "cost"}
    assert set(report.worst) == set(report.seconds) == set(SUITES) - not_run
    assert {sentence.split(":")[0] for sentence in report.not_run} == not_run
    assert report.modes == ("backward", "forward")
    assert report.dtypes == ("float16", "bfloat16", "float32", "float64")
    assert report.worst["agreement"] < 1e-12


def test_a_report_prints_and_draws(tmp_path):
    report = check(tanh, suites=["agreement", "kinks"])
    assert re.fullmatch(
        r"tanh: ok\n\nsuite +worst error +seconds\n-+\nagreement +\d.\de-\d+ +\d+\.\d\d\n\n"
        r"not run:\n  kinks: there is no such example",
        str(report),
    )
    report.plot(tmp_path / "tanh.png")
    assert (tmp_path / "tanh.png").stat().st_size > 1000


def test_a_finding_says_suite_tensor_entry_both_numbers_and_example():
    wrong = tanh.replace(backward=lambda y, delta: (jnp.where(y < 0, 2, 1) * delta * (1 - y * y),))
    report = check(wrong, args=(np.array([[0.0, 1.0], [2.0, -1.0]]),), suites=["agreement"])
    assert not report
    assert not report.ok
    delta = np.random.default_rng([0, 1]).normal(size=(2, 2, 2))[1, 1, 1]
    right = delta * (1 - np.tanh(1) ** 2)
    assert re.fullmatch(
        rf"agreement: the cotangent of `x` at \[1, 1\] is {2 * right:.10g}, "
        rf"expected {right:.10g} \(error \S+, allowed 1.0e-10\), at Example\('float64\[2,2\]',\)",
        report.findings[0],
    )
    assert str(report).startswith("tanh: 2 findings")  # The second call is wrong as well.


def test_given_arguments_replace_the_examples():
    args = np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)
    report = check(affine, args=args)
    assert report.ok
    assert [s.split(":")[0] for s in report.not_run] == ["kinks", "extremes", "curvature"]
    report = check(jnn.rules.leaky_relu, args=(np.ones(3),), settings={"slope": 0.5})
    assert report.ok


def test_large_arguments_are_checked_too():
    random = np.random.default_rng(0)
    args = random.normal(size=(20, 50)), random.normal(size=(50, 30)), random.normal(size=30)
    report = check(affine, args=args)
    assert report.ok, str(report)
    one_in_thousands = affine.replace(
        backward=lambda saved, delta: [
            d.at[3, 4].multiply(1.001) if d.shape == (50, 30) else d
            for d in affine.parts.backward(saved, delta)
        ]
    )
    assert not check(one_in_thousands, args=args, suites=["agreement"])


def test_the_global_precision_is_left_alone():
    check(tanh, suites=["agreement"])
    assert jnp.ones(()).dtype == jnp.float32


@pytest.mark.parametrize("mode", ["forward", "autodiff"])
def test_the_mode_around_it_does_not_matter(mode):
    with jnn.derivatives(mode):
        assert not check(tanh.replace(backward=lambda y, delta: (delta,)), suites=["agreement"])
        assert check(tanh, suites=["agreement", "transforms"])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((jnp.tanh,), {}, "check: `rule` must be a rule"),
        ((tanh,), {"settings": {}}, "check: `settings` must be given together with `args`"),
        ((tanh,), {"suites": ["speed"]}, "check: `suites` must be one of 'agreement'"),
        ((tanh,), {"seeds": 0}, "check: `seeds` must be a positive integer"),
        ((jnn.rule(lambda x: x),), {}, "check: `rule` must be a rule with examples"),
        ((tanh, (np.ones(3, int),)), {}, "check: `rule` must be a rule with a floating argument"),
        ((affine, (np.ones((2, 3)), np.ones((2, 4)))), {}, "affine: `x` must be of shape (..., 2)"),
    ],
)
def test_wrong_calls_are_named(arguments, options, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        check(*arguments, **options)


def test_a_missing_part_is_a_finding():
    report = check(tanh.replace(backward=None))
    assert report.findings == ("there is no backward: write one under @tanh.backward",)


def test_without_a_tangent_the_definition_s_serves():
    report = check(tanh.replace(tangent=None), suites=["agreement", "transforms", "plain"])
    assert report.ok
    assert report.modes == ("backward",)


# Faults that one suite is there to find.


def _tanh(**parts) -> Rule:
    return tanh.replace(**parts)


def doubling() -> Rule:
    return _tanh(backward=lambda y, delta: (2 * delta * (1 - y * y),))


def losing() -> Rule:
    """Below float32, the sum is kept in the dtype of its terms."""

    def backward(y, delta):
        slope = 1 - y * y
        if y.dtype == jnp.bfloat16:
            slope = slope + 64 - 64
        return (delta * slope,)

    return _tanh(backward=backward)


def sometimes_freezing() -> Rule:
    """Right once, but without a bias constant for whoever differentiates again."""

    def forward(x, w, b):
        y, saved = affine.parts.forward(x, w, b)
        return y, (*saved, b)

    def backward(saved, delta):
        x, w, b = saved
        w = jax.lax.stop_gradient(w) if b is None else w
        return affine.parts.backward((x, w), delta)

    return affine.replace(forward=forward, backward=backward)


def stale() -> Rule:
    """Saves once and for ever."""
    memory = []

    def forward(x):
        memory.append(jnp.tanh(x))
        return memory[-1], memory[0]

    return _tanh(forward=forward)


def counting() -> Rule:
    calls = []

    def forward(x):
        calls.append(None)
        y = jnp.tanh(x)
        return y * (1 + 1e-16 * len(calls)), y

    return _tanh(forward=forward)


def drawing() -> Rule:
    random = np.random.default_rng()
    return _tanh(forward=lambda x: (jnp.tanh(x), jnp.tanh(x) + 1e-14 * random.normal()))


def only_at_the_kink() -> Rule:
    return relu.replace(
        forward=lambda x: (relu.parts.definition(x), x),
        backward=lambda x, delta: (jnp.where(x == 0, 2 * delta, jnp.where(x > 0, delta, 0 * x)),),
    )


def beside_the_kink() -> Rule:
    """Wrong on one side, close to the kink alone."""

    def backward(x, delta):
        return (jnp.where((x > 0) & (x < 1e-3), 0.9 * delta, jnp.where(x > 0, delta, 0 * delta)),)

    return relu.replace(forward=lambda x: (relu.parts.definition(x), x), backward=backward)


def overflowing() -> Rule:
    """The slope as e^-x / (1 + e^-x)^2, which is inf / inf where x is far below 0."""

    def backward(x, delta):
        e = jnp.exp(-x)
        return (delta * e / (1 + e) ** 2,)

    return sigmoid.replace(forward=lambda x: (jax.lax.logistic(x), x), backward=backward)


def cancelling() -> Rule:
    """1 - e^-y has no digits left where y is small."""
    return softplus.replace(
        forward=lambda x: (softplus.parts.definition(x),) * 2,
        backward=lambda y, delta: (delta * (1 - jnp.exp(-y)),),
    )


def rounding() -> Rule:
    """Half-way through, everything is rounded to half precision."""

    def backward(y, delta):
        y = y.astype(jnp.bfloat16).astype(y.dtype) if y.dtype == jnp.float32 else y
        return (delta * (1 - y) * (1 + y),)

    return _tanh(backward=backward)


def widening() -> Rule:
    """Of float16, float32 comes out."""

    def forward(x):
        y = jnp.tanh(x)
        return y.astype(jnp.float32) if x.dtype == jnp.float16 else y, y

    return _tanh(forward=forward, backward=lambda y, delta: (delta.astype(y.dtype) * (1 - y * y),))


def strengthening() -> Rule:
    def forward(x):
        y = jnp.tanh(x)
        return y.astype(y.dtype), y

    return _tanh(forward=forward)


def promoting() -> Rule:
    """A table in the default dtype, which is float64 beside 64-bit types."""

    def forward(x):
        y = jnp.tanh(x)
        return y.astype(jnp.result_type(float)) if x.dtype == jnp.float32 else y, y

    return _tanh(forward=forward, backward=lambda y, delta: (delta.astype(y.dtype) * (1 - y * y),))


def swallowing() -> Rule:
    """NaN is not above 0."""

    def forward(x):
        y = jnp.where(x > 0, x, jnp.zeros_like(x))
        return y, y

    return relu.replace(forward=forward)


def calling() -> Rule:
    """The backward calls another rule."""
    return softsign.replace(backward=lambda x, delta: (delta / jnp.square(1 + relu(x) + relu(-x)),))


def freezing() -> Rule:
    """Right once, but constant for whoever differentiates again."""
    return _tanh(backward=lambda y, delta: (delta * jax.lax.stop_gradient(1 - y * y),))


def branching() -> Rule:
    """Looks at a value, which a trace does not have."""

    def forward(x):
        y = jnp.tanh(x)
        return (y, y) if x.size == 0 or float(jnp.sum(x)) > -1e9 else (y, -y)

    return _tanh(forward=forward)


def dividing() -> Rule:
    """0 / 0 where the batch is empty."""

    def backward(saved, delta):
        dx, dw, db = affine.parts.backward(saved, delta)
        n = jnp.asarray(float(delta.size), delta.dtype)
        return dx, dw / n * n, db

    return affine.replace(backward=backward)


def counting_devices() -> Rule:
    """Wrong on several devices alone."""

    def backward(saved, delta):
        try:
            n = jax.lax.axis_size("devices")
        except NameError:
            n = 1
        return tuple(n * d for d in affine.parts.backward(saved, delta))

    return affine.replace(backward=backward)


def wasting() -> Rule:
    """Every cotangent waits for all of them."""

    def backward(saved, delta):
        ds = affine.parts.backward(saved, delta)
        zero = 0.0 * sum(jnp.sum(d) for d in ds)
        return tuple(d + zero for d in ds)

    return affine.replace(backward=backward)


def hoarding() -> Rule:
    """Saves what its docstring does not name."""
    return relu.replace(
        forward=lambda x: (relu.parts.definition(x), (x, jnp.sin(x))),
        backward=lambda saved, delta: (jnp.where(saved[0] > 0, delta, 0 * delta),),
    )


def mistold() -> Rule:
    """The definition itself has a wrong derivative, and the hand-written ones agree with it."""

    @jnn.rule
    def cube(x):
        return x * x * jax.lax.stop_gradient(x)

    cube.forward(lambda x: (x**3, x))
    cube.backward(lambda x, delta: (2 * x * x * delta,))
    cube.example(lambda random: Example(random.normal(size=4)))
    return cube


FAULTS = {
    "transpose": (doubling, "<u, J v> = "),
    "differences": (mistold, "the cotangent of `x`"),
    "kinks": (only_at_the_kink, "the backward's slope of the output in `x` at [0] at the kink"),
    "extremes": (overflowing, "the cotangent of `x` at [10] is nan"),
    "float16": (widening, "the value of `y` is float32, expected float16"),
    "bfloat16": (losing, "in bfloat16, the cotangent of `x`"),
    "float32": (rounding, "in float32, the cotangent of `x`"),
    "types": (promoting, "the value of `y` is float64 of float32 arguments"),
    "nan": (swallowing, "with NaN in `x`"),
    "transforms": (freezing, "hessian"),
    "curvature": (sometimes_freezing, "reverse over reverse"),
    "empty_batch": (dividing, "with a batch of size 0, the cotangent of `w` at [0, 0] is nan"),
    "devices": (counting_devices, "shard_map"),
    "determinism": (stale, "un-jitted"),
    "plain": (calling, "must be plain jnp and lax, but call relu"),
    "promise": (hoarding, "It promises: y"),
}


def test_what_nobody_asked_for_is_noticed():
    random = np.random.default_rng(0)
    args = random.normal(size=(8, 9)), random.normal(size=(9, 7)), random.normal(size=7)
    report = check(wasting(), args=args, suites=["cost"])
    assert any("the gradient in `x` alone takes" in sentence for sentence in report.findings)
    assert check(affine, args=args, suites=["cost"])


@pytest.mark.parametrize("suite", FAULTS)
def test_each_suite_finds_its_fault(suite):
    make, sentence = FAULTS[suite]
    report = check(make(), suites=[suite])
    assert not report.ok
    assert any(sentence in finding for finding in report.findings), str(report)


@pytest.mark.parametrize(
    ("suite", "make", "sentence"),
    [
        ("kinks", beside_the_kink, "just above the kink"),
        ("extremes", cancelling, "in float32, the cotangent of `x`"),
        ("types", strengthening, "the value is strongly typed, expected weakly"),
        ("transforms", calling, "hessian raises TypeError"),
        ("transforms", branching, "grad of scan raises ConcretizationTypeError"),
        ("agreement", branching, "ConcretizationTypeError"),
        ("determinism", counting, "two different programs"),
        ("determinism", drawing, "two different programs"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_further_faults(suite, make, sentence):
    report = check(make(), suites=[suite])
    assert any(sentence in finding for finding in report.findings), str(report)


# The command.


def test_the_command_prints_a_line_a_rule(capsys):
    assert main(["check", "tanh", "jnn.rules:affine", "--suite", "agreement"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["rule", "modes", "dtypes", "float64", "error", "seconds"]
    assert [line.split()[0] for line in lines] == ["tanh", "affine"]
    assert all(line.endswith("  ok") for line in lines)


def test_the_command_fails_with_a_wrong_rule_and_shows_why(capsys, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import jnn\n"
        "rule = jnn.rules.tanh.replace(backward=lambda y, delta: (delta,))\n"
        "number = 3\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    assert main(["check", "mine:rule", "--suite", "agreement"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("tanh ")
    assert lines[1].endswith("WRONG")
    assert lines[2].startswith("  agreement: the cotangent of `x`")
    assert lines[-1] == "wrong: tanh"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tanhh", "there is no rule 'tanhh'. Rules: "),
        ("nowhere:rule", "No module named 'nowhere'"),
        ("jnn.rules:Example", "not a rule"),
    ],
)
def test_the_command_names_what_it_cannot_find(name, sentence, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["check", name])
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err
