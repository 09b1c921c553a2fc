"""Comparisons: errors in ulps against known ones, wrong rules are seen, all kinds of functions."""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.commands import compare as command
from jnn.rules import registry
from jnn.verify import compare
from jnn.verify.compare.compare import Measure, _error
from jnn.verify.compare.typical import _MAKERS, typical

QUICK = 0.01  # Seconds: these tests are not about time.


def test_errors_are_counted_in_ulps():
    want = np.array([1.0, 4.0, 0.0])
    got = np.array([1 + 2.0**-23, 4 - 6 * 2.0**-23, 0.0], np.float32)
    error = _error([jnp.asarray(got)], [want])
    # The ulp of 4 is 2^-21.
    assert (error.largest, error.median) == (1.5, 1.0)
    assert error.relative == 6 * 2.0**-23 / 4


def test_the_ulp_is_that_of_the_dtype():
    x = jnp.asarray([1.0078125], jnp.bfloat16)
    assert _error([x], [np.array([1.0])]).largest == 1.0


def test_numbers_that_are_not_finite():
    nan, inf = np.nan, np.inf
    want = np.array([nan, inf, 1.0])
    assert _error([jnp.array([nan, inf, 1.0])], [want]) == (0, 0, 0)
    assert _error([jnp.array([1.0, inf, 1.0])], [want]).largest == inf
    assert _error([jnp.array([nan, inf, inf])], [want]).largest == inf
    assert _error([jnp.array([nan, -inf, 1.0])], [want]).largest == inf
    assert _error([jnp.zeros(0)], [np.zeros(0)]) == (0, 0, 0)
    # A number too small for a normal float32 may be flushed.
    assert _error([jnp.zeros(1)], [np.array([1e-39])]).largest == 0


def test_a_wrong_backward_is_seen():
    wrong = jnn.rules.tanh.replace(backward=lambda y, delta: (1.01 * delta * (1 - y * y),))
    x = jnp.linspace(-1.0, 1.0, 50)
    right, seen = (compare(f, x, budget=QUICK) for f in (jnn.rules.tanh, wrong))
    assert right.hand.gradient_error.largest < 10
    assert seen.hand.gradient_error.median > 1e4
    assert seen.hand.gradient_error.relative == pytest.approx(0.01, rel=1e-4)
    assert seen.autodiff.gradient_error == right.autodiff.gradient_error
    assert seen.hand.value_error == right.hand.value_error


def network():
    net = jnn.serial(jnn.dense(8), jnn.gelu(), jnn.dense(3))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)
    params, _ = net.init(jax.random.key(0), x)
    t = jnp.array([0, 1, 2, 1, 0])

    def loss(params, x, t):
        return jnn.softmax_cross_entropy(net(params, x), t).mean()

    return loss, (params, x, t)


def test_a_network_with_labels():
    loss, args = network()
    result = compare(loss, *args, budget=QUICK)
    for side in (result.hand, result.autodiff):
        assert side.value_error.largest < 20
        assert side.gradient_error.relative < 1e-5
        assert side.seconds > 0
        assert side.compile_seconds > 0
    assert result.name == "loss"
    assert result.hand.saved_new < result.autodiff.saved_new
    assert result.hand.saved == result.ledger.bytes("hand")
    assert result.spread[0] <= result.ratio <= result.spread[1]


def test_half_precision_is_held_to_float64_too():
    result = compare(jnn.rules.silu, jnp.linspace(-2, 2, 9, dtype=jnp.bfloat16), budget=QUICK)
    assert 2.0**-10 < result.hand.gradient_error.relative < 2.0**-6


def test_float64_arguments():
    with jax.enable_x64(True):
        result = compare(jnn.rules.gelu, np.linspace(-3, 3, 20), budget=QUICK)
    assert result.hand.gradient_error.largest < 100


def test_any_pytree_may_come_out():
    def f(tree, unused):
        y = jnn.rules.tanh(tree["x"])
        return {"y": y, "sum": jnp.sum(y), "integers": jnp.arange(3)}

    result = compare(f, {"x": jnp.ones((2, 3)), "n": np.int32(4)}, None, budget=QUICK)
    assert result.hand.gradient_error.largest < 10


def test_who_differentiates_outside_changes_nothing():
    with jnn.derivatives("forward"):
        result = compare(jnn.rules.gelu, jnp.ones(4), budget=QUICK)
    assert (result.hand.saved_new, result.autodiff.saved_new > 0) == (0, True)


def test_a_rule_at_a_typical_size():
    result = compare(jnn.rules.affine, batch=4, budget=QUICK)
    assert result.name == "affine"
    assert result.hand.saved == 4 * (4 * 784 + 784 * 512)


def test_bad_arguments_are_explained():
    with pytest.raises(ValueError, match=r"compare: `args` must be arguments of which one is fl"):
        compare(jnn.rules.tanh, jnp.arange(3))
    with pytest.raises(ValueError, match=r"compare: `function` must be one with a floating output"):
        compare(lambda x: jnp.argmax(x), jnp.ones(3))
    w = jnp.ones((3, 2))
    with pytest.raises(TypeError) as caught:
        compare(lambda x: jnn.rules.affine(x, w), jnp.ones((4, 3)))
    assert "Pass them to jnn.compare as arguments" in "".join(caught.value.__notes__)


def test_the_table():
    result = compare(jnn.rules.gelu, jnp.ones(8), budget=QUICK)
    lines = str(result).splitlines()
    assert lines[0].split() == ["gelu", "by", "hand", "autodiff", "ratio"]
    for measure in result.measures:
        assert sum(line.startswith(measure.label) for line in lines) == 1
    saved = next(line for line in lines if line.startswith("... beyond"))
    assert "0 B" in saved
    assert "0.00" in saved


def test_a_ratio_to_nothing_is_none():
    assert Measure("", "B", 3, 0).ratio is None
    assert Measure("", "B", None, 3).ratio is None
    assert Measure("", "B", 3, 2).ratio == 1.5


# Typical arguments.


@pytest.mark.parametrize("name", registry)
def test_every_rule_has_typical_arguments(name):
    rule = registry[name]
    assert rule.elementwise or name in _MAKERS
    example = typical(rule, batch=6, features=5, classes=3)
    y = rule(*jax.tree.map(jnp.asarray, example.args), **example.settings)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(y))
    again = typical(rule, batch=6, features=5, classes=3)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: (a == b).all(), example.args, again.args)))


def test_a_rule_of_one_s_own():
    @jnn.rule
    def product(x, y):
        return x * y

    product.forward(lambda x, y: (x * y, (x, y)))
    product.backward(lambda saved, delta: (delta * saved[1], delta * saved[0]))
    with pytest.raises(ValueError, match=r"@product\.example"):
        compare(product, budget=QUICK)
    product.example(lambda random: jnn.rules.Example(*random.normal(size=(2, 3))))
    assert compare(product, budget=QUICK).hand.gradient_error.largest <= 0.5  # Rounded once.


# The command.


def run(*words):
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args(words))


def test_the_command_compares_a_rule(capsys, tmp_path):
    picture = tmp_path / "tanh.png"
    assert run("tanh", "--batch", "4", "--seconds", "0.01", "--plot", str(picture)) == 0
    out = capsys.readouterr().out
    assert out.startswith("tanh")
    assert out.endswith(f"picture: {picture}\n")
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_command_compares_a_model(capsys):
    assert run("mlp", "--batch", "4", "--seconds", "0.01") == 0
    out = capsys.readouterr().out
    assert "gradient error" in out
    assert "0.dense/relu" in out


def test_the_command_says_what_it_knows(capsys):
    with pytest.raises(SystemExit):
        run("tan")
    assert "there is no name 'tan'. Names: " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("tanh", "--batch", "0")
    assert "must be a positive integer, got 0" in capsys.readouterr().err
