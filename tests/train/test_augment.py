"""Augmentations and prefetching."""

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.data import batches
from jnn.train import colour, crop, cutout, flip, mixup, prefetch, rotate, shift

KEY = jax.random.key(3)


def image(random, n=20):
    return jnp.array(random.uniform(0.1, 1, (n, 6, 5, 2)), jnp.float32)


def test_a_shift_moves_whole_images(random):
    x = image(random)
    y = np.asarray(jax.jit(shift(1))(KEY, x))
    seen = set()
    for before, after in zip(np.asarray(x), y, strict=True):
        padded = np.pad(before, ((1, 1), (1, 1), (0, 0)))
        moves = {(i, j) for i in range(3) for j in range(3)
                 if np.array_equal(padded[i : i + 6, j : j + 5], after)}  # fmt: skip
        assert len(moves) == 1
        seen |= moves
    assert len(seen) > 4


def test_a_flip_mirrors_some(random):
    x = image(random)
    for axis in (1, 2):
        y = np.asarray(jax.jit(flip(axis))(KEY, x))
        turned = [np.array_equal(b, a) for b, a in zip(y, np.flip(x, axis), strict=True)]
        same = [np.array_equal(b, a) for b, a in zip(y, np.asarray(x), strict=True)]
        assert all(a != b for a, b in zip(turned, same, strict=True))
        assert 3 < sum(turned) < 17


def test_a_rotation_is_scipys(random):
    ndimage = pytest.importorskip("scipy.ndimage")
    x = jnp.array(random.uniform(size=(4, 7, 7, 1)), jnp.float32)
    y = jax.jit(rotate(40.0))(KEY, x)
    limit = np.deg2rad(40.0)
    angles = np.asarray(jax.random.uniform(KEY, (4,), jnp.float32, -limit, limit))
    for before, after, angle in zip(np.asarray(x), np.asarray(y), angles, strict=True):
        there = ndimage.rotate(before[..., 0], np.rad2deg(angle), reshape=False, order=1)
        back = ndimage.rotate(before[..., 0], -np.rad2deg(angle), reshape=False, order=1)
        inner = (slice(2, 5), slice(2, 5))  # SciPy treats what lies outside in another way.
        errors = [np.abs(after[..., 0][inner] - r[inner]).max() for r in (there, back)]
        assert min(errors) < 1e-4
    np.testing.assert_allclose(jax.jit(rotate(0.0))(KEY, x), x, atol=1e-6)


def test_a_crop_is_a_window_of_a_straight_line_enlarged(random):
    """Of numbers linear in the place any window is linear in it, less steep."""
    rows, columns = np.meshgrid(np.arange(16.0), np.arange(12.0), indexing="ij")
    x = jnp.array(np.broadcast_to((rows + 100 * columns)[None, ..., None], (6, 16, 12, 1)), "f4")
    y = np.asarray(jax.jit(crop(0.5))(KEY, x))[..., 0]
    inner = slice(2, -2)
    down, across = np.diff(y, axis=1)[:, inner, inner], np.diff(y, axis=2)[:, inner, inner]
    share = down.mean((1, 2))
    assert ((share > 0.45) & (share <= 1)).all()
    assert share.std() > 0.05
    np.testing.assert_allclose(across.mean((1, 2)), 100 * share, rtol=1e-3)
    np.testing.assert_allclose(jax.jit(crop(1.0))(KEY, x), x, rtol=1e-5)


def test_a_cutout_covers_one_square(random):
    x = image(random)
    y = np.asarray(jax.jit(cutout(2))(KEY, x))
    sizes = set()
    for before, after in zip(np.asarray(x), y, strict=True):
        rows, columns = np.nonzero((after == 0).all(-1))
        square = np.ix_(np.unique(rows), np.unique(columns))
        assert (after[square] == 0).all()
        assert ((after == before) | (after == 0)).all()
        sizes.add((len(np.unique(rows)), len(np.unique(columns))))
    assert (2, 2) in sizes <= {(i, j) for i in (1, 2) for j in (1, 2)}


def test_colours_move_a_channel_as_one(random):
    x = image(random)
    y = np.asarray(jax.jit(colour(0.3, 0.2))(KEY, x))
    for before, after in zip(np.asarray(x), y, strict=True):
        for channel in range(2):
            line = np.polyfit(before[..., channel].ravel(), after[..., channel].ravel(), 1)
            assert abs(line[0] - 1) <= 0.2 + 1e-4
            assert abs(line[1]) <= 0.3 + 1e-4
            fitted = np.polyval(line, before[..., channel])
            np.testing.assert_allclose(after[..., channel], fitted, atol=1e-4)
    assert np.std((y - np.asarray(x)).mean((1, 2)), 0).min() > 0.05


def test_mixup_mixes_targets_as_it_mixes_images(random):
    x, t = jnp.eye(8), jnp.arange(8)
    mixed, soft = jax.jit(mixup(8, alpha=1.0))(KEY, x, t)
    np.testing.assert_allclose(mixed, soft, atol=1e-6)  # An image names its class.
    shares = np.sort(np.asarray(soft), 1)[:, -2:]
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
    assert shares[:, 0].max() > 0.1
    with pytest.raises(ValueError, match="say how many classes"):
        mixup()(KEY, x, t)


def test_several_augmentations_are_done_in_turn_and_may_change_targets(random):
    x, t = image(random), jnp.arange(20) % 3
    net = jnn.serial(jnn.flatten(), jnn.dense(3))
    fit = jnn.fit(net, jnn.softmax_cross_entropy, jnn.adam(), (x, t), epochs=2, progress=None,
                  augment=[flip(), colour(), mixup(3)], metrics="accuracy")  # fmt: skip
    assert np.isfinite(fit.history["loss"]).all()
    plain = jnn.fit(net, jnn.softmax_cross_entropy, jnn.adam(), (x, t), epochs=2, progress=None)
    assert abs(plain.history["loss"] - fit.history["loss"]).min() > 1e-4


def test_batches_come_in_order_and_on_the_device():
    x = np.arange(10.0)
    seen = list(prefetch(batches((x, -x), 4)))
    assert [len(a) for a, _ in seen] == [4, 4, 2]
    assert all(isinstance(a, jax.Array) for pair in seen for a in pair)
    np.testing.assert_array_equal(np.concatenate([a for a, _ in seen]), x)


def test_an_error_of_the_source_is_raised_and_a_closed_one_leaves_no_thread():
    def source():
        yield np.ones(1)
        raise OSError("the disk is gone")

    stream = prefetch(source())
    next(stream)
    with pytest.raises(OSError, match="the disk is gone"):
        next(stream)
    endless = prefetch(np.ones(1) for _ in iter(int, 1))
    next(endless)
    endless.close()
    time.sleep(0.2)
    assert not [t for t in threading.enumerate() if t.name == "jnn-prefetch"]


def test_the_source_is_read_ahead():
    read = []

    def source():
        for i in range(4):
            read.append(i)
            yield np.ones(1)

    stream = prefetch(source(), size=2)
    next(stream)
    deadline = time.monotonic() + 5
    while len(read) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(read) == 4  # One is out, two wait, and the thread holds the last.
    assert len(list(stream)) == 3
