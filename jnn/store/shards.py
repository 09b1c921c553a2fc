"""Arrays that are divided among processes: each writes its own pieces, and reads what it needs.

Such a tree is one file of the format for each process. The first holds what is whole, and its
metadata say what is divided and name the other files; a piece is called as its array, with the
place of its first entry behind: `carry/params/0/w@128,0`. The first file is written last, when the
others are there, so that files which belong together appear together or not at all.
"""

import functools
import json
import math
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np

from jnn import errors
from jnn.store.format import DamagedError, bytes_of, read_file, read_places, write

DIVIDED, SUMS = "divided", "sums"  # Entries of the metadata.
LACKS = "Copy all files of the checkpoint to one folder, or take an earlier one."


class Piece(NamedTuple):
    """A block of an array: its first entry, its shape, and the process that writes it."""

    begin: tuple[int, ...]
    shape: tuple[int, ...]
    process: int


def process_of(device: Any) -> int:
    """The process that a device belongs to."""
    return device.process_index


def pieces(x: Any) -> list[Piece]:
    """The blocks of an array, in order; none where the first process has all of it."""
    if not isinstance(x, jax.Array) or errors.is_key(x) or x.is_fully_replicated:
        return []
    found: dict[tuple[Any, ...], int] = {}
    for device, index in x.sharding.devices_indices_map(x.shape).items():
        block = tuple(part.indices(n)[:2] for part, n in zip(index, x.shape, strict=True))
        found[block] = min(found.get(block, process_of(device)), process_of(device))
    if not any(found.values()):
        return []
    return [
        Piece(tuple(a for a, _ in block), tuple(b - a for a, b in block), process)
        for block, process in sorted(found.items())
    ]


def write_shards(
    path: Path,
    leaves: Mapping[str, Any],
    whole: Callable[[str, Any], np.ndarray],
    metadata: Mapping[str, str],
    name: str,
    process: int,
    meet: Callable[[], None],
) -> None:
    """Writes this process' file of a tree; every process calls it.

    Args:
      path: the first file.
      leaves: arrays by name.
      whole: an undivided leaf as it is written.
      metadata: of the first file.
      name: what the other files begin with, of this tree alone.
      process: the number of this one.
      meet: waits for the other processes.
    """
    told: dict[str, Any] = {}
    mine: dict[str, np.ndarray] = {}
    writers: set[int] = set()
    for leaf_name, x in leaves.items():
        blocks = pieces(x)
        writers |= {piece.process for piece in blocks}
        if blocks:
            told[leaf_name] = x.shape
            mine |= _own(leaf_name, x, [p for p in blocks if p.process == process])
        elif not process:
            mine[leaf_name] = whole(leaf_name, x)
    count = max(writers, default=0) + 1
    if process and process in writers:
        sums = {piece: f"{zlib.crc32(bytes_of(a)):08x}" for piece, a in mine.items()}
        write(path.with_name(_name(name, process, count)), mine, {SUMS: json.dumps(sums)})
    if writers:
        meet()
    if not process:
        files = [_name(name, i, count) for i in sorted(writers - {0})]
        told = {DIVIDED: json.dumps({"files": files, "arrays": told})} if told else {}
        write(path, mine, {**metadata, **told})


def read_arrays(path: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The arrays in a file by name, and its metadata; what is divided among files as `Divided`."""
    arrays, metadata = read_file(path)
    if DIVIDED not in metadata:
        return dict(arrays), metadata
    try:
        told = json.loads(metadata[DIVIDED])
        shapes = {name: tuple(map(int, shape)) for name, shape in told["arrays"].items()}
        files = [Path(file).name for file in told["files"]]
    except (ValueError, TypeError, KeyError, AttributeError):
        _lacks(path, "the metadata do not say what is divided")
    found: dict[str, dict[tuple[int, ...], Source]] = {name: {} for name in shapes}
    whole = {}
    for name, array in arrays.items():
        if not _put(found, name, Source(array.dtype, array.shape, functools.partial(_same, array))):
            whole[name] = array
    for file in files:
        for name, source in _sources(Path(path), file).items():
            _put(found, name, source)
    divided = {name: _joined(path, name, shapes[name], found[name]) for name in shapes}
    return {**whole, **divided}, metadata


class Source(NamedTuple):
    """A piece that is read when it is needed."""

    dtype: Any
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


class Divided:
    """An array in pieces, which are read when a part of it is asked for, `array[0:8, 0:8]`."""

    def __init__(self, shape: tuple[int, ...], blocks: Mapping[tuple[int, ...], Source]):
        self.shape, self.blocks, self.ndim = shape, blocks, len(shape)
        self.dtype = next(iter(blocks.values())).dtype

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        bounds = [part.indices(n)[:2] for part, n in zip(index, self.shape, strict=True)]
        made = np.empty([b - a for a, b in bounds], self.dtype)
        for begin, source in self.blocks.items():
            there, here = [], []
            for (a, b), start, n in zip(bounds, begin, source.shape, strict=True):
                low, high = max(a, start), min(b, start + n)
                there.append(slice(low - start, high - start))
                here.append(slice(low - a, high - a))
            if all(part.stop > part.start for part in here):
                made[tuple(here)] = source.read()[tuple(there)]
        return made

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it."""
        del copy
        found = self[tuple(slice(None) for _ in self.shape)]
        return found if dtype is None else found.astype(dtype)


def _own(name: str, x: jax.Array, blocks: list[Piece]) -> dict[str, np.ndarray]:
    """The data of the blocks that this process writes."""
    here = {
        tuple(part.indices(n)[0] for part, n in zip(s.index, x.shape, strict=True)): s
        for s in x.addressable_shards
    }
    return {_key(name, p.begin): np.asarray(here[p.begin].data) for p in blocks}


def _key(name: str, begin: tuple[int, ...]) -> str:
    return f"{name}@{','.join(map(str, begin))}"


def _name(name: str, process: int, count: int) -> str:
    return f"{name}-{process + 1}of{count}.safetensors"


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _put(found: dict[str, dict[tuple[int, ...], Source]], key: str, source: Source) -> bool:
    """Puts a piece to its array; whether it is one."""
    name, _, begin = key.rpartition("@")
    if name in found:
        found[name][tuple(map(int, begin.split(",")))] = source
    return name in found


def _sources(path: Path, file: str) -> dict[str, Source]:
    """The pieces in a file beside the first."""
    beside = path.with_name(file)
    if not beside.exists():
        _lacks(path, f"'{file}' is not there")
    places, metadata, start = read_places(beside)
    sums = json.loads(metadata.get(SUMS, "{}"))

    @functools.lru_cache(1)  # Several devices ask for parts of one.
    def read(name: str) -> np.ndarray:
        dtype, shape, begin, end = places[name]
        with beside.open("rb") as opened:
            opened.seek(start + begin)
            data = opened.read(end - begin)
        if f"{zlib.crc32(data):08x}" != sums.get(name):
            _lacks(path, f"'{name}' in '{file}' is damaged")
        return np.frombuffer(data, dtype).reshape(shape)

    return {
        n: Source(place[0], place[1], functools.partial(read, n)) for n, place in places.items()
    }


def _joined(
    path: Any, name: str, shape: tuple[int, ...], blocks: Mapping[tuple[int, ...], Source]
) -> Divided:
    """A divided array, once its pieces are found to fill it."""
    there = sum(math.prod(source.shape) for source in blocks.values())
    if there != math.prod(shape):
        _lacks(path, f"pieces of '{name}' have {there:,} of {math.prod(shape):,} entries")
    return Divided(shape, blocks)


def _lacks(path: Any, fault: str) -> NoReturn:
    expected = "of a checkpoint with all its shards"
    errors.fail("load", "path", expected, f"'{path}': {fault}", LACKS, DamagedError)
