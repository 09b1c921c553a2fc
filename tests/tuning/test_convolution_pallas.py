"""The kernel against XLA's convolution, in the interpreter; and that it compiles for a GPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules.convolution.geometry import Geometry
from jnn.rules.convolution.products import value
from jnn.rules.convolution.ways.pallas import convolve, suits_gpu

PADDING = ((1, 1), (1, 1))


@pytest.mark.parametrize(
    ("image", "window", "padding"),
    [
        ((2, 6, 6, 3), (3, 3, 3, 4), ((0, 0), (0, 0))),
        ((2, 9, 7, 2), (3, 2, 2, 3), ((1, 1), (0, 1))),
        ((1, 12, 11, 1), (5, 5, 1, 2), ((2, 2), (2, 2))),
    ],
)
@pytest.mark.parametrize("tiles", [1, 8])
def test_values(random, image, window, padding, tiles):
    x = jnp.asarray(random.normal(size=image), jnp.float32)
    w = jnp.asarray(random.normal(size=window), jnp.float32)
    z = convolve(x, w, padding=padding, tiles=tiles, interpret=True)
    np.testing.assert_allclose(z, jnn.rules.conv(x, w, padding=padding), rtol=1e-5, atol=1e-5)


def test_half_precision_is_summed_in_float32():
    x, w = jnp.full((1, 8, 8, 64), 0.1, jnp.float16), jnp.full((3, 3, 64, 1), 0.1, jnp.float16)
    z = convolve(x, w, tiles=1, interpret=True)
    assert z.dtype == jnp.float16
    np.testing.assert_allclose(np.asarray(z, np.float32), 5.76, rtol=2e-3)


@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_compiles_for_a_gpu_as_far_as_a_machine_without_one_can_tell(dtype):
    x, w = jnp.ones((4, 16, 16, 16), dtype), jnp.ones((3, 3, 16, 32), dtype)
    traced = jax.jit(lambda x, w: convolve(x, w, padding=PADDING)).trace(x, w)
    assert "triton" in traced.lower(lowering_platforms=("cuda",)).as_text()


def test_a_candidate_on_gpus_alone():
    def call(x=(8, 16, 16, 16), w=(3, 3, 16, 32), **settings):
        axes = len(x) - 2
        g = Geometry(x[1:-1], w[:axes], (1,) * axes, PADDING[:axes], (1,) * axes)
        return value.call(*map(jnp.zeros, (x, w)), setting=g.replaced(**settings))

    assert "pallas" in value.implementations
    assert not suits_gpu(call())
    with jnn.platform("gpu"):
        assert suits_gpu(call())
        assert not suits_gpu(call(x=(8, 16, 16, 3), w=(3, 3, 3, 32)))
        assert not suits_gpu(call(stride=(2, 2)))
        assert not suits_gpu(call(groups=2))
        assert not suits_gpu(call(x=(8, 16, 16), w=(3, 16, 32)))
