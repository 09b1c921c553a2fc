"""Colour images out of CIFAR's binary files and out of folders."""

import numpy as np
import pytest

import jnn

RANDOM = np.random.default_rng(0)


def write(path, count, *labels):
    """Records of random pixels; returns these as (n, 32, 32, 3)."""
    pixels = RANDOM.integers(0, 256, (count, 3, 32, 32), np.uint8)
    columns = [np.full((count, 1), label, np.uint8) for label in labels]
    path.write_bytes(np.concatenate([*columns, pixels.reshape(count, -1)], 1).tobytes())
    return np.moveaxis(pixels, 1, -1)


def test_cifar_10_and_100_are_read_in_order(tmp_path):
    ten, hundred = tmp_path / "10", tmp_path / "100"
    ten.mkdir()
    hundred.mkdir()
    parts = [write(ten / f"data_batch_{i}.bin", 2, i) for i in range(1, 6)]
    write(ten / "test_batch.bin", 1, 9)
    train, test = jnn.data.cifar(ten)
    np.testing.assert_array_equal(train.x, np.concatenate(parts).astype(np.float32) / 255)
    assert train.y.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert test.y.tolist() == [9]
    write(hundred / "train.bin", 3, 19, 98)
    write(hundred / "test.bin", 1, 4, 30)
    assert jnn.data.cifar(hundred).train.y.tolist() == [98] * 3
    assert jnn.data.cifar(hundred, "test", coarse=True).y.tolist() == [4]
    with pytest.raises(ValueError, match="False for CIFAR-10"):
        jnn.data.cifar(ten, coarse=True)
    with pytest.raises(FileNotFoundError, match="binary version"):
        jnn.data.cifar(tmp_path)
    (ten / "test_batch.bin").write_bytes(bytes(3000))
    with pytest.raises(ValueError, match=r"records of 3073 bytes, got .* of 3,000 bytes"):
        jnn.data.cifar(ten, "test")
    write(ten / "test_batch.bin", 1, 10)
    with pytest.raises(ValueError, match="labels below 10, got 10"):
        jnn.data.cifar(ten, "test")


def test_a_folder_a_class(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="images in folders need Pillow")
    pixels = {name: RANDOM.integers(0, 256, (4, 6, 3), np.uint8) for name in ("b", "a")}
    for name, array in pixels.items():
        (tmp_path / name / "deep").mkdir(parents=True)
        image.fromarray(array).save(tmp_path / name / "deep" / "one.png")
        (tmp_path / name / "notes.txt").write_text("no image")
    x, y, classes = jnn.data.image_folder(tmp_path)
    assert (classes, y.tolist()) == (("a", "b"), [0, 1])
    np.testing.assert_array_equal(x, np.stack([pixels["a"], pixels["b"]]).astype(np.float32) / 255)
    assert jnn.data.image_folder(tmp_path, (8, 5), grey=True).x.shape == (2, 8, 5, 1)
    image.fromarray(pixels["a"][:2]).save(tmp_path / "a" / "deep" / "two.png")
    with pytest.raises(ValueError, match=r"two\.png' of \(2, 6\) after \(4, 6\)\. Give the size"):
        jnn.data.image_folder(tmp_path)
    (tmp_path / "a" / "deep" / "two.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"whole images, got .*two\.png"):
        jnn.data.image_folder(tmp_path, 4)
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="a folder a class"):
        jnn.data.image_folder(tmp_path / "none")
