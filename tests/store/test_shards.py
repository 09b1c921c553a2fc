"""Checkpoints of arrays that are divided among processes, here played by the devices of one."""

from typing import Any

import jax
import numpy as np
import pytest

import jnn
from jnn.store import checkpoints, shards
from jnn.train import Checkpoints, Layout, fully_sharded
from tests.train.test_fit import equal, run


@pytest.fixture(scope="module")
def mesh():
    if len(jax.devices()) < 8:
        pytest.skip("needs eight devices: XLA_FLAGS=--xla_force_host_platform_device_count=8")
    return jax.make_mesh((8,), ("data",))


@pytest.fixture
def two_processes(monkeypatch):
    """The first half of the devices is one process, the second another that writes before it."""
    monkeypatch.setattr(shards, "process_of", lambda device: device.id // 4)
    write: Any = shards.write_shards

    def both(*args):
        *rest, process, meet = args
        write(*rest, 1 - process, meet)
        write(*rest, process, meet)

    monkeypatch.setattr(checkpoints, "write_shards", both)


SETTINGS = {"batch_size": 16, "average": 0.9}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_run_on_eight_devices_goes_on_on_four_and_on_one(mesh, tmp_path, two_processes):
    layout = fully_sharded(mesh, least=8)
    stops = Checkpoints(tmp_path, keep=1)
    eight = run(sharding=layout, epochs=2, checkpoint=stops, **SETTINGS)
    assert names(tmp_path) == [
        "best-00000002-2of2.safetensors", "best.safetensors",
        "epoch-00000002-2of2.safetensors", "epoch-00000002.safetensors",
    ]  # fmt: skip
    whole = jnn.load(tmp_path / "epoch-00000002.safetensors")
    np.testing.assert_array_equal(whole["carry/params/0/w"], eight.last[0].w)
    beside = jnn.load(tmp_path / "epoch-00000002-2of2.safetensors")
    assert beside["carry/params/0/w@0,4"].shape == (2, 1)
    best = jnn.load(tmp_path / "best.safetensors", {"params": eight.params, "state": eight.state})
    equal(best["params"], eight.params)
    assert best["params"][0].w.sharding == eight.params[0].w.sharding
    four = jax.sharding.Mesh(np.array(jax.devices()[:4]), ("data",))
    for where in (Layout(four, params={"0/w": (None, "data")}), None):
        fit = run(sharding=where, epochs=2, checkpoint=stops, **SETTINGS)
        equal(fit.last, eight.last)
        equal(fit.opt_state, eight.opt_state)
    assert fit.params[0].w.sharding.device_set == {jax.devices()[0]}
    fit = run(epochs=3, checkpoint=stops, **SETTINGS)  # One process has all again.
    assert names(tmp_path) == ["best.safetensors", "epoch-00000003.safetensors"]
    for a, b in zip(
        jax.tree.leaves(fit.params), jax.tree.leaves(run(**SETTINGS).params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_that_lacks_shards_says_so(mesh, tmp_path, two_processes):
    layout = fully_sharded(mesh, least=8)
    run(sharding=layout, epochs=2, checkpoint=tmp_path, **SETTINGS)
    last = tmp_path / "epoch-00000002-2of2.safetensors"
    data = last.read_bytes()
    last.unlink()
    with pytest.warns(UserWarning, match=r"-2of2.safetensors' is not there\. Copy all files"):
        fit = run(sharding=layout, epochs=3, checkpoint=tmp_path, **SETTINGS)
    equal(fit.params, run(sharding=layout, **SETTINGS).params)
    last.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(jnn.train.DamagedError, match="is damaged"):
        jnn.load(tmp_path / "epoch-00000002.safetensors")
    first = tmp_path / "epoch-00000001.safetensors"
    arrays, metadata = shards.read_file(first)
    arrays.pop("carry/params/0/w@0,0")
    shards.write(first, arrays, metadata)
    with pytest.raises(jnn.train.DamagedError, match="have 14 of 16 entries"):
        jnn.load(first)
