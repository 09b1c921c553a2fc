"""The residual steps as layers, against Treister's gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.layers import ResidualParams
from tests.draw import parameters
from tests.golden import golden

KEY = jax.random.key(0, impl="rbg")  # Compiles faster than the default.


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("kind", ["T22", "T23"])
def test_residual_layers_have_the_documents_values_and_gradients(kind, number):
    with jax.enable_x64(True):
        given, wanted = golden(f"RES-{kind}-{number}").values()
        hidden, activation = len(given["b"]), given["activation"]
        if kind == "T22":
            net = jnn.residual(hidden, activation=activation)
        else:
            net = jnn.residual_projection(hidden, activation=activation)
        w1, b, w2 = (jnp.asarray(given[name]) for name in ("W1", "b", "W2"))
        params = ResidualParams(w1.T, b, w2.T)
        y, back = jax.vjp(net, params, jnp.asarray(given["x"][None]))
        (dw1, db, dw2), dx = back(jnp.asarray(given["v"][None]))
        np.testing.assert_allclose(y[0], wanted["y"], rtol=1e-12)
        np.testing.assert_allclose(dx[0], wanted["dx"], rtol=1e-12)
        np.testing.assert_allclose(db, wanted["db"], rtol=1e-12)
        np.testing.assert_allclose(dw1.T, wanted["dW1"], rtol=1e-12)
        np.testing.assert_allclose(dw2.T, wanted["dW2"], rtol=1e-12)


@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "gelu"])
@pytest.mark.parametrize("make", [jnn.residual, jnn.residual_projection])
def test_activations_with_settings_fit_too(make, activation):
    """They take their defaults."""
    with jax.enable_x64(True):
        x = jnp.array(np.random.default_rng(1).normal(size=(5, 3)))
        net = make(4, activation=activation)
        params = parameters(net, x)

        @jax.jit
        def gradients(params, x):
            def gradient(net):
                return jax.grad(lambda p, x: jnp.sum(net(p, x) ** 2), (0, 1))(params, x)

            return gradient(net), gradient(jnn.autodiff(net))

        ours, theirs = gradients(params, x)
        for u, v in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(u, v, rtol=1e-10, atol=1e-13)


def test_a_residual_step_without_its_second_weights_is_the_identity():
    x = np.ones((5, 3), np.float32)
    net = jnn.residual(7)
    params = parameters(net, x)
    np.testing.assert_array_equal(net(params._replace(w2=jnp.zeros((7, 3))), x), x)


def test_widths():
    def shapes(net):
        return jax.tree.map(jnp.shape, jax.eval_shape(net.init, KEY, jnp.zeros((5, 3)))[0])

    assert shapes(jnn.residual()) == ((3, 3), (3,), (3, 3))
    assert shapes(jnn.residual(7)) == ((3, 7), (7,), (7, 3))
    assert shapes(jnn.residual_projection(7)) == ((3, 7), (7,), (3, 7))


@pytest.mark.parametrize("make", [jnn.residual, jnn.residual_projection])
def test_what_is_refused(make):
    name = make.__name__
    with pytest.raises(ValueError, match=f"^{name}: .* must be a positive integer, got 0"):
        make(0)
    with pytest.raises(ValueError, match=f"^{name}: `activation` must be one of"):
        make(3, activation="rely")
    with pytest.raises(TypeError, match=f"^{name}: `weights` must be an initialiser"):
        make(3, weights="he")
    x = jnp.zeros((5, 3))
    with pytest.raises(TypeError, match=f"^{name}: `x` must be a floating array"):
        make(3).init(KEY, x.astype(complex))
    params = parameters(make(4), x)
    with pytest.raises(ValueError, match=f"^{name}: `params` must be ResidualParams of 3 units"):
        make(3)(params, x)
    with pytest.raises(ValueError, match=f"^{name}: `params` must be ResidualParams"):
        make(3)(tuple(params), x)
