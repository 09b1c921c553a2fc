"""Normalisation against PyTorch's, in float64."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnn.rules import batch_norm, group_norm, layer_norm, norm_relu_conv, rms_norm

torch: Any = pytest.importorskip("torch", reason="PyTorch is a peer: pip install 'jnn[bench]'")

CLOSE: Any = {"rtol": 1e-9, "atol": 1e-9}


def first(a):
    """Channels from last to first, after the batch."""
    return a.movedim(-1, 1)


def theirs_batch(x, scale, shift):
    axes = tuple(range(x.ndim - 1))
    y = torch.nn.functional.batch_norm(first(x), None, None, scale, shift, training=True, eps=1e-3)
    return y.movedim(1, -1), x.mean(axes), x.var(axes, unbiased=False)


def theirs_fused(x, scale, shift, w, b):
    z, mean, variance = theirs_batch(x, scale, shift)
    u = first(torch.relu(z))
    y = torch.nn.functional.conv2d(u, w.permute(3, 2, 0, 1), b, stride=2, padding=1)
    return y.movedim(1, -1), mean, variance


def theirs_group(x, scale, shift, groups):
    y = torch.nn.functional.group_norm(first(x), groups, scale, shift, 1e-3)
    return y.movedim(1, -1)


IMAGES, ROWS = (5, 7, 7, 6), (4, 3, 8)
CASES = {
    "batch": (functools.partial(batch_norm, epsilon=1e-3), theirs_batch, IMAGES, [(6,), (6,)]),
    "layer": (
        functools.partial(layer_norm, epsilon=1e-3),
        lambda x, *p: torch.nn.functional.layer_norm(x, (8,), *p, eps=1e-3), ROWS, [(8,), (8,)],
    ),
    "rms": (
        functools.partial(rms_norm, epsilon=1e-3),
        lambda x, *p: torch.nn.functional.rms_norm(x, (8,), *p, eps=1e-3), ROWS, [(8,)],
    ),
    "group": (
        functools.partial(group_norm, groups=3, epsilon=1e-3),
        functools.partial(theirs_group, groups=3), IMAGES, [(6,), (6,)],
    ),
    "instance": (
        functools.partial(group_norm, groups=6, epsilon=1e-3),
        functools.partial(theirs_group, groups=6), IMAGES, [(6,), (6,)],
    ),
    "fused": (
        functools.partial(norm_relu_conv, epsilon=1e-3, stride=2, padding=1),
        theirs_fused, IMAGES, [(6,), (6,), (3, 3, 6, 4), (4,)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs", "shape", "others"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("given", [True, False], ids=["scaled", "plain"])
def test_values_and_gradients_are_pytorch_s(ours, theirs, shape, others, given, random):
    arrays = [2 + random.normal(size=shape), *(random.normal(size=s) for s in others)]
    if not given:
        absent = 1 if len(others) == 1 else 2
        arrays[1 : 1 + absent] = [None] * absent
    tensors: Any = [None if a is None else torch.tensor(a, requires_grad=True) for a in arrays]
    wanted = theirs(*tensors)
    with jax.enable_x64(True):
        present = [i for i, a in enumerate(arrays) if a is not None]

        def function(*some):
            full = list(arrays)
            for i, a in zip(present, some, strict=True):
                full[i] = a
            return ours(*full)

        y, back = jax.vjp(function, *(arrays[i] for i in present))
        deltas = jax.tree.map(lambda a: random.normal(size=a.shape), y)
        grads = back(jax.tree.map(jnp.asarray, deltas))
    found, expected = jax.tree.leaves(y), wanted if isinstance(wanted, tuple) else (wanted,)
    terms = [
        (a * torch.tensor(d)).sum() for a, d in zip(expected, jax.tree.leaves(deltas), strict=True)
    ]
    torch.stack(terms).sum().backward()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), **CLOSE)
    for i, d in zip(present, grads, strict=True):
        np.testing.assert_allclose(d, tensors[i].grad.numpy(), **CLOSE)
