"""Softmax, log-softmax and logsumexp against the documents, SciPy and their own identities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import jnn
from jnn.rules import log_softmax, logsumexp, softmax
from jnn.rules.core.mode import MODES
from tests.golden import golden

RULES = {"softmax": softmax, "log_softmax": log_softmax, "logsumexp": logsumexp}
HALVES = [jnp.float16, jnp.bfloat16]


def vjp(rule, x, v, **settings):
    return jax.vjp(lambda x: rule(x, **settings), x)[1](v)[0]


def test_the_jacobian_of_the_documents():
    """D-31, X-72: p_a (d_ab - p_b), by rows from the backward, by columns from the tangent."""
    case = golden("SOFTMAX-JAC")
    with jax.enable_x64(True):
        x = jnp.log(jnp.asarray(case["inputs"]["p"]))
        rows = jax.jacrev(softmax)(x)
        with jnn.derivatives("forward"):
            columns = jax.jacfwd(softmax)(x)
    np.testing.assert_allclose(rows, case["outputs"]["J"], rtol=1e-14, atol=1e-16)
    np.testing.assert_allclose(columns, case["outputs"]["J"], rtol=1e-14, atol=1e-16)


def test_the_safe_exponentials_of_the_documents():
    case = golden("SAFE-SOFTMAX")
    z, outputs = case["inputs"]["z"], case["outputs"]
    with jax.enable_x64(True):
        np.testing.assert_allclose(softmax(z), outputs["p"], rtol=1e-14)
        np.testing.assert_allclose(logsumexp(z), outputs["logsumexp"], rtol=1e-15)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_a_confident_row_keeps_the_digits_of_its_gradient(platform, random):
    """By two passes and by one: to margins at which 1 - p has no digit left in float32."""
    x = random.normal(size=(8, 6)).astype(np.float32)
    x[:, 2] += np.arange(0, 32, 4, dtype=np.float32)
    v = random.normal(size=x.shape).astype(np.float32)
    with jnn.platform(platform):
        got = vjp(softmax, jnp.asarray(x), jnp.asarray(v))
    with jax.enable_x64(True):
        want = vjp(softmax, jnp.asarray(x, float), jnp.asarray(v, float))
    assert abs(float(want[-1, 2])) < 1e-10
    np.testing.assert_allclose(got, want, rtol=2e-5)


@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 2), (-1, 0, 1), None])
@pytest.mark.parametrize("name", RULES)
def test_values_equal_those_of_scipy_along_any_axes(name, axis, random):
    x = random.normal(size=(3, 4, 5)) * np.logspace(-2, 4, 5)
    expected = getattr(scipy.special, name)(x, axis=axis)
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            RULES[name](x, axis=axis), expected, rtol=1e-12, atol=1e-15
        )  # SciPy rounds 1 + o.


def test_logsumexp_keeps_the_summed_axes_on_request(random):
    x = random.normal(size=(3, 4, 5))
    for axis in (1, (0, 2), None):
        got = logsumexp(x, axis=axis, keepdims=True)
        want = scipy.special.logsumexp(x, axis=axis, keepdims=True)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_two_classes_are_the_sigmoid_of_the_difference(random):
    """X-38..44 with K = 2."""
    a, b = random.normal(size=(2, 7))
    np.testing.assert_allclose(
        softmax(np.stack([a, b]), axis=0)[0], scipy.special.expit(a - b), rtol=1e-6
    )


def test_a_constant_added_to_the_logits_changes_nothing(random):
    """Treister §2.2, Remark 2: one of the weight vectors is redundant."""
    x, v = random.normal(size=(2, 4, 5))
    with jax.enable_x64(True):
        np.testing.assert_allclose(softmax(x + 7), softmax(x), rtol=1e-13)
        for rule in (softmax, log_softmax):
            np.testing.assert_allclose(vjp(rule, x, v).sum(-1), 0, atol=1e-14)
        np.testing.assert_allclose(vjp(logsumexp, x, v[:, 0]).sum(-1), v[:, 0], rtol=1e-13)


@pytest.mark.parametrize("dtype", [*HALVES, jnp.float32])
@pytest.mark.parametrize("mode", MODES)
def test_a_masked_class_has_probability_and_gradient_zero(mode, dtype):
    x = jnp.array([[-jnp.inf, 1, 2], [3, -jnp.inf, -jnp.inf]], dtype)
    masked = np.isneginf(x)
    with jnn.derivatives(mode):
        p, dx = softmax(x), vjp(softmax, x, jnp.ones_like(x).at[0, 1].set(3))
        assert (p[masked] == 0).all()
        assert (dx[masked] == 0).all()
        assert jnp.isfinite(dx).all()
        assert jnp.isneginf(log_softmax(x)[masked]).all()
        slope = jax.grad(lambda x: logsumexp(x).sum())(x)
    np.testing.assert_array_equal(slope, p)
    assert p[1].tolist() == [1, 0, 0]
    np.testing.assert_allclose(p[0, 2], 1 / (1 + np.exp(-1)), rtol=float(jnp.finfo(dtype).eps))


def test_log_probabilities_beside_a_masked_class_are_finite(random):
    x = jnp.array([-jnp.inf, 1.0, 1.0])
    np.testing.assert_allclose(log_softmax(x)[1:], -np.log(2), rtol=1e-6)
    v = jnp.array([0.0, 1.0, 0.0])
    np.testing.assert_allclose(vjp(log_softmax, x, v), [0, 0.5, -0.5], atol=1e-7)


def test_where_everything_is_masked():
    x = jnp.full((2, 3), -jnp.inf)
    assert jnp.isnan(softmax(x)).all()
    assert jnp.isneginf(logsumexp(x)).all()
    assert jax.grad(lambda x: logsumexp(x).sum())(x).tolist() == np.zeros((2, 3)).tolist()


@pytest.mark.parametrize("level", [-3e4, 0.0, 3e4])
@pytest.mark.parametrize("dtype", [*HALVES, jnp.float32])
def test_equal_logits_are_equally_probable(dtype, level):
    x, v = jnp.full((2, 8), level, dtype), jnp.arange(16.0).reshape(2, 8).astype(dtype)
    assert (softmax(x) == 1 / 8).all()
    np.testing.assert_array_equal(vjp(softmax, x, v), (v - v.mean(-1, keepdims=True)) / 8)
    np.testing.assert_array_equal(vjp(log_softmax, x, v), v - v.mean(-1, keepdims=True))
    assert (vjp(logsumexp, x, v[:, 1]) == v[:, 1:2] / 8).all()


def test_far_apart_logits_keep_their_logarithms():
    x = jnp.array([1e4, 0.0, -1e4])
    assert softmax(x).tolist() == [1, 0, 0]
    assert log_softmax(x).tolist() == [0, -1e4, -2e4]
    assert vjp(log_softmax, x, jnp.ones(3)).tolist() == [-2, 1, 1]


def test_the_derivative_keeps_its_digits_where_a_class_is_nearly_certain():
    """There p - 1 is lost to rounding in float32; p (v - p . v) as it stands has no digit right."""
    x, v = np.array([18, 0, 1], np.float32), np.array([1, 2, 3], np.float32)
    e = np.exp(x.astype(np.float64) - 18)
    p = e / e.sum()
    exact = p * (v - p @ v)
    for mode in ("backward", "forward"):
        with jnn.derivatives(mode):
            np.testing.assert_allclose(vjp(softmax, x, v), exact, rtol=1e-5)
    by_autodiff = np.asarray(jnn.autodiff(vjp)(softmax, x, v), np.float64)
    assert abs(by_autodiff - exact)[0] > 0.1 * abs(exact)[0]


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precisions_are_summed_in_float32(dtype):
    n, eps = 5000, float(jnp.finfo(dtype).eps)
    x = jnp.zeros(n, dtype)
    assert logsumexp(x).dtype == log_softmax(x).dtype == softmax(x).dtype == dtype
    np.testing.assert_allclose(logsumexp(x).astype(float), np.log(n), rtol=eps)
    np.testing.assert_allclose(log_softmax(x).astype(float), -np.log(n), rtol=eps)
    # A sum in half precision stops growing at 1 / eps: 2048 or 256.
    np.testing.assert_allclose(softmax(x).astype(float).sum(), 1, rtol=4 * eps)
    dx = vjp(log_softmax, x, jnp.ones(n, dtype))
    np.testing.assert_allclose(dx.astype(float), 0, atol=4 * eps)


def test_nan_in_a_row_stays_in_that_row():
    x = jnp.array([[0.0, jnp.nan], [0.0, 0.0]])
    for rule in RULES.values():
        bad = jnp.isnan(rule(x)).reshape(2, -1)
        assert bad[0].all()
        assert not bad[1].any()


@pytest.mark.parametrize("name", RULES)
def test_errors_name_the_axis_that_is_not_there(name):
    x = jnp.ones((2, 3))
    with pytest.raises(ValueError, match=rf"{name}: `axis` must be an axis of `x` float32\[2,3\]"):
        RULES[name](x, axis=2)
    with pytest.raises(ValueError, match=rf"{name}: `axis` must be different axes, got \(1, -1\)"):
        RULES[name](x, axis=(1, -1))
    with pytest.raises(ValueError, match=r"a tuple of them, or None, got 0\.5"):
        RULES[name](x, axis=0.5)
    with pytest.raises(ValueError, match=r"an axis of `x` float32\[\]"):
        RULES[name](1.0)
    with pytest.raises(TypeError, match=rf"{name}: `x` must be a floating array, got int32\[2\]"):
        RULES[name](jnp.arange(2))
