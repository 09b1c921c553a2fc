"""IDX files, the format of MNIST and its kin, and folders of them."""

import gzip
import io
import math
import os
import zlib
from pathlib import Path
from typing import Any, Literal, NoReturn, overload

import numpy as np

from jnn import errors
from jnn.data.digits import Digits, Samples

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_AXES = 64  # NumPy's limit.
# A byte of deflate stands for at most 1032: no header can be true that promises more.
MOST_INFLATED = 1032
DAMAGED = "Fetch it again."
PARTS = {"train": "train", "test": "t10k"}


def idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in an IDX file, plain or compressed by gzip, in the dtype that its header names.

    Nothing is allocated before the file is known to be long enough for what its header promises,
    and never more than that.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "labels-idx1-ubyte")
    >>> path.write_bytes(bytes([0, 0, 0x08, 1, 0, 0, 0, 3, 7, 2, 1]))
    11
    >>> jnn.data.idx(path)
    array([7, 2, 1], dtype=uint8)

    Raises:
      ValueError: the file is of another format, truncated, damaged, or goes on after the array.
      FileNotFoundError: there is no file.
    """
    path = Path(path)
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        most = path.stat().st_size * (MOST_INFLATED if packed else 1)
        try:
            return _read(path, gzip.GzipFile(fileobj=file) if packed else file, most)
        except (EOFError, OSError, zlib.error) as error:
            errors.fail("idx", "path", "an undamaged file", f"'{path}': {error}", DAMAGED)


def _read(path: Path, file: io.BufferedIOBase, most: int) -> np.ndarray:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in DTYPES or not head[3]:
        expected = "an IDX file (two zero bytes, a type, a number of axes)"
        errors.fail("idx", "path", expected, f"'{path}', which begins with {head.hex(' ')}")
    dtype, axes = np.dtype(DTYPES[head[2]]), head[3]
    if axes > MOST_AXES:
        errors.fail("idx", "path", f"of at most {MOST_AXES} axes", f"'{path}' of {axes}")
    sizes = file.read(4 * axes)
    shape = tuple(int(n) for n in np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4"))
    promised = dtype.itemsize * math.prod(shape)
    if len(sizes) < 4 * axes or promised > most:
        _truncated(path, 4 + 4 * axes + promised, "too short for its header")
    data = np.empty(promised, np.uint8)
    view, filled = data.data, 0
    while filled < promised:
        count = file.readinto(view[filled:])
        if not count:
            _truncated(path, promised, f"{filled} bytes")
        filled += count
    if file.read(1):
        expected = f"a file that ends after its array of shape {shape}"
        errors.fail("idx", "path", expected, f"'{path}' with bytes behind it", DAMAGED)
    try:
        array = data.view(dtype).reshape(shape)
    except ValueError:  # Axes too long for NumPy, beside one of length 0.
        errors.fail("idx", "path", "an array that NumPy can hold", f"'{path}' of shape {shape}")
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return array


def _truncated(path: Path, promised: int, found: str) -> NoReturn:
    expected = f"a whole file, {promised:,} bytes by its header"
    errors.fail("idx", "path", expected, f"'{path}', truncated: {found}", DAMAGED)


@overload
def mnist(folder: str | os.PathLike[str], part: None = None) -> Digits: ...
@overload
def mnist(folder: str | os.PathLike[str], part: Literal["train", "test"]) -> Samples: ...
def mnist(folder: str | os.PathLike[str], part: str | None = None) -> Any:
    """The images and labels of a folder laid out as MNIST's: MNIST, Fashion-MNIST, KMNIST.

    Files are `train-images-idx3-ubyte` and the other three, each plain or with `.gz`. Images
    become float32 in [0, 1] of shape (n, height, width, 1), labels int32.

    Args:
      folder: where the files are.
      part: "train" or "test" (the files that begin with t10k) for one of them alone.

    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> images, labels = folder / "t10k-images-idx3-ubyte", folder / "t10k-labels-idx1-ubyte"
    >>> _ = images.write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 255]))
    >>> _ = labels.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 5]))
    >>> test = jnn.data.mnist(folder, "test")
    >>> test.x.ravel().tolist(), test.y.tolist()
    ([0.0, 1.0], [5])
    """
    if part is None:
        return Digits(mnist(folder, "train"), mnist(folder, "test"))
    errors.choice("mnist", "part", part, PARTS)
    images = idx(_find(Path(folder), f"{PARTS[part]}-images", 3))
    labels = idx(_find(Path(folder), f"{PARTS[part]}-labels", 1))
    for name, array, axes in (("images", images, 3), ("labels", labels, 1)):
        if array.ndim != axes or array.dtype != np.uint8:
            expected = f"a folder whose {name} are uint8 of {axes} axes"
            errors.fail("mnist", "folder", expected, errors.describe(array))
    if len(images) != len(labels):
        expected = "a folder with a label for each image"
        got = f"'{folder}' with {len(images)} images and {len(labels)} labels"
        errors.fail("mnist", "folder", expected, got)
    x = images[..., None].astype(np.float32)
    x /= 255
    return Samples(x, labels.astype(np.int32))


def _find(folder: Path, name: str, axes: int) -> Path:
    """The file of that name, in one of the spellings in use."""
    for joint in "-.":
        for ending in ("", ".gz"):
            path = folder / f"{name}{joint}idx{axes}-ubyte{ending}"
            if path.exists():
                return path
    file = f"{name}-idx{axes}-ubyte"
    errors.fail("mnist", "folder", f"one that holds {file} or {file}.gz", f"'{folder}'",
                kind=FileNotFoundError)  # fmt: skip
