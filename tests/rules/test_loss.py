"""Losses of regression against the documents' numbers, SciPy, and their own settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import jnn
from jnn.rules import affine, identity, sigmoid, soft_logistic, softmax, tanh
from jnn.rules.core.mode import MODES
from tests.golden import golden

LOSSES = {
    "squared_error": jnn.squared_error,
    "half_squared_error": jnn.half_squared_error,
    "absolute_error": jnn.absolute_error,
    "huber": jnn.huber,
}
REFERENCES = {
    "squared_error": np.square,
    "half_squared_error": lambda e: np.square(e) / 2,
    "absolute_error": np.abs,
    "huber": lambda e: scipy.special.huber(1.0, e),
}


def close(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-12, atol=1e-15)


# The documents.


def test_logistic_regression_on_quadratic_features():
    """D-15 with the squared loss of D's first chapter, sum |p - y|^2."""
    case = golden("D-15")
    phi, y = case["outputs"]["phi"], case["inputs"]["y"][:, None]

    def loss(w, b):
        return jnn.squared_error(sigmoid(affine(phi, w, b)), y).sum()

    with jax.enable_x64(True):
        w, b = jnp.asarray(case["inputs"]["w"])[:, None], jnp.asarray([case["inputs"]["b"]])
        value, (dw, db) = jax.value_and_grad(loss, (0, 1))(w, b)
    close(value, case["outputs"]["loss"])
    close(dw[:, 0], case["outputs"]["dw"])
    close(db[0], case["outputs"]["db"])


@pytest.mark.parametrize("mode", MODES)
def test_the_worked_network_of_xu(mode):
    """X-86..114, with the half; X-95 prints the loss without, which doubles all gradients.

    X-85 and X-100..110 print y - y^ for the derivative by y^, which is y^ - y. X-112 lists a
    derivative by U which is never derived: it is (y^ - y) a.
    """
    inputs, outputs = (golden("X-86..114")[part] for part in ("inputs", "outputs"))

    def loss(of, x, w, b, u):
        return of(affine(sigmoid(affine(x, w, b)), u), np.array([inputs["y"]]))

    with jax.enable_x64(True), jnn.derivatives(mode):
        args = inputs["x"], inputs["W"].T, inputs["b"], inputs["U"][:, None]
        half, grads = jax.value_and_grad(loss, (1, 2, 3, 4))(jnn.half_squared_error, *args)
        full, doubled = jax.value_and_grad(loss, (1, 2, 3, 4))(jnn.squared_error, *args)
        error = jax.grad(jnn.half_squared_error)(np.array([outputs["yhat"]]), np.array([1.0]))
    close(half, outputs["loss_half"])
    close(full, outputs["loss_full"])
    close(error[0], outputs["dl_dyhat_half"])
    for (dx, dw, db, du), factor in ((grads, 1), (doubled, 2)):
        close(dx, factor * outputs["dx"])
        close(dw.T, factor * outputs["dW"])
        close(db, factor * outputs["db"])
        close(du[:, 0], factor * outputs["dU"])


@pytest.mark.parametrize(
    ("activation", "slope"),
    [
        (identity, lambda y: 1),  # H-20..23: y - t
        (sigmoid, lambda y: y * (1 - y)),
        (tanh, lambda y: 1 - y**2),
    ],
    ids=("identity", "sigmoid", "tanh"),
)
def test_the_output_delta_of_half_the_squared_error(activation, slope, random):
    """Hedberg's Table 3, (MSE, any): (y - t) phi'. H-31 prints "MLE", and leaves phi' out once."""
    z, t = random.normal(size=(2, 3, 4))
    with jax.enable_x64(True):
        delta = jax.grad(lambda z: jnn.half_squared_error(activation(z), t).sum())(z)
        y = np.asarray(activation(z))
    close(delta, (y - t) * slope(y))


@pytest.mark.parametrize("activation", [sigmoid, soft_logistic], ids=lambda a: a.name)
def test_the_output_deltas_of_table_3(activation):
    case = golden(f"DELTA-table3-{activation.name}")
    z, t = case["inputs"]["z"], case["inputs"]["t"]
    with jax.enable_x64(True):
        close(activation(z), case["outputs"]["y"])
        delta = jax.grad(lambda z: jnn.half_squared_error(activation(z), t))(z)
    close(delta, case["outputs"]["mse"])


def test_the_initial_deltas_of_delmas():
    """D-30, D-32, D-33 with the 1/n of D-22. They print q of layer l; that of layer L - 1 is meant.

    D-33 applies softmax to the activated output: (zeta / n) (l' - sum l' zeta) q.
    """
    case = golden("DELTA-D32-D33")
    z, y = case["inputs"]["z"], case["inputs"]["y"]

    def mean_half_square(p):
        return jnn.half_squared_error(p, y, outputs="mean")

    with jax.enable_x64(True):
        close(tanh(z), case["outputs"]["p"])
        close(softmax(tanh(z)), case["outputs"]["zeta"])
        d30 = jax.grad(lambda z: mean_half_square(identity(z)))(z)
        d32 = jax.grad(lambda z: mean_half_square(tanh(z)))(z)
        d33 = jax.grad(lambda z: mean_half_square(softmax(tanh(z))))(z)
        bce = jax.grad(lambda z: jnn.binary_cross_entropy(softmax(tanh(z)), y) / z.size)(z)
    close(d30, (z - y) / 3)
    close(d32, case["outputs"]["d32"])
    close(d33, case["outputs"]["d33_sq"])
    close(bce, case["outputs"]["d33_bce"])


def test_the_robust_fit_of_treister_is_stationary():
    """The minimiser of the sum of Huber's losses, found by weighted least squares, not by us."""
    case = golden("TOC-robust-LS")
    a, y, q = case["inputs"]["A"], case["inputs"]["y"][:, None], case["outputs"]["huber"]
    with jax.enable_x64(True):
        gradient = jax.grad(lambda q: jnn.huber(affine(a, q[:, None]), y).sum())(q)
    np.testing.assert_allclose(gradient, 0, atol=1e-12)


# The settings.


@pytest.mark.parametrize("name", LOSSES)
def test_values_equal_a_second_opinion_in_every_reduction(name, random):
    y, t, w = 2 * random.normal(size=(3, 4, 5)), random.normal(size=(3, 4, 5)), np.arange(5.0)
    terms = REFERENCES[name](y - t)
    with jax.enable_x64(True):
        close(LOSSES[name](y, t), terms.sum(-1))
        close(LOSSES[name](y, t, outputs="mean"), terms.mean(-1))
        close(LOSSES[name](y, t, w), terms @ w)
        close(LOSSES[name](y, t, w, outputs="mean"), terms @ w / 5)


@pytest.mark.parametrize("delta", [0, 0.3, 5])
def test_huber_equals_that_of_scipy_at_any_delta(delta, random):
    y, t = random.normal(size=(2, 50, 1))
    with jax.enable_x64(True):
        got = jnn.huber(y, t, delta=delta)
    close(got, scipy.special.huber(delta, y - t)[:, 0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOSSES)
def test_targets_and_weights_have_cotangents_too(name, mode, random):
    y, t = random.normal(size=(2, 3, 4))
    w = random.uniform(1, 2, 4)
    with jax.enable_x64(True), jnn.derivatives(mode):
        loss = lambda *args: LOSSES[name](*args, outputs="mean").sum()  # noqa: E731
        dy, dt, dw = jax.grad(loss, (0, 1, 2))(y, t, w)
    close(dt, -dy)
    close(dw, REFERENCES[name](y - t).sum(0) / 4)


def test_the_error_of_zero_has_no_sign():
    for mode in MODES:
        with jnn.derivatives(mode):
            slope = jax.grad(jnn.absolute_error)(jnp.array([1.0, 2.0, 0.0]), jnp.ones(3))
            assert slope.tolist() == [0, 1, -1]


def test_huber_pulls_no_harder_beyond_its_delta():
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        y = jnp.array([3e4, -3e4, 0.25], dtype)
        slope = jax.grad(lambda y: jnn.huber(y, jnp.zeros_like(y), delta=0.5))(y)
        assert slope.tolist() == [0.5, -0.5, 0.25]
        assert jnp.isfinite(jnn.huber(y, jnp.zeros_like(y), delta=0.5))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precisions_are_summed_in_float32(dtype):
    """In half precision these sums would stop growing at 2048 or 256 times their terms."""
    n = 6000
    y, t, eps = jnp.ones((n, 1), dtype), jnp.zeros((n, 1), dtype), float(jnp.finfo(dtype).eps)
    for loss in LOSSES.values():
        assert loss(y, t).dtype == dtype
        one = float(loss(y, t)[0])
        np.testing.assert_allclose(float(loss(y.T, t.T)[0]), n * one, rtol=eps)
        dw = jax.grad(lambda w, loss=loss: loss(y, t, w).astype(jnp.float32).sum())(y[0])
        assert dw.dtype == dtype
        np.testing.assert_allclose(float(dw[0]), n * one, rtol=eps)


def test_errors_name_the_argument_and_the_remedy():
    y = jnp.ones((8, 1))
    with pytest.raises(
        ValueError, match=r"squared_error: `t` must be of shape \(8, 1\), got float"
    ):
        jnn.squared_error(y, jnp.ones(8))
    with pytest.raises(ValueError, match="Axes of size 1 are not broadcast"):
        jnn.huber(jnp.ones((8, 3)), y)
    with pytest.raises(TypeError, match=r"absolute_error: `t` must be a floating array, got int32"):
        jnn.absolute_error(y, jnp.ones((8, 1), int))
    with pytest.raises(TypeError, match="`t` must be of the dtype of `y`, float32, got float16"):
        jnn.half_squared_error(y, y.astype(jnp.float16))
    with pytest.raises(
        ValueError, match=r"`weights` must be of shape \(1,\), .* One weight an out"
    ):
        jnn.huber(y, y, jnp.ones(8))
    with pytest.raises(ValueError, match="`outputs` must be one of 'sum', 'mean', got 'none'"):
        jnn.squared_error(y, y, outputs="none")
    with pytest.raises(ValueError, match="huber: `delta` must be between 0 and inf, got -1"):
        jnn.huber(y, y, delta=-1)
    with pytest.raises(ValueError, match=r"`y` must be of shape \(..., n\), n outputs a sample"):
        jnn.squared_error(1.0, 1.0)
