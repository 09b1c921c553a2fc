"""Streams: what is read while training goes on gives what data on the device would give."""

import itertools
import os
import signal
import threading
import time

import jax
import numpy as np
import pytest

import jnn
from jnn.train import Stream, still
from jnn.train.host.ahead import fetched
from jnn.train.host.stream import grouped
from tests.train.test_fit import HELD, NET, STARTS, X, Y, close, equal, plain, run

PAIRS = [(X[i : i + 16], Y[i : i + 16]) for i in STARTS]


def stepwise(fit, expected):
    """Two runs with the same steps, to rounding."""
    close(fit.params, expected.params)
    close(fit.opt_state, expected.opt_state)
    assert fit.history.keys() == expected.history.keys()
    for name in fit.history.keys() - {"seconds"}:
        np.testing.assert_allclose(fit.history[name], expected.history[name], rtol=1e-5)
    counted = ("epochs", "steps", "skipped", "status")
    assert [getattr(fit, c) for c in counted] == [getattr(expected, c) for c in counted]


@pytest.fixture
def mapped(tmp_path):
    """The data as memory-mapped files."""
    found = []
    for name, array in (("x", X), ("y", Y)):
        np.save(tmp_path / f"{name}.npy", array)
        found.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    return tuple(found)


def test_memory_mapped_arrays_make_the_steps_of_arrays_on_the_device(mapped):
    settings = {"validation": HELD, "metrics": "accuracy"}
    stepwise(run(data=mapped, **settings), run(**settings))
    stepwise(run(data=mapped, steps=7), run(steps=7))


def test_an_iterable_makes_the_steps_of_a_plain_loop_the_short_batch_included():
    params, _ = NET.init(jax.random.key(5), X)
    fit = run(data=Stream(PAIRS, chunk=2), params=params, validation=Stream(PAIRS))
    expected, state, losses = plain(params, 3 * STARTS)
    close(fit.params, expected)
    close(fit.opt_state, state)
    sizes = np.array([16, 16, 16, 16, 6])
    np.testing.assert_allclose(
        fit.history["loss"], np.reshape(losses, (3, 5)) @ sizes / 70, rtol=1e-5
    )
    stepwise(fit, run(params=params, shuffle=False, validation=(X, Y)))


def test_iterators_functions_and_lists():
    whole = run(data=PAIRS[:4])  # A list of batches.
    once = itertools.cycle(PAIRS[:4])
    close(run(data=Stream(once, length=4)).params, whole.params)  # In chunks of other sizes.
    close(run(data=lambda epoch: iter(PAIRS[:4])).params, whole.params)
    assert run(data=Stream(itertools.cycle(PAIRS[:4]), length=5), steps=12).epochs == 3
    short = run(data=iter(PAIRS), steps=12)
    assert (short.status, short.steps, short.epochs) == ("out of data", 5, 1)
    assert not short.success
    seen = []
    run(data=lambda epoch: seen.append(epoch) or PAIRS)
    assert seen == [0, 1, 2]
    with pytest.raises(ValueError, match="can be read 3 times"):
        run(data=iter(PAIRS))
    with pytest.raises(ValueError, match="can be read again"):
        run(data=PAIRS, validation=iter(PAIRS))
    with pytest.raises(ValueError, match="at least one batch"):
        run(data=[])
    with pytest.raises(ValueError, match="a pair"):
        run(data=[X, X, X, X])
    with pytest.raises(ValueError, match="must be False without a mesh"):
        run(data=Stream((X, Y), shard=True))


def test_a_killed_stream_goes_on_to_the_same_bits(tmp_path, mapped):
    def shuffled(epoch):
        return jnn.data.batches((X, Y), 16, key=epoch)

    def fresh():
        return Stream(itertools.cycle(PAIRS), length=5)

    for i, make in enumerate((lambda: mapped, lambda: shuffled, fresh)):
        folder = tmp_path / str(i)
        whole = run(data=make(), epochs=4)
        for epochs in (1, 3, 4):
            part = run(data=make(), epochs=epochs, checkpoint=folder)
        equal(part.params, whole.params)
        np.testing.assert_array_equal(part.history["loss"], whole.history["loss"])
        again = run(data=make(), epochs=4, checkpoint=folder)
        equal(again.params, whole.params)
        assert again.status == "done"


def test_a_number_that_is_none_undoes_its_chunk_and_is_named():
    x = np.array(X)
    x[50] = np.nan
    pairs = [(x[i : i + 16], Y[i : i + 16]) for i in STARTS]
    params, _ = NET.init(jax.random.key(5), X)
    fit = run(params=params, data=Stream(pairs, chunk=2))  # It is the second of its chunk.
    assert fit.status == "not finite"
    assert fit.message.endswith("It was step 4, in the data.")
    close(fit.params, plain(params, STARTS[:3])[0])
    assert fit.steps == 3
    skipped = run(params=params, data=pairs, not_finite="skip")
    assert skipped.skipped == 3
    assert np.isfinite(skipped.history["loss"]).all()


def test_rules_and_callbacks_end_a_stream():
    fit = run(data=PAIRS, epochs=50, stop=still(1e9), validation=HELD)
    assert (fit.status, fit.epochs) == ("still", 1)
    np.testing.assert_allclose(fit.history["loss"], plain(
        NET.init(jax.random.fold_in(jax.random.key(0), 2**32 - 1), X)[0], [0])[2], rtol=1e-5
    )  # fmt: skip
    fit = run(data=PAIRS, epochs=50, callbacks=lambda report: report.epoch == 2)
    assert (fit.status, fit.epochs, fit.steps) == ("called", 2, 10)
    assert not [t for t in threading.enumerate() if t.name == "jnn-prefetch"]


def test_ctrl_c_ends_a_stream_within_its_epoch():
    def pressed(epoch):
        for i in itertools.count():
            if epoch == 1 and i == 7:
                os.kill(os.getpid(), signal.SIGINT)
            if epoch == 0 and i == 5:
                return
            yield PAIRS[i % 4]

    fit = run(data=Stream(pressed, chunk=1))
    assert (fit.status, fit.epochs, len(fit.history["loss"])) == ("interrupted", 1, 1)
    assert fit.steps > 5
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fit.params))


def test_a_loader_of_pytorch_is_a_source():
    torch = pytest.importorskip("torch", reason="PyTorch is a peer: pip install 'jnn[bench]'")
    from torch.utils.data import DataLoader, TensorDataset  # pyright: ignore

    loader = DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=16)
    equal(run(data=loader).params, run(data=PAIRS).params)


def test_a_list_of_two_batches_is_no_pair_of_arrays():
    stepwise(run(data=PAIRS[:2]), run(data=lambda epoch: PAIRS[:2]))
    stepwise(run(data=[X, Y]), run())


def test_an_error_of_the_source_is_raised_and_the_thread_ends():
    def broken(epoch):
        yield from PAIRS
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        run(data=broken)
    assert not [t for t in threading.enumerate() if t.name == "jnn-prefetch"]


def test_chunks_are_of_few_sizes():
    def sizes(batches, most=None, count=None):
        return [len(group) for group in grouped(iter(batches), most, count)]

    full, short = [np.zeros((16, 2))] * 45, [np.zeros((6, 2))]
    assert sizes(full + short, count=45) == [45, 1]
    assert sizes(4 * full + short, count=180) == [60, 60, 60, 1]
    assert sizes(full + short) == 5 * [8] + 5 * [1] + [1]
    assert sizes(full + short, 20) == [20, 20, 1, 1, 1, 1, 1, 1]
    assert sizes([np.zeros((2**20, 8))] * 3) == [1, 1, 1]


def test_reading_and_computing_overlap():
    def slow(epoch):
        for pair in 8 * PAIRS[:2]:
            time.sleep(0.01)
            yield pair

    started, ready = [], fetched(iter(slow(0)), 2, lambda b: b)
    for _ in range(4):
        next(ready)
        time.sleep(0.02)  # What is computed meanwhile.
        started.append(time.perf_counter())
        next(ready)
        started.append(time.perf_counter())
    ready.close()
    waits = np.diff(started)[::2]
    assert np.median(waits) < 0.008


def test_progress_within_an_epoch(capsys):
    run(data=Stream(PAIRS, chunk=1), progress=jnn.train.Lines(every=0), epochs=1)
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) > 3
    assert shown[0].startswith("epoch 0/1  loss")
    assert shown[-1].startswith("epoch 1/1  loss")
