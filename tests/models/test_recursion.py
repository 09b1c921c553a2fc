"""Borasi's Jacobian recursion: his numbers, and the gradient of backpropagation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.layers import DenseParams
from jnn.models import gradient_by_jacobians, gradient_by_recursion, jacobians, mlp, part
from tests.draw import parameters
from tests.golden import golden

KEY = jax.random.key(0, impl="rbg")
GRADIENTS = pytest.mark.parametrize("gradient", [gradient_by_jacobians, gradient_by_recursion])


@pytest.fixture
def borasi():
    """B-19/20: three layers of two units on two samples, weights (out, in)."""
    with jax.enable_x64(True):
        given, wanted = golden("B-19/20").values()
        net = mlp([2, 2, 2], activation=["tanh", "tanh", "sigmoid"], order="before")
        params = tuple(
            DenseParams(jnp.asarray(w).T, jnp.asarray(b))
            for w, b in zip(given["w"], given["b"], strict=True)
        )
        yield net, params, jnp.asarray(given["f"]), jnp.asarray(given["target"]), wanted


def test_values_and_jacobians(borasi):
    net, params, x, _, wanted = borasi
    values, found = jacobians(net, params, x)
    np.testing.assert_allclose(np.stack(values, axis=1), wanted["x"], rtol=1e-12)
    np.testing.assert_allclose(np.stack(found, axis=1), wanted["J"], rtol=1e-12, atol=1e-16)


@GRADIENTS
def test_gradients(borasi, gradient):
    net, params, x, t, wanted = borasi
    np.testing.assert_allclose(jnn.squared_error(net(params, x), t).sum(), wanted["S"], rtol=1e-12)
    for (dw, db), grad_w, grad_b in zip(
        gradient(net, params, x, t), wanted["grad_w"], wanted["grad_b"], strict=True
    ):
        np.testing.assert_allclose(dw.T, grad_w, rtol=1e-12)
        np.testing.assert_allclose(db, grad_b, rtol=1e-12)


@GRADIENTS
@pytest.mark.parametrize("bias", [True, False])
def test_the_recursion_is_backpropagation(gradient, bias):
    """Widths that differ, activations with settings, and layers without biases."""
    with jax.enable_x64(True):
        x, t = jnp.array(np.random.default_rng(1).normal(size=(2, 5, 3)))
        choices = ["leaky_relu", None, "gelu"]
        net = jnn.serial(*(
            jnn.dense(n, activation=choice, order="before", bias=bias)
            for n, choice in zip((4, 2, 3), choices, strict=True)
        ))  # fmt: skip
        params = parameters(net, x)
        ours = jax.jit(lambda p: gradient(net, p, x, t))(params)
        theirs = jax.jit(jax.grad(lambda p: jnn.squared_error(net(p, x), t).sum()))(params)
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        for u, v in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(u, v, rtol=1e-11, atol=1e-14)


def test_each_jacobian_is_that_of_the_rest_of_the_network():
    """J^l is the derivative of F^{L,l}, B-14."""
    with jax.enable_x64(True):
        x = jnp.array(np.random.default_rng(1).normal(size=(5, 3)))
        net = mlp([4, 2, 3], order="before")
        params = parameters(net, x)
        values, found = jax.jit(lambda p: jacobians(net, p, x))(params)
        for layer, (value, jacobian) in enumerate(zip(values, found, strict=True)):
            rest, p = part(net, params, layer)
            by_jax = jax.jit(jax.vmap(jax.jacrev(lambda v, f=rest, p=p: f(p, v))))(value)
            np.testing.assert_allclose(jacobian, by_jax, rtol=1e-11, atol=1e-14)


def test_the_corollary_as_printed_doubles_the_weights(borasi):
    """It says 2 Phi^t grad_b with a grad_b that has the 2 already."""
    net, params, x, t, _ = borasi
    (dw, db), *_ = gradient_by_recursion(net, params, x[:1], t[:1])
    phi = jnp.tanh(x[0])
    product = np.outer(phi, np.asarray(db))
    np.testing.assert_allclose(dw, product, rtol=1e-12)
    assert not np.allclose(dw, 2 * product)


def test_sums_over_samples_come_last(borasi):
    """The corollary holds for each sample, not between sums, which it writes."""
    net, params, x, t, _ = borasi
    (w, _), value = params[2], jacobians(net, params, x).values[2]
    before, last = (np.asarray(g.b) for g in gradient_by_recursion(net, params, x, t)[1:])
    slope = jax.nn.sigmoid(value) * (1 - jax.nn.sigmoid(value))
    per_sample = 2 * (net(params, x) - t)
    np.testing.assert_allclose(((per_sample @ w.T) * slope).sum(0), before, rtol=1e-12)
    assert not np.allclose((last @ w.T) * slope.sum(0), before)


@pytest.mark.parametrize(
    "net", [mlp([3, 2]), jnn.dense(2, order="before"), jnn.serial(), jnn.serial(jnn.tanh())]
)
def test_other_networks_are_refused(net):
    with pytest.raises(ValueError, match=r'jacobians: `net` must be .* with order="before"'):
        jacobians(net, (), jnp.ones((2, 3)))


def test_inputs_are_a_batch_of_vectors():
    net = mlp([2], order="before")
    params = parameters(net, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="jacobians: `x` must be an array of rank 2"):
        jacobians(net, params, jnp.ones(3))
