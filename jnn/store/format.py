"""The format of safetensors, which PyTorch and others read: arrays by name in one file.

Eight bytes with the length of a header, the header in JSON, and the arrays' bytes one after the
other. The header gives each array's dtype, shape and place; under `__metadata__` stand the version
of this format, a checksum, and what else the writer says.
"""

import json
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.files import whole

VERSION = 1
RESERVED = {"format", "version", "crc32", "keys"}
LONGEST_HEADER = 100_000_000  # The limit of other readers.
MOST_AXES = 64  # NumPy's limit.
NAMES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16",
    "uint32": "U32", "int32": "I32", "uint64": "U64", "int64": "I64", "float16": "F16",
    "bfloat16": "BF16", "float32": "F32", "float64": "F64", "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip
DTYPES = {name: jnp.dtype(dtype) for dtype, name in NAMES.items()}
DAMAGED = "It is damaged or cut off: take another copy."


class Place(NamedTuple):
    """An array in a file: its bytes from the first array's begin on."""

    dtype: Any
    shape: tuple[int, ...]
    begin: int
    end: int


class DamagedError(ValueError):
    """A file that is no whole file of this format."""


def write(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes arrays by name, with this format's version and checksum."""
    entries, begin = {}, 0
    # Large elements first, so that every array lies on a multiple of its element.
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    for name in order:
        array = arrays[name]
        end = begin + array.nbytes
        dtype = NAMES[array.dtype.name]
        entries[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, end]}
        begin = end
    checksum = _checksum(entries, metadata)
    for name in order:
        checksum = zlib.crc32(bytes_of(arrays[name]), checksum)
    about = {**metadata, "format": "jnn", "version": str(VERSION), "crc32": f"{checksum:08x}"}
    header = json.dumps({"__metadata__": about, **entries}).encode()
    header += b" " * (-len(header) % 8)
    with whole(path) as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for name in order:
            file.write(bytes_of(arrays[name]))


def read_file(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays in a file by name, and its metadata."""
    with Path(path).open("rb") as file:
        entries, places, metadata, start = _begun(path, file)
        checksum = _checksum(entries, metadata)
        arrays = {}
        for name, (dtype, shape, begin, end) in places.items():
            file.seek(start + begin)
            data = np.empty(end - begin, np.uint8)
            if file.readinto(data.data) != end - begin:
                refuse(path, f"it ends within '{name}'")
            checksum = zlib.crc32(data.data, checksum)
            try:
                arrays[name] = data.view(dtype).reshape(shape)
            except ValueError:  # Axes too long for NumPy, beside one of length 0.
                refuse(path, f"'{name}' has the shape {shape}")
    if _ours(metadata) and metadata.get("crc32") != f"{checksum:08x}":
        refuse(path, "its checksum is wrong")
    return arrays, metadata


def read_places(path: str | os.PathLike[str]) -> tuple[dict[str, Place], dict[str, str], int]:
    """Where the arrays of a file are, its metadata, and where the first array begins."""
    with Path(path).open("rb") as file:
        return _begun(path, file)[1:]


def _begun(path: object, file: BinaryIO) -> tuple[dict, dict[str, Place], dict[str, str], int]:
    """The header's entries, the places, all of them checked, the metadata, and the beginning."""
    size = os.fstat(file.fileno()).st_size
    entries, metadata, start = _header(path, file, size)
    if _ours(metadata):
        _check_version(path, metadata)
    return entries, _places(path, entries, size - start), metadata, start


def _ours(metadata: Mapping[str, str]) -> bool:
    return metadata.get("format") == "jnn" or "crc32" in metadata


def _header(path: object, file: BinaryIO, size: int) -> tuple[dict, dict, int]:
    """The entries, the metadata, and where the arrays begin."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, LONGEST_HEADER):
        refuse(path, f"{size:,} bytes cannot begin with a header of {length:,}")
    try:
        header = json.loads(file.read(length).decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        refuse(path, f"its header is no JSON: {str(error)[:80]}")
    if not isinstance(header, dict):
        refuse(path, "its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        refuse(path, "its metadata are not text")
    return header, metadata, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _check_version(path: object, metadata: Mapping[str, str]) -> None:
    version = metadata.get("version", "")
    if metadata.get("format") != "jnn":
        refuse(path, "its metadata are not whole")
    if version != str(VERSION):
        expected = f"a file of version {VERSION} of the format"
        remedy = "It was written by another version of jnn."
        errors.fail("load", "path", expected, f"'{path}' of version {version!r}", remedy)


def _places(path: object, entries: dict, size: int) -> dict[str, Place]:
    """Dtype, shape, begin and end of each array, in the order of the file, all of them checked."""
    places = {}
    for name, entry in entries.items():
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            refuse(path, f"'{name}' is not told by dtype, shape and data_offsets")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            refuse(path, f"'{name}' has the dtype {str(dtype)[:20]!r}")
        if not _counts(shape) or len(shape) > MOST_AXES:
            refuse(path, f"'{name}' has no true shape")
        if not _counts(offsets) or len(offsets) != 2:
            refuse(path, f"'{name}' has no true place")
        begin, end = offsets
        if end - begin != math.prod(shape) * DTYPES[dtype].itemsize:
            refuse(path, f"'{name}' has another size than its shape says")
        places[name] = DTYPES[dtype], tuple(shape), begin, end
    places = dict(sorted(places.items(), key=lambda item: item[1][2:]))
    reached = 0
    for name, (*_, begin, end) in places.items():
        if begin != reached:
            refuse(path, f"'{name}' overlaps another array or leaves a gap")
        reached = end
    if reached != size:
        refuse(path, f"the arrays take {reached:,} bytes, and there are {size:,}")
    return {name: Place(*place) for name, place in places.items()}


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 2**63 for n in values)


def refuse(path: object, fault: str) -> NoReturn:
    expected = "a whole file in the format of safetensors"
    errors.fail("load", "path", expected, f"'{path}': {fault}", DAMAGED, DamagedError)


def _checksum(entries: Mapping[str, Any], metadata: Mapping[str, str]) -> int:
    """Of the header: its entries, and what the metadata say in names that are not the format's."""
    checksum = zlib.crc32(json.dumps(entries, sort_keys=True).encode())
    about = {name: text for name, text in metadata.items() if name not in RESERVED}
    return zlib.crc32(json.dumps(about, sort_keys=True).encode(), checksum) if about else checksum


def bytes_of(array: np.ndarray) -> memoryview:
    """The bytes of an array in order; a copy only where it does not lie in order."""
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
