"""Every layer's delta, against the documents' recursions by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from tests.draw import parameters
from tests.golden import golden

KEY = jax.random.key(0, impl="rbg")


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_deltas_follow_the_recursion(x64, random):
    """X-115..124 and H-14..25; X-119..122 are printed with W^l for W^{l+1}."""
    net = jnn.serial(
        jnn.dense(4), jnn.sigmoid(), jnn.serial(jnn.dense(3), jnn.sigmoid()), jnn.dense(2)
    )
    x, y = random.normal(size=(5, 3)), random.normal(size=(5, 2))
    params = parameters(net, x)
    found = jax.jit(lambda *args: jnn.deltas(net, *args))(params, x, y)
    assert list(found) == [
        "input", "0.dense", "1.sigmoid", "2.serial/0.dense", "2.serial/1.sigmoid", "3.dense",
    ]  # fmt: skip

    (w1, b1), _, ((w2, b2), _), (w3, b3) = jax.tree.map(np.asarray, params)
    a1 = sigmoid(x @ w1 + b1)
    a2 = sigmoid(a1 @ w2 + b2)
    delta3 = a2 @ w3 + b3 - y  # H-20..23: linear output, half square
    delta2 = (delta3 @ w3.T) * a2 * (1 - a2)  # X-120 with W^{l+1}
    delta1 = (delta2 @ w2.T) * a1 * (1 - a1)
    expected = {
        "3.dense": delta3,
        "2.serial/1.sigmoid": delta3 @ w3.T,
        "2.serial/0.dense": delta2,
        "1.sigmoid": delta2 @ w2.T,
        "0.dense": delta1,
        "input": delta1 @ w1.T,
    }
    for name, delta in expected.items():
        np.testing.assert_allclose(found[name], delta, rtol=1e-12)

    grads = jax.jit(jax.grad(lambda p: jnn.half_squared_error(net(p, x), y).sum()))(params)
    np.testing.assert_allclose(grads[3].w, a2.T @ delta3, rtol=1e-12)
    np.testing.assert_allclose(grads[2][0].w, a1.T @ delta2, rtol=1e-12)
    np.testing.assert_allclose(grads[0].w, x.T @ delta1, rtol=1e-12)
    np.testing.assert_allclose(grads[0].b, delta1.sum(0), rtol=1e-12)


def test_the_worked_network_of_xu(x64):
    given, wanted = golden("X-86..114").values()
    net = jnn.serial(jnn.dense(3), jnn.sigmoid(), jnn.dense(1, bias=False))
    params = (
        jnn.layers.DenseParams(jnp.asarray(given["W"]).T, jnp.asarray(given["b"])),
        (),
        jnn.layers.DenseParams(jnp.asarray(given["U"])[:, None], None),
    )
    x, y = jnp.asarray(given["x"])[None], jnp.array([[given["y"]]])
    found = jnn.deltas(net, params, x, y)
    np.testing.assert_allclose(found["2.dense"], [[wanted["dl_dyhat_half"]]], rtol=1e-12)
    np.testing.assert_allclose(found["0.dense"], [wanted["db"]], rtol=1e-12)
    np.testing.assert_allclose(found["input"], [wanted["dx"]], rtol=1e-12)
    whole = jnn.deltas(net, params, x, y, loss=jnn.squared_error)
    np.testing.assert_allclose(whole["0.dense"], [2 * wanted["db"]], rtol=1e-12)


def test_softmax_cross_entropy_starts_with_the_error(x64, random):
    """H-30: delta = y - t on the logits, whatever comes before."""
    net, labels = jnn.models.mlp([4, 3]), jnp.array([0, 2, 1, 2, 0])
    x = jnp.array(random.normal(size=(5, 3)))
    params = parameters(net, x)
    found = jax.jit(lambda p: jnn.deltas(net, p, x, labels, loss=jnn.softmax_cross_entropy))(params)
    z = np.exp(net(params, x))
    expected = z / z.sum(1, keepdims=True) - np.eye(3)[labels]
    np.testing.assert_allclose(found["1.dense"], expected, rtol=1e-12)


def test_deltas_are_those_of_each_sample_alone(x64, random):
    net = jnn.models.mlp([4, 2])
    x, y = jnp.array(random.normal(size=(5, 3))), jnp.array(random.normal(size=(5, 2)))
    params = parameters(net, x)
    deltas = jax.jit(lambda *args: jnn.deltas(net, params, *args))
    together, alone = deltas(x, y), deltas(x[2:3], y[2:3])
    for name, delta in alone.items():
        np.testing.assert_allclose(together[name][2:3], delta, rtol=1e-12)


def test_a_single_layer_and_many_outputs(x64):
    x = jnp.ones((4, 3))
    assert set(jnn.deltas(jnn.tanh(), (), x, 0 * x)) == {"input", "tanh"}
    net = jnn.parallel(jnn.identity(), jnn.tanh())
    found = jnn.deltas(net, ((), ()), x, 0 * x, loss=lambda two, t: jnn.squared_error(two[1], t))
    np.testing.assert_array_equal(found["parallel"][0], 0 * x)
    np.testing.assert_allclose(found["input"], 2 * np.tanh(1) * (1 - np.tanh(1) ** 2) * x)


def test_deltas_under_jit_and_every_mode(x64):
    net, x = jnn.models.mlp([4, 2]), jnp.ones((5, 3))
    params = parameters(net, x)
    y = jnp.zeros((5, 2))
    deltas = jax.jit(lambda p: jnn.deltas(net, p, x, y))
    by_hand = jnn.deltas(net, params, x, y)
    for mode in ("backward", "forward", "autodiff"):
        with jnn.derivatives(mode):
            for name, delta in deltas(params).items():
                np.testing.assert_allclose(delta, by_hand[name], rtol=1e-12)
