"""The layer of embedding: tokens in, rows out, and a table that is trained."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn

KEY = jax.random.key(0)
TOKENS = jnp.array([[5, 17, 99], [3, -1, -1]])


def test_rows_of_the_table():
    net = jnn.embedding(100, 8, padding=-1)
    params, state = net.init(KEY, TOKENS)
    assert state == ()
    assert (params.w.shape, params.w.dtype) == ((100, 8), jnp.float32)
    y = net(params, TOKENS)
    np.testing.assert_array_equal(y[0], params.w[TOKENS[0]])
    np.testing.assert_array_equal(y[1, 1:], jnp.zeros((2, 8)))
    assert 0.9 < params.w.std() < 1.1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_dtype_of_its_own(dtype):
    net = jnn.embedding(10, 4, dtype=dtype)
    params, _ = net.init(KEY, jax.ShapeDtypeStruct((2, 3), jnp.int32))
    assert params.w.dtype == dtype
    assert net(params, jnp.zeros((2, 3), jnp.int32)).dtype == dtype


def test_fit_trains_the_rows_that_are_read():
    """Sequences of tokens below 8 of 10: class 1 where the first token is odd."""
    x = np.random.default_rng(0).integers(0, 8, (256, 3)).astype(np.int32)
    y = x[:, 0] % 2
    net = jnn.serial(jnn.embedding(10, 4), jnn.flatten(), jnn.dense(2))
    params, _ = net.init(KEY, x)
    fit = jnn.fit(net, jnn.softmax_cross_entropy, jnn.adam(0.05), (x, y), params=params, epochs=15,
                  batch_size=32, metrics="accuracy", progress=None)  # fmt: skip
    assert fit.history["accuracy"][-1] > 0.95
    moved = abs(fit.params[0].w - params[0].w).max(-1)
    assert (moved[:8] > 0).all()
    assert (moved[8:] == 0).all()


@pytest.mark.parametrize("x", [jnp.ones((2, 3)), jnp.ones((2, 3), bool)])
def test_tokens_are_integers(x):
    with pytest.raises(TypeError, match="embedding: `x` must be an integer array"):
        jnn.embedding(10, 4).init(KEY, x)
    with pytest.raises(TypeError, match="embedding: `ids` must be an integer array"):
        jnn.embedding(10, 4)(jnn.layers.EmbeddingParams(jnp.ones((10, 4))), x)


def test_settings_and_parameters_are_checked():
    bad: Any = ((0, 4), (10, 0), (10.5, 4))
    half: Any = 0.5
    for settings in bad:
        with pytest.raises(ValueError, match="must be a positive integer"):
            jnn.embedding(*settings)
    with pytest.raises(ValueError, match="`padding` must be None or an integer"):
        jnn.embedding(10, 4, padding=half)
    with pytest.raises(ValueError, match="`params` must be EmbeddingParams of 10 rows of 4"):
        jnn.embedding(10, 4)(jnn.layers.EmbeddingParams(jnp.ones((9, 4))), TOKENS)


def test_an_array_was_meant_for_the_rule():
    with pytest.raises(TypeError, match=r"the function of arrays is\s+jnn.rules.embedding"):
        jnn.embedding(TOKENS, jnp.ones((10, 4)))  # pyright: ignore[reportArgumentType]
