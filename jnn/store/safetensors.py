"""Trees of arrays on disk: whole or not at all, checked when read, never executed.

The format is that of safetensors, which PyTorch and others read: eight bytes with the length of a
header, the header in JSON, and the arrays' bytes one after the other. The header gives each leaf's
dtype, shape and place by its path in the tree, `0/w`; under `__metadata__` stand the version of
this format, a checksum, and which leaves are random keys.
"""

import json
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import jax
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


class DamagedError(ValueError):
    """A file that is no whole file of this format."""


def save(path: str | os.PathLike[str], tree: Any, about: Mapping[str, str] | None = None) -> None:
    """Writes a tree of arrays to a file, which appears whole or not at all.

    Leaves are arrays of any kind, bfloat16 and random keys included, and Python numbers. The file
    is written under another name, flushed to the disk, and renamed.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "net.safetensors")
    >>> params, _ = jnn.dense(2).init(jax.random.key(0), jnp.ones((8, 3)))
    >>> jnn.save(path, {"net": params, "key": jax.random.key(1), "epoch": 7})
    >>> sorted(jnn.load(path))
    ['epoch', 'key', 'net/b', 'net/w']
    >>> jnn.load(path, {"net": params, "key": jax.random.key(0), "epoch": 0})["epoch"]
    7

    Args:
      path: where to; a file of that name is replaced.
      tree: a pytree.
      about: texts by name, to stand in the file's metadata.
    """
    about = dict(about or {})
    if taken := about.keys() & RESERVED:
        errors.fail("save", "about", "of other names", f"'{min(taken)}', which the format uses")
    for name, text in about.items():
        if not isinstance(name, str) or not isinstance(text, str):
            got, remedy = f"{text!r} for {name!r}", "Write numbers as texts, e.g. by json.dumps."
            errors.fail("save", "about", "texts by name", got, remedy, TypeError)
    leaves = by_path("save", tree)
    keys = {name: str(jax.random.key_impl(x)) for name, x in leaves.items() if errors.is_key(x)}
    metadata = {"keys": json.dumps(keys)} if keys else {}
    write(path, {name: _numbers(name, x) for name, x in leaves.items()}, about | metadata)


def load(path: str | os.PathLike[str], like: Any = None) -> Any:
    """Reads a file that `save` wrote, or any in the format of safetensors.

    Everything is checked before memory is taken: the header's form, that the arrays' places and
    sizes agree and fill the file, and the checksum of what `save` wrote.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "a.safetensors")
    >>> jnn.save(path, {"a": jnp.ones(2)})
    >>> jnn.load(path, {"a": jnp.zeros(3)})
    Traceback (most recent call last):
    ...
    ValueError: load: `like` must be of the arrays in the file, got float32[3] for 'a', where...

    Args:
      path: the file.
      like: a tree of the same structure, shapes and dtypes, of arrays or `ShapeDtypeStruct`s; a
        leaf comes back as the kind that it has here. Without, the result is a dictionary of NumPy
        arrays by path.

    Raises:
      ValueError: the file is of another format, damaged, truncated, or does not fit `like`.
    """
    arrays, metadata = read_arrays(path)
    return arrays if like is None else fill(path, like, arrays, metadata)


def fill(
    path: object, like: Any, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> Any:
    """The tree `like` with the arrays of a file in it."""
    leaves = by_path("load", like)
    keys = _keys(path, metadata)
    missing, beyond = sorted(leaves.keys() - arrays.keys()), sorted(arrays.keys() - leaves.keys())
    if missing or beyond:
        faults = (("without", missing), ("with", beyond))
        parts = [f"{word} {_few(names)}" for word, names in faults if names]
        expected = "a file of the leaves of `like`"
        errors.fail("load", "path", expected, f"'{path}' {' and '.join(parts)}")
    restored = [_restored(name, x, arrays[name], keys.get(name)) for name, x in leaves.items()]
    return jax.tree.unflatten(jax.tree.structure(like), restored)


def by_path(function: str, tree: Any) -> dict[str, Any]:
    """The leaves by their paths, `0/w`."""
    leaves: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name in leaves or name == "__metadata__":
            errors.fail(function, "tree", "of leaves with different paths", f"'{name}' twice")
        leaves[name] = leaf
    return leaves


def _numbers(name: str, leaf: Any) -> np.ndarray:
    """A leaf as an array that the format can hold."""
    array = np.asarray(jax.random.key_data(leaf) if errors.is_key(leaf) else leaf)
    if array.dtype.name not in NAMES:
        errors.fail("save", "tree", f"of leaves of {', '.join(NAMES)}",
                    f"{errors.describe(leaf)} for '{name}'", kind=TypeError)  # fmt: skip
    return array


def _restored(name: str, leaf: Any, array: np.ndarray, implementation: str | None) -> Any:
    """What the file holds, as the kind of leaf that `like` has."""
    if isinstance(leaf, bool | int | float | complex):
        if array.ndim or not isinstance(array.item(), type(leaf)):
            _unlike(name, leaf, array)
        return array.item()
    if errors.is_key(leaf):
        abstract = jax.eval_shape(jax.random.key_data, leaf)
        wanted = str(jax.random.key_impl(leaf) if isinstance(leaf, jax.Array) else implementation)
        if (abstract.shape, abstract.dtype) != (array.shape, array.dtype):
            _unlike(name, leaf, array)
        if wanted != implementation:
            got = f"a key of {wanted} for '{name}', where the file has one of {implementation}"
            errors.fail("load", "like", "of the keys in the file", got)
        return jax.random.wrap_key_data(jnp.array(array), impl=implementation)
    if not hasattr(leaf, "dtype") or (jnp.shape(leaf), jnp.dtype(leaf.dtype)) != (
        array.shape,
        array.dtype,
    ):
        _unlike(name, leaf, array)
    return array if isinstance(leaf, np.ndarray) else jnp.array(array)


def _unlike(name: str, leaf: Any, array: np.ndarray) -> NoReturn:
    got = f"{errors.describe(leaf)} for '{name}', where the file has {errors.describe(array)}"
    errors.fail("load", "like", "of the arrays in the file", got)


def _keys(path: object, metadata: Mapping[str, str]) -> dict[str, str]:
    try:
        return dict(json.loads(metadata.get("keys", "{}")))
    except (ValueError, TypeError, RecursionError):
        _refuse(path, "its metadata do not name the random keys")


def _few(names: list[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if names[5:] else "")


# The file.


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
        checksum = zlib.crc32(_bytes(arrays[name]), checksum)
    about = {**metadata, "format": "jnn", "version": str(VERSION), "crc32": f"{checksum:08x}"}
    header = json.dumps({"__metadata__": about, **entries}).encode()
    header += b" " * (-len(header) % 8)
    with whole(path) as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for name in order:
            file.write(_bytes(arrays[name]))


def read_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays in a file by name, and its metadata."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        entries, metadata, start = _header(path, file, size)
        ours = metadata.get("format") == "jnn" or "crc32" in metadata
        if ours:
            _check_version(path, metadata)
        places = _places(path, entries, size - start)
        checksum = _checksum(entries, metadata)
        arrays = {}
        for name, (dtype, shape, begin, end) in places.items():
            file.seek(start + begin)
            data = np.empty(end - begin, np.uint8)
            if file.readinto(data.data) != end - begin:
                _refuse(path, f"it ends within '{name}'")
            checksum = zlib.crc32(data.data, checksum)
            try:
                arrays[name] = data.view(dtype).reshape(shape)
            except ValueError:  # Axes too long for NumPy, beside one of length 0.
                _refuse(path, f"'{name}' has the shape {shape}")
    if ours and metadata.get("crc32") != f"{checksum:08x}":
        _refuse(path, "its checksum is wrong")
    return arrays, metadata


def _header(path: object, file: BinaryIO, size: int) -> tuple[dict, dict, int]:
    """The entries, the metadata, and where the arrays begin."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, LONGEST_HEADER):
        _refuse(path, f"{size:,} bytes cannot begin with a header of {length:,}")
    try:
        header = json.loads(file.read(length).decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        _refuse(path, f"its header is no JSON: {str(error)[:80]}")
    if not isinstance(header, dict):
        _refuse(path, "its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        _refuse(path, "its metadata are not text")
    return header, metadata, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _check_version(path: object, metadata: Mapping[str, str]) -> None:
    version = metadata.get("version", "")
    if metadata.get("format") != "jnn":
        _refuse(path, "its metadata are not whole")
    if version != str(VERSION):
        expected = f"a file of version {VERSION} of the format"
        remedy = "It was written by another version of jnn."
        errors.fail("load", "path", expected, f"'{path}' of version {version!r}", remedy)


def _places(path: object, entries: dict, size: int) -> dict[str, tuple[Any, tuple, int, int]]:
    """Dtype, shape, begin and end of each array, in the order of the file, all of them checked."""
    places = {}
    for name, entry in entries.items():
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            _refuse(path, f"'{name}' is not told by dtype, shape and data_offsets")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            _refuse(path, f"'{name}' has the dtype {str(dtype)[:20]!r}")
        if not _counts(shape) or len(shape) > MOST_AXES:
            _refuse(path, f"'{name}' has no true shape")
        if not _counts(offsets) or len(offsets) != 2:
            _refuse(path, f"'{name}' has no true place")
        begin, end = offsets
        if end - begin != math.prod(shape) * DTYPES[dtype].itemsize:
            _refuse(path, f"'{name}' has another size than its shape says")
        places[name] = DTYPES[dtype], tuple(shape), begin, end
    places = dict(sorted(places.items(), key=lambda item: item[1][2:]))
    reached = 0
    for name, (*_, begin, end) in places.items():
        if begin != reached:
            _refuse(path, f"'{name}' overlaps another array or leaves a gap")
        reached = end
    if reached != size:
        _refuse(path, f"the arrays take {reached:,} bytes, and there are {size:,}")
    return places


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 2**63 for n in values)


def _refuse(path: object, fault: str) -> NoReturn:
    expected = "a whole file in the format of safetensors"
    errors.fail("load", "path", expected, f"'{path}': {fault}", DAMAGED, DamagedError)


def _checksum(entries: Mapping[str, Any], metadata: Mapping[str, str]) -> int:
    """Of the header: its entries, and what the metadata say in names that are not the format's."""
    checksum = zlib.crc32(json.dumps(entries, sort_keys=True).encode())
    about = {name: text for name, text in metadata.items() if name not in RESERVED}
    return zlib.crc32(json.dumps(about, sort_keys=True).encode(), checksum) if about else checksum


def _bytes(array: np.ndarray) -> memoryview:
    """The bytes of an array in order; a copy only where it does not lie in order."""
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
