"""Activations, pools and image rules against PyTorch in float64: values and gradients to 1e-9."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules import registry

torch = pytest.importorskip("torch", reason="PyTorch is of the extra `bench`")
F = torch.nn.functional

X = np.array([-100.0, -30, -6, -3, -2, -0.7, -0.5, -0.3, 0, 0.3, 0.5, 0.9, 2, 3, 5, 6, 30, 100])


def same(rule, theirs, *args, rtol=1e-9):
    """Values and gradients in all arguments, for a random cotangent; kinks included."""
    tensors = [torch.tensor(a, requires_grad=True) for a in args]
    want = theirs(*tensors)
    with jax.enable_x64(True):
        y, pull = jax.vjp(rule, *map(jnp.asarray, args))
        delta = np.random.default_rng(1).normal(size=y.shape)
        got = pull(jnp.asarray(delta))
    want.backward(torch.tensor(delta))
    np.testing.assert_allclose(y, want.detach(), rtol=1e-9, atol=1e-12)
    for g, t in zip(got, tensors, strict=True):
        np.testing.assert_allclose(g, t.grad, rtol=rtol, atol=1e-12)


ACTIVATIONS = {
    "mish": F.mish,
    "hard_swish": F.hardswish,
    "hard_sigmoid": F.hardsigmoid,
    "relu6": F.relu6,
    "celu": F.celu,
    "log_sigmoid": F.logsigmoid,
    "soft_shrink": F.softshrink,
    "hard_shrink": F.hardshrink,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    sixth = 1e-7 if name == "hard_sigmoid" else 1e-9  # PyTorch's 1 / 6 is a float32.
    same(registry[name], ACTIVATIONS[name], X, rtol=sixth)


def test_settings_of_activations():
    same(lambda x: jnn.rules.celu(x, alpha=0.5), lambda x: F.celu(x, alpha=0.5), X)
    same(lambda x: jnn.rules.soft_shrink(x, threshold=2.0), lambda x: F.softshrink(x, 2.0), X)
    same(lambda x: jnn.rules.hard_shrink(x, threshold=2.0), lambda x: F.hardshrink(x, 2.0), X)


@pytest.mark.parametrize("channels", [1, 3])
def test_prelu(channels, random):
    """PyTorch's channels are its axis 1, which in an array of two axes is the last."""
    x, slope = random.normal(size=(5, 3)), random.normal(size=channels)
    x[0, 0] = 0.0
    same(
        lambda x, slope: jnn.rules.prelu(x, slope.reshape(()) if channels == 1 else slope),
        F.prelu, x, slope,
    )  # fmt: skip
