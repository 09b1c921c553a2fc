"""A training whose losses are known: stored, and found again by NumPy, written in another way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.layers import DenseParams
from jnn.models import mlp

LOSSES = [
    1.699304820580989,
    1.3334553404060299,
    1.1144132720038171,
    0.9890607067908472,
    0.9232322478035115,
    0.8875925423139926,
    0.864256616666213,
    0.845519657887414,
    0.8285917078350278,
    0.8124896571939912,
]


def problem():
    """Eight samples in three classes, and parameters, from no generator of random numbers."""
    x = np.sin(np.arange(8 * 3.0).reshape(8, 3) ** 1.5)
    labels = np.arange(8) * 5 % 3
    params = tuple(
        (np.cos(np.arange(n * m * 1.0).reshape(n, m) ** 1.3 + n), np.sin(np.arange(m) * 0.7))
        for n, m in ((3, 5), (5, 3))
    )
    return x, labels, params


def losses_by_numpy(steps: int, rate: float) -> list[float]:
    """Gradient descent, written out: weights (out, in), one sample after the other."""
    x, labels, ((w1, b1), (w2, b2)) = problem()
    w1, w2 = w1.T.copy(), w2.T.copy()
    b1, b2 = b1.copy(), b2.copy()
    losses = []
    for _ in range(steps):
        loss, gradients = 0.0, [np.zeros_like(p) for p in (w1, b1, w2, b2)]
        for sample, label in zip(x, labels, strict=True):
            hidden = np.tanh(w1 @ sample + b1)
            exponentials = np.exp(w2 @ hidden + b2)
            p = exponentials / exponentials.sum()
            loss -= np.log(p[label]) / len(x)
            delta2 = p - np.eye(3)[label]
            delta1 = (w2.T @ delta2) * (1 - hidden**2)
            for g, d in zip(
                gradients,
                (np.outer(delta1, sample), delta1, np.outer(delta2, hidden), delta2),
                strict=True,
            ):
                g += d / len(x)
        losses.append(float(loss))
        for parameter, gradient in zip((w1, b1, w2, b2), gradients, strict=True):
            parameter -= rate * gradient
    return losses


def losses_by_jnn(steps: int, rate: float, dtype) -> list[float]:
    x, labels, start = problem()
    x, labels = jnp.asarray(x, dtype), jnp.asarray(labels)
    net = mlp([5, 3])
    params = tuple(DenseParams(jnp.asarray(w, dtype), jnp.asarray(b, dtype)) for w, b in start)

    @jax.jit
    def step(params):
        loss, grads = jax.value_and_grad(
            lambda p: jnn.softmax_cross_entropy(net(p, x), labels).mean()
        )(params)
        return jax.tree.map(lambda p, g: p - rate * g, params, grads), loss

    losses = []
    for _ in range(steps):
        params, loss = step(params)
        losses.append(float(loss))
    return losses


def test_ten_losses_of_a_training():
    with jax.enable_x64(True):
        ours = losses_by_jnn(10, 0.5, jnp.float64)
    np.testing.assert_allclose(ours, losses_by_numpy(10, 0.5), rtol=1e-12)
    np.testing.assert_allclose(ours, LOSSES, rtol=1e-10)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(jnp.float32, 1e-6), (jnp.bfloat16, 0.01), (jnp.float16, 0.002)]
)
def test_training_in_other_precisions_follows(dtype, tolerance):
    np.testing.assert_allclose(losses_by_jnn(10, 0.5, dtype), LOSSES, rtol=tolerance)
