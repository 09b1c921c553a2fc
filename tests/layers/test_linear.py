"""The dense layer against the documents' numbers, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.layers import DenseParams
from tests.draw import parameters
from tests.golden import golden

KEY = jax.random.key(0, impl="rbg")  # Compiles faster than the default.


def params_of(w, b) -> DenseParams:
    """From the documents' (out, in)."""
    return DenseParams(jnp.asarray(w).T, jnp.asarray(b))


@pytest.mark.parametrize("case", ["DENSE-0", "DENSE-1", "DENSE-2", "DENSE-3"])
def test_dense_has_the_documents_values_and_gradients(case):
    with jax.enable_x64(True):
        given, wanted = golden(case).values()
        net = jnn.dense(len(given["b"]), activation=given["activation"])
        y, back = jax.vjp(net, params_of(given["W"], given["b"]), jnp.asarray(given["x"][None]))
        (dw, db), dx = back(jnp.asarray(given["v"][None]))
        np.testing.assert_allclose(y[0], wanted["y"], rtol=1e-12)
        np.testing.assert_allclose(dw.T, wanted["dW"], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(db, wanted["db"], rtol=1e-12)
        np.testing.assert_allclose(dx[0], wanted["dx"], rtol=1e-12)


def test_the_worked_network_of_xu():
    """X-86..114, for the loss with the half. X-94 is printed with a wrong sign: -1.105817."""
    with jax.enable_x64(True):
        given, wanted = golden("X-86..114").values()
        hidden = jnn.dense(3, activation="sigmoid")
        net = jnn.serial(hidden, jnn.dense(1, bias=False))
        params = (
            params_of(given["W"], given["b"]),
            DenseParams(jnp.array(given["U"])[:, None], None),
        )
        x = jnp.asarray(given["x"])[None]
        np.testing.assert_allclose(hidden(params[0], x)[0], wanted["a"], rtol=1e-14)
        np.testing.assert_allclose(net(params, x), [[wanted["yhat"]]], rtol=1e-14)

        def loss(params, x):
            return 0.5 * jnp.sum((net(params, x) - given["y"]) ** 2)

        np.testing.assert_allclose(loss(params, x), wanted["loss_half"], rtol=1e-12)
        ((dw, db), (du, _)), dx = jax.grad(loss, (0, 1))(params, x)
        np.testing.assert_allclose(dw.T, wanted["dW"], rtol=1e-12)
        np.testing.assert_allclose(db, wanted["db"], rtol=1e-12)
        np.testing.assert_allclose(du[:, 0], wanted["dU"], rtol=1e-12)
        np.testing.assert_allclose(dx[0], wanted["dx"], rtol=1e-12)
        saliency = jax.grad(lambda x: net(params, x).sum())(x)
        np.testing.assert_allclose(saliency[0], wanted["dyhat_dx"], rtol=1e-12)


def test_logistic_regression_on_fixed_features():
    """D-15..16: a dense layer on monomials, squared loss."""
    with jax.enable_x64(True):
        given, wanted = golden("D-15").values()
        a, b = given["X_rows"].T
        features = np.stack([a, b, a**2, a * b, b**2], axis=1)
        np.testing.assert_allclose(features, wanted["phi"])
        net = jnn.dense(1, activation="sigmoid")
        params = DenseParams(jnp.array(given["w"])[:, None], jnp.array([given["b"]]))
        x, y = jnp.asarray(features), jnp.asarray(given["y"])
        np.testing.assert_allclose(net(params, x)[:, 0], wanted["p"], rtol=1e-12)
        value, (dw, db) = jax.value_and_grad(lambda p: jnp.sum((net(p, x)[:, 0] - y) ** 2))(params)
        np.testing.assert_allclose(value, wanted["loss"], rtol=1e-12)
        np.testing.assert_allclose(dw[:, 0], wanted["dw"], rtol=1e-12)
        np.testing.assert_allclose(db[0], wanted["db"], rtol=1e-12)


def test_shared_parameters_get_the_sum_of_their_gradients(random):
    """D-34: W_(ab)(cd) = Omega_ac 1_bd, b_(ab) = B_a, against one product along the first axis."""
    with jax.enable_x64(True):
        a, b, c = 3, 4, 2
        omega, shift = jnp.array(random.normal(size=(a, c))), jnp.array(random.normal(size=a))
        x = jnp.array(random.normal(size=(5, c, b)))
        net = jnn.dense(a * b, activation="tanh")

        def structured(omega, shift):
            weights = jnp.einsum("ac,bd->abcd", omega, jnp.eye(b)).reshape(a * b, c * b)
            params = DenseParams(weights.T, jnp.repeat(shift, b))
            return jnp.sum(net(params, x.reshape(5, c * b)) ** 3)

        def direct(omega, shift):
            y = jnp.tanh(jnp.einsum("ac,ncb->nab", omega, x) + shift[None, :, None])
            return jnp.sum(y**3)

        ours = jax.jit(jax.value_and_grad(structured, (0, 1)))(omega, shift)
        theirs = jax.jit(jax.value_and_grad(direct, (0, 1)))(omega, shift)
        for u, v in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(u, v, rtol=1e-12)


def test_both_orders_are_one_map_shifted():
    """Activating before is activating after the layer in front."""
    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    before = jnn.dense(4, activation="tanh", order="before")
    params = parameters(before, x)
    np.testing.assert_allclose(
        before(params, x), jnn.serial(jnn.tanh(), jnn.dense(4))(((), params), x)
    )


def test_any_number_of_batch_axes():
    x = np.random.default_rng(1).normal(size=(2, 5, 6, 3)).astype(np.float32)
    net = jnn.dense(4)
    params = parameters(net, x)
    np.testing.assert_allclose(
        net(params, x).reshape(60, 4), net(params, x.reshape(60, 3)), rtol=1e-6
    )


def test_a_layer_without_biases_has_none():
    params = parameters(jnn.dense(4, bias=False), jnp.zeros((2, 3)))
    assert params.b is None
    assert len(jax.tree.leaves(params)) == 1


def test_initialisers_and_keys():
    x = jnp.zeros((2, 30))
    normal = jnn.initialisers.normal(1.0)
    params, _ = jnn.dense(30, weights=normal, biases=normal).init(KEY, x)
    assert abs(np.corrcoef(params.w[0], params.b)[0, 1]) < 0.9  # Not the same numbers twice.
    like_jax, _ = jnn.dense(4, weights=jax.nn.initializers.he_normal()).init(KEY, x)
    assert like_jax.w.shape == (30, 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "`n` must be a positive integer, got 0"),
        ({"n": 2.0}, "`n` must be a positive integer, got 2.0"),
        ({"n": True}, "`n` must be a positive integer, got True"),
        ({"n": 2, "activation": "rely"}, "`activation` must be one of .*'relu'.* got 'rely'"),
        ({"n": 2, "activation": jnp.tanh}, "`activation` must be a name or an elementwise rule"),
        ({"n": 2, "order": "first"}, "`order` must be one of 'after', 'before', got 'first'"),
        ({"n": 2, "weights": 0.1}, "`weights` must be an initialiser .* got 0.1"),
        ({"n": 2, "biases": None}, "`biases` must be an initialiser .* got None"),
    ],
)
def test_bad_settings_raise_at_construction(settings, message):
    with pytest.raises((ValueError, TypeError), match=f"^dense: {message}"):
        jnn.dense(**settings)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((8, 3), complex), r"`x` must be a floating array, got complex64\[8,3\]"),
        (np.float32(1), r"`x` must be an array with its features on the last axis, got float32"),
        ((np.zeros(3), np.zeros(3)), r"`x` must be an array with its features on the last axis"),
    ],
)
def test_bad_examples_raise_at_init(x, message):
    with pytest.raises((ValueError, TypeError), match=f"^dense: {message}"):
        jnn.dense(2).init(KEY, x)


@pytest.mark.parametrize(
    "params",
    [(), (jnp.zeros((3, 2)), jnp.zeros(2)), DenseParams(jnp.zeros((3, 4)), jnp.zeros(4))],
    ids=["none", "tuple", "another width"],
)
def test_params_of_another_layer_raise(params):
    with pytest.raises(ValueError, match=r"^dense: `params` must be DenseParams of 2 units, got"):
        jnn.dense(2)(params, jnp.zeros((8, 3)))


def test_an_input_of_another_width_raises():
    params = parameters(jnn.dense(2), jnp.zeros((8, 3)))
    with pytest.raises(ValueError, match=r"`x` must be of shape \(..., 3\).* got float32\[8,5\]"):
        jnn.dense(2)(params, jnp.zeros((8, 5)))
