"""The layer of dropout: chance in training alone, and never without a key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn

KEY = jax.random.key(3)


def test_evaluation_is_the_identity_and_needs_no_key():
    net, x = jnn.dropout(0.5), jnp.ones((4, 5))
    params, state = net.init(KEY, x)
    assert (params, state) == ((), ())
    np.testing.assert_array_equal(net(params, x), x)
    np.testing.assert_array_equal(net.apply(params, state, x, key=KEY)[0], x)


def test_training_is_the_rule():
    net, x = jnn.dropout(0.3), jnp.ones((4, 5))
    y, state = net.apply((), (), x, key=KEY, train=True)
    assert state == ()
    np.testing.assert_array_equal(y, jnn.rules.dropout(x, KEY, rate=0.3))


def test_training_without_a_key_says_what_would_be_right():
    net, x = jnn.serial(jnn.dense(3), jnn.dropout(0.3)), jnp.ones((4, 5))
    params, state = net.init(KEY, x)
    with pytest.raises(ValueError, match="dropout: `key` must be a random key in training") as info:
        net.apply(params, state, x, train=True)
    assert "net.apply(params, state, x, key=key, train=True)" in str(info.value)
    assert "In layer 1 of serial: dropout(0.3)" in info.value.__notes__


def test_layers_draw_apart():
    net, x = jnn.serial(jnn.dropout(0.5), jnn.dropout(0.5)), jnp.ones((64, 64))
    first, _ = jnn.dropout(0.5).apply((), (), x, key=jax.random.fold_in(KEY, 0), train=True)
    both, _ = net.apply(((), ()), (), x, key=KEY, train=True)
    assert 0.2 < (both != 0).mean() < 0.3  # Half of a half, not the same half.
    assert ((both != 0) <= (first != 0)).all()


@pytest.mark.parametrize("rate", [-1, 2, "0.5"])
def test_a_bad_rate(rate):
    with pytest.raises((ValueError, TypeError), match="dropout: `rate` must be"):
        jnn.dropout(rate)


def test_an_array_was_meant_for_the_rule():
    with pytest.raises(TypeError, match=r"the function of arrays is\s+jnn.rules.dropout"):
        jnn.dropout(jnp.ones(3), KEY)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("drawn", [False, True])
def test_keys_that_nobody_draws_from_cost_nothing(drawn):
    net = jnn.serial(jnn.dense(3), jnn.dropout(0.5) if drawn else jnn.relu(), jnn.dense(2))
    params, state = net.init(KEY, jnp.ones((4, 5)))

    @jax.jit
    def apply(x, key):
        return net.apply(params, state, x, key=jax.random.fold_in(key, 1), train=True)[0]

    program = str(apply.lower(jnp.ones((4, 5)), KEY).compile().as_text())
    assert (" xor(" in program) == drawn
