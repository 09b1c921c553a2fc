"""A convolution rectified and pooled in one: its parts' values and slopes, and less memory."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules import conv, max_pool, rectified_conv, relu
from jnn.rules.core import chunks
from jnn.verify import check


def apart(x, w, b, *, pool=1, **settings):
    y = relu(conv(x, w, b, **settings))
    return y if pool == 1 else max_pool(y, window=pool)


@pytest.fixture
def few(monkeypatch):
    """Two samples at a time, so that loops run, and one sample remains."""
    monkeypatch.setattr(chunks, "CACHE", 2**12)


CASES = {
    "pooled": ((5, 8, 8, 3), (3, 3, 3, 7), {"padding": 1, "pool": 2}),
    "not pooled": ((5, 8, 8, 3), (3, 3, 3, 7), {"padding": "same"}),
    "a row left out": ((5, 9, 10, 2), (2, 3, 1, 6), {"pool": (3, 2), "groups": 2}),
    "a line": ((5, 96, 2), (4, 2, 6), {"stride": 2, "pool": 5}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_equals_its_parts(case, few, random):
    image, window, settings = CASES[case]
    x, w, b = (random.normal(size=s) for s in (image, window, window[-1:]))
    args = [a.astype(np.float32) for a in (x, w, b)]

    @jax.jit
    def both(*args):
        results = []
        for f in (rectified_conv, apart):
            y, pull = jax.vjp(lambda *args, f=f: f(*args, **settings), *args)
            results.append((y, *pull(jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))))
        return results

    ours, theirs = both(*args)
    assert 0 < (ours[0] > 0).mean() < 1
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"pool": 2}, None])
def test_a_tpu_keeps_signs_and_no_value(settings, random):
    """The rule, with pooling and without, and the rectifier alone."""
    x, w = (jnp.asarray(random.normal(size=s)) for s in ((2, 6, 6, 3), (3, 3, 3, 4)))
    x = x.at[0, 0, 0, 0].set(jnp.nan)
    f = relu if settings is None else lambda x: rectified_conv(x, w, **settings)
    y, pull = jax.vjp(f, x)
    delta = jnp.asarray(random.normal(size=y.shape))
    with jnn.platform("tpu"):
        there, pull_there = jax.vjp(f, x)
    np.testing.assert_allclose(there, y, rtol=1e-5)
    assert np.isnan(there).any()
    np.testing.assert_allclose(pull_there(delta)[0], pull(delta)[0], rtol=1e-5, atol=1e-6)
    kept = {(a.shape, a.dtype == bool) for a in jax.tree.leaves(pull_there)}
    assert (y.shape, True) in kept
    assert (y.shape, False) not in kept or (settings is not None and "pool" in settings)


def test_nothing_between_its_parts_is_stored():
    """A whole value has 32 MiB, and so has its delta; what is kept of it 10."""
    x, w = jnp.ones((32, 64, 64, 64)), jnp.ones((1, 1, 64, 64))

    def temporaries(f):
        def step(x, w):
            y = f(f(x, w, None, pool=2), w, None, pool=2)
            return jnp.square(y).sum()

        memory: Any = jax.jit(jax.grad(step, argnums=1)).lower(x, w).compile().memory_analysis()
        return memory.temp_size_in_bytes / 2**20

    assert temporaries(rectified_conv) < 32 < 64 < temporaries(apart)


def test_a_first_layer_hands_nothing_to_the_images():
    x, w = jnp.ones((4, 8, 8, 2)), jnp.ones((3, 3, 2, 4))

    def count(argnums):
        function = jax.grad(lambda x, w: rectified_conv(x, w, pool=2).sum(), argnums)
        cost: Any = jax.jit(function).lower(x, w).compile().cost_analysis()
        return cost["flops"]

    assert count(1) < 0.8 * count((0, 1))


@pytest.mark.slow
def test_it_passes_its_check_in_parts(few, random):
    args = random.normal(size=(4, 6, 6, 2)), random.normal(size=(3, 3, 2, 14)), np.ones(14)
    suites = ["agreement", "transforms", "devices", "empty_batch", "float32"]
    report = check(rectified_conv, args, settings={"padding": 1, "pool": 2}, suites=suites)
    assert report.ok, str(report)
