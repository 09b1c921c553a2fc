"""Multilayer perceptrons in both conventions, and their parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.models import mlp, part
from tests.draw import parameters

KEY = jax.random.key(0, impl="rbg")
X = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)


def test_activation_after_the_affine_map(random):
    """X-115..118, H-13 by NumPy; the output's activation is its own."""
    net = mlp([4, 3, 2], activation=["tanh", "sigmoid"], output="softplus")
    params = parameters(net, X)
    x = np.asarray(X)
    functions = np.tanh, lambda z: 1 / (1 + np.exp(-z)), lambda z: np.log1p(np.exp(z))
    for (w, b), function in zip(params, functions, strict=True):
        x = function(x @ np.asarray(w) + np.asarray(b))
    np.testing.assert_allclose(net(params, X), x, rtol=1e-5)


def test_activation_before_the_affine_map():
    """B-2, B-19: the input is activated, the output is affine."""
    net = mlp([4, 3, 2], activation=["tanh", "sigmoid", "relu"], order="before")
    params = parameters(net, X)
    x = np.asarray(X)
    functions = np.tanh, lambda z: 1 / (1 + np.exp(-z)), lambda z: np.maximum(z, 0)
    for (w, b), function in zip(params, functions, strict=True):
        x = function(x) @ np.asarray(w) + np.asarray(b)
    np.testing.assert_allclose(net(params, X), x, rtol=1e-5, atol=1e-6)


def test_the_two_orders_share_parameters_and_are_one_network_shifted():
    after, before = mlp([4, 2]), mlp([4, 2], order="before")
    params, _ = after.init(KEY, X)
    again, _ = before.init(KEY, X)
    assert jax.tree.map(jnp.shape, params) == ((((3, 4)), (4,)), ((4, 2), (2,)))
    for u, v in zip(jax.tree.leaves(params), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(u, v)
    np.testing.assert_allclose(before(params, X), after(params, jnp.tanh(X)), rtol=1e-6)


def test_the_layers_print():
    assert repr(mlp([4, 2], activation="relu")) == "serial(dense(4, activation='relu'), dense(2))"
    assert repr(mlp([2], order="before")) == "serial(dense(2, activation='tanh', order='before'))"
    wide = mlp([3], output="sigmoid", weights=jnn.initialisers.he_normal)
    assert repr(wide) == "serial(dense(3, activation='sigmoid', weights=he_normal))"


@pytest.mark.parametrize("order", ["after", "before"])
def test_partial_networks_compose(order):
    """B-3..8: F^{l'',l} = F^{l'',l'} o F^{l',l}, for every l <= l' <= l''."""
    net = mlp([4, 4, 3, 2], order=order)
    params = parameters(net, X)
    values = [X]
    for inner, p in zip(net.spec.layers, params, strict=True):
        values.append(inner(p, values[-1]))
    for start in range(5):
        for middle in range(start, 5):
            first, first_params = part(net, params, start, middle)
            second, second_params = part(net, params, middle)
            reached = first(first_params, values[start])
            np.testing.assert_array_equal(reached, values[middle])
            np.testing.assert_array_equal(second(second_params, reached), values[-1])


def test_the_jacobian_of_a_composition_is_the_product():
    """B-9, T-24..26."""
    net, x = mlp([4, 2]), X[0]
    params = parameters(net, X)
    (first, p), (second, q) = part(net, params, 0, 1), part(net, params, 1)

    def jacobian(net, params, x):
        return jax.jit(jax.jacrev(lambda x: net(params, x)))(x)

    product = jacobian(second, q, first(p, x)) @ jacobian(first, p, x)
    np.testing.assert_allclose(jacobian(net, params, x), product, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bounds", [(-1, 2), (2, 1), (0, 3)])
def test_parts_that_are_not_there_raise(bounds):
    net = mlp([4, 2])
    params = parameters(net, X)
    with pytest.raises(ValueError, match=r"part: `start, stop` must be such that 0 <= start"):
        part(net, params, *bounds)
    with pytest.raises(ValueError, match=r"part: `params` must be a tuple of 2"):
        part(net, params[:1], 0, 1)
    with pytest.raises(ValueError, match=r"part: `net` must be a serial network, got dense\(2\)"):
        part(jnn.dense(2), params, 0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": []}, "`sizes` must be the number of units of at least one layer"),
        ({"sizes": [3], "order": "behind"}, "`order` must be one of 'after', 'before'"),
        ({"sizes": [3, 2], "activation": ["relu"] * 2}, "`activation` must be one .* each of 1"),
        ({"sizes": [3], "order": "before", "output": "relu"}, "`output` must be 'identity' with"),
    ],
)
def test_bad_settings_raise(arguments, message):
    with pytest.raises(ValueError, match=f"mlp: {message}"):
        mlp(**arguments)
    with pytest.raises(ValueError, match=r"dense: `n` must be a positive integer, got 2\.5"):
        mlp([3, 2.5])  # pyright: ignore[reportArgumentType]
