"""CSV and NPZ files: arrays out of files that are read, never executed."""

import lzma
import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from jnn import errors

# What reading a damaged archive raises; a flipped bit may claim that it is encrypted.
DAMAGES = zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError


class Table(NamedTuple):
    """A table of numbers: the names of its columns (none without a header), and (rows, columns)."""

    names: tuple[str, ...]
    values: np.ndarray


def csv(
    path: str | os.PathLike[str],
    *,
    delimiter: str = ",",
    header: bool | None = None,
    dtype: type | np.dtype | str = np.float64,
) -> Table:
    r"""The numbers in a file of separated values; every row has as many.

    Args:
      path: the file, UTF-8; lines that are empty or begin with # are passed over.
      delimiter: what stands between two values.
      header: whether the first line names the columns; None takes it for names unless all of it is
        numbers.
      dtype: of the values.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "table.csv")
    >>> _ = path.write_text("height,age\n1.5,20\n1.75,31\n")
    >>> names, values = jnn.data.csv(path)
    >>> names, values.tolist()
    (('height', 'age'), [[1.5, 20.0], [1.75, 31.0]])
    """
    with Path(path).open(encoding="utf-8-sig", newline=None) as file:
        first, skipped = "", 0
        try:
            for line in file:
                skipped += 1
                first = "" if line.lstrip().startswith("#") else line.strip()
                if first:
                    break
        except UnicodeDecodeError as error:
            errors.fail("csv", "path", "a file in UTF-8", f"'{path}': {error}")
        names = tuple(name.strip().strip('"') for name in first.split(delimiter))
        if header is None:
            header = bool(first) and not all(map(is_number, names))
        if not first:
            errors.fail("csv", "path", "a file with rows of numbers", f"'{path}', which is empty")
        rows = file if header else (line for part in ([first + "\n"], file) for line in part)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "loadtxt: input contained no data")
                values = np.loadtxt(_told(rows, delimiter), dtype, delimiter=delimiter,
                                    comments=None, ndmin=2, quotechar='"')  # fmt: skip
        except ValueError as error:
            kind = "text" if np.dtype(dtype).kind == "U" else np.dtype(dtype)
            fault = str(error).split(";")[0]  # What follows is advice to callers of `loadtxt`.
            raise ValueError(
                f"csv: '{path}' must hold a table of {kind}: {fault}"
                f" (counted from line {skipped + header})"
            ) from None
    if not values.size:
        values = values.reshape(0, len(names))
    if header and len(names) != values.shape[1]:
        expected = f"as many columns as the header has names, {len(names)}"
        errors.fail("csv", "path", expected, f"{values.shape[1]} in '{path}'")
    return Table(names if header else (), values)


def _told(lines: Iterable[str], delimiter: str) -> Iterator[str]:
    """The lines without remarks, which begin with # where no quoted cell goes on."""
    within = False
    for line in lines:
        if within or not line.lstrip().startswith("#"):
            yield line
            if '"' in line:
                within = _goes_on(line, delimiter, within)
    if within:
        raise ValueError("a quote is not closed")


def _goes_on(line: str, delimiter: str, within: bool) -> bool:
    """Whether the last cell of a line, begun within a quoted one or not, is an open quote."""
    begins = not within
    quoted = within  # Elsewhere in a cell a quote is a letter, such as an inch.
    for letter in line:
        if letter == '"' and (begins or quoted):
            quoted, within = True, not within
        elif letter == delimiter and not within:
            begins, quoted = True, False
            continue
        begins = False
    return within


def is_number(text: str) -> bool:
    """Whether a cell holds a number.

    >>> from jnn.data.tables import is_number
    >>> is_number("1e-3"), is_number("setosa")
    (True, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return True


def npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a NumPy archive, by name; one that holds pickled objects is refused.

    A member is read only if its header and its size agree, so that no header can claim memory that
    the archive does not fill.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "arrays.npz")
    >>> np.savez_compressed(path, x=np.eye(2), y=np.arange(2))
    >>> {name: array.shape for name, array in jnn.data.npz(path).items()}
    {'x': (2, 2), 'y': (2,)}
    """
    arrays = {}
    with Path(path).open("rb") as opened:
        try:
            with zipfile.ZipFile(opened) as archive:
                for member in archive.infolist():
                    if member.filename.endswith(".npy"):
                        with archive.open(member) as file:
                            name = member.filename.removesuffix(".npy")
                            arrays[name] = _array(path, name, file, member.file_size)
        except DAMAGES as error:
            errors.fail("npz", "path", "an undamaged archive", f"'{path}': {error}")
    if not arrays:
        errors.fail("npz", "path", "an archive of arrays", f"'{path}' without any")
    return arrays


def _array(path: object, name: str, file: IO[bytes], size: int) -> np.ndarray:
    """The array of one member, whose length is `size` with its header."""
    where = f"'{name}' in '{path}'"
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(file)
    except ValueError as error:
        errors.fail("npz", "path", "an archive of NumPy arrays", f"{where}: {error}")
    if dtype.hasobject:
        remedy = "Objects are pickled, and a pickle can run any code."
        errors.fail("npz", "path", "an archive of numbers", f"objects, {where}", remedy)
    promised = dtype.itemsize * math.prod(shape)
    if promised != size - file.tell():
        expected = f"{promised:,} bytes of {dtype}{list(shape)}"
        errors.fail("npz", "path", expected, f"{size - file.tell():,} bytes, {where}")
    data = bytearray(promised)
    view, filled = memoryview(data), 0
    while filled < promised and (part := file.read(min(promised - filled, 1 << 20))):
        view[filled : filled + len(part)] = part
        filled += len(part)
    if filled < promised:
        errors.fail("npz", "path", f"{promised:,} bytes", f"{filled:,}, {where}")
    file.read(1)  # The end, where the checksum is compared.
    return np.ndarray(shape, dtype, data, order="F" if fortran else "C")
