"""Radial basis functions: the documents' numbers, accuracy near a centre, memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules import affine, radial
from jnn.rules.core.product import products
from tests.golden import CASES, golden


def case(name):
    found = golden(name)
    return found["inputs"], found["outputs"]


def close(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-12, atol=1e-15)


KERNELS = {"norm": "norm", "sq": "squared"}


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("RBF-") and n[4].isdigit()])
def test_golden_units(name):
    inputs, outputs = case(name)
    with jax.enable_x64(True):
        unit = functools.partial(radial, kernel=KERNELS[name.split("-")[-1]])
        args = (inputs[key] for key in ("y", "c", "beta"))
        z, pull = jax.vjp(unit, *map(jnp.asarray, args))
        close(z, outputs["z"])
        for ours, key in zip(pull(jnp.asarray(inputs["g"])), ("dy", "dc", "dbeta"), strict=True):
            close(ours, outputs[key])


def test_golden_linear_output():
    """H-55 as printed has the wrong layers' values, centres and table; the golden case is right."""
    inputs, outputs = case("RBF-linear-out-H55")
    with jax.enable_x64(True):
        args = [jnp.asarray(inputs[key]) for key in ("y", "c", "beta", "a")]
        out, pull = jax.vjp(lambda y, c, beta, a: affine(radial(y, c, beta), a.T), *args)
        close(out, outputs["out"])
        cotangents = pull(jnp.asarray(inputs["g"]))
    for ours, key in zip(cotangents, ("dy", "dc", "dbeta", "da"), strict=True):
        close(ours, outputs[key])


def test_at_a_centre_nothing_moves():
    inputs, outputs = case("RBF-at-centre")
    with jax.enable_x64(True):
        args = [jnp.asarray(inputs[key]) for key in ("y", "c", "beta")]
        z, pull = jax.vjp(radial, *args)
        close(z, outputs["z"])
        for ours, key in zip(pull(jnp.asarray(inputs["g"])), ("dy", "dc", "dbeta"), strict=True):
            close(ours, outputs[key])


@pytest.mark.parametrize("kernel", ["norm", "squared"])
@pytest.mark.parametrize("away", [1e-3, 1.0])
def test_single_precision_is_right_near_centres_far_from_the_origin(random, kernel, away):
    """Where |x|^2 - 2 x c + |c|^2 has no digit left."""
    centres = (100 + random.normal(size=(40, 30))).astype(np.float32)
    x = (np.repeat(centres, 2, axis=0) + away * random.normal(size=(80, 30))).astype(np.float32)
    beta = np.full(40, 0.3, np.float32)
    delta = random.normal(size=(80, 40)).astype(np.float32)

    def both(x, centres, beta, delta):
        z, pull = jax.vjp(functools.partial(radial, kernel=kernel), x, centres, beta)
        return z, *pull(delta)

    args = x, centres, beta, delta
    hand, auto = jax.jit(both)(*args), jax.jit(jnn.autodiff(both))(*args)
    with jax.enable_x64(True):
        right = map(np.asarray, jnn.autodiff(both)(*(a.astype(np.float64) for a in args)))
    for ours, theirs, want in zip(hand, auto, right, strict=True):
        scale = np.abs(want).max()
        error, allowed = (np.abs(np.asarray(y, np.float64) - want).max() / scale
                          for y in (ours, theirs))  # fmt: skip
        assert error <= 2 * allowed + 4 * np.finfo(np.float32).eps


def test_all_implementations_agree_with_float64(random):
    a, x, centres = (random.normal(size=shape) for shape in ((20, 5), (20, 7), (5, 7)))
    away = x[:, None] - centres
    want = {
        "radial.squares": ((x, centres), [(away**2).sum(-1)]),
        "radial.input": (
            (a, x, centres), [np.einsum("nk,nkd->nd", a, away), -np.einsum("nk,nkd->kd", a, away)]
        ),
    }  # fmt: skip
    for name, (arrays, expected) in want.items():
        assert len(products[name].implementations) == 2
        for way in products[name].implementations.values():
            got = way.function(*(jnp.asarray(array, jnp.float32) for array in arrays))
            for ours, theirs in zip(jax.tree.leaves(got), expected, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_cube_of_differences_is_never_held():
    samples, units, n = 256, 128, 64

    def both(x, centres, beta, delta):
        z, pull = jax.vjp(radial, x, centres, beta)
        return z, pull(delta)

    shapes = (samples, n), (units, n), (units,), (samples, units)
    args = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    memory = jax.jit(both).lower(*args).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 4 * samples * units * n / 4
