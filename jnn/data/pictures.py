"""Colour images: CIFAR's binary files, and folders with a folder for each class."""

import os
from pathlib import Path
from typing import Literal, NamedTuple, overload

import numpy as np

from jnn import errors
from jnn.data.digits import Digits, Samples

SIDE = 32  # Pixels of CIFAR's images.
PIXELS = 3 * SIDE * SIDE
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")


@overload
def cifar(folder: str | os.PathLike[str], part: None = None, *, coarse: bool = False) -> Digits: ...
@overload
def cifar(
    folder: str | os.PathLike[str], part: Literal["train", "test"], *, coarse: bool = False
) -> Samples: ...
def cifar(
    folder: str | os.PathLike[str], part: str | None = None, *, coarse: bool = False
) -> Digits | Samples:
    r"""The images and labels of CIFAR-10 or CIFAR-100, from the folder of the binary version.

    Its files are `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, or `train.bin` and
    `test.bin`; those that hold pickled objects are not read. Images become float32 in [0, 1] of
    shape (n, 32, 32, 3), labels int32.

    Args:
      folder: where the files are.
      part: "train" or "test" for one of them alone.
      coarse: of CIFAR-100, the 20 classes instead of the 100.

    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "test_batch.bin").write_bytes(bytes([7]) + 1024 * b"\xff" + 2048 * b"\0")
    >>> x, y = jnn.data.cifar(folder, "test")
    >>> x.shape, x[0, 0, 0].tolist(), y.tolist()
    ((1, 32, 32, 3), [1.0, 0.0, 0.0], [7])
    """
    if part is None:
        parts = (cifar(folder, "train", coarse=coarse), cifar(folder, "test", coarse=coarse))
        return Digits(*parts)
    errors.choice("cifar", "part", part, ("train", "test"))
    place = Path(folder)
    tens = sorted(place.glob("data_batch_*.bin" if part == "train" else "test_batch.bin"))
    hundreds = [] if tens else sorted(place.glob(f"{part}.bin"))
    if not tens and not hundreds:
        remedy = "Fetch the binary version, e.g. cifar-10-binary.tar.gz, and unpack it."
        errors.fail("cifar", "folder", f"one that holds the binary files of {part}", f"'{folder}'",
                    remedy, FileNotFoundError)  # fmt: skip
    if tens and coarse:
        errors.fail("cifar", "coarse", "False for CIFAR-10", True)
    labels = 1 if tens else 2  # Bytes of labels before each image: of CIFAR-100 the coarse first.
    rows = np.concatenate([_records(path, labels) for path in tens or hundreds])
    images = rows[:, labels:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    x = np.ascontiguousarray(images, np.float32)
    x /= 255
    return Samples(x, rows[:, 0 if coarse else labels - 1].astype(np.int32))


def _records(path: Path, labels: int) -> np.ndarray:
    data = np.fromfile(path, np.uint8)
    if not data.size or data.size % (labels + PIXELS):
        expected = f"a file of records of {labels + PIXELS} bytes"
        got = f"'{path}' of {data.size:,} bytes"
        errors.fail("cifar", "folder", expected, got, "It is damaged or cut off: fetch it again.")
    rows = data.reshape(-1, labels + PIXELS)
    most = 10 if labels == 1 else 100
    if rows[:, labels - 1].max() >= most:
        got = f"{rows[:, labels - 1].max()} in '{path}'"
        errors.fail("cifar", "folder", f"files with labels below {most}", got)
    return rows


class Pictures(NamedTuple):
    """Images `x`, float32 (n, height, width, channels) in [0, 1], labels and their names.

    Attributes:
      y: int32 (n,), places among the classes.
      classes: names of the folders, in order.
    """

    x: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...]


def image_folder(
    folder: str | os.PathLike[str],
    size: int | tuple[int, int] | None = None,
    *,
    grey: bool = False,
) -> Pictures:
    """The images in a folder that has a folder for each class, read by Pillow.

    `x, y, classes = jnn.data.image_folder("pets", 64)`, and `(x, y)` is data for `fit`.

    Args:
      folder: with a folder a class, whose name is that of the class; folders in these are read too.
      size: pixels of a side, or (height, width), to which images are brought; None where all have
        one size already.
      grey: whether there is one channel, of brightness, instead of three.

    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name, colour in (("night", 0), ("day", 255)):
    ...     (folder / name).mkdir()
    ...     Image.new("L", (6, 4), colour).save(folder / name / "sky.png")
    >>> x, y, classes = jnn.data.image_folder(folder)
    >>> x.shape, x.mean((1, 2, 3)).tolist(), y.tolist(), classes
    ((2, 4, 6, 3), [1.0, 0.0], [0, 1], ('day', 'night'))
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise ImportError("Images are read by Pillow. To install it: pip install pillow.") from None
    height, width = (size, size) if isinstance(size, int) else size or (0, 0)
    if size is not None:
        errors.positive_integer("image_folder", "size", height)
        errors.positive_integer("image_folder", "size", width)
    names = sorted(path.name for path in Path(folder).iterdir() if path.is_dir())
    found, labels = [], []
    for label, name in enumerate(names):
        for path in sorted((Path(folder) / name).rglob("*")):
            if path.suffix.lower() not in ENDINGS:
                continue
            try:
                with Image.open(path) as file:
                    picture = file.convert("L" if grey else "RGB")
            except (UnidentifiedImageError, OSError) as error:
                errors.fail("image_folder", "folder", "one of whole images", f"'{path}': {error}")
            if size is not None:
                picture = picture.resize((width, height), Image.Resampling.BILINEAR)
            array = np.asarray(picture)
            if found and array.shape != found[0].shape:
                got = f"'{path}' of {array.shape[:2]} after {found[0].shape[:2]}"
                remedy = "Give the size that they shall have, e.g. size=64."
                errors.fail("image_folder", "folder", "one whose images have one size", got, remedy)
            found.append(array)
            labels.append(label)
    if not found:
        expected = f"one with a folder a class, of {', '.join(ENDINGS)}"
        errors.fail("image_folder", "folder", expected, f"'{folder}'", kind=FileNotFoundError)
    x = np.stack(found).reshape(len(found), *found[0].shape[:2], -1).astype(np.float32)
    x /= 255
    return Pictures(x, np.array(labels, np.int32), tuple(names))
