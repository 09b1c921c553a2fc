"""What DATA names on the command line: samples and their targets, out of files only read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jnn import data, errors
from jnn.data.tables import is_number
from jnn.store.trained import Columns

FORMS = """\
DATA is one of

  digits           scikit-learn's handwritten digits, 8 x 8 pixels
  two_moons, circles, spirals, xor
                   made points in the plane
  FOLDER           IDX files laid out as MNIST's: train-images-idx3-ubyte and so on, plain or .gz
  FILE             IDX images; the labels lie beside them, or in --labels FILE
  FILE.csv, .tsv   a row a sample; the target is the last column, or --target COLUMN
  FILE.npz         arrays x and y; also x_train, y_train, x_test and y_test"""
MADE = {"two_moons": data.two_moons, "circles": data.circles, "spirals": data.spirals,
        "xor": data.xor}  # fmt: skip
X_NAMES = ("x", "X", "data", "images", "features")
Y_NAMES = ("y", "Y", "target", "targets", "label", "labels")


class Labelled(NamedTuple):
    """Inputs, float32 (n, features) or (n, height, width, channels), and targets as they stand.

    Attributes:
      y: (n,) or (n, targets), numbers or text; None where there are none.
      columns: of a table.
    """

    x: np.ndarray
    y: np.ndarray | None
    columns: Columns = Columns()


class Source(NamedTuple):
    """What to train on, and what the data hold back themselves; one of them may be missing."""

    train: Labelled | None
    test: Labelled | None


class Reading(NamedTuple):
    """How to read: the target's columns, the file of labels, the shape of images in a table.

    Attributes:
      columns: how the table of an earlier reading was split, where this one shall follow.
      labelled: whether targets must be there.
    """

    target: tuple[str, ...] = ()
    labels: Path | None = None
    header: bool | None = None
    image: tuple[int, ...] = ()
    columns: Columns | None = None
    inputs: int = 0
    labelled: bool = True


def read_source(word: str, how: Reading | None = None) -> Source:
    """The samples that a word names.

    >>> source = read_source("xor")
    >>> source.train.x.shape, source.test
    ((1000, 2), None)
    """
    how = how or Reading()
    source = _read(word, how)
    for samples in filter(None, source):
        if how.labelled and samples.y is None:
            remedy = "Name the file of labels: --labels FILE."
            errors.fail("DATA", word, "samples with targets", "no targets", remedy)
        for what, array in (("inputs", samples.x), ("targets", samples.y)):
            if array is None or array.dtype.kind != "f" or np.isfinite(array).all():
                continue
            sample = int(np.argwhere(~np.isfinite(array))[0, 0]) + 1
            errors.fail("DATA", word, "finite numbers", f"{what} of sample {sample} that are not")
        if not len(samples.x):
            errors.fail("DATA", word, "at least one sample", "none")
    return source


def _read(word: str, how: Reading) -> Source:
    path = Path(word)
    if word in MADE and not path.exists():
        return Source(Labelled(*MADE[word]()), None)
    if word == "digits" and not path.exists():
        train, test = data.digits()
        return Source(Labelled(*train), Labelled(*test))
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        errors.fail("DATA", word, f"digits, {', '.join(MADE)}, a file or a folder",
                    "nothing of that name", kind=FileNotFoundError)  # fmt: skip
    if path.suffix in (".csv", ".tsv", ".txt"):
        return Source(_table(path, how), None)
    if path.suffix == ".npz":
        return _archive(path, how)
    return Source(_images(path, how), None)


def _folder(path: Path) -> Source:
    found, missing = [], []
    for part in ("train", "test"):
        try:
            found.append(Labelled(*data.mnist(path, part)))  # pyright: ignore[reportArgumentType, reportCallIssue]
        except FileNotFoundError as error:
            found.append(None)
            missing.append(error)
    if len(missing) == 2:
        raise missing[0]
    return Source(*found)


def _images(path: Path, how: Reading) -> Labelled:
    x = data.idx(path)
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    labels = how.labels or (beside if beside != path and beside.exists() else None)
    y = None if labels is None else data.idx(labels)
    if y is not None and y.ndim != 1:
        errors.fail("DATA", str(labels), "an IDX file of labels, of one axis", errors.describe(y))
    return _arrays(str(path), x, y, how)


def _archive(path: Path, how: Reading) -> Source:
    arrays = data.npz(path)

    def part(ending: str) -> Labelled | None:
        x = next((arrays[n + ending] for n in X_NAMES if n + ending in arrays), None)
        names = how.target or tuple(n + ending for n in Y_NAMES)
        y = next((arrays[n] for n in names if n in arrays), None)
        return None if x is None else _arrays(str(path), x, y, how)

    train = part("_train") or part("")
    if train is None:
        expected = "an archive with the array x, or x_train"
        errors.fail("DATA", str(path), expected, f"one with {', '.join(sorted(arrays))}")
    return Source(train, part("_test"))


def _arrays(word: str, x: np.ndarray, y: np.ndarray | None, how: Reading) -> Labelled:
    """Arrays as samples: images get a channel, and bytes of pixels become 0 ... 1."""
    if x.ndim < 2 or x.ndim > 4 or x.dtype.kind not in "fiub":
        expected = "inputs of numbers, (n, features), (n, height, width) or with channels"
        errors.fail("DATA", word, expected, errors.describe(x))
    if y is not None and y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y is not None and (y.ndim not in (1, 2) or len(y) != len(x)):
        expected = f"a target for each of {len(x)} samples"
        errors.fail("DATA", word, expected, errors.describe(y))
    if x.ndim > 2:
        x = (x[..., None] if x.ndim == 3 else x) / np.float32(255 if x.dtype == np.uint8 else 1)
    return Labelled(_pictures(word, x, how), y)


def _table(path: Path, how: Reading) -> Labelled:
    names, values = _values(path, how)
    width = values.shape[1]
    columns = how.columns or _columns(path, names, width, how.target)
    if how.columns is not None and names and columns.features:
        missing = [name for name in columns.features if name not in names]
        if missing:
            expected = f"a table with the columns {', '.join(columns.features)}"
            errors.fail("DATA", str(path), expected, f"one without {', '.join(missing)}")
        inputs = [names.index(name) for name in columns.features]
        places = [names.index(name) for name in columns.target if name in names]
    elif how.columns is not None:
        count = len(columns.places) if columns.places else 1
        if width not in (how.inputs, how.inputs + count):
            expected = f"a table of {how.inputs} columns, or {how.inputs + count} with the target"
            errors.fail("DATA", str(path), expected, width)
        wanted = list(columns.places) or [width - 1]
        places = wanted if width > how.inputs else []
        inputs = [i for i in range(width) if i not in places]
    else:
        places = list(columns.places)
        inputs = [i for i in range(width) if i not in places]
    if not inputs:
        errors.fail("DATA", str(path), "a table with a column beside the target", f"{width} column")
    try:
        x = values[:, inputs].astype(np.float32)
    except ValueError as error:
        remedy = "Text is read as classes in the target only; encode or remove other columns."
        errors.fail("DATA", str(path), "a table of numbers", str(error), remedy)
    y = values[:, places[0]] if len(places) == 1 else values[:, places] if places else None
    if y is not None and all(map(is_number, y.flat)):
        y = y.astype(np.float64)
    return Labelled(_pictures(str(path), x, how), y, columns)


def _values(path: Path, how: Reading) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and cells of a table: numbers where all of them are, else text."""
    delimiter = "\t" if path.suffix == ".tsv" else ","
    try:
        names, values = data.csv(path, delimiter=delimiter, header=how.header)
        if "" not in names:
            return names, values
    except UnicodeDecodeError as error:
        errors.fail("DATA", str(path), "a text file in UTF-8", error)
    except ValueError:
        pass  # Text, or a fault, which is told here.
    names, cells = data.csv(path, delimiter=delimiter, header=how.header, dtype=str)
    if how.header is None and any(map(is_number, names)):  # A row: classes stand in it as text.
        names, cells = data.csv(path, delimiter=delimiter, header=False, dtype=str)
    cells = np.char.strip(cells)
    if (cells == "").any():
        row, column = np.argwhere(cells == "")[0] + 1
        got = f"an empty one, row {row}, column {column}"
        errors.fail("DATA", str(path), "a table whose cells are all filled", got)
    return names, cells


def _columns(path: Path, names: tuple[str, ...], width: int, target: Sequence[str]) -> Columns:
    """Where the target stands: by name, or by number from 1; else in the last column."""
    places = []
    for word in target or (str(width),):
        if word in names:
            places.append(names.index(word))
        elif word.isdecimal() and 1 <= int(word) <= width:
            places.append(int(word) - 1)
        else:
            known = ", ".join(names) or f"1 ... {width}"
            errors.fail("train", "--target", f"a column of '{path}': {known}", f"'{word}'")
    features = tuple(name for i, name in enumerate(names) if i not in places)
    return Columns(features, tuple(names[i] for i in places) if names else (), tuple(places))


def _pictures(word: str, x: np.ndarray, how: Reading) -> Any:
    """Rows as images, where they shall be; always float32."""
    x = np.asarray(x, np.float32)
    if not how.image or x.shape[1:] == how.image:
        return x
    if np.prod(x.shape[1:]) != np.prod(how.image):
        shape = " x ".join(map(str, how.image))
        expected = f"of {int(np.prod(how.image))} numbers a sample, for {shape}"
        errors.fail("DATA", word, expected, int(np.prod(x.shape[1:])))
    return x.reshape(len(x), *how.image)
