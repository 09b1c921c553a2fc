"""The ledger against cases counted by hand, and every rule against its docstring."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules import Example, registry
from jnn.verify import promise, residuals
from jnn.verify.suites.promise import promised

ROWS, COLUMNS = 8, 64
TENSOR = ROWS * COLUMNS * 4
X = jax.ShapeDtypeStruct((ROWS, COLUMNS), jnp.float32)
LABELS = jax.ShapeDtypeStruct((ROWS,), jnp.int32)


def saved(ledger, who="hand"):
    return {(s.kind, s.layer, s.origin, s.shape) for s in getattr(ledger, who)}


# What the ledger says, where one can count by hand.


def test_a_product_saves_both_factors_and_a_sum_neither():
    x, y = jnp.ones((2, 3)), jnp.ones((2, 3))
    ledger = residuals(lambda x, y: x * y + y, x, y)
    both = {("input", "", "x", (2, 3)), ("input", "", "y", (2, 3))}
    assert saved(ledger, "hand") == saved(ledger, "autodiff") == both
    assert ledger.bytes("autodiff") == 2 * 6 * 4
    assert ledger.bytes("autodiff", "new", "output") == 0


def test_a_value_that_is_computed_and_returned_is_an_output():
    ledger = residuals(jnp.exp, jnp.ones(5))
    assert saved(ledger, "autodiff") == {("output", "", "exp", (5,))}
    inner = residuals(lambda x: jnp.exp(x).sum(), jnp.ones(5))
    assert saved(inner, "autodiff") == {("new", "", "exp", (5,))}


def test_a_buffer_that_is_saved_twice_counts_once():
    def f(x):
        y = jnn.rules.tanh(x)  # Saves its output, ...
        return jnn.rules.gelu(y.reshape(6)) + jnn.rules.silu(y).reshape(6)  # ... they their input.

    ledger = residuals(f, jnp.ones((2, 3)))
    assert saved(ledger) == {("new", "tanh", "tanh", (2, 3))}
    assert ledger.bytes() == 6 * 4


def test_values_are_found_inside_jitted_functions():
    inner = jax.jit(lambda x: jnn.rules.tanh(jnn.rules.gelu(x)))

    def f(x):
        with jax.named_scope("first"):
            y = inner(x)
        with jax.named_scope("second(2)"):  # Named like a call.
            return jax.jit(jnn.rules.gelu)(y)

    expected = {("input", "", "x", (4,)), ("new", "first/tanh", "tanh", (4,))}
    assert saved(residuals(f, jnp.ones(4))) == saved(residuals(jax.jit(f), jnp.ones(4))) == expected
    assert "second(2)/gelu" in residuals(f, jnp.ones(4)).elements


def test_what_a_scan_saves_is_stacked_and_stands_under_the_layer_inside():
    def f(x):
        return jax.lax.scan(lambda c, _: (jnn.rules.tanh(c), None), x, None, length=7)[0]

    ledger = residuals(f, jnp.ones(3))
    assert [(s.layer, s.shape) for s in ledger.hand] == [("tanh", (7, 3))]


def test_checkpoint_saves_its_input_only():
    f = jax.checkpoint(lambda x: jnp.sin(jnp.sin(x)))
    assert saved(residuals(f, jnp.ones(3)), "autodiff") == {("input", "", "x", (3,))}


def test_integers_and_constants():
    def f(x, n):
        return x * n.astype(x.dtype) * jnp.full(3, 2.0)

    ledger = residuals(f, jnp.ones(3), jnp.arange(3))
    # The integers as floats; the constant is part of the program.
    assert saved(ledger, "autodiff") == {("new", "", "convert_element_type", (3,))}
    closed = jnp.arange(5.0)
    ledger = residuals(lambda x: x * closed, jnp.ones(5))
    assert saved(ledger) == {("input", "", "closed over", (5,))}


def test_the_layers_of_a_network():
    net = jnn.serial(jnn.dense(16), jnn.gelu(), jnn.dense(3))
    params, _ = net.init(jax.random.key(0), X)
    ledger = residuals(lambda params, x: net(params, x).sum(), params, X)
    inputs = {"x", "params[0].w", "params[2].w"}
    assert {s.origin for s in ledger.hand if s.kind == "input"} == inputs
    # The second affine map keeps what gelu computes, and gelu what the first one does.
    assert [s.layer for s in ledger.hand if s.kind == "new"] == ["0.dense/affine", "1.gelu/gelu"]
    assert ledger.per_element("1.gelu/gelu") == 4
    assert ledger.per_element("1.gelu/gelu", "autodiff") > 4
    assert ledger.elements["0.dense/affine"] == ROWS * 16
    lines = str(ledger).splitlines()
    assert [line.split()[0] for line in lines if "/" in line] == ["0.dense/affine", "1.gelu/gelu"]
    assert lines[-1].split() == [
        "total", "bytes", f"{ledger.bytes():,}", f"{ledger.bytes('autodiff'):,}",
    ]  # fmt: skip


def test_the_ledger_agrees_with_what_jax_returns():
    x = jnp.ones((ROWS, COLUMNS))
    for name in ("gelu", "tanh", "softmax"):
        _, pull = jax.vjp(registry[name], x)
        kept = {id(leaf): leaf.nbytes for leaf in jax.tree.leaves(pull)}
        assert residuals(registry[name], x).bytes() == sum(kept.values())


# What the rules save.


@pytest.mark.parametrize(
    "name", ["gelu", "elu", "silu", "softplus", "tanh", "sigmoid", "softmax", "selu", "softsign"]
)
def test_a_smooth_activation_saves_one_tensor(name):
    ledger = residuals(registry[name], X)
    assert ledger.bytes("hand") <= TENSOR
    assert ledger.bytes("hand", "new") == 0
    half = residuals(registry[name], jax.ShapeDtypeStruct(X.shape, jnp.bfloat16))
    assert half.bytes("hand") <= TENSOR / 2


def test_relu_saves_nothing_beyond_its_output():
    for name in ("relu", "leaky_relu", "hard_tanh"):
        assert [s.kind for s in residuals(registry[name], X).hand] == ["output"]


def test_a_loss_saves_one_tensor_and_its_targets():
    rows = 2 * ROWS * 4
    targets = ROWS * 4
    fused = residuals(jnn.softmax_cross_entropy, X, LABELS)
    assert fused.bytes("hand") <= TENSOR + targets + rows
    assert fused.bytes("hand", "new") <= rows
    entropy = residuals(lambda x, t: jnn.cross_entropy(jnn.rules.softmax(x), t), X, LABELS)
    assert entropy.bytes("hand") <= TENSOR + targets
    answers = jax.ShapeDtypeStruct(X.shape, jnp.bool_)
    binary = residuals(lambda x, t: jnn.binary_cross_entropy(jnn.rules.sigmoid(x), t), X, answers)
    assert binary.bytes("hand") <= TENSOR + ROWS * COLUMNS
    assert binary.bytes("autodiff") > 2 * binary.bytes("hand")


@pytest.mark.parametrize("name", registry)
def test_no_rule_saves_beyond_its_docstring(name, random):
    rule = registry[name]
    for make in (*rule.examples, *rule.extremes, *rule.kinks):
        for dtype in (jnp.float32, jnp.bfloat16):
            assert promise(rule, make(random), dtype) == []


@pytest.mark.parametrize("name", registry)
def test_no_rule_promises_what_it_never_saves(name, random):
    rule, seen = registry[name], set()
    for make in rule.examples:
        example = make(random)
        ledger = residuals(functools.partial(rule, **example.settings), *example.args)
        for s in ledger.hand:
            seen.add("y" if s.kind == "output" else s.origin.split("[")[0])
    words = promised(rule)
    assert words is not None
    assert words.names <= seen | {"y"}


# The promise is a test that can fail.


def doubling(doc):
    def double(x):
        return 2 * x

    double.__doc__ = doc
    rule = jnn.rule(double)
    rule.backward(lambda saved, delta: (2 * delta,))
    return rule


EXAMPLE = Example(np.ones((3, 4)))


def test_what_goes_beyond_the_promise_is_named():
    rule = doubling("Doubles.\n\nSaves: y, one number a row, 2 hidden tensors, for no good reason.")
    rule.forward(lambda x: (y := 2 * x, (y, jnp.exp(x.sum(-1)), jnp.exp(x), jnp.sin(x))))
    assert promise(rule, EXAMPLE) == []
    rule.__doc__ = "Saves: y, two numbers a row, 1 hidden tensor."
    (finding,) = promise(rule, EXAMPLE)
    assert finding == (
        "rule 'double' saves float32[3,4] (new: sin). It promises: y, two numbers a row, 1 hidden "
        "tensor."
    )
    rule.__doc__ = "Saves: nothing."
    assert len(promise(rule, EXAMPLE)) == 4
    rule.forward(lambda x: (2 * x, x))
    (finding,) = promise(rule, EXAMPLE)
    assert "float32[3,4] (input: x)" in finding


def test_a_wider_dtype_breaks_a_promise():
    rule = doubling("Saves: 1 hidden tensor.")
    rule.forward(lambda x: (2 * x, jnp.exp(x.astype(jnp.float32))))
    assert promise(rule, EXAMPLE) == []
    assert len(promise(rule, EXAMPLE, jnp.bfloat16)) == 1
    rule.__doc__ = "Saves: 1 wide tensor."
    assert promise(rule, EXAMPLE) == promise(rule, EXAMPLE, jnp.bfloat16) == []
    rule.__doc__ = "Saves: one number a row."
    assert len(promise(rule, EXAMPLE)) == 1
    rule.forward(lambda x: (2 * x, jnp.exp(x.astype(jnp.float32)).sum(-1)))
    assert promise(rule, EXAMPLE, jnp.bfloat16) == []


@pytest.mark.parametrize(
    ("doc", "names", "tensors", "numbers"),
    [
        ("Saves: x, whose sign matters, y.", {"x"}, 0, 0),
        ("Saves: x, y.\n\nMore.", {"x", "y"}, 0, 0),
        ("Saves: nothing; it is linear.\n", None, 0, 0),
        ("Saves: nothing.", set(), 0, 0),
        ("Saves: x, 1 hidden tensor (3 where\n    it is raining). See there.", {"x"}, 3, 0),
        ("Saves: one hidden tensor, two numbers a row, from x.", set(), 1, 2),
        ("Saves: 2 wide tensors, 1 hidden tensor.", set(), 1, 0),
        ("Saves: its output.", None, 0, 0),
        ("It saves: x.", None, 0, 0),
        ("", None, 0, 0),
    ],
)
def test_the_grammar(doc, names, tensors, numbers):
    words = promised(doubling(doc))
    if names is None:
        assert words is None
        assert "can be read" in promise(doubling(doc), EXAMPLE)[0]
    else:
        assert words is not None
        assert (words.names, words.tensors, words.numbers) == (names, tensors, numbers)
