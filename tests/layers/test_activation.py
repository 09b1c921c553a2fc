"""Activations as layers: one for every rule, with its name, its settings and its documentation."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.layers.pointwise import lift
from jnn.rules.pointwise.activation import ACTIVATIONS
from tests.golden import golden

KEY = jax.random.key(0, impl="rbg")  # Compiles faster than the default.


@pytest.mark.parametrize("name", [*ACTIVATIONS, "softmax", "log_softmax"])
def test_every_rule_has_its_layer(name):
    make, rule = getattr(jnn, name), getattr(jnn.rules, name)
    assert make is getattr(jnn.layers, name)
    assert make.__name__ == name
    assert str(inspect.getdoc(rule)) in str(inspect.getdoc(make))
    _, *settings = inspect.signature(rule.parts.definition).parameters.values()
    signature = inspect.signature(make)
    assert list(signature.parameters.values()) == settings
    assert signature.return_annotation is jnn.Layer
    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    net = make()
    assert net.init(KEY, x) == ((), ())
    np.testing.assert_array_equal(net((), x), rule(x))
    assert repr(net) == f"{name}()"


def test_settings_reach_the_rule():
    x = jnp.array([-2.0, 3.0])
    assert jnn.leaky_relu(slope=0.5)((), x).tolist() == [-1.0, 3.0]
    assert jnn.leaky_relu(slope=0.5).spec["slope"] == 0.5
    assert jnn.leaky_relu().spec["slope"] == 0.01
    with pytest.raises(ValueError, match="leaky_relu: `slope` must be between 0 and inf, got -1"):
        jnn.leaky_relu(slope=-1)((), x)


def test_a_rule_of_ones_own_becomes_a_layer():
    @jnn.rule
    def cube(x):
        return x**3

    @jnn.rules.elementwise(cube, saves="x")
    def cube_derivative(x, v):
        return 3 * x**2 * v

    net = jnn.serial(jnn.dense(2, activation=cube), lift(cube)())
    assert repr(net) == "serial(dense(2, activation=cube), cube())"
    params = ((jnn.layers.DenseParams(jnp.eye(2), jnp.ones(2))), ())
    assert net(params, jnp.array([[1.0, 0.0]])).tolist() == [[2.0**9, 1.0]]


@pytest.mark.parametrize("what", [jnp.tanh, jnn.rules.affine, "tanh"])
def test_only_rules_of_one_argument_are_lifted(what):
    with pytest.raises(TypeError, match="lift: `rule` must be a rule of one argument"):
        lift(what)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu"])
def test_gradients_vanish_through_many_layers(name):
    """X §4.5.3: of the three only relu keeps the gradient of a long chain."""
    with jax.enable_x64(True):
        given, wanted = golden("VANISH-X4.5.3").values()
        for depth, gradient in zip((1, 5, 10, 20), wanted[name], strict=True):
            net = jnn.serial(*(getattr(jnn, name)() for _ in range(depth)))
            ours = jax.grad(lambda x, net=net, n=depth: net(((),) * n, x))(given["x0"])
            np.testing.assert_allclose(ours, gradient, rtol=1e-12)
        if name == "sigmoid":
            assert wanted[name][-1] < 0.25**20 * 1.05  # Each factor is at most 1/4 ...
            assert wanted[name][-1] > 0.2**20  # ... and here close to it.


@pytest.mark.parametrize("name", ["mish", "hard_swish", "relu6", "log_sigmoid"])
def test_an_activation_is_chosen_by_name_in_layers_and_networks(name):
    x = jnp.linspace(-4.0, 4.0, 6).reshape(2, 3)
    rule = getattr(jnn.rules, name)
    params, _ = jnn.dense(2).init(KEY, x)
    named = jnn.dense(2, activation=name)
    np.testing.assert_array_equal(named(params, x), rule(jnn.dense(2)(params, x)))
    by_name, by_rule = (jnn.models.mlp([4, 2], activation=chosen) for chosen in (name, rule))
    params, _ = by_name.init(KEY, x)
    np.testing.assert_array_equal(by_name(params, x), by_rule(params, x))
