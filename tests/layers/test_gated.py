"""The gated layer: LLaMA's feed-forward block and its like."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.layers import GatedParams

X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 4)), jnp.float32)


def test_it_is_llamas():
    net = jnn.gated(6)
    params, state = net.init(jax.random.key(0), X)
    assert state == ()
    assert params[3:] == (None, None, None)
    want = (jax.nn.silu(X @ params.w_gate) * (X @ params.w_up)) @ params.w_down
    np.testing.assert_allclose(net(params, X), want, rtol=1e-5, atol=1e-6)


def test_biases_and_another_gate():
    net = jnn.gated(6, activation="gelu", bias=True, biases=jnn.initialisers.constant(0.5))
    params, _ = net.init(jax.random.key(0), X)
    assert [b.shape for b in params[3:]] == [(6,), (6,), (4,)]
    gate = jax.nn.gelu(X @ params.w_gate + 0.5, approximate=False)
    want = (gate * (X @ params.w_up + 0.5)) @ params.w_down + 0.5
    np.testing.assert_allclose(net(params, X), want, rtol=1e-5, atol=1e-6)


def test_matrices_are_drawn_apart():
    params, _ = jnn.gated(4).init(jax.random.key(0), X)
    assert len({float(w.sum()) for w in params[:3]}) == 3


def test_it_trains():
    net = jnn.serial(jnn.dense(8), jnn.gated(16), jnn.dense(2))
    x, y = jnn.data.two_moons(128)
    fit = jnn.fit(net, jnn.softmax_cross_entropy, jnn.adam(1e-2), (x, y), epochs=30, progress=None)
    assert (net(fit.params, x).argmax(-1) == y).mean() > 0.95


def test_errors():
    with pytest.raises(ValueError, match="gated: `hidden` must be a positive integer, got 0"):
        jnn.gated(0)
    with pytest.raises(ValueError, match="gated: `activation` must be one of"):
        jnn.gated(3, activation="swish")
    with pytest.raises(ValueError, match="gated: `params` must be GatedParams of 3 units"):
        jnn.gated(3)(GatedParams(*[jnp.ones((4, 2))] * 3), X)
