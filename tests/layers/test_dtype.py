"""The dtype of parameters: that of the example, that of the setting, or float32 for integers."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from tests.draw import parameters

KEY = jax.random.key(0, impl="rbg")  # Compiles faster than the default.
TABLE = jnn.rules.Connections(np.eye(2, 4, dtype=bool) | np.eye(2, 4, 2, dtype=bool))
# A call of each constructor that has parameters, without the dtype, and the axes that it reads.
LAYERS = {
    "dense": (lambda **s: jnn.dense(3, activation="tanh", **s), 2),
    "dense, a table": (lambda **s: jnn.dense(4, connections=TABLE, order="before", **s), 2),
    "residual": (lambda **s: jnn.residual(5, **s), 2),
    "residual_projection": (lambda **s: jnn.residual_projection(5, **s), 2),
    "gated": (lambda **s: jnn.gated(5, bias=True, **s), 2),
    "radial": (lambda **s: jnn.radial(4, **s), 2),
    "conv": (lambda **s: jnn.conv(4, 3, **s), 4),
    "conv, rectified": (lambda **s: jnn.conv(4, 3, activation="relu", groups=2, **s), 4),
    "conv, fused": (
        lambda **s: jnn.serial(jnn.conv(4, 3, **s), jnn.relu(), jnn.max_pool(2)), 4
    ),
    "conv, a table": (lambda **s: jnn.conv(4, 3, connections=TABLE, **s), 4),
    "conv_transpose": (lambda **s: jnn.conv_transpose(4, 2, stride=2, **s), 4),
    "depthwise_conv": (lambda **s: jnn.depthwise_conv(3, multiplier=2, **s), 4),
    "separable_conv": (lambda **s: jnn.separable_conv(4, 3, **s), 4),
    "lstm": (lambda **s: jnn.lstm(3, **s), 3),
    "gru": (lambda **s: jnn.gru(3, keep=2, **s), 3),
    "attention": (lambda **s: jnn.attention(2, causal=True, bias=True, **s), 3),
    "learned_positions": (lambda **s: jnn.learned_positions(8, **s), 3),
    "prelu": (lambda **s: jnn.prelu(**s), 2),
    "prelu, a channel": (lambda **s: jnn.prelu(shared=False, **s), 4),
    "batch_norm": (lambda **s: jnn.batch_norm(**s), 4),
    "layer_norm": (lambda **s: jnn.layer_norm(**s), 2),
    "rms_norm": (lambda **s: jnn.rms_norm(**s), 2),
    "group_norm": (lambda **s: jnn.group_norm(2, **s), 4),
    "weighted_subsample": (lambda **s: jnn.layers.weighted_subsample(2, **s), 4),
    "weighted_subsample, cross": (lambda **s: jnn.layers.weighted_subsample(2, 3, **s), 4),
}  # fmt: skip
EVERY = pytest.mark.parametrize(("make", "axes"), LAYERS.values(), ids=LAYERS)
BY_NAME = {name: getattr(jnn.layers, name) for name in LAYERS if "," not in name}


def drawn(axes, dtype):
    """Small whole numbers, so that every dtype holds them exactly."""
    x = np.random.default_rng(3).integers(0, 2 if dtype is bool else 4, size=(2, 6, 6, 2)[-axes:])
    return x.astype(dtype)


def test_these_are_all_layers_with_parameters():
    found = set()
    for name, constructor in vars(jnn.layers).items():
        if inspect.isfunction(constructor) and name != "layer":
            settings = inspect.signature(constructor).parameters
            found |= {name} if {"weights", "centres", "dtype"} & {*settings} else set()
    assert found == {*BY_NAME, "embedding"}  # Which reads ids: integers stay what they are.
    assert all("dtype" in inspect.signature(make).parameters for make in BY_NAME.values())


def function(net, x):
    """The layer as a function of parameters and input, in evaluation, with its first state."""
    _, state = jax.eval_shape(net.init, KEY, x)
    state = jax.tree.map(lambda a: np.ones(a.shape, a.dtype), state)
    return lambda params, x: net(params, x, state)


def dtypes(tree):
    return {leaf.dtype.name for leaf in jax.tree.leaves(tree)}


@EVERY
@pytest.mark.parametrize("dtype", [np.uint8, bool])
def test_integers_are_fed_as_float32(make, axes, dtype):
    net, x = make(), drawn(axes, dtype)
    wide = jax.ShapeDtypeStruct(x.shape, jnp.float32)
    params, _ = jax.jit(net.init, static_argnums=1)(KEY, jax.ShapeDtypeStruct(x.shape, x.dtype))
    jax.tree.map(
        np.testing.assert_array_equal, params, jax.jit(net.init, static_argnums=1)(KEY, wide)[0]
    )
    assert dtypes(params) == {"float32"}
    f = function(net, x)
    y, grads = jax.jit(jax.value_and_grad(lambda p, x: f(p, x).sum()))(params, x)
    wanted, other = jax.jit(jax.value_and_grad(lambda p, x: f(p, x).sum()))(params, np.float32(x))
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@EVERY
@pytest.mark.parametrize("dtype", [jnp.bfloat16, "float16", np.dtype("float32")], ids=str)
def test_a_layer_may_have_a_dtype_of_its_own(make, axes, dtype):
    net, name = make(dtype=dtype), jnp.dtype(dtype).name
    for x in (drawn(axes, np.float32), drawn(axes, np.int8), drawn(axes, jnp.bfloat16)):
        params, _ = jax.eval_shape(net.init, KEY, x)
        assert dtypes(params) == {name}
        f = function(net, x)
        assert dtypes(jax.eval_shape(f, params, x)) == {name}
        grads = jax.eval_shape(
            jax.grad(lambda p, x, f=f: f(p, x).astype(jnp.float32).sum()), params, x
        )
        assert dtypes(grads) == {name}
    params = parameters(net, x)
    np.testing.assert_array_equal(f(params, x), f(params, x.astype(jnp.dtype(dtype))))


@EVERY
def test_without_one_floating_dtypes_are_not_mixed(make, axes):
    net = make()
    x = drawn(axes, jnp.bfloat16)
    params, _ = jax.eval_shape(net.init, KEY, x)
    assert dtypes(params) == {"bfloat16"}
    with pytest.raises((TypeError, ValueError), match="dtype"):
        jax.eval_shape(function(net, x), params, drawn(axes, np.float32))


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("dtype", [jnp.int32, "float33", complex, 32])
def test_only_floating_dtypes_are_taken(name, dtype):
    make, _ = LAYERS[name]
    called = "depthwise_conv" if name == "separable_conv" else name
    with pytest.raises(ValueError, match=rf"^{called}: `dtype` must be a floating dtype, or None"):
        make(dtype=dtype)


def test_layers_of_several_dtypes_stand_in_a_row():
    net = jnn.serial(jnn.dense(4, dtype=jnp.bfloat16), jnn.tanh(), jnn.dense(2, dtype=jnp.float32))
    x = drawn(2, np.int32)
    params = parameters(net, x)
    assert [p.w.dtype.name for p in (params[0], params[2])] == ["bfloat16", "float32"]
    assert net(params, x).dtype == jnp.float32
    assert repr(net.spec.layers[0]) == "dense(4, dtype=bfloat16)"
