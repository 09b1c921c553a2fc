"""Attention and transformers exchanged with PyTorch: the same parameters give the same outputs."""

from typing import Any

import jax
import numpy as np
import pytest

import jnn
from jnn.models import torch_names, transformer_block
from jnn.train import load_torch, save_torch
from tests.draw import parameters

torch: Any = pytest.importorskip("torch", reason="needs PyTorch: jnn[bench]")
safetensors: Any = pytest.importorskip("safetensors.torch", reason="needs jnn[bench]")

X = np.random.default_rng(1).normal(size=(2, 5, 8)).astype(np.float32)
CONTEXT = np.random.default_rng(2).normal(size=(2, 7, 6)).astype(np.float32)


def exchanged(net, x, module, tmp_path, names=None):
    """Parameters in which both agree: ours taken by PyTorch, then PyTorch's taken by us."""
    params = jax.tree.map(lambda a: 0.3 * a, parameters(net, x))
    save_torch(tmp_path / "ours", params, names=names)
    module.load_state_dict(safetensors.load_file(tmp_path / "ours"))
    yield params
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    safetensors.save_file(module.state_dict(), tmp_path / "theirs")
    yield load_torch(tmp_path / "theirs", params, names=names)


@pytest.mark.parametrize("bias", [True, False])
def test_attention_of_a_sequence_to_itself(bias, tmp_path):
    net = jnn.attention(2, bias=bias)
    module = torch.nn.MultiheadAttention(8, 2, bias=bias, batch_first=True)
    for params in exchanged(net, X, module, tmp_path):
        with torch.no_grad():
            y, _ = module(*[torch.tensor(X)] * 3)
        np.testing.assert_allclose(net(params, X), y.numpy(), atol=1e-5)


def test_attention_to_another_sequence(tmp_path):
    net = jnn.attention(2, bias=True)
    module = torch.nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)
    for params in exchanged(net, (X, CONTEXT), module, tmp_path):
        with torch.no_grad():
            y, _ = module(torch.tensor(X), *[torch.tensor(CONTEXT)] * 2)
        np.testing.assert_allclose(net(params, (X, CONTEXT)), y.numpy(), atol=1e-5)


def test_a_block_and_a_row_of_them(tmp_path):
    block = transformer_block(
        8, 2, hidden=12, norm="layer", activation="relu", gated=False, bias=True
    )
    layer = torch.nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True, norm_first=True)
    several = torch.nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    for net, module in ((block, layer), (jnn.serial(jnn.repeat(block, 3)), several)):
        for params in exchanged(net, X, module, tmp_path, torch_names(net)):
            with torch.no_grad():
                y = module.eval()(torch.tensor(X))
            np.testing.assert_allclose(jax.jit(net)(params, X), y.numpy(), atol=2e-5)


def test_a_language_model_comes_back(tmp_path):
    """Keys of fewer heads, gates and a table that is tied, under LLaMA's names."""
    ids = np.zeros((1, 3), int)
    net = jnn.models.transformer(11, 8, 4, 2, key_value_heads=2)
    params = parameters(net, ids)
    save_torch(tmp_path / "a", params)
    read = load_torch(tmp_path / "a", params)
    jax.tree.map(np.testing.assert_array_equal, read, params)
    shapes = {name: a.shape for name, a in jnn.load(tmp_path / "a").items()}
    assert shapes["1.1.0.0.1.k_proj.weight"] == (4, 8)
    assert shapes["0.weight"] == (11, 8)


def test_blocks_with_a_gate_have_no_names_of_pytorch():
    with pytest.raises(ValueError, match="gated=False"):
        torch_names(transformer_block(8, 2))
