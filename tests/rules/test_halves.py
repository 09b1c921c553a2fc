"""Half precisions that a CPU moves by their bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules.core import chunks
from jnn.rules.core.halves import is_widened, loop_dtype, moved, widened_once

DTYPES = [jnp.bfloat16, jnp.float16]


def test_only_halves_and_only_on_a_cpu():
    with jnn.platform("cpu"):
        assert [is_widened(d) for d in DTYPES] == [True, True]
        assert not is_widened(jnp.float32)
        assert not is_widened(jnp.int16)
        assert [loop_dtype(d) for d in (*DTYPES, jnp.int16)] == ["float32", "float32", "int16"]
    with jnn.platform("gpu"):
        assert not is_widened(jnp.bfloat16)
        assert loop_dtype(jnp.bfloat16) == jnp.bfloat16
        assert widened_once(jnp.ones(2, jnp.bfloat16)).dtype == jnp.float32


def turned(x, i):
    return jnp.pad(jnp.flip(x, 0), ((1, 0), (0, 2)))[i:, ::2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_and_slopes_are_those_of_the_move(dtype):
    """Bits have no derivative of their own: the move's is given."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), dtype)
    y, pull = jax.vjp(lambda x: moved(turned, x, 1), x)
    want, other = jax.vjp(lambda x: turned(x, 1), x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, want)
    np.testing.assert_array_equal(pull(y)[0], other(y)[0])
    dy = jax.jvp(lambda x: moved(turned, x, 1), (x,), (2 * x,))[1]
    np.testing.assert_array_equal(dy, 2 * want)


def test_second_derivatives_pass_through_loops_over_halves(monkeypatch):
    """The gradient of a squared gradient: backward bodies are differentiated again."""
    random = np.random.default_rng(0)
    x, w = (jnp.asarray(random.normal(size=s), jnp.bfloat16) for s in ((6, 5, 5, 2), (3, 3, 2, 3)))

    def curve(w):
        def loss(x, w):
            return (jnn.rules.rectified_conv(x, w, padding=1).astype(jnp.float32) ** 2).sum()

        return (jax.grad(loss)(x, w).astype(jnp.float32) ** 2).mean()

    whole = jax.grad(curve)(w)
    monkeypatch.setattr(chunks, "CACHE", 2**9)
    parts = jax.grad(lambda w: curve(w))(w)
    assert np.abs(whole.astype(np.float32)).max() > 1
    scale = np.abs(whole.astype(np.float32)).max()
    np.testing.assert_allclose(parts.astype(np.float32) / scale, whole.astype(np.float32) / scale,
                               atol=0.03)  # fmt: skip
