"""IDX files: what they hold, and that nothing but a whole, true file is read."""

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from jnn import data

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def packed(array, code=None):
    """An IDX file, written from the format's description."""
    code = CODES[array.dtype.str[1:]] if code is None else code
    head = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", CODES)
def test_every_type_is_read_as_it_was_written(dtype, compressed, random, tmp_path):
    array = (100 * random.standard_normal((3, 4, 2))).astype(dtype)
    content = packed(array)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(content) if compressed else content)
    read = data.idx(path)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    assert read.flags.writeable


ARRAY = np.arange(6, dtype="i4").reshape(2, 3)
WHOLE = packed(ARRAY)
BAD = {
    "another format": (b"\x89PNG\r\n\x1a\n" + bytes(20), "an IDX file"),
    "a type that is none": (packed(ARRAY, 0x0A), "an IDX file"),
    "no axes": (bytes([0, 0, 8, 0, 1]), "an IDX file"),
    "nothing": (b"", "an IDX file"),
    "half a header": (WHOLE[:9], "truncated"),
    "a byte less": (WHOLE[:-1], "truncated"),
    "a byte more": (WHOLE + b"\0", "behind it"),
    "too many axes": (bytes([0, 0, 8, 255]) + bytes(4 * 255), "at most 64 axes"),
    "more than there is": (struct.pack(">HBB2I", 0, 8, 2, 2**32 - 1, 2**32 - 1), "truncated"),
    "more than NumPy holds": (struct.pack(">HBB4I", 0, 8, 4, 0, *[2**32 - 1] * 3), "NumPy"),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_with_its_fault(name, compressed, tmp_path):
    content, fault = BAD[name]
    path = tmp_path / "bad"
    path.write_bytes(gzip.compress(content) if compressed else content)
    with pytest.raises(ValueError, match=fault) as caught:
        data.idx(path)
    assert str(path) in str(caught.value)


def test_a_damaged_or_truncated_archive_is_an_error(tmp_path, random):
    whole = gzip.compress(packed(random.integers(0, 255, (50, 50)).astype("u1")))
    path = tmp_path / "file.gz"
    for content in (whole[:-9], whole[:100] + b"\0" * 40 + whole[140:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"undamaged|truncated"):
            data.idx(path)


def test_no_header_claims_memory_that_the_file_does_not_fill(tmp_path):
    """A small archive that promises 3 GB and holds 10 MB of zeros."""
    path = tmp_path / "bomb.gz"
    head = struct.pack(">HBB1I", 0, 8, 1, 3 * 10**9)
    path.write_bytes(gzip.compress(head + bytes(10**7)))
    tracemalloc.start()
    with pytest.raises(ValueError, match="truncated"):
        data.idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 10**7


def write_mnist(folder, random, part="train", images=5, labels=5):
    x = random.integers(0, 256, (images, 4, 3)).astype("u1")
    y = random.integers(0, 10, labels).astype("u1")
    (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(packed(x)))
    (folder / f"{part}-labels.idx1-ubyte").write_bytes(packed(y))
    return x, y


def test_a_folder_has_two_parts(tmp_path, random):
    written = [write_mnist(tmp_path, random, part) for part in ("train", "t10k")]
    for (x, y), samples in zip(written, data.mnist(tmp_path), strict=True):
        np.testing.assert_array_equal(np.round(samples.x[..., 0] * 255), x)
        np.testing.assert_array_equal(samples.y, y)
        assert samples.x.dtype == np.float32
        assert samples.x.shape == (5, 4, 3, 1)
        assert samples.y.dtype == np.int32


def test_a_folder_that_does_not_fit_is_an_error(tmp_path, random):
    write_mnist(tmp_path, random, labels=4)
    with pytest.raises(ValueError, match="5 images and 4 labels"):
        data.mnist(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="t10k-images-idx3-ubyte"):
        data.mnist(tmp_path, "test")
    (tmp_path / "train-labels.idx1-ubyte").write_bytes(WHOLE)
    with pytest.raises(ValueError, match="labels are uint8 of 1 axes"):
        data.mnist(tmp_path, "train")


def test_the_real_mnist():
    folder = Path(os.environ.get("JNN_DATA", "../shared/data"), "mnist")
    if not folder.is_dir():
        pytest.skip("needs MNIST's files in $JNN_DATA/mnist")
    test = data.mnist(folder, "test")
    assert test.x.shape == (10000, 28, 28, 1)
    assert np.bincount(test.y).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert abs(test.x.mean() - 0.1325) < 1e-3
