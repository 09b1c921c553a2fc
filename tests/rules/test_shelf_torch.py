"""Activations, pools and image rules against PyTorch in float64: values and gradients to 1e-9."""

import jax
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
        delta = np.random.default_rng(1).normal(size=want.shape)
        y, got = jax.jit(lambda args, d: (rule(*args), jax.vjp(rule, *args)[1](d)))(args, delta)
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


def last(theirs):
    """A function of PyTorch, from and to channels on the last axis."""
    return lambda x: theirs(x.movedim(-1, 1)).movedim(1, -1)


POOLS = {
    "max": (
        jnn.rules.adaptive_max_pool,
        F.adaptive_max_pool1d,
        F.adaptive_max_pool2d,
        F.adaptive_max_pool3d,
    ),
    "mean": (
        jnn.rules.adaptive_mean_pool,
        F.adaptive_avg_pool1d,
        F.adaptive_avg_pool2d,
        F.adaptive_avg_pool3d,
    ),
}
ADAPTIVE = [
    ((12,), (5,)),
    ((7, 9), (3, 4)),
    ((3, 4), (5, 2)),
    ((5, 4, 6), (2, 3, 4)),
    ((8, 8), (1, 4)),
]


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize(("image", "size"), ADAPTIVE)
def test_adaptive_pooling(random, kind, image, size):
    rule, *theirs = POOLS[kind]
    x = np.round(random.normal(size=(2, *image, 3)), 1)  # Ties: PyTorch's go to the first too.
    same(lambda x: rule(x, size=size), last(lambda x: theirs[len(size) - 1](x, size)), x)


@pytest.mark.parametrize("count", [False, True])
@pytest.mark.parametrize(("window", "stride", "padding"), [(3, 2, 1), (2, 2, 0), (5, 1, 2)])
def test_mean_pooling(random, window, stride, padding, count):
    settings = {"window": window, "stride": stride, "padding": padding, "count_padding": count}
    same(
        lambda x: jnn.rules.mean_pool(x, **settings),
        last(lambda x: F.avg_pool2d(x, window, stride, padding, count_include_pad=count)),
        random.normal(size=(2, 7, 8, 3)),
    )


RESIZED = [
    ((4, 5), (8, 10)),
    ((6, 8), (3, 4)),
    ((5, 4), (7, 9)),
    ((8, 3), (5, 1)),
    ((4, 4), (1, 6)),
]


@pytest.mark.parametrize(("image", "size"), RESIZED)
def test_resizing(random, image, size):
    x = random.normal(size=(2, *image, 3))
    for method, align, mode, corners in (
        ("nearest", None, "nearest", None),
        ("nearest", "centres", "nearest-exact", None),
        ("linear", None, "bilinear", False),
        ("linear", "corners", "bilinear", True),
    ):
        same(
            lambda x, m=method, a=align: jnn.rules.resize(x, size=size, method=m, align=a),
            last(lambda x, m=mode, c=corners: F.interpolate(x, size, mode=m, align_corners=c)),
            x,
        )


@pytest.mark.parametrize(
    ("mode", "image", "size"), [("linear", (6,), (9,)), ("trilinear", (3, 4, 5), (5, 2, 7))]
)
def test_resizing_of_lines_and_volumes(random, mode, image, size):
    same(
        lambda x: jnn.rules.resize(x, size=size, method="linear"),
        last(lambda x: F.interpolate(x, size, mode=mode)),
        random.normal(size=(2, *image, 3)),
    )


def test_shuffling(random):
    shuffle = last(lambda x: F.pixel_shuffle(x, 2)), last(lambda x: F.pixel_unshuffle(x, 3))
    x = random.normal(size=(2, 3, 6, 12))
    same(lambda x: jnn.rules.pixel_shuffle(x, factor=2), shuffle[0], x)
    same(lambda x: jnn.rules.pixel_unshuffle(x, factor=3), shuffle[1], x)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_local_response_norm(random, size):
    settings = {"size": size, "alpha": 0.5, "beta": 0.75}
    same(
        lambda x: jnn.rules.local_response_norm(x, **settings, bias=2.0),
        last(lambda x: F.local_response_norm(x, **settings, k=2.0)),
        random.normal(size=(2, 3, 4, 6)),
    )
