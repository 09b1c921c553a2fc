"""Sums of half precision, under strict promotion."""

import jax.numpy as jnp
import pytest

from jnn.arithmetic import contract, wide


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precisions_are_summed_in_float32(dtype):
    assert wide(dtype) == jnp.float32
    ones = jnp.ones(4096, dtype)
    assert contract(ones, ones).dtype == dtype
    assert contract(ones, ones) == 4096  # Summed in float16 one by one, it would stop at 2048.


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.int32])
def test_wider_dtypes_stay(dtype):
    assert wide(dtype) == dtype
