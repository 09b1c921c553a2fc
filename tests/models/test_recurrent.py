"""Stacks of recurrent layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnn import models, rules
from tests.draw import parameters


def test_the_last_states_of_both_ends_are_read(random):
    x = jnp.asarray(random.normal(size=(2, 5, 3)), jnp.float32)
    net = models.recurrent(4, 6, cell="gru", both=True)
    params = parameters(net, x)
    ((forth, _), (back, _)), out = params
    ends = [rules.gru(x, *forth)[0][:, -1], rules.gru(x, *back, reverse=True)[0][:, 0]]
    np.testing.assert_allclose(
        net(params, x), rules.affine(jnp.concatenate(ends, -1), *out), rtol=1e-5, atol=1e-6
    )
    mean = models.recurrent(4, 6, cell="gru", read="mean")
    expected = rules.affine(
        rules.gru(x, *forth)[0].mean(1), *(a[:6] if a.ndim == 2 else a for a in out)
    )
    given = (forth, (), out._replace(w=out.w[:6]))
    np.testing.assert_allclose(mean(given, x), expected, rtol=1e-5, atol=1e-6)


def test_the_next_token_is_told_from_those_before(random):
    net = models.recurrent(7, 5, 2, read="each", vocabulary=7, width=3, dropout=0.2)
    assert repr(net) == "serial(embedding(7, 3), lstm(5), dropout(0.2), lstm(5), dense(7))"
    tokens = jnp.asarray(random.integers(0, 7, (2, 6)), jnp.int32)
    params = parameters(net, tokens)
    logits = net(params, tokens)
    assert logits.shape == (2, 6, 7)
    other = net(params, tokens.at[:, 3].set((tokens[:, 3] + 1) % 7))
    same = np.isclose(logits, other, atol=1e-6).all((0, 2))
    assert same.tolist() == [True] * 3 + [False] * 3


def test_what_does_not_fit_is_told():
    with pytest.raises(ValueError, match=r"`cell` must be one of 'lstm', 'gru', got 'rnn'"):
        models.recurrent(4, cell="rnn")
    with pytest.raises(
        ValueError, match=r"`read` must be one of 'last', 'mean', 'each', got 'first'"
    ):
        models.recurrent(4, read="first")
    with pytest.raises(ValueError, match=r"give their number as `vocabulary`"):
        models.recurrent(4, width=8)
    with pytest.raises(TypeError, match="an integer array"):
        models.recurrent(4, vocabulary=9).init(jax.random.key(0), jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="rate"):
        models.recurrent(4, layers=2, dropout=1.5)
