"""Mixed precision: what is computed in half, and what never is."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.train import Stream, mixed
from tests.train.test_fit import NET, X, Y

STEPS, DECAY = 600, 0.99
ONES = jnp.ones_like(jnp.asarray(X))


@jnn.layer
def average():
    """Keeps the running mean of its input as its state, and passes the input on."""

    def init(key, x):
        return (), jnp.zeros(x.shape[-1], jnp.float32)

    def apply(params, state, x, *, key=None, train=False):
        mean = x.mean(0).astype(state.dtype)
        return x, jnp.asarray(DECAY, state.dtype) * state + (
            jnp.asarray(1 - DECAY, state.dtype) * mean
        )

    return init, apply


def fit(settings, data) -> Any:
    net, loss, optimizer = jnn.serial(average(), NET), jnn.softmax_cross_entropy, jnn.gd(0.0)
    return jnn.fit(net, loss, optimizer, data, steps=STEPS, **settings)


def fit_many(settings, data) -> Any:
    net, loss, optimizer = jnn.serial(average(), NET), jnn.softmax_cross_entropy, jnn.gd(0.0)
    return jnn.fit_many(net, loss, optimizer, data, epochs=STEPS, members=2, **settings)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", ["fit", "fit_many", "stream"])
def test_a_running_average_keeps_its_updates(kind, dtype):
    """In bfloat16 it would stop at 0.8, in float16 at 0.98: a hundredth of the rest is rounded."""
    settings = {"batch_size": len(X), "precision": mixed(dtype), "progress": None}
    if kind == "stream":
        found = fit(settings, Stream(lambda epoch: [(np.asarray(ONES), Y)] * 50))
    else:
        found = {"fit": fit, "fit_many": fit_many}[kind](settings, (ONES, Y))
    state = found.state[0]
    assert state.dtype == jnp.float32
    np.testing.assert_allclose(state, 1 - DECAY**STEPS, rtol=1e-3)
