"""What a backward needs is made when it is needed: measured in the memory of compiled programs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules.core.chunks import sum_over_chunks
from jnn.xla.order import late, late_zero


def temporaries(f: Any, *args: Any) -> int:
    memory: Any = jax.jit(f).lower(*args).compile().memory_analysis()
    return memory.temp_size_in_bytes


def test_what_is_made_of_parameters_is_made_when_it_is_used():
    """Turned matrices of eight layers, of which one at a time is there."""
    x, matrices = jax.ShapeDtypeStruct((4, 256), jnp.float32), [jnp.ones((256, 256))] * 8

    def back(x, *matrices):
        for w in matrices:
            x = jnp.sin(x @ jnp.flip(late(x, w)))
        return x

    assert temporaries(back, x, *matrices) < 4 * matrices[0].nbytes


def test_sums_of_chunks_begin_when_what_is_summed_is_there():
    """Zeros of eight loops, of which one's at a time are there."""
    x, w = jax.ShapeDtypeStruct((64, 256), jnp.float32), jnp.ones((256, 256))

    def sums(x, w):
        for _ in range(8):
            x = jnp.sin(x @ w)
            x = x @ sum_over_chunks(lambda a: a.T @ a, (x,), 8)
        return x

    assert temporaries(sums, x, w) < 4 * w.nbytes


def test_a_residual_network_keeps_three_images_a_block():
    """Two convolutions' values and the sum, rectified; XLA alone would add what is normalised."""
    net = jnn.models.resnet(4, widths=(32,), steps=2, norm="batch")
    x = jax.ShapeDtypeStruct((64, 32, 32, 3), jnp.float32)
    params, state = jax.eval_shape(net.init, jax.random.key(0), x)

    def loss(params, state, x):
        return net.apply(params, state, x, train=True)[0].sum()

    image = 64 * 32 * 32 * 32 * 4
    assert temporaries(jax.grad(loss), params, state, x) < (2 + 2 * 3 + 4) * image


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_nothing_changes(name):
    x = jnp.array([-0.0, 0.0, jnp.nan, jnp.inf, 1e-30])
    for delta in (jnp.full(2, jnp.nan), jnp.full((1, 2), -jnp.inf), jnp.ones((0, 3))):
        with jnn.platform(name):
            np.testing.assert_array_equal(np.signbit(late(delta, x)), np.signbit(x))
            np.testing.assert_array_equal(late(delta, x), x)
    assert late_zero(jnp.arange(3), jnp.float32) == 0


def test_a_pull_back_can_be_transposed():
    """It is linear in the cotangent, for JAX too."""
    x, w = jnp.ones((2, 4, 4, 1)), jnp.ones((3, 3, 1, 2))
    y, pull = jax.vjp(jnn.rules.conv, x, w)
    (back,) = jax.linear_transpose(pull, y)((x, jnp.zeros_like(w)))
    np.testing.assert_allclose(back, y, rtol=1e-6)  # <dx, x> = <delta, x * w>
