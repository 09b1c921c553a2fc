"""Initialisers: their moments within the error of sampling, and what they are good for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn import initialisers

KEY = jax.random.key(7, impl="rbg")  # Compiles faster than the default.
DENSE, CONV = (300, 200), (3, 3, 40, 50)  # Fans 300 and 200; 9 * 40 and 9 * 50.

VARIANCES = {
    "lecun": lambda fan_in, fan_out: 1 / fan_in,
    "he": lambda fan_in, fan_out: 2 / fan_in,
    "glorot": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
}


@pytest.mark.parametrize("shape", [DENSE, CONV], ids=["dense", "convolution"])
@pytest.mark.parametrize("law", ["uniform", "normal"])
@pytest.mark.parametrize("name", VARIANCES)
def test_variance_follows_the_fans(name, law, shape):
    window = np.prod(shape[:-2])
    variance = VARIANCES[name](window * shape[-2], window * shape[-1])
    w = np.asarray(getattr(initialisers, f"{name}_{law}")(KEY, shape, jnp.float32), np.float64)
    moments(w, variance, law)


@pytest.mark.parametrize("law", ["uniform", "normal"])
def test_plain_laws(law):
    scale = 0.3
    w = getattr(initialisers, law)(scale)(KEY, DENSE, jnp.float32)
    moments(np.asarray(w, np.float64), scale**2 / (3 if law == "uniform" else 1), law)


def moments(w, variance, law):
    """Mean and variance within five standard errors; and the law by its fourth moment."""
    n, kurtosis = w.size, {"uniform": 1.8, "normal": 3.0}[law]
    assert abs(w.mean()) < 5 * np.sqrt(variance / n)
    assert abs(w.var() / variance - 1) < 5 * np.sqrt((kurtosis - 1) / n)
    assert abs((w**4).mean() / variance**2 / kurtosis - 1) < 0.05
    if law == "uniform":
        assert abs(w).max() <= np.sqrt(3 * variance) * (1 + 1e-6)


@pytest.mark.parametrize("shape", [(30, 30), (7, 40), (3, 3, 4, 5)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.float64, 1e-12)])
def test_orthogonal_matrices_are(shape, dtype, tolerance):
    with jax.enable_x64(True):
        w = initialisers.orthogonal(gain=2.0)(KEY, shape, dtype)
        assert w.shape == shape
        assert w.dtype == dtype
        matrix = np.asarray(w, np.float64).reshape(-1, shape[-1])
        product = matrix.T @ matrix if len(matrix) >= shape[-1] else matrix @ matrix.T
        np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=4 * tolerance)


def test_orthogonal_draws_are_not_tied_to_one_sign():
    """Without the signs of R, the diagonal of Q would lean to one side."""
    draw = initialisers.orthogonal()
    w = jax.vmap(lambda key: draw(key, (2, 2), jnp.float32))(jax.random.split(KEY, 2000))
    assert abs(w.mean(0)).max() < 5 * np.sqrt(0.5 / 2000)


def test_constants():
    assert (initialisers.zeros(KEY, (3,), jnp.float32) == 0).all()
    assert (initialisers.constant(0.5)(KEY, (3,), jnp.float32) == 0.5).all()


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.parametrize(
    "initialiser",
    [
        initialisers.zeros,
        initialisers.constant(0.1),
        initialisers.uniform(0.1),
        initialisers.normal(0.1),
        initialisers.glorot_uniform,
        initialisers.he_normal,
        initialisers.orthogonal(),
    ],
    ids=lambda i: i.__name__,
)
def test_every_dtype(initialiser, dtype):
    with jax.enable_x64(True):
        w = jax.eval_shape(lambda key: initialiser(key, (4, 5), dtype), KEY)
        assert w.shape == (4, 5)
        assert w.dtype == dtype
        assert not w.weak_type


def test_he_keeps_the_signal_through_many_rectifiers_and_glorot_does_not():
    """Mean square after 20 layers of 200 units: 1 for He, 2^-20 for half of that variance."""
    x = np.random.default_rng(1).normal(size=(50, 200)).astype(np.float32)

    def after(weights):
        layers = [jnn.dense(200, activation="relu", weights=weights) for _ in range(20)]
        net = jnn.serial(*layers)
        return float(jnp.mean(net(net.init(KEY, x)[0], x) ** 2))

    assert 0.1 < after(initialisers.he_normal) < 10
    assert 0.1 < after(initialisers.glorot_normal) * 2**20 < 10


def test_orthogonal_keeps_lengths_through_many_linear_layers():
    x = np.random.default_rng(1).normal(size=(5, 30)).astype(np.float32)
    net = jnn.serial(*(jnn.dense(30, weights=initialisers.orthogonal()) for _ in range(20)))
    y = net(net.init(KEY, x)[0], x)
    norms = np.linalg.norm(x, axis=1)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), norms, rtol=1e-4)


@pytest.mark.parametrize(
    "name", ["lecun_uniform", "lecun_normal", "he_uniform", "he_normal", "glorot_uniform"]
)
def test_fans_need_two_axes(name):
    with pytest.raises(ValueError, match=rf"{name}: `shape` must be \(..., in, out\), got \(3,\)"):
        getattr(initialisers, name)(KEY, (3,), jnp.float32)


def test_bad_scales_raise():
    with pytest.raises(ValueError, match="normal: `deviation` must be between 0 and inf, got -1"):
        initialisers.normal(-1)
    with pytest.raises(TypeError, match="uniform: `bound` must be a number, got 'a'"):
        initialisers.uniform("a")  # pyright: ignore[reportArgumentType]


def test_no_features_are_no_error():
    params, _ = jnn.dense(3, weights=initialisers.he_normal).init(KEY, jnp.zeros((5, 0)))
    assert params.w.shape == (0, 3)
