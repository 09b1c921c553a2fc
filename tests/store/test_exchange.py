"""Exchange with PyTorch: the same parameters give the same outputs."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.layers.linear import DenseParams
from jnn.train import load_torch, save_torch

torch: Any = pytest.importorskip("torch", reason="needs PyTorch: jnn[bench]")
safetensors: Any = pytest.importorskip("safetensors.torch", reason="needs jnn[bench]")


class Filters(NamedTuple):
    w: jax.Array
    b: jax.Array


def convolve(params, x):
    y = jax.lax.conv_general_dilated(
        x, params.w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y + jnp.broadcast_to(params.b, y.shape)


def ours(params, x):
    hidden = jnp.tanh(convolve(params[0], x)).reshape(len(x), -1)
    return jnn.dense(3)(params[3], hidden)


class ChannelsLast(torch.nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


def theirs():
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, (3, 2)), torch.nn.Tanh(), ChannelsLast(), torch.nn.Linear(48, 3)
    )


def parameters(random):
    def draw(*shape):
        return jnp.array(random.standard_normal(shape), jnp.float32)

    return (Filters(draw(3, 2, 2, 4), draw(4)), (), (), DenseParams(draw(48, 3), draw(3)))


def test_slopes_of_prelu_one_or_one_a_channel(random, tmp_path):
    net = jnn.serial(jnn.dense(3), jnn.prelu(shared=False), jnn.dense(2), jnn.prelu())
    x = random.standard_normal((5, 4)).astype("f4")
    params, _ = net.init(jax.random.key(0), x)
    params = jax.tree.map(lambda a: a + jnp.asarray(random.normal(size=a.shape), a.dtype), params)
    path = tmp_path / "slopes.safetensors"
    save_torch(path, params)
    other = torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.PReLU(3), torch.nn.Linear(3, 2), torch.nn.PReLU()
    )
    other.load_state_dict(safetensors.load_file(path))
    with torch.no_grad():
        np.testing.assert_allclose(net(params, x), other(torch.tensor(x)), rtol=1e-4, atol=1e-5)
    read = load_torch(path, params)
    for a, b in zip(jax.tree.leaves(read), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_pytorch_reads_our_file(random, tmp_path):
    params = parameters(random)
    save_torch(tmp_path / "a.safetensors", params)
    net = theirs()
    net.load_state_dict(safetensors.load_file(tmp_path / "a.safetensors"))
    x = random.standard_normal((5, 6, 4, 2)).astype("f4")
    with torch.no_grad():
        y = net(torch.tensor(x.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(ours(params, x), y.numpy(), rtol=1e-5, atol=1e-5)


def test_we_read_pytorch_s_file(random, tmp_path):
    net = theirs()
    safetensors.save_file(net.state_dict(), tmp_path / "a.safetensors")
    params = load_torch(tmp_path / "a.safetensors", parameters(random))
    x = random.standard_normal((5, 6, 4, 2)).astype("f4")
    with torch.no_grad():
        y = net(torch.tensor(x.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(ours(params, x), y.numpy(), rtol=1e-5, atol=1e-5)
    wrong = (*parameters(random)[:3], (jnp.zeros((3, 48)),))
    with pytest.raises(ValueError, match=r"'3\.0'"):
        load_torch(tmp_path / "a.safetensors", wrong)
    with pytest.raises(ValueError, match=r"only, got one with 3\.bias"):
        load_torch(tmp_path / "a.safetensors", parameters(random)[:3])


def test_other_dtypes_pass_to_pytorch(tmp_path):
    tree = {"a": jnp.array([1.5, -2], jnp.bfloat16), "b": np.arange(3), "c": np.array([True])}
    jnn.save(tmp_path / "a", tree)
    read = safetensors.load_file(tmp_path / "a")
    assert read["a"].dtype == torch.bfloat16
    assert read["a"].tolist() == [1.5, -2]
    assert read["b"].tolist() == [0, 1, 2]
    assert read["c"].tolist() == [True]
