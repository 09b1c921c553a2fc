"""Entropies of probabilities and of the sigmoid: the documents, SciPy, the guard, the errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import jnn
from jnn.rules import affine, sigmoid, soft_logistic, softmax
from jnn.rules.core.mode import MODES
from tests.golden import golden

HALVES = [jnp.float16, jnp.bfloat16]
BY_HAND = ("backward", "forward")


def close(ours, theirs, rtol=1e-12):
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=rtol, atol=1e-15)


# The documents.


def test_the_cross_entropies_of_xu():
    """X-22..25, rounded instead of truncated as printed; X-24 and 25 are -log .3 and -log .9."""
    case = golden("X-22..25")
    p, q, expected = case["inputs"]["p"], case["inputs"]["q"], case["outputs"]["H"]
    with jax.enable_x64(True):
        close(jnn.cross_entropy(q, p), expected)
        close(jnn.cross_entropy(q[2:], np.array([0, 0])), expected[2:])


@pytest.mark.parametrize("activation", [sigmoid, soft_logistic], ids=lambda a: a.name)
@pytest.mark.parametrize("mode", MODES)
def test_the_output_deltas_of_table_3(activation, mode):
    """(CE, any) -(t/y) phi' and (BCE, any) (y - t) phi' / (y (1 - y)).

    H-32 states the second for values "positive or zero"; at 0 and 1 it has poles.
    """
    case = golden(f"DELTA-table3-{activation.name}")
    z, t = case["inputs"]["z"], case["inputs"]["t"]
    with jax.enable_x64(True), jnn.derivatives(mode):
        ce = jax.grad(lambda z: jnn.cross_entropy(activation(z), t))(z)
        bce = jax.grad(lambda z: jnn.binary_cross_entropy(activation(z), t))(z)
    close(ce, case["outputs"]["ce"])
    close(bce, case["outputs"]["bce"])


@pytest.mark.parametrize("mode", MODES)
def test_the_output_delta_of_the_sigmoid_is_y_minus_t(mode):
    """H-26, Remark 1, fused and not."""
    case = golden("DELTA-table3-sigmoid")
    z, t, y = case["inputs"]["z"], case["inputs"]["t"], case["outputs"]["y"]
    with jax.enable_x64(True), jnn.derivatives(mode):
        close(jax.grad(jnn.sigmoid_cross_entropy)(z, t), y - t)
        close(jax.grad(lambda z: jnn.binary_cross_entropy(sigmoid(z), t))(z), y - t)


def test_h28_is_the_derivative_by_y_alone(random):
    """-t/y is no delta: H-7 must go on with the whole Jacobian of the softmax.

    H-30 equates the two terms for each i; they agree only when summed over i, and if sum t = 1.
    """
    z, t = random.normal(size=(2, 4))
    t = np.exp(t) / np.exp(t).sum()
    with jax.enable_x64(True):
        y = np.asarray(softmax(z))
        by_y = np.asarray(jax.grad(jnn.cross_entropy)(y, t))
        delta = jax.grad(lambda z: jnn.cross_entropy(softmax(z), t))(z)
    close(by_y, -t / y)
    close(delta, y - t)
    with_diagonal_alone = by_y * y * (1 - y)
    assert np.abs(with_diagonal_alone - (y - t)).max() > 0.1
    off_diagonal = y * (by_y @ y - by_y * y)  # minus sum_(k != i) of the Jacobian's other entries
    close(with_diagonal_alone - off_diagonal, y - t)


@pytest.mark.parametrize("mode", BY_HAND)
def test_the_logistic_regression_of_treister(mode):
    """T-9 and T-14..17 through affine, and the Hessian X D X^T / m with its Newton step.

    T-MLE prints log(1 - p) with the factor y; it is 1 - y.
    """
    inputs, outputs = (golden("T-9..17+Hessian")[part] for part in ("inputs", "outputs"))
    x, t = inputs["X_cols"].T, inputs["c1"][:, None]

    def fused(w):
        return jnn.sigmoid_cross_entropy(affine(x, w[:, None]), t).mean()

    def of_probabilities(w):
        return jnn.binary_cross_entropy(sigmoid(affine(x, w[:, None])), t).mean()

    with jax.enable_x64(True), jnn.derivatives(mode):
        for loss in (fused, of_probabilities):
            value, gradient = jax.value_and_grad(loss)(inputs["w"])
            hessian = np.asarray(jax.jacrev(jax.grad(loss))(inputs["w"]))
            close(value, outputs["F"])
            close(gradient, outputs["grad"])
            close(hessian, outputs["hess"], rtol=1e-11)
            step = -np.linalg.solve(hessian, gradient)
            close(step, outputs["newton_step"], rtol=1e-9)


# A second opinion.


def test_values_equal_those_of_scipy(random):
    p, t = random.uniform(size=(2, 3, 4, 5))
    t[0], p[1, 2] = 0, 1
    logits = random.normal(size=(3, 4, 5)) * 10
    entropy = scipy.special.entr(t) + scipy.special.rel_entr(t, p)
    less = np.minimum(p, 0.999)
    negative = scipy.special.xlogy(t, less) + scipy.special.xlog1py(1 - t, -less)
    by_logits = -t * scipy.special.log_expit(logits) - (1 - t) * scipy.special.log_expit(-logits)
    with jax.enable_x64(True):
        close(jnn.cross_entropy(p, t), entropy.sum(-1))
        close(jnn.binary_cross_entropy(less, t), -negative.sum(-1))
        close(jnn.sigmoid_cross_entropy(logits, t), by_logits.sum(-1))


@pytest.mark.parametrize("kind", ["bool", "int32", "uint8", "float32"])
def test_binary_targets_come_in_any_dtype(kind):
    t = np.array([[0, 1, 1]], kind)
    p, logits = np.array([[[0.25, 0.5, 0.75]], [[-1, 0, 1]]], "float32")
    for loss, x in ((jnn.binary_cross_entropy, p), (jnn.sigmoid_cross_entropy, logits)):
        np.testing.assert_array_equal(loss(x, t), loss(x, t.astype("float32")))
        slopes = [jax.grad(lambda x, t=t, loss=loss: loss(x, t).sum())(x) for t in (t, t * 1.0)]
        np.testing.assert_array_equal(*slopes)


@pytest.mark.parametrize("mode", BY_HAND)
def test_targets_have_cotangents_too(mode, random):
    x, t = random.uniform(0.1, 0.9, size=(2, 3, 4))
    with jax.enable_x64(True), jnn.derivatives(mode):
        for loss, expected in (
            (jnn.cross_entropy, -np.log(x)),
            (jnn.binary_cross_entropy, np.log1p(-x) - np.log(x)),
            (jnn.sigmoid_cross_entropy, -x),
        ):
            close(jax.grad(lambda t, loss=loss: loss(x, t).sum())(t), expected)


@pytest.mark.parametrize("mode", BY_HAND)
def test_a_class_index_is_a_one_hot_target(mode, random):
    p, labels = random.uniform(size=(2, 3, 4)), random.integers(0, 4, (2, 3))
    hot = np.eye(4)[labels]
    with jax.enable_x64(True), jnn.derivatives(mode):
        loss = lambda p, t: jnn.cross_entropy(p, t).sum()  # noqa: E731
        for t in (labels, hot.astype(bool)):
            close(jnn.cross_entropy(p, t), jnn.cross_entropy(p, hot))
            close(jax.grad(loss)(p, t), jax.grad(loss)(p, hot))


# The guard, and other extremes.


@pytest.mark.parametrize("dtype", [*HALVES, jnp.float32, jnp.float64])
@pytest.mark.parametrize("mode", MODES)
def test_certain_answers_have_finite_losses_and_slopes(mode, dtype):
    """0 log 0 = 0; at a wrong and certain answer the slope is 2^100, or what the dtype holds."""
    with jax.enable_x64(dtype == jnp.float64), jnn.derivatives(mode):
        p, t = jnp.array([0, 1, 1, 0], dtype), jnp.array([0, 1, 0, 1], dtype)
        steep = min(2.0**100, float(jnp.finfo(dtype).max))
        for loss, right in ((jnn.binary_cross_entropy, [1, -1]), (jnn.cross_entropy, [0, -1])):
            value, (dp, dt) = jax.value_and_grad(loss, (0, 1))(p[:2], t[:2])
            assert value == 0
            assert dp.tolist() == right
            assert jnp.isfinite(dt).all()
        if mode == "autodiff" and dtype == jnp.float16:
            return  # The definition's own slope overflows there.
        value, (dp, dt) = jax.value_and_grad(jnn.binary_cross_entropy, (0, 1))(p[2:], t[2:])
        assert float(value) == pytest.approx(
            2 * (100 * np.log(2) + 1), rel=float(jnp.finfo(dtype).eps)
        )
        assert dp.astype(float).tolist() == [steep, -steep]
        assert jnp.isfinite(dt).all()
        assert jax.grad(jnn.cross_entropy)(p[2:], t[2:]).astype(float).tolist() == [0, -steep]
        assert jax.grad(jnn.cross_entropy)(p[3:], jnp.array(0)).astype(float).tolist() == [-steep]


def test_the_guard_continues_the_logarithm_along_its_tangent():
    with jax.enable_x64(True):
        least, t = 2.0**-100, np.ones((4, 1))
        p = least * np.array([[0.0], [0.5], [1.0], [1.5]])
        value, slope = jax.vmap(jax.value_and_grad(jnn.cross_entropy))(p, t)
    line = 100 * np.log(2) - (p[:, 0] / least - 1)
    close(value, [*line[:3], -np.log(p[3, 0])])
    close(slope[:, 0], -1 / np.maximum(p[:, 0], least))


def test_small_probabilities_keep_their_digits():
    """Not so log(1 - p): in float32 it is 0 below 6e-8."""
    p = jnp.array([1e-10], jnp.float32)
    np.testing.assert_allclose(jnn.binary_cross_entropy(p, jnp.zeros(1)), 1e-10, rtol=1e-6)


@pytest.mark.parametrize("dtype", [*HALVES, jnp.float32])
@pytest.mark.parametrize("mode", BY_HAND)
def test_far_logits_are_right_or_wrong_by_their_size(mode, dtype):
    x = jnp.array([[3e4], [3e4], [-3e4], [-3e4]], dtype)
    t = jnp.array([[1], [0], [0], [1]], dtype)
    with jnn.derivatives(mode):
        loss = jnn.sigmoid_cross_entropy(x, t)
        slope = jax.grad(lambda x: jnn.sigmoid_cross_entropy(x, t).sum())(x)
    assert loss.tolist() == [0, x[0, 0], 0, x[0, 0]]
    assert slope[:, 0].tolist() == [0, 1, 0, -1]
    assert loss.dtype == slope.dtype == dtype


def test_y_minus_t_keeps_its_digits_where_the_answer_is_right():
    x, t = jnp.array([30.0, -30.0]), jnp.array([1.0, 0.0])
    small = np.exp(-30.0)
    slope = jax.grad(jnn.sigmoid_cross_entropy)(x, t)
    np.testing.assert_allclose(slope, [-small, small], rtol=1e-5)
    np.testing.assert_allclose(jnn.sigmoid_cross_entropy(x, t), 2 * small, rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_the_curvature_at_a_logit_of_zero(mode):
    """It is y (1 - y) = 1/4, though |x|, which keeps the exponential small, has a kink there."""
    with jax.enable_x64(True), jnn.derivatives(mode):
        x, t = jnp.zeros(1), jnp.full(1, 0.3)
        assert jax.grad(jnn.sigmoid_cross_entropy)(x, t)[0] == pytest.approx(0.2)
        assert jax.jacrev(jax.grad(jnn.sigmoid_cross_entropy))(x, t)[0, 0] == 0.25


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precisions_are_summed_in_float32(dtype):
    n, eps = 6000, float(jnp.finfo(dtype).eps)
    x, t = jnp.zeros((1, n), dtype), jnp.ones((1, n), dtype)
    for loss, half in ((jnn.sigmoid_cross_entropy, x), (jnn.binary_cross_entropy, x + 0.5)):
        assert loss(half, t).dtype == dtype
        np.testing.assert_allclose(float(loss(half, t)[0]), n * np.log(2), rtol=eps)
    uniform = jnp.full((1, n), 0.5, dtype)
    loss = jnn.cross_entropy(uniform, uniform)
    np.testing.assert_allclose(float(loss[0]), n * np.log(2) / 2, rtol=eps)


def test_a_label_that_names_no_class_gives_nan():
    p = jnp.full((3, 4), 0.25)
    loss, dp = jax.value_and_grad(lambda p: jnn.cross_entropy(p, jnp.array([-1, 4, 3])).sum())(p)
    assert jnp.isnan(loss)
    assert np.isnan(jnn.cross_entropy(p, jnp.array([-1, 4, 3]))).tolist() == [True, True, False]
    assert dp[2].tolist() == [0, 0, 0, -4]


def test_errors_name_the_argument_and_the_remedy():
    p, logits = jnp.full((8, 1), 0.5), jnp.asarray(np.ones((8, 3), np.float32))
    with pytest.raises(
        ValueError, match=r"binary_cross_entropy: `t` must be of shape \(8, 1\), got"
    ):
        jnn.binary_cross_entropy(p, jnp.ones(8))
    with pytest.raises(
        ValueError, match=r"sigmoid_cross_entropy: `t` .* not broadcast: reshape it"
    ):
        jnn.sigmoid_cross_entropy(logits, p)
    with pytest.raises(TypeError, match="`logits` must be a floating array, got int32"):
        jnn.sigmoid_cross_entropy(jnp.arange(3), jnp.arange(3))
    with pytest.raises(TypeError, match="`t` must be of the dtype of `p`, float32, got bfloat16"):
        jnn.binary_cross_entropy(logits, logits.astype(jnp.bfloat16))
    with pytest.raises(ValueError, match=r"cross_entropy: `t` must be of shape \(8,\) \(class ind"):
        jnn.cross_entropy(logits, jnp.zeros((8, 1), int))
    with pytest.raises(TypeError, match=r"`t` must be an integer array, got float32\[8\]. Class i"):
        jnn.cross_entropy(logits, jnp.zeros(8))
    with pytest.raises(ValueError, match=r"`p` must be of shape \(..., n\), one number a class"):
        jnn.cross_entropy(1.0, 0)
