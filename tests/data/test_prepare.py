"""Splits, scales, one-hot rows and batches."""

import numpy as np
import pytest

from jnn import data
from jnn.data import Samples


@pytest.mark.parametrize(("test", "held"), [(0.25, 25), (10, 10), (0, 0), (1, 1), (100, 100)])
def test_a_split_keeps_rows_together_and_loses_none(test, held):
    x = np.arange(100)
    parts = data.split(Samples(x, -x), test, key=3)
    assert isinstance(parts.train, Samples)
    assert len(parts.test.x) == held
    for part in parts:
        np.testing.assert_array_equal(part.x, -part.y)
    everything = np.concatenate([parts.train.x, parts.test.x])
    np.testing.assert_array_equal(np.sort(everything), x)
    again = data.split(Samples(x, -x), test, key=3)
    np.testing.assert_array_equal(again.train.x, parts.train.x)


def test_a_split_by_labels_takes_the_same_of_each_class():
    y = np.repeat([0, 1, 2], [100, 40, 20])
    train, test = data.split(y, 0.25, labels=y, key=[1, 2])
    assert np.bincount(test).tolist() == [25, 10, 5]
    assert (np.diff(train) != 0).sum() > 20


def test_bad_splits():
    with pytest.raises(ValueError, match="equal length"):
        data.split((np.ones(3), np.ones(4)))
    for test in (-1, 5, 1.5):
        with pytest.raises(ValueError, match="a share below 1"):
            data.split(np.ones(4), test)


def test_standardised_features(random):
    x = (5 * random.standard_normal((1000, 3)) + [100, -4, 0]).astype("f4")
    x[:, 2] = np.float32(0.1)  # A mean of tenths is not exactly a tenth.
    other = random.standard_normal((7, 3)).astype("f4")
    train, test, scale = data.standardise(x, other)
    assert train.dtype == test.dtype == np.float32
    np.testing.assert_allclose(train.mean(0), 0, atol=2e-5)
    np.testing.assert_allclose(train.std(0), [1, 1, 0], atol=1e-5)
    np.testing.assert_allclose(scale.undo(train), x, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(test, (other - scale.mean) / scale.deviation)
    with pytest.raises(TypeError, match="floating"):
        data.standardise(np.arange(3))


def test_one_hot_rows():
    labels = np.array([[0, 2], [1, 1]])
    np.testing.assert_array_equal(data.one_hot(labels, 4), np.eye(4)[labels])
    assert data.one_hot(np.zeros(0, int), 3).shape == (0, 3)
    for bad in ([3], [-1]):
        with pytest.raises(ValueError, match=r"in 0 \.\.\. 2"):
            data.one_hot(np.array(bad), 3)


def test_batches_show_every_sample_once_an_epoch():
    x = np.arange(10)
    seen = list(data.batches((x, 2 * x), 4, key=0, epochs=2))
    assert [len(b[0]) for b in seen] == [4, 4, 2] * 2
    for a, b in seen:
        np.testing.assert_array_equal(b, 2 * a)
    epochs = [np.concatenate([b[0] for b in half]) for half in (seen[:3], seen[3:])]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), x)
    assert (epochs[0] != epochs[1]).any()
    assert [len(b) for b in data.batches(x, 4, remainder=False)] == [4, 4]
    again = next(data.batches((x, 2 * x), 4, key=np.array([0], np.uint32)))
    np.testing.assert_array_equal(again[0], seen[0][0])


def test_a_memory_mapped_file_is_read_by_batches(tmp_path):
    x = np.arange(40.0).reshape(20, 2)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    (batch, *_) = data.batches(mapped, 5, key=1)
    assert type(batch) is np.ndarray
    assert all(row.tolist() in x.tolist() for row in batch)
