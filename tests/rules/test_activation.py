"""Activations against the documents' numbers, SciPy and jax.nn; conventions, NaN, extremes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

import jnn
from jnn.rules import registry
from jnn.rules.pointwise.activation import ACTIVATIONS, activation
from tests.golden import golden

X = np.array([-700.0, -30.0, -5.0, -1.5, -0.5, -1e-3, 0.0, 1e-3, 0.5, 1.5, 5.0, 30.0, 700.0])


@pytest.mark.parametrize("name", ["identity", "sigmoid", "tanh", "relu", "soft_logistic"])
def test_golden_values_and_derivatives(name):
    case = golden(f"ACT-{name}")
    with jax.enable_x64(True):
        z = jnp.asarray(case["inputs"]["z"])
        y, slope = jax.vmap(jax.value_and_grad(registry[name]))(z)
    np.testing.assert_allclose(y, case["outputs"]["f"], rtol=1e-14, atol=1e-16)
    np.testing.assert_allclose(slope, case["outputs"]["df"], rtol=1e-12, atol=1e-16)


REFERENCES = {
    "identity": lambda x: x,
    "sigmoid": scipy.special.expit,
    "soft_logistic": lambda x: (1 + x / (1 + np.abs(x))) / 2,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.maximum(x, 0.01 * x),
    "softplus": lambda x: np.logaddexp(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: np.asarray(jax.nn.selu(jnp.asarray(x))),
    "gelu": lambda x: x * scipy.stats.norm.cdf(x),
    "silu": lambda x: x * scipy.special.expit(x),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "relu6": lambda x: np.clip(x, 0, 6),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "hard_shrink": lambda x: np.array([0 if abs(a) <= 0.5 else a for a in x]),
    "log_sigmoid": scipy.special.log_expit,
    "celu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_equal_a_second_opinion(name):
    with jax.enable_x64(True):
        np.testing.assert_allclose(registry[name](X), REFERENCES[name](X), rtol=1e-12, atol=1e-300)


def test_gelu_is_right_down_to_the_end_of_float32():
    x = np.array([-13, -12.9, -9, -5], np.float32)
    with np.errstate(under="ignore"):
        exact = x.astype(float) * scipy.stats.norm.cdf(x.astype(float))
        slope = scipy.stats.norm.cdf(x.astype(float)) + x * scipy.stats.norm.pdf(x.astype(float))
    y, pull = jax.vjp(jnn.rules.gelu, jnp.array(x))
    np.testing.assert_allclose(y, exact, rtol=3e-5)
    np.testing.assert_allclose(pull(jnp.ones_like(y))[0], slope, rtol=3e-5)


def test_the_tanh_form_of_gelu_equals_that_of_jax():
    with jax.enable_x64(True):
        got = jnn.rules.gelu(X, approximate=True)
        np.testing.assert_allclose(got, jax.nn.gelu(X, approximate=True), rtol=1e-9, atol=1e-14)


AT_ZERO = {"relu": 0.0, "leaky_relu": 0.01, "elu": 1.0, "selu": 1.7580993408473766}


@pytest.mark.parametrize(("name", "slope"), AT_ZERO.items())
def test_the_convention_at_the_kink(name, slope):
    with jax.enable_x64(True):
        assert jax.grad(registry[name])(0.0) == pytest.approx(slope, rel=1e-14)


FLAT = {
    "relu6": (0, 6),
    "hard_sigmoid": (-3, 3),
    "soft_shrink": (-0.5, 0.5),
    "hard_shrink": (-0.5, 0.5),
}


@pytest.mark.parametrize(("name", "kinks"), FLAT.items())
def test_the_derivative_is_zero_at_these_kinks(name, kinks):
    assert [jax.grad(registry[name])(float(x)).item() for x in kinks] == [0, 0]


def test_hard_swish_has_the_slope_of_its_straight_pieces_at_its_kinks():
    slopes = [jax.grad(jnn.rules.hard_swish)(x).item() for x in (-3.0, 3.0, -2.999, 2.999)]
    np.testing.assert_allclose(slopes, [0, 1, -0.5, 1.5], atol=1e-3)


def _mish_slope(x):
    t = np.tanh(np.logaddexp(x, 0))
    return t + x * (1 - t) * (1 + t) * scipy.special.expit(x)


TAILS = {
    "log_sigmoid": (scipy.special.log_expit, lambda x: scipy.special.expit(-x)),
    "mish": (REFERENCES["mish"], _mish_slope),
}


@pytest.mark.parametrize("name", TAILS)
def test_the_tails_are_right_to_a_few_ulp(name):
    """Where a naive form gives 0 or loses all digits: the loss of a sure sample, a closed gate."""
    x = np.array([-100, -80, -40, -17, -5, -0.3, 0.2, 3, 17, 40, 80, 100], np.float32)
    got = jax.vmap(jax.value_and_grad(registry[name]))(x)
    for g, w in zip(got, (f(x.astype(float)) for f in TAILS[name]), strict=True):
        np.testing.assert_allclose(g, w, rtol=6e-7, atol=1e-37)  # Below: no normal number.


def test_hard_tanh_is_flat_at_both_kinks():
    slopes = jax.vmap(jax.grad(jnn.rules.hard_tanh))(jnp.array([-1.0, 1.0, 0.999]))
    assert slopes.tolist() == [0, 0, 1]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_stays_nan(name):
    assert jnp.isnan(registry[name](jnp.nan))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_far_out_values_and_slopes_are_finite(name, dtype):
    x = jnp.array([-3e4, -300, -20, 0, 20, 300, 3e4], dtype)
    y, slope = jax.vmap(jax.value_and_grad(registry[name]))(x)
    assert jnp.isfinite(y).all()
    assert jnp.isfinite(slope).all()
    assert y.dtype == slope.dtype == dtype


def test_soft_logistic_rises_from_zero_to_one_through_a_half():
    """D: cut at p = 1/2, which is at z = 0; its slope there is a half."""
    y, slope = jax.value_and_grad(jnn.rules.soft_logistic)(0.0)
    assert (y, slope) == (0.5, 0.5)
    z = jnp.arange(-500.0, 501.0)
    p = jnn.rules.soft_logistic(z)
    assert (jnp.diff(p) > 0).all()
    np.testing.assert_allclose(p + p[::-1], 1, atol=1e-6)


def test_sigmoid_identities():
    """X-13..16: s'(t) = s(t)(1 - s(t)) <= 1/4 and 1 - s(t) = s(-t); X-10 prints wrong signs."""
    with jax.enable_x64(True):
        t = jnp.linspace(-8, 8, 33)
        s, slope = jax.vmap(jax.value_and_grad(jnn.rules.sigmoid))(t)
        np.testing.assert_allclose(1 - s, jnn.rules.sigmoid(-t), atol=1e-16)
        np.testing.assert_allclose(slope, s * (1 - s), atol=1e-16)
        assert slope.max() == 0.25


def test_tanh_has_no_factors():
    """X-17 prints e^x and e^-x once too often: at 1.3 that gives 3.16 or .235, not .8617."""
    assert jnn.rules.tanh(1.3).item() == pytest.approx(0.8617, abs=5e-5)


def test_activations_are_chosen_by_name_or_rule():
    assert activation("dense", "tanh") is jnn.rules.tanh
    assert activation("dense", jnn.rules.relu) is jnn.rules.relu
    message = "dense: `activation` must be one of 'identity', 'relu'"
    with pytest.raises(ValueError, match=message):
        activation("dense", "swish")
    message = re.escape("dense: `activation` must be a name or an elementwise rule, got <rule aff")
    with pytest.raises(TypeError, match=message):
        activation("dense", jnn.rules.affine)


def test_settings_out_of_range_are_named():
    with pytest.raises(ValueError, match="leaky_relu: `slope` must be between 0 and inf, got -1"):
        jnn.rules.leaky_relu(1.0, slope=-1)
    with pytest.raises(ValueError, match="elu: `alpha` must be between 0 and inf, got -1"):
        jnn.rules.elu(1.0, alpha=-1)
    with pytest.raises(ValueError, match="celu: `alpha` must be above 0, got 0"):
        jnn.rules.celu(1.0, alpha=0.0)
    with pytest.raises(ValueError, match="soft_shrink: `threshold` must be between 0 and inf"):
        jnn.rules.soft_shrink(1.0, threshold=-1)
    with pytest.raises(TypeError, match=r"got \[float32\[\], float32\[\]\]\. Make it one, e\.g\."):
        jnn.rules.relu([1.0, 2.0])
    with pytest.raises(TypeError, match="sigmoid: `x` must be a floating array, got int32"):
        jnn.rules.sigmoid(jnp.arange(3))
