"""The fused loss of classification: documents, SciPy, every form of targets, extremes, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import jnn
from jnn.rules import affine, softmax
from jnn.rules.core.mode import MODES
from tests.golden import golden

HALVES = [jnp.float16, jnp.bfloat16]
BY_HAND = ("backward", "forward")


def close(ours, theirs, rtol=1e-12):
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=rtol, atol=1e-14)


def slopes(logits, t, *args, **settings):
    return jax.grad(lambda x: jnn.softmax_cross_entropy(x, t, *args, **settings).sum())(logits)


# The documents.


@pytest.mark.parametrize("mode", MODES)
def test_the_output_delta_of_the_softmax_is_y_minus_t(mode):
    """H-24..30, X-73: fused, and as the composition that H-28 leaves half done."""
    inputs, outputs = (golden("DELTA-CE-softmax")[part] for part in ("inputs", "outputs"))
    w, b, x, t = inputs["W"].T, inputs["b"], inputs["y_prev"], inputs["t"]
    with jax.enable_x64(True), jnn.derivatives(mode):
        z = affine(x, w, b)
        close(z, outputs["z"])
        for loss in (jnn.softmax_cross_entropy, lambda z, t: jnn.cross_entropy(softmax(z), t)):
            value, delta = jax.value_and_grad(loss)(z, t)
            close(value, outputs["loss"])
            close(delta, outputs["delta"])
        dx = jax.grad(lambda x: jnn.softmax_cross_entropy(affine(x, w, b), t))(x)
        close(dx, outputs["dy_prev"])
    close(outputs["delta"], outputs["y"] - t)


@pytest.mark.parametrize("targets", ["one-hot", "indices"])
def test_the_multinomial_regression_of_xu(targets):
    """X-61..63: the sum over samples and a descent step, with and without L2.

    X-60 prints the stacked p - y for the gradient; it is sum x (p - y)^T, as in X-61 and 65.
    """
    inputs, outputs = (golden("X-61/63")[part] for part in ("inputs", "outputs"))
    x, hot = inputs["X_cols"].T, inputs["Y_onehot_cols"].T
    t = hot if targets == "one-hot" else hot.argmax(-1)

    def cost(theta):
        return jnn.softmax_cross_entropy(affine(x, theta), t).sum()

    def penalised(theta):
        return cost(theta) + inputs["lambda"] * jnn.l2(theta)

    with jax.enable_x64(True):
        theta = jnp.asarray(inputs["theta"])
        close(softmax(affine(x, theta)).T, outputs["P"])
        value, gradient = jax.value_and_grad(cost)(theta)
        close(value, outputs["C"])
        close(gradient, outputs["grad"])
        close(theta - inputs["eta"] * gradient, outputs["theta_next"])
        value, gradient = jax.value_and_grad(penalised)(theta)
        close(value, outputs["C_reg"])
        close(theta - inputs["eta"] * gradient, outputs["theta_next_L2"])


def test_the_gradient_holds_for_targets_that_do_not_sum_to_one(random):
    """It is p sum(t) - t, where H-30 would give p - t."""
    logits, t = random.normal(size=(3, 4)), random.uniform(size=(3, 4))
    p = scipy.special.softmax(logits, -1)
    with jax.enable_x64(True):
        close(slopes(logits, t), p * t.sum(-1, keepdims=True) - t)


# A second opinion on every form.


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["indices", "one-hot", "soft"])
@pytest.mark.parametrize("mode", BY_HAND)
def test_values_and_cotangents_equal_those_written_out(mode, kind, weighted, smoothing, random):
    logits, labels = 3 * random.normal(size=(2, 3, 5)), random.integers(0, 5, (2, 3))
    t = random.uniform(size=(2, 3, 5)) if kind == "soft" else np.eye(5)[labels]
    w = random.uniform(0.5, 2, 5) if weighted else np.ones(5)
    given = {"indices": labels, "one-hot": t.astype(bool), "soft": t}[kind]
    q = (1 - smoothing) * t + smoothing / 5
    u, log_p = w * q, scipy.special.log_softmax(logits, -1)
    with jax.enable_x64(True), jnn.derivatives(mode):
        args = (logits, given, w) if weighted else (logits, given)
        close(jnn.softmax_cross_entropy(*args, smoothing=smoothing), -(u * log_p).sum(-1))
        floating = [i for i, x in enumerate(args) if x.dtype == np.float64]
        got = jax.grad(
            lambda *args: jnn.softmax_cross_entropy(*args, smoothing=smoothing).sum(), floating
        )(*args)
    expected = {
        0: np.exp(log_p) * u.sum(-1, keepdims=True) - u,
        1: -(1 - smoothing) * w * log_p,
        2: -(q * log_p).sum((0, 1)),
    }
    for i, cotangent in zip(floating, got, strict=True):
        close(cotangent, expected[i])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "int64"])
def test_labels_come_in_any_integer_dtype(dtype, random):
    """Also one that does not hold the number of classes."""
    logits, labels = random.normal(size=(4, 1000)), np.array([0, 1, 127, 100])
    with jax.enable_x64(True):
        t = labels.astype(dtype)
        for settings in ({}, {"smoothing": 0.1}, {"ignore": 1}):
            want = jnn.softmax_cross_entropy(logits, labels, **settings)
            close(jnn.softmax_cross_entropy(logits, t, **settings), want)
            close(slopes(logits, t, **settings), slopes(logits, labels, **settings))


def test_one_sample_needs_no_batch_axis():
    loss, dx = jax.value_and_grad(jnn.softmax_cross_entropy)(jnp.zeros(4), 2)
    np.testing.assert_allclose(loss, np.log(4), rtol=1e-6)
    np.testing.assert_allclose(dx, [0.25, 0.25, -0.75, 0.25], rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_the_hessian_is_that_of_the_softmax(mode, random):
    logits = random.normal(size=5)
    p = scipy.special.softmax(logits)
    with jax.enable_x64(True), jnn.derivatives(mode):
        hessian = jax.jacrev(jax.grad(jnn.softmax_cross_entropy))(logits, 3)
    close(hessian, np.diag(p) - np.outer(p, p))


# Labels that do not count.


@pytest.mark.parametrize("settings", [{}, {"smoothing": 0.1}])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("mode", BY_HAND)
def test_an_ignored_label_has_loss_and_gradient_zero_whatever_its_logits(mode, weighted, settings):
    logits = jnp.array([[0.0, 1, 2], [jnp.nan, 1, 2], [jnp.inf, 0, jnp.inf], [1e4, 0, -jnp.inf]])
    t = jnp.array([2, -1, -1, -1])
    weights = (jnp.array([1.0, 2, 3]),) if weighted else ()
    with jnn.derivatives(mode):
        loss = jnn.softmax_cross_entropy(logits, t, *weights, ignore=-1, **settings)
        dx = slopes(logits, t, *weights, ignore=-1, **settings)
        np.testing.assert_array_equal(loss[1:], 0)
        np.testing.assert_array_equal(dx[1:], 0)
        alone = jnn.softmax_cross_entropy(logits[:1], t[:1], *weights, **settings)
        np.testing.assert_allclose(loss[0], alone[0], rtol=1e-6)
        if weighted:
            of_weights = lambda w: jnn.softmax_cross_entropy(  # noqa: E731
                logits, t, w, ignore=-1, **settings
            ).sum()
            assert jnp.isfinite(jax.grad(of_weights)(*weights)).all()


def test_a_class_may_be_ignored_too():
    logits, t = jnp.zeros((2, 3)), jnp.array([0, 1])
    assert jnn.softmax_cross_entropy(logits, t, ignore=0)[0] == 0
    assert jnn.softmax_cross_entropy(logits, t, ignore=0)[1] > 1


@pytest.mark.parametrize("settings", [{}, {"smoothing": 0.1}, {"ignore": -1}])
@pytest.mark.parametrize("mode", MODES)
def test_a_label_that_names_no_class_gives_nan(mode, settings):
    logits, t = jnp.zeros((3, 4)), jnp.array([-2, 4, 3])
    with jnn.derivatives(mode):
        loss = jnn.softmax_cross_entropy(logits, t, **settings)
        assert jnp.isnan(loss).tolist() == [True, True, False]
        weighted = jnn.softmax_cross_entropy(logits, t, jnp.ones(4), **settings)
        assert jnp.isnan(weighted).tolist() == [True, True, False]
    assert jnp.isnan(slopes(logits, t, **settings)).all(-1).tolist() == [True, True, False]


# Extremes.


@pytest.mark.parametrize("dtype", [*HALVES, jnp.float32])
@pytest.mark.parametrize("mode", BY_HAND)
@pytest.mark.parametrize("one_hot", [False, True])
def test_far_masked_and_equal_logits(one_hot, mode, dtype):
    logits = jnp.array([[1e4, 0, -1e4], [1e4, 0, -1e4], [-jnp.inf, 0, 0], [3e4, 3e4, 3e4]], dtype)
    t = jnp.array([0, 1, 2, 1])
    t = jax.nn.one_hot(t, 3, dtype=dtype) if one_hot else t
    with jnn.derivatives(mode):
        loss, dx = jnn.softmax_cross_entropy(logits, t), slopes(logits, t)
    assert loss.dtype == dx.dtype == dtype
    far = float(logits[0, 0])
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(loss.astype(float), [0, far, np.log(2), np.log(3)], rtol=eps)
    third = 1 / 3
    expected = [[0, 0, 0], [1, -1, 0], [0, 0.5, -0.5], [third, -2 * third, third]]
    np.testing.assert_allclose(dx.astype(float), expected, rtol=eps)


def test_a_masked_class_that_is_asked_for_costs_infinity():
    logits, t = jnp.array([-jnp.inf, 0.0, 0.0]), jnp.array(0)
    assert jnn.softmax_cross_entropy(logits, t) == jnp.inf
    assert slopes(logits, t).tolist() == [-1, 0.5, 0.5]
    smoothed = jnn.softmax_cross_entropy(logits, jnp.array(1), smoothing=0.1)
    assert smoothed == jnp.inf


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precisions_are_summed_in_float32(dtype):
    n, eps = 6000, float(jnp.finfo(dtype).eps)
    logits, t = jnp.zeros((n, 3), dtype), jnp.zeros(n, int)
    assert float(jnn.softmax_cross_entropy(logits.T, jnp.zeros(3, int))[0]) == pytest.approx(
        np.log(n), rel=eps
    )
    dw = jax.grad(lambda w: jnn.softmax_cross_entropy(logits, t, w).astype(jnp.float32).sum())(
        jnp.ones(3, dtype)
    )
    assert dw.dtype == dtype
    np.testing.assert_allclose(dw.astype(float), [n * np.log(3), 0, 0], rtol=eps)


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precisions_keep_the_digits_of_p_minus_one(dtype):
    """Where p rounds to 1 in half precision, p - 1 is still right."""
    logits = jnp.array([12.0, 0.0], dtype)
    exact = 1 / (1 + np.exp(12.0))
    dx = jax.grad(jnn.softmax_cross_entropy)(logits, jnp.array(0)).astype(float)
    np.testing.assert_allclose(dx, [-exact, exact], rtol=0.01)


# Errors.


def test_errors_name_the_argument_and_the_remedy():
    loss, logits, t = jnn.softmax_cross_entropy, jnp.ones((8, 3)), jnp.zeros(8, int)
    message = (
        r"softmax_cross_entropy: `t` must be of shape \(8,\) \(class indices\) or \(8, 3\) "
        r"\(one-hot or soft\) to fit `logits` float32\[8,3\], got int32\[8,1\]. Axes of size 1 are "
        r"not broadcast: reshape it."
    )
    with pytest.raises(ValueError, match=message):
        loss(logits, t[:, None])
    with pytest.raises(TypeError, match="`t` must be an integer array, got bool"):
        loss(logits, t == 0)
    with pytest.raises(TypeError, match=r"one-hot targets have shape \(8, 3\)"):
        loss(logits, jnp.zeros(8))
    with pytest.raises(
        TypeError, match="`t` must be of the dtype of `logits`, float32, got float16"
    ):
        loss(logits, logits.astype(jnp.float16))
    with pytest.raises(
        ValueError, match=r"`weights` must be of shape \(3,\), .* One weight a class"
    ):
        loss(logits, t, jnp.ones(8))
    with pytest.raises(TypeError, match="`weights` must be a floating array, got int32"):
        loss(logits, t, jnp.ones(3, int))
    with pytest.raises(ValueError, match=r"`smoothing` must be between 0 and 1, got 1\.5"):
        loss(logits, t, smoothing=1.5)
    with pytest.raises(
        ValueError, match=r"`ignore` must be None for targets float32.*zeros has loss"
    ):
        loss(logits, logits, ignore=-1)
    with pytest.raises(ValueError, match="`ignore` must be an integer that uint8 holds, got -1"):
        loss(logits, t.astype(jnp.uint8), ignore=-1)
    with pytest.raises(TypeError, match="`logits` must be a floating array"):
        loss(t, jnp.array(0))
    with pytest.raises(
        ValueError, match=r"`logits` must be of shape \(..., n\), one number a class"
    ):
        loss(jnp.ones((8, 0)), t)
