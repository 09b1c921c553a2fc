"""The layer of attention against its parts, and positions that are added."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn


def made(net, *arrays):
    x = arrays[0] if len(arrays) == 1 else arrays
    return net.init(jax.random.key(0), x)[0], x


def test_it_is_a_product_attention_and_a_product(random):
    x = jnp.asarray(random.normal(size=(2, 7, 16)), jnp.float32)
    net = jnn.attention(4, causal=True, window=3, key_value_heads=2, rotary=500.0, bias=True)
    params, x = made(net, x)
    params = jax.tree.map(lambda a: a + 0.1, params)
    q, k, v = (
        (x @ w + b[None, None]).reshape(2, 7, -1, 4)
        for w, b in zip(params[:3], params[4:7], strict=True)
    )
    q, k = (jnn.rules.rotary(a, jnp.arange(7), base=500.0) for a in (q, k))
    y = jnn.rules.attention(q, k, v, causal=True, window=3).reshape(2, 7, 16)
    np.testing.assert_allclose(
        net(params, x), y @ params.w_out + params.b_out[None, None], atol=1e-5
    )


def test_a_later_place_does_not_change_an_earlier_one(random):
    x = jnp.asarray(random.normal(size=(1, 6, 8)), jnp.float32)
    net = jnn.attention(2, causal=True, rotary=True)
    params, x = made(net, x)
    other = x.at[:, 4].add(1.0)
    y, z = net(params, x), net(params, other)
    np.testing.assert_allclose(y[:, :4], z[:, :4], atol=1e-6)
    assert np.abs(y[:, 4:] - z[:, 4:]).min() > 1e-6


def test_a_pair_is_answered_from_the_context(random):
    x = jnp.asarray(random.normal(size=(2, 3, 8)), jnp.float32)
    context = jnp.asarray(random.normal(size=(2, 5, 6)), jnp.float32)
    net = jnn.attention(2, size=5)
    params, pair = made(net, x, context)
    assert jax.tree.map(jnp.shape, params[:4]) == ((8, 10), (6, 10), (6, 10), (10, 8))
    y = net(params, pair)
    assert y.shape == x.shape
    # In whatever order the context stands.
    np.testing.assert_allclose(y, net(params, (x, context[:, ::-1])), atol=1e-5)


def test_dropout_leaves_places_out_in_training(random):
    x = jnp.asarray(random.normal(size=(1, 6, 8)), jnp.float32)
    net, plain = jnn.attention(2, dropout=0.5), jnn.attention(2)
    params, x = made(net, x)
    np.testing.assert_array_equal(net(params, x), plain(params, x))
    train = lambda seed: net.apply(params, (), x, key=jax.random.key(seed), train=True)[0]  # noqa: E731
    q, k, v = ((x @ w).reshape(1, 6, 2, 4) for w in params[:3])
    y = jnn.rules.attention(q, k, v, None, jax.random.key(1), rate=0.5).reshape(x.shape)
    np.testing.assert_allclose(train(1), y @ params.w_out, atol=1e-6)
    assert np.abs(train(1) - train(2)).max() > 1e-3
    with pytest.raises(ValueError, match=r"attention: `key` must be a random key in training"):
        net.apply(params, (), x, train=True)


def test_dtype_and_integers():
    x = jnp.ones((1, 3, 4), jnp.int32)
    params, _ = made(jnn.attention(2, dtype=jnp.bfloat16), x)
    assert params.w_q.dtype == jnp.bfloat16
    assert jnn.attention(2, dtype=jnp.bfloat16)(params, x).dtype == jnp.bfloat16


def test_learned_positions(random):
    x = jnp.asarray(random.normal(size=(2, 3, 4)), jnp.float32)
    net = jnn.learned_positions(5)
    params, x = made(net, x)
    np.testing.assert_allclose(net(params, x), x + params[None, :3].repeat(2, 0))
    slope = jax.grad(lambda p: net(p, x).sum())(params)
    assert slope.tolist() == [[2.0] * 4] * 3 + [[0.0] * 4] * 2
    with pytest.raises(ValueError, match="of 5 places at most"):
        net(params, jnp.ones((1, 6, 4)))


def test_sinusoidal_positions(random):
    x = jnp.asarray(random.normal(size=(2, 9, 5)), jnp.float32)
    added = np.asarray(jnn.sinusoidal_positions(base=100.0)((), x) - x)
    for place, feature in np.ndindex(9, 5):
        angle = place / 100.0 ** ((feature - feature % 2) / 5)
        expected = np.cos(angle) if feature % 2 else np.sin(angle)
        np.testing.assert_allclose(added[:, place, feature], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: jnn.attention(0), "a positive integer"),
        (lambda: jnn.attention(4, key_value_heads=3), "a divisor of 4 heads"),
        (lambda: jnn.attention(4, window=3), "Add causal=True"),
        (lambda: jnn.attention(4, rotary=0.5), "between 1 and inf"),
        (lambda: made(jnn.attention(3), jnp.ones((1, 2, 4))), "size="),
        (lambda: made(jnn.attention(2), jnp.ones((2, 4))), "a pair of such"),
        (lambda: jnn.attention(2)(jnp.ones(3), jnp.ones((1, 2, 4))), "Make them by init"),
        (lambda: jnn.learned_positions(0), "a positive integer"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
