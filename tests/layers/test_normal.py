"""Layers that normalise: what trains them, what their state is, what a row of them becomes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

import jnn
from jnn.layers import NormParams, Running
from tests.draw import parameters

KEY = jax.random.key(0, impl="rbg")
X = (3 + 2 * np.random.default_rng(1).normal(size=(6, 5, 5, 4))).astype(np.float32)
AXES = (0, 1, 2)


def exact(net: Any, x: Any = X) -> Any:
    """Parameters and state as `init` makes them, in NumPy."""
    return jax.tree.map(np.asarray, net.init(KEY, x))


def test_training_uses_the_batch_and_the_state_follows_unbiased():
    net = jnn.batch_norm(beta=0.75, epsilon=1e-3)
    params, state = exact(net)
    assert (state.mean.dtype, state.variance.dtype) == (np.float32, np.float32)
    params = params._replace(
        scale=np.arange(1, 5, dtype=np.float32), shift=np.arange(4, dtype=np.float32)
    )
    y, new = net.apply(params, state, X, train=True)
    mean, variance = X.mean(AXES), X.var(AXES)
    n = (X - mean) / np.sqrt(variance + 1e-3)
    np.testing.assert_allclose(y, n * params.scale + params.shift, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new.mean, 0.25 * mean, rtol=1e-5)
    m = X.size // 4
    wanted = 0.75 + 0.25 * X.var(AXES, ddof=1)
    np.testing.assert_allclose(new.variance, wanted, rtol=1e-5)
    assert abs(wanted - (0.75 + 0.25 * variance)).min() > 1e-3  # So that it tells them apart;
    np.testing.assert_allclose(X.var(AXES, ddof=1), variance * m / (m - 1), rtol=1e-5)


def test_evaluation_uses_the_state_and_leaves_it():
    net = jnn.batch_norm(epsilon=1e-3)
    params, _ = exact(net)
    state = Running(jnp.array([1.0, 2, 3, 4]), jnp.array([4.0, 3, 2, 1]))
    y, new = net.apply(params, state, X)
    assert new is state
    np.testing.assert_allclose(
        y, (X - np.arange(1, 5)) / np.sqrt(np.arange(4, 0, -1) + 1e-3), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_array_equal(net(params, X[:1], state), y[:1])  # Of a sample alone too.


def test_the_state_has_no_gradient():
    net = jnn.batch_norm()
    params, state = exact(net)

    def of_state(x):
        _, new = net.apply(params, state, x, train=True)
        return new.mean.sum() + new.variance.sum()

    np.testing.assert_array_equal(jax.grad(of_state)(X), 0)


def test_one_number_a_channel_leaves_no_nan():
    net = jnn.batch_norm()
    params, state = exact(net, X[:1, 0, 0])
    y, new = net.apply(params, state, X[:1, 0, 0], train=True)
    np.testing.assert_array_equal(y, 0)
    assert np.isfinite(new.variance).all()


def test_half_precision_has_a_wide_state():
    net = jnn.batch_norm()
    x = jnp.asarray(X, jnp.bfloat16)
    params, state = exact(net, x)
    assert params.scale.dtype == jnp.bfloat16
    y, new = net.apply(params, state, x, train=True)
    assert y.dtype == jnp.bfloat16
    assert {a.dtype.name for a in (*state, *new)} == {"float32"}
    assert net(params, x, new).dtype == jnp.bfloat16


OTHERS = {
    "layer_norm": (jnn.layer_norm(), jnn.rules.layer_norm, ("scale", "shift")),
    "layer_norm, plain": (jnn.layer_norm(scale=None, shift=None), jnn.rules.layer_norm, ()),
    "rms_norm": (jnn.rms_norm(), jnn.rules.rms_norm, ("scale",)),
    "group_norm": (
        jnn.group_norm(2), functools.partial(jnn.rules.group_norm, groups=2), ("scale", "shift")
    ),
    "group_norm, no shift": (
        jnn.group_norm(4, shift=None), functools.partial(jnn.rules.group_norm, groups=4), ("scale",)
    ),
}  # fmt: skip


@pytest.mark.parametrize(("net", "rule", "names"), OTHERS.values(), ids=OTHERS)
def test_the_others_are_their_rules(net, rule, names):
    params, state = exact(net)
    assert state == ()
    given = {name: a for name, a in params._asdict().items() if a is not None}
    assert tuple(given) == names
    for name, a in given.items():
        np.testing.assert_array_equal(a, 1 if name == "scale" else 0)
    params = parameters(net, X)
    for train in (False, True):
        y, _ = net.apply(params, state, X, train=train)
        np.testing.assert_array_equal(y, rule(X, *(a for a in params if a is not None)))


def test_integers_and_flags():
    net = jnn.batch_norm(scale=None, shift=None)
    params, state = exact(net, np.arange(6).reshape(3, 2))
    assert params == NormParams(None, None)
    y, _ = net.apply(params, state, np.arange(6).reshape(3, 2), train=True)
    assert y.dtype == jnp.float32


def test_under_shard_map_the_state_is_that_of_the_whole_batch():
    net, whole = jnn.batch_norm(axis_name="data"), jnn.batch_norm()
    x = np.concatenate([X, X[:2] + 1])
    params, state = exact(whole, x)
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    split, same = PartitionSpec("data"), PartitionSpec()
    step = jax.shard_map(
        lambda x: net.apply(params, state, x, train=True),
        mesh=mesh, in_specs=split, out_specs=(split, same),
    )  # fmt: skip
    y, new = jax.jit(step)(x)
    other, wanted = whole.apply(params, state, x, train=True)
    np.testing.assert_allclose(y, other, rtol=1e-4, atol=1e-5)
    for a, b in zip(new, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


WRONG = {
    "no state": (lambda: jnn.batch_norm()(NormParams(None, None), X), "net(params, x, state)"),
    "other params": (lambda: jnn.layer_norm()((), X), "`params` must be NormParams"),
    "momentum": (lambda: jnn.batch_norm(momentum=0.1), "called beta, what is kept: beta=0.9"),  # pyright: ignore[reportCallIssue]
    "beta": (lambda: jnn.batch_norm(beta=1.5), "`beta` must be between 0 and 1"),
    "scale": (lambda: jnn.layer_norm(scale=True), "must be an initialiser"),  # pyright: ignore[reportArgumentType]
    "groups": (lambda: jnn.group_norm(0), "`groups` must be a positive integer"),
    "an array": (lambda: jnn.group_norm(X), "the function of arrays is jnn.rules.group_norm"),  # pyright: ignore[reportArgumentType]
}  # fmt: skip


@pytest.mark.parametrize(("call", "words"), WRONG.values(), ids=WRONG)
def test_errors_say_what_to_do(call, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert words in str(caught.value)


# In a row.

BLOCK = (
    jnn.conv(4, 3, padding="same"),
    *(jnn.batch_norm(beta=0.5), jnn.relu(), jnn.conv(4, 3, padding="same", bias=False)),
    *(jnn.batch_norm(scale=None), jnn.relu(), jnn.conv(3, 2, stride=2, activation="tanh",
                                                       rest="drop")),
)  # fmt: skip


def rules_of(net, train, x=X):
    params, state = jax.eval_shape(lambda: net.init(KEY, x))
    program = jax.make_jaxpr(lambda p, s, x: net.apply(p, s, x, train=train))(params, state, x)
    calls = [eqn for eqn in program.eqns if eqn.primitive.name == "custom_vjp_call"]
    return [str(eqn.source_info.name_stack).split("/")[-1] for eqn in calls]


def test_in_training_norm_relu_and_conv_are_one_rule():
    net = jnn.serial(*BLOCK)
    fused = ["conv", "norm_relu_conv", "norm_relu_conv", "tanh"]
    assert [name for name in rules_of(net, True) if name != "identity"] == fused
    assert "norm_relu_conv" not in rules_of(net, False)
    for behind in (
        jnn.conv(3, 3, dtype="float32"),
        jnn.conv(3, 3, connections=np.ones((4, 3), bool)),
    ):
        row = jnn.serial(jnn.batch_norm(), jnn.relu(), behind)
        assert "norm_relu_conv" not in rules_of(row, True)
    assert "norm_relu_conv" not in rules_of(
        jnn.serial(jnn.layer_norm(), jnn.relu(), jnn.conv(3, 3)), True
    )


def test_in_training_a_convolution_of_few_maps_and_its_norm_are_one_rule():
    net, x = jnn.serial(jnn.conv(4, 3, biases=jnn.initialisers.normal(1.0)), jnn.batch_norm()), X
    assert rules_of(net, True)[-1] == "conv_norm"
    assert "conv_norm" not in rules_of(net, False)
    wide = np.ones((1, 3, 3, 8), np.float32)  # A number takes 72 multiplications.
    assert "conv_norm" not in rules_of(net, True, wide)
    for maker in (jnn.conv(4, 3, activation="tanh"), jnn.conv(4, 3, dtype="bfloat16")):
        assert "conv_norm" not in rules_of(jnn.serial(maker, jnn.batch_norm()), True)

    (conv, norm), state = net.init(KEY, x)
    z, _ = net.spec.layers[0].apply(conv, (), x)
    y, running = net.spec.layers[1].apply(norm, state[1], z, train=True)
    ours, (_, new) = net.apply((conv, norm), state, x, train=True)
    np.testing.assert_allclose(ours, y, rtol=1e-5, atol=1e-5)
    for a, b in zip(new, running, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("train", [True, False])
def test_a_row_is_its_layers_one_by_one(train):
    net = jnn.serial(*BLOCK)
    params, state = exact(net)
    params = parameters(net, X)

    def apart(params, state, x):
        states = []
        for layer, p, s in zip(BLOCK, params, state, strict=True):
            x, s = layer.apply(p, s, x, train=train)
            states.append(s)
        return x, tuple(states)

    def together(params, state, x):
        return net.apply(params, state, x, train=train)

    def gradient(f, params, x):
        def value(params, x):
            y, new = f(params, state, x)
            return jnp.sin(y).sum(), (y, new)

        return jax.grad(value, (0, 1), has_aux=True)(params, x)

    ours, theirs = (jax.jit(functools.partial(gradient, f))(params, X) for f in (together, apart))
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        scale = max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * scale)
    new = ours[1][1]
    assert new[1].mean.any() and new[4].mean.any() if train else not new[1].mean.any()


def test_an_error_in_a_fused_row_is_that_of_the_layer():
    net = jnn.serial(jnn.batch_norm(), jnn.relu(), jnn.conv(3, 9))
    params = (NormParams(jnp.ones(4), None), (), jnn.layers.ConvParams(
        jnp.ones((9, 9, 4, 3)), None))  # fmt: skip
    _, state = exact(jnn.batch_norm())
    with pytest.raises(ValueError, match="conv") as caught:
        net.apply(params, (state, (), ()), X, train=True)
    assert caught.value.__notes__ == ["In layer 2 of serial: conv(3, 9)"]


def test_blocks_that_are_skipped_and_repeated_keep_their_states():
    block = jnn.serial(jnn.batch_norm(), jnn.relu(), jnn.conv(4, 3, padding="same"))
    once, rolled = jnn.skip(block), jnn.repeat(jnn.skip(block), 2)
    params, state = rolled.init(KEY, X)
    y, new = jax.jit(lambda p, s: rolled.apply(p, s, X, train=True))(params, state)
    x, states = X, []
    for i in range(2):
        p, s = jax.tree.map(lambda a, i=i: a[i], (params.each, state))
        x, s = once.apply(p, s, x, train=True)
        states.append(s)
    np.testing.assert_allclose(y, x, rtol=1e-4, atol=1e-4)
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *states)
    for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(stacked), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
