"""Neighbours that one rule computes: the same network, another program."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.layers import Layer, Spec
from jnn.layers.combinators.stages import stages
from jnn.layers.core.layer import pure
from tests.draw import parameters

X = np.random.default_rng(1).normal(size=(4, 9, 9, 2)).astype(np.float32)
KEY = jax.random.key(0, impl="rbg")  # Compiles faster than the default.
HALF = jnn.initialisers.normal(0.5)


def apart(net: Layer) -> Layer:
    """The same layers one after the other, each called by itself."""
    layers = net.spec.layers

    def apply(params: Any, x: Any) -> Any:
        for inner, p in zip(layers, params, strict=True):
            x = (apart(inner) if inner.spec.name == "serial" else inner)(p, x)
        return x

    return Layer(net.init, pure(apply), Spec("apart"))


def rules_of(net: Layer, x: Any = X) -> list[str]:
    """The rules that the program calls, without the identities."""
    params, _ = jax.eval_shape(lambda: net.init(KEY, x))

    eqns = jax.make_jaxpr(lambda p, x: net(p, x))(params, x).eqns
    calls = [eqn for eqn in eqns if eqn.primitive.name == "custom_vjp_call"]
    names = [str(eqn.source_info.name_stack).split("/")[-1] for eqn in calls]
    return [name for name in names if name != "identity"]


CONV = jnn.conv(5, 3, biases=HALF)
FUSED = {
    "conv, relu, max_pool": [CONV, jnn.relu(), jnn.max_pool(2)],
    "conv, relu": [CONV, jnn.relu()],
    "conv with relu, max_pool": [jnn.conv(5, 3, activation="relu"), jnn.max_pool(2)],
    "the rule as activation": [jnn.conv(5, 3, activation=jnn.rules.relu), jnn.max_pool(3)],
    "settings": [
        jnn.conv(4, (3, 2), stride=2, padding=1, rest="drop", groups=2, bias=False),
        jnn.relu(),
        jnn.max_pool((2, 1)),
    ],
    "a stride that tiles": [CONV, jnn.relu(), jnn.max_pool(2, stride=(2, 2), padding=0)],
}


@pytest.mark.parametrize("layers", FUSED.values(), ids=FUSED)
def test_a_rectified_convolution_is_one_rule_with_the_same_numbers(layers):
    net = jnn.serial(*layers)
    assert rules_of(net) == ["rectified_conv"]
    assert len(rules_of(apart(net))) == len(layers)
    params = parameters(net, X)

    @jax.jit
    def both(params, x):
        found = []
        for f in (net, apart(net)):
            y, back = jax.vjp(f, params, x)
            found.append((y, back(jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))))
        return found

    (y, grads), (wanted, others) = both(params, X)
    assert 0 < (y > 0).mean() <= 1
    np.testing.assert_array_equal(y, wanted)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(others), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


WIDE = jnn.rules.Connections(np.ones((2, 5), bool))
APART = {
    "another activation": ([jnn.conv(5, 3), jnn.tanh(), jnn.max_pool(2)], 3),
    "an activation before": ([jnn.conv(5, 3, activation="tanh"), jnn.relu()], 3),
    "nothing between": ([CONV, jnn.max_pool(2)], 2),
    "a table": ([jnn.conv(5, 3, connections=WIDE), jnn.relu(), jnn.max_pool(2)], 3),
    "something between": ([CONV, jnn.identity(), jnn.relu()], 2),
    "another layer": ([jnn.depthwise_conv(3), jnn.relu()], 2),
}


@pytest.mark.parametrize(("layers", "count"), APART.values(), ids=APART)
def test_what_the_rule_does_not_compute_stays_apart(layers, count):
    names = rules_of(jnn.serial(*layers))
    assert "rectified_conv" not in names
    assert len(names) == count


POOLS = {
    "overlapping": jnn.max_pool(3, stride=2),
    "padded": jnn.max_pool(2, padding="same"),
    "shared among equals": jnn.max_pool(2, ties="split"),
    "strict": jnn.max_pool(7, rest="error"),
    "means": jnn.mean_pool(2),
}


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_other_pooling_leaves_the_rectified_convolution(pool):
    assert rules_of(jnn.serial(CONV, jnn.relu(), pool)) == ["rectified_conv", pool.spec.name]


def test_a_layer_of_the_same_name_is_another():
    @jnn.layer
    def relu():
        return jnn.identity().init, pure(lambda params, x: -x)

    def init(key, x):
        return (), ()

    mine = Layer(init, pure(lambda params, x: x), Spec("conv"))
    assert rules_of(jnn.serial(CONV, relu())) == ["conv"]
    assert rules_of(jnn.serial(mine, jnn.relu(), jnn.max_pool(2))) == ["relu", "max_pool"]


NET = jnn.serial(
    jnn.conv(3, 3, padding="same"), jnn.relu(),
    jnn.serial(jnn.conv(4, 3, padding=1), jnn.relu(), jnn.max_pool(2)),
    jnn.parallel(jnn.identity(), jnn.serial(jnn.conv(4, 1), jnn.relu(), jnn.conv(4, 1)),
                 combine="sum"),
    jnn.relu(), jnn.flatten(), jnn.dense(3),
)  # fmt: skip


def test_networks_inside_are_fused_inside():
    assert rules_of(NET) == [
        "rectified_conv", "rectified_conv", "rectified_conv", "conv", "relu", "affine"
    ]  # fmt: skip
    across = jnn.serial(jnn.serial(CONV), jnn.relu())
    assert rules_of(across) == ["conv", "relu"]


def test_residual_networks_are_fused_inside():
    net = jnn.models.resnet(widths=(4,), steps=2)
    names = rules_of(net, jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32))
    assert names.count("rectified_conv") == 3
    assert names.count("conv") == 2
    assert "relu" not in names


def test_nothing_shows_but_the_program():
    params, state = NET.init(KEY, X)
    for i in (0, 2, 3):
        alone, _ = NET.spec.layers[i].init(
            jax.random.fold_in(KEY, i),
            jax.eval_shape(jnn.serial(*NET.spec.layers[:i]), params[:i], X),
        )
        jax.tree.map(np.testing.assert_array_equal, params[i], alone)
    assert [p for i, p in enumerate(params) if i not in (0, 2, 3, 6)] == [(), (), ()]
    assert state == ()
    names = ["0.conv", "1.relu", "2.serial/0.conv", "2.serial/1.relu", "2.serial/2.max_pool",
             "3.parallel", "4.relu", "5.flatten", "6.dense"]  # fmt: skip
    assert [name for name, *_ in stages(NET, params)] == names
    y = np.zeros((4, 3), np.float32)
    assert list(jnn.deltas(NET, params, X, y)) == ["input", *names]
    rows = jnn.summary(NET, X).rows
    assert [row.layer for row in rows[:5]] == [
        "conv(3, 3, padding='same')", "relu()", "conv(4, 3, padding=1)", "relu()", "max_pool(2)"
    ]  # fmt: skip
    assert repr(NET).startswith("serial(conv(3, 3, padding='same'), relu(), serial(conv(4, 3")
    text = jax.jit(NET).lower(params, X).as_text(debug_info=True)
    assert "0.conv/rectified_conv" in text
    assert "2.serial/0.conv/rectified_conv" in text


@pytest.mark.parametrize("mode", ["autodiff", "forward"])
def test_the_other_modes_give_the_same(mode):
    with jax.enable_x64(True):
        params, x = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (parameters(NET, X), X))

        def gradient(p, x):
            return jax.grad(lambda p, x: jnp.sin(NET(p, x)).sum(), (0, 1))(p, x)

        by_hand = jax.jit(gradient)(params, x)
        with jnn.derivatives(mode):
            other = jax.jit(gradient)(params, x)
        for a, b in zip(jax.tree.leaves(by_hand), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_autodiff_sees_the_same_program():
    net = jnn.serial(CONV, jnn.relu(), jnn.max_pool(2))
    params = parameters(net, X)

    def text(f):
        return str(jax.make_jaxpr(jnn.autodiff(jax.grad(lambda p: f(p, X).sum())))(params))

    assert text(net) == text(apart(net))


def test_an_error_is_that_of_the_layer_at_fault():
    net = jnn.serial(CONV, jnn.relu(), jnn.max_pool(8))
    params = parameters(jnn.serial(CONV, jnn.relu()), X)
    with pytest.raises(
        ValueError, match=r"^max_pool: `window` must be at most the image"
    ) as caught:
        net((*params, ()), X)
    assert caught.value.__notes__ == ["In layer 2 of serial: max_pool(8)"]
    with pytest.raises(ValueError, match=r"^conv: `params` must be ConvParams") as caught:
        net(((), (), ()), X)
    assert caught.value.__notes__ == ["In layer 0 of serial: conv(5, 3, biases=normal(0.5))"]
    with pytest.raises(ValueError, match=r"^conv: `w` must be of shape") as caught:
        net((*params, ()), X[..., :1])
    assert caught.value.__notes__ == ["In layer 0 of serial: conv(5, 3, biases=normal(0.5))"]


def test_state_goes_through():
    net = jnn.serial(CONV, jnn.relu(), jnn.max_pool(2))
    params, state = parameters(net, X), ((), (), ())
    y, new = net.apply(params, state, X, key=KEY, train=True)
    assert new == ()
    np.testing.assert_array_equal(y, net(params, X))


def test_the_natural_spelling_is_that_of_the_models():
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    for net in (jnn.models.modern_lenet(), jnn.models.vgg()):
        names = rules_of(net, images)
        convolutions = [inner for inner in net.spec.layers if inner.spec.name == "conv"]
        assert names.count("rectified_conv") == len(convolutions)
        assert not {"conv", "max_pool"} & {*names}


def test_what_was_a_setting_says_how_it_is_written():
    with pytest.raises(TypeError, match=r"'pool'. Write serial\(conv\(...\), relu\(\), max_pool"):
        jnn.conv(3, 3, pool=2)  # pyright: ignore[reportCallIssue]
