"""Several devices and several processes train the same model as one."""

import itertools
import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from jnn.train import Stream
from jnn.train.program import epoch as program
from tests.train.test_fit import ADAM, EPOCH, HELD, NET, X, Y, close, gradient, run


@pytest.fixture(scope="module")
def mesh():
    if len(jax.devices()) < 8:
        pytest.skip("needs eight devices: XLA_FLAGS=--xla_force_host_platform_device_count=8")
    return jax.make_mesh((8,), ("data",))


@pytest.mark.parametrize("cached", [program.CACHED, 0])
def test_eight_devices_equal_one_to_rounding(cached, mesh, monkeypatch):
    """Batches of 16 in 8 shards; the last one, of 6, is no multiple of 8."""
    monkeypatch.setattr(program, "CACHED", cached)
    EPOCH.clear_cache()  # The choice is no part of the plan.
    settings = {"validation": HELD, "metrics": "accuracy"}
    one, eight = run(**settings), run(sharding=mesh, **settings)
    close(eight.params, one.params, atol=1e-5)
    close(eight.opt_state, one.opt_state, atol=1e-5)
    np.testing.assert_allclose(
        eight.history["validation_loss"], one.history["validation_loss"], rtol=1e-5
    )
    assert all(len(leaf.sharding.device_set) == 8 for leaf in jax.tree.leaves(eight.params))


def test_the_work_is_spread(mesh, monkeypatch):
    """Each device has two of sixteen samples, and gradients are added over all of them."""
    found = []

    def spy(*args):
        found.append((args[0], *jax.tree.map(jax.typeof, args[1:])))
        return program.epoch(*args)

    monkeypatch.setattr(sys.modules["jnn.train.host.epochs"], "epoch", spy)
    run(sharding=mesh, epochs=1)
    text = str(program.epoch.lower(*found[0]).compile().as_text())
    assert "all-reduce" in text
    assert "f32[2,8]" in text
    assert "f32[16,8]" not in text


def test_a_sharded_run_resumes(mesh, tmp_path):
    whole = run(sharding=mesh, epochs=4)
    run(sharding=mesh, epochs=2, checkpoint=tmp_path)
    resumed = run(sharding=mesh, epochs=4, checkpoint=tmp_path)
    for a, b in zip(jax.tree.leaves(resumed.params), jax.tree.leaves(whole.params), strict=True):
        np.testing.assert_array_equal(a, b)


def two(module, folder, *arguments):
    """What two processes of two devices each return and say."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    children = [
        subprocess.Popen(
            [sys.executable, "-m", f"tests.train.{module}", str(port), str(i), str(folder),
             *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        )
        for i in (0, 1)
    ]  # fmt: skip
    said = [child.communicate(timeout=120)[0] for child in children]
    return [child.returncode for child in children], said


@pytest.mark.slow
def test_two_processes_with_divided_parameters_of_which_one_is_killed(tmp_path):
    """The other says so; both go on from what each has written, as one process does after them."""
    codes, said = two("shards", tmp_path, 6, 4)
    assert codes == [7, 9], "\n".join(said)
    assert "another one has ended" in said[0]
    assert "the last checkpoint in" in said[0]
    codes, said = two("shards", tmp_path, 6)
    assert codes == [0, 0], "\n".join(said)
    settings = {"validation": HELD, "average": 0.9}
    one = run(epochs=6, **settings)
    parts = {}
    for i in (0, 1):
        with np.load(tmp_path / f"{i}.npz") as found:
            np.testing.assert_allclose(found["loss"], one.history["loss"], rtol=1e-4)
            parts |= {name: found[name] for name in found if name != "loss"}
    assert len(parts) == 4  # Each process has two.
    together = np.concatenate([parts[name] for name in sorted(parts)], 1)
    np.testing.assert_allclose(together, one.params[0].w, rtol=1e-4, atol=1e-5)
    after = run(epochs=6, checkpoint=tmp_path / "checkpoints", **settings)
    close(after.params, one.params, atol=1e-5)


@pytest.mark.slow
def test_two_processes_train_the_same_model_as_one(tmp_path):
    codes, said = two("processes", tmp_path)
    assert codes == [0, 0], "\n".join(said)
    one = run(validation=HELD, metrics="accuracy", epochs=4)
    expected = [np.asarray(leaf) for leaf in jax.tree.leaves(one.params)]
    for i in (0, 1):
        with np.load(tmp_path / f"{i}.npz") as found:
            for k, leaf in enumerate(expected):
                np.testing.assert_allclose(found[f"arr_{k}"], leaf, rtol=1e-5, atol=1e-5)
            assert found["devices"] == 4
    assert (tmp_path / "checkpoints" / "epoch-00000004.safetensors").exists()
    # Of uneven parts, each process' own, a batch is what both have.
    params, _ = NET.init(jax.random.fold_in(jax.random.key(0), 2**32 - 1), X)
    state, losses = ADAM.init(params), []
    for i in 2 * list(range(0, 40, 5)):
        rows = np.r_[i : i + 5, min(40 + i, 70) : min(45 + i, 70)]
        value, grads = gradient(params, X[rows], Y[rows])
        updates, state = ADAM.update(grads, state, params)
        params = jax.tree.map(lambda p, u: p + u, params, updates)
        losses.append(len(rows) * float(value) / 70)
    for i, name in itertools.product((0, 1), ("arrays", "batches")):
        with np.load(tmp_path / f"{name}{i}.npz") as found:
            for k, leaf in enumerate(jax.tree.leaves(params)):
                np.testing.assert_allclose(found[f"arr_{k}"], leaf, rtol=1e-5, atol=1e-5)
            expected = np.reshape(losses, (2, 8)).sum(1)
            np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)


@pytest.mark.slow
def test_a_stream_is_spread_over_devices(mesh):
    """Batches of 16 in 8 shards, the last one whole on each device."""
    streamed = run(sharding=mesh, data=Stream((X, Y), chunk=2))
    close(streamed.params, run().params, atol=1e-5)
    own = run(sharding=mesh, data=Stream((X, Y), chunk=2, shard=True), shuffle=False)
    close(own.params, run(shuffle=False).params, atol=1e-5)  # With weights.
