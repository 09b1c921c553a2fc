"""Whole networks of PyTorch's, with its running statistics and its stacked recurrent layers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn import models
from jnn.train import load_torch, save_torch
from tests.draw import parameters

torch: Any = pytest.importorskip("torch", reason="needs PyTorch: jnn[bench]")
safetensors: Any = pytest.importorskip("safetensors.torch", reason="needs jnn[bench]")
nn = torch.nn

CLOSE: Any = {"rtol": 1e-4, "atol": 1e-4}


class Block(nn.Module):
    """torchvision's BasicBlock or Bottleneck: its names, its equations."""

    def __init__(self, read, maps, stride, deep):
        super().__init__()
        sizes = [(maps, 1, 1), (maps, 3, stride), (4 * maps, 1, 1)]
        sizes = sizes if deep else [(maps, 3, stride), (maps, 3, 1)]
        self.count, n = len(sizes), read
        for i, (made, size, step) in enumerate(sizes, 1):
            setattr(self, f"conv{i}", nn.Conv2d(n, made, size, step, size // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(made))
            n = made
        self.downsample = None
        if (read, stride) != (n, 1):
            self.downsample = nn.Sequential(
                nn.Conv2d(read, n, 1, stride, bias=False), nn.BatchNorm2d(n)
            )

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = torch.relu(y) if i < self.count else y
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """torchvision's ResNet."""

    def __init__(self, widths, deep):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1, self.stages = nn.BatchNorm2d(widths[0]), len(widths)
        read = widths[0]
        for i, maps in enumerate(widths, 1):
            made = maps * (4 if deep else 1)
            blocks = Block(read, maps, 1 + (i > 1), deep), Block(made, maps, 1, deep)
            setattr(self, f"layer{i}", nn.Sequential(*blocks))
            read = made
        self.fc = nn.Linear(read, 5)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        for i in range(1, self.stages + 1):
            x = getattr(self, f"layer{i}")(x)
        return self.fc(x.mean((2, 3)))


def drawn(net, random):
    """The module with statistics and scales that are not those of the beginning."""
    for name, value in net.state_dict().items():
        if value.ndim == 1:
            low, high = (0.5, 2) if "var" in name or name.endswith("weight") else (-0.5, 0.5)
            value.copy_(torch.tensor(random.uniform(low, high, len(value))))
    return net


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_residual_networks_of_torchvision(block, random, tmp_path):
    theirs = drawn(ResNet((4, 6), block == "bottleneck"), random)
    ours = models.resnet(5, widths=(4, 6), block=block, norm="batch", stem=7)
    names, file = models.torchvision_names(ours), tmp_path / "a.safetensors"
    x = random.normal(size=(3, 16, 16, 3)).astype("f4")
    images = torch.tensor(x.transpose(0, 3, 1, 2))
    safetensors.save_file(theirs.state_dict(), file)
    params, state = load_torch(file, *jax.eval_shape(ours.init, jax.random.key(0), x), names=names)
    run = jax.jit(lambda params, state, x, train: ours.apply(params, state, x, train=train),
                  static_argnums=3)  # fmt: skip
    y, _ = run(params, state, x, False)
    np.testing.assert_allclose(y, theirs.eval()(images).detach(), **CLOSE)
    if block == "bottleneck":
        return
    y, state = run(params, state, x, True)  # Running statistics move alike.
    np.testing.assert_allclose(y, theirs.train()(images).detach(), **CLOSE)
    save_torch(file, params, state, names=names)
    found = safetensors.load_file(file)
    expected = theirs.state_dict()
    assert {n for n in expected if n.rpartition(".")[2] != "num_batches_tracked"} == {*found}
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], **CLOSE, err_msg=name)
    theirs.load_state_dict(found)
    with pytest.raises(ValueError, match=r"running_var.*Statistics of batch norms are a state"):
        load_torch(file, params, names=names)


class Reader(nn.Module):
    """Tokens, a stack of recurrent layers from both ends, logits of the next token."""

    def __init__(self, kind):
        super().__init__()
        self.table = nn.Embedding(9, 3)
        self.rnn = kind(3, 4, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(8, 9)

    def forward(self, tokens):
        return self.head(self.rnn(self.table(tokens))[0])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_stacks_of_recurrent_layers(cell, random, tmp_path):
    theirs = Reader({"lstm": nn.LSTM, "gru": nn.GRU}[cell])
    ours = models.recurrent(9, 4, 2, cell=cell, both=True, read="each", vocabulary=9, width=3)
    names = {"0": "table", "3": "head"}
    for i in range(2):
        names |= {f"{i + 1}/0": f"rnn.*_l{i}", f"{i + 1}/1": f"rnn.*_l{i}_reverse"}
    tokens = random.integers(0, 9, (2, 5)).astype("i4")
    y, file = theirs(torch.tensor(tokens)).detach(), tmp_path / "a.safetensors"
    safetensors.save_file(theirs.state_dict(), file)
    params = load_torch(file, parameters(ours, tokens), names=names)
    np.testing.assert_allclose(jax.jit(ours)(params, tokens), y, **CLOSE)
    save_torch(file, params, names=names)
    other = Reader(type(theirs.rnn))
    other.load_state_dict(safetensors.load_file(file))
    np.testing.assert_allclose(other(torch.tensor(tokens)).detach(), y, **CLOSE)


def test_a_recurrent_layer_is_a_module_of_one(random, tmp_path):
    net, file = jnn.serial(jnn.lstm(4), jnn.batch_norm()), tmp_path / "a.safetensors"
    x = random.normal(size=(2, 5, 3)).astype("f4")
    params, state = net.init(jax.random.key(0), x)
    save_torch(file, params, state)
    module = nn.LSTM(3, 4, batch_first=True)
    read = safetensors.load_file(file)
    module.load_state_dict({n.removeprefix("0."): a for n, a in read.items() if n[0] == "0"})
    found = jnn.lstm(4)(params[0], x)
    np.testing.assert_allclose(found, module(torch.tensor(x))[0].detach(), **CLOSE)


def test_stacked_layers_are_written_one_by_one_with_their_states(random, tmp_path):
    file = tmp_path / "a.safetensors"
    net = jnn.serial(jnn.dense(3), jnn.repeat(jnn.serial(jnn.dense(3), jnn.batch_norm()), 2))
    x = random.normal(size=(8, 3)).astype("f4")
    params, state = net.init(jax.random.key(0), x)
    _, state = jax.jit(lambda p, s: net.apply(p, s, x, train=True))(params, state)
    save_torch(file, params, state)
    rows = [nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for _ in range(2)]
    theirs = nn.Sequential(nn.Linear(3, 3), nn.Sequential(*rows)).eval()
    theirs.load_state_dict(safetensors.load_file(file))
    np.testing.assert_allclose(net(params, x, state), theirs(torch.tensor(x)).detach(), **CLOSE)
    back = load_torch(file, params, state)
    jax.tree.map(np.testing.assert_array_equal, back, (params, state))


def test_names_that_lead_nowhere_are_told(tmp_path):
    params = parameters(jnn.serial(jnn.dense(2), jnn.dense(2)), jnp.ones((1, 2)))
    with pytest.raises(ValueError, match="paths of layers, such as '0' or '1/0', got 2"):
        save_torch(tmp_path / "a", params, names={"2": "x"})
    with pytest.raises(ValueError, match=r"'x\.weight' for '0/w' and for '1/w'"):
        save_torch(tmp_path / "a", params, names={"0": "x", "1": "x"})
