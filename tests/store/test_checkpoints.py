"""Checkpoints: a run that was interrupted ends as one that was not."""

import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.train import Checkpoints, mixed, patience
from tests.store import kill
from tests.train.test_fit import ADAM, HELD, LOSS, NET, X, Y, equal, run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_resumed_run_ends_bit_for_bit_as_an_uninterrupted_one(tmp_path):
    settings = {"validation": HELD, "stop": patience(50), "precision": mixed("float16")}
    whole = run(epochs=7, **settings)
    for epochs in (3, 4, 7):
        part = run(epochs=epochs, checkpoint=tmp_path, **settings)
        assert len(part.history["loss"]) == part.epochs == epochs
    equal(part.params, whole.params)
    equal(part.opt_state, whole.opt_state)
    for name in ("loss", "validation_loss"):
        np.testing.assert_array_equal(part.history[name], whole.history[name])
    assert names(tmp_path) == ["best.safetensors"] + [f"epoch-0000000{i}.safetensors"
                                                     for i in (5, 6, 7)]  # fmt: skip
    again = run(epochs=7, checkpoint=tmp_path, **settings)  # Nothing is left to do.
    equal(again.params, whole.params)
    assert again.status == "done"


def test_the_best_is_kept(tmp_path):
    far = (HELD.x, 1 - HELD.y)
    fit = run(epochs=9, validation=far, checkpoint=Checkpoints(tmp_path, keep=1),
              optimizer=jnn.adam(0.05))  # fmt: skip
    like = {"params": fit.params, "state": fit.state}
    best = jnn.load(tmp_path / "best.safetensors", like)["params"]
    value = LOSS(NET(best, far[0]), far[1]).mean()
    np.testing.assert_allclose(value, fit.history["validation_loss"].min(), rtol=1e-5)
    assert names(tmp_path) == ["best.safetensors", "epoch-00000009.safetensors"]


def test_an_interrupted_run_is_saved_where_it_was(tmp_path):
    stops = Checkpoints(tmp_path, every=10)
    fit = run(epochs=30, checkpoint=stops, callbacks=lambda r: r.epoch == 13)
    assert list(stops.epochs()) == [13, 10]
    equal(run(epochs=15, checkpoint=stops).params, run(epochs=15).params)
    assert fit.status == "called"


def test_a_run_by_steps_that_a_rule_ends_is_saved(tmp_path):
    """The last epoch, a part of one, was dispatched already, and changed nothing."""
    stops = Checkpoints(tmp_path, every=10)
    fit = run(steps=7, checkpoint=stops, stop=jnn.train.still(1e9))
    assert (fit.status, fit.epochs, list(stops.epochs())) == ("still", 1, [1])


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path):
    run(epochs=3, checkpoint=tmp_path)
    last = tmp_path / "epoch-00000003.safetensors"
    last.write_bytes(last.read_bytes()[:-1])
    half = tmp_path / ".epoch-00000004.safetensors.x.tmp"
    half.write_bytes(b"half")
    os.utime(half, (0, 0))
    with pytest.warns(UserWarning, match=r"goes on from 'epoch-00000002\.safetensors'"):
        fit = run(epochs=4, checkpoint=tmp_path)
    equal(fit.params, run(epochs=4).params)
    assert not [name for name in names(tmp_path) if name.endswith("tmp")]
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(jnn.train.DamagedError, match="cannot begin with a header"):
        run(epochs=5, checkpoint=tmp_path)


def test_a_checkpoint_of_another_run_does_not_pass(tmp_path):
    run(epochs=1, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="`key` must be that of the run"):
        run(epochs=2, checkpoint=tmp_path, key=7)
    with pytest.raises(ValueError, match=r"float32\[2,9\]"):
        run(epochs=2, checkpoint=tmp_path, net=jnn.serial(jnn.dense(9), jnn.tanh(), jnn.dense(2)))


def test_another_optimizer_is_refused_and_other_settings_are_said(tmp_path):
    run(epochs=1, checkpoint=tmp_path)
    given = {"epochs": 2, "checkpoint": tmp_path}
    with pytest.raises(ValueError, match=r"`optimizer` must be adam, whose run .* got nadam"):
        run(optimizer=jnn.nadam(0.02), **given)
    clipped = jnn.chain(jnn.optim.clip(1.0), jnn.adam(0.02))
    with pytest.raises(ValueError, match=r"got chain\(clip, adam\)\. Give that one"):
        run(optimizer=clipped, **given)
    foreign = jnn.optim.Optimizer(ADAM.init, lambda *a, **extra: ADAM.update(*a, **extra))
    with pytest.raises(ValueError, match="got an optimizer that jnn did not make"):
        run(optimizer=foreign, **given)
    with pytest.warns(
        UserWarning, match=r"`optimizer` adam\(0\.02\), and goes on with adam\(0\.5\)"
    ):
        run(optimizer=jnn.adam(0.5), **given)
    with (
        pytest.warns(UserWarning, match="had `batch_size` 16, and goes on with 20: it will not"),
        pytest.warns(UserWarning, match="had `data` 70 samples, and goes on with 60 samples"),
        pytest.warns(UserWarning, match="`optimizer` adam"),
    ):
        run(data=(X[:60], Y[:60]), batch_size=20, epochs=3, checkpoint=tmp_path)


def test_members_go_on_with_a_warning_too(tmp_path):
    common = {"members": 2, "progress": None, "checkpoint": tmp_path}
    data = (X, Y)
    jnn.fit_many(NET, LOSS, ADAM, data, epochs=1, batch_size=16, **common)
    with pytest.warns(UserWarning, match="`batch_size` 16, and goes on with 35"):
        jnn.fit_many(NET, LOSS, ADAM, data, epochs=2, batch_size=35, **common)


def test_a_run_that_failed_keeps_its_last_good_checkpoint(tmp_path):
    x = np.array(X)
    run(epochs=2, checkpoint=tmp_path)
    x[3] = np.inf
    fit = run(epochs=5, checkpoint=tmp_path, data=(x, Y))
    assert fit.status == "not finite"
    assert max(Checkpoints(tmp_path).epochs()) == 2


def test_states_of_optimizers_are_trees_of_arrays():
    state = ADAM.init(NET.init(jax.random.key(0), X)[0])
    assert all(isinstance(leaf, jnp.ndarray) for leaf in jax.tree.leaves(state))


@pytest.mark.slow
def test_killed_runs_lose_nothing():
    reached, grew = kill.kill(6, 10**6)
    assert reached > 6
    assert grew > 3


def test_what_a_living_process_has_not_finished_stays(tmp_path):
    path = tmp_path / "epoch-00000001.safetensors"
    with jnn.files.whole(path) as file:
        run(epochs=2, checkpoint=tmp_path)
        file.write(b"another process' checkpoint")
    assert path.read_bytes() == b"another process' checkpoint"
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    machine = re.search(r"\.([0-9a-f]{8})-\d+\.", _temporary(tmp_path))
    assert machine
    left = [tmp_path / f".epoch-00000003.safetensors.{of}-{ended.pid}.{i}.tmp"
            for i, of in enumerate((machine[1], "0" * 8, "0" * 8))]  # fmt: skip
    for one in left:
        one.touch()
    os.utime(left[2], (0, 0))
    run(epochs=3, checkpoint=tmp_path)
    assert [one.exists() for one in left] == [False, True, False]


def _temporary(folder):
    with jnn.files.whole(folder / "name"):
        return next(path.name for path in folder.iterdir() if path.name.startswith(".name"))


def test_a_file_of_a_later_epoch_takes_no_place_of_a_kept_one(tmp_path):
    (tmp_path / "epoch-00000009.safetensors").write_bytes(b"no checkpoint")
    stops = Checkpoints(tmp_path, keep=1)
    with pytest.raises(ValueError, match="format of safetensors"):
        run(epochs=1, checkpoint=stops)
    (tmp_path / "epoch-00000009.safetensors").unlink()
    run(epochs=1, checkpoint=stops)
    (tmp_path / "epoch-00000009.safetensors").write_bytes(b"no checkpoint")
    with pytest.warns(UserWarning, match="The run goes on from 'epoch-00000001.safetensors'"):
        run(epochs=3, checkpoint=stops)
    assert list(stops.epochs()) == [9, 3]
    with pytest.warns(UserWarning, match="goes on from 'epoch-00000003"):
        equal(run(epochs=4, checkpoint=stops).params, run(epochs=4).params)
