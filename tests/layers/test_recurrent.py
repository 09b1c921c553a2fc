"""Layers of sequences: parameters, starts, directions, and a sequence that is learned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn

KEY = jax.random.key(0)
BOTH = pytest.mark.parametrize("name", ["lstm", "gru"])


def made(name, *args, **settings):
    net = getattr(jnn, name)(*args, **settings)
    x = jax.random.normal(KEY, (2, 5, 3))
    return net, net.init(KEY, x)[0], x


@BOTH
@pytest.mark.parametrize("reverse", [False, True])
def test_a_layer_is_its_rule_from_zeros(name, reverse):
    net, params, x = made(name, 4, reverse=reverse, keep=2)
    y, end = getattr(jnn.rules, name)(x, *params, reverse=reverse)
    np.testing.assert_allclose(net(params, x), y, rtol=1e-5, atol=1e-6)
    last = jnn.last(reverse=reverse)((), y)
    np.testing.assert_array_equal(last, end[0] if name == "lstm" else end)


@BOTH
def test_each_gate_is_drawn_for_itself(name):
    net, params, _ = made(name, 8)
    gates = 4 if name == "lstm" else 3
    assert params._fields == (("w", "r", "b") if name == "lstm" else ("w", "r", "b", "c"))
    for block in jnp.split(params.r, gates, 1):
        np.testing.assert_allclose(block.T @ block, np.eye(8), atol=1e-5)
    bound = (6 / (3 + 8)) ** 0.5  # Of a gate, not of all gates together.
    assert 0.8 * bound < float(abs(params.w).max()) <= bound
    blocks = np.split(np.asarray(params.r), gates, 1)
    assert not np.allclose(blocks[0], blocks[1])
    assert net.apply(params, (), jnp.zeros((1, 2, 3)))[1] == ()  # The hidden state is not state.


def test_the_forget_gate_is_open_at_first():
    _, params, _ = made("lstm", 2)
    assert params.b.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    _, params, _ = made("lstm", 2, forget=3.0)
    assert params.b.tolist() == [0, 0, 3, 3, 0, 0, 0, 0]


@BOTH
def test_bad_input_says_what_was_expected(name):
    net, params, x = made(name, 4)
    with pytest.raises(ValueError, match=f"{name}: `x` must be an array of rank 3"):
        net.init(KEY, x[0])
    with pytest.raises(ValueError, match=f"{name}: `params` must be .*Params of 4 units"):
        net(tuple(params), x)
    with pytest.raises(ValueError, match=f"{name}: `size` must be a positive integer"):
        getattr(jnn, name)(0)
    with pytest.raises(ValueError, match=f"{name}: `keep` must be a positive integer"):
        getattr(jnn, name)(4, keep=0)
    with pytest.raises(TypeError, match=f"{name}: `recurrent` must be an initialiser"):
        getattr(jnn, name)(4, recurrent=1.0)
    with pytest.raises(ValueError, match="last: `x` must be"):
        jnn.last()((), x[:, :0])


@BOTH
def test_a_network_remembers_what_came_first(name):
    """The sign of the first of 12 numbers, which no mean over time and no last number tells."""
    x = jax.random.normal(KEY, (128, 12, 1))
    t = (x[:, 0, 0] > 0).astype(jnp.int32)
    net = jnn.serial(getattr(jnn, name)(8), jnn.last(), jnn.dense(2))
    fit = jnn.fit(net, jnn.softmax_cross_entropy, jnn.adam(0.03), (x, t), epochs=60, batch_size=64,
                  key=KEY, progress=None)  # fmt: skip
    assert float((net(fit.params, x).argmax(-1) == t).mean()) > 0.95
