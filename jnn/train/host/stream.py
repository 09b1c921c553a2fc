"""Data that do not fit on the device: batches are read while the one before is computed."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from jnn import errors
from jnn.train.arguments import samples_of
from jnn.train.host.ahead import Batches
from jnn.train.host.progress import amount
from jnn.train.layout import Layout
from jnn.train.placing import scatter
from jnn.train.program.order import keys, length, order

CHUNK = 2**26  # Bytes of a chunk, unless that is more batches than
MOST = 64


@dataclass(frozen=True)
class Stream:
    """Data for `fit` that are read while it goes on: a thread runs ahead of the program.

    `fit` makes one of what it is given, where that is no pair of arrays in memory; make it yourself
    for other settings. Several batches go through one compiled program, a chunk.

    >>> def halves(epoch):
    ...     return jnn.data.batches(jnn.data.two_moons(100), 50, key=epoch)
    >>> data = jnn.train.Stream(halves, chunk=2)
    >>> fit = jnn.fit(jnn.dense(2), jnn.softmax_cross_entropy, jnn.adam(), data, epochs=3,
    ...               progress=None)
    >>> fit.steps, len(fit.history["loss"])
    (6, 3)

    Attributes:
      source: inputs and targets as arrays, memory-mapped ones for instance, which are read in the
        order that `fit` would give them on the device; or an iterable of batches (inputs, targets),
        each with weights as a third member if need be,
        which is one epoch; or a function from the epoch's number, 0 at first, to an iterable. An
        iterator that can be read once gives `length` batches to each epoch. A run that is resumed
        asks the function for the epochs that are left, and passes over the batches of an iterator
        that were used before.
      length: how many batches make an epoch, at most; all that come by default.
      chunk: how many batches a program takes; by default as many as fit into 64 MiB, at most 64.
      ahead: how many chunks wait on the device.
      shard: whether the source is this process' part of the data: each process reads its own, in
        batches of `batch_size` samples, which are one batch together. Parts may differ in size.
    """

    source: Any
    length: int | None = None
    chunk: int | None = None
    ahead: int = 2
    shard: bool = False

    def __post_init__(self) -> None:
        for name in ("length", "chunk"):
            if getattr(self, name) is not None:
                errors.positive_integer("Stream", name, getattr(self, name))
        errors.positive_integer("Stream", "ahead", self.ahead)


def stream_of(function: str, argument: str, data: Any) -> Stream | None:
    """What `fit` was given as a stream; None where it is a pair of arrays in memory."""
    if data is None or isinstance(data, Stream):
        return data
    if is_arrays(data):
        mapped = any(isinstance(leaf, np.memmap) for leaf in jax.tree.leaves(data))
        return Stream(samples_of(function, argument, data)) if mapped else None
    no_batches = hasattr(data, "shape") or isinstance(data, Mapping | str)
    if callable(data) or (isinstance(data, Iterable) and not no_batches):
        return Stream(data)
    samples_of(function, argument, data)  # Which refuses it.
    return None


def is_arrays(data: Any) -> bool:
    """Whether data are inputs, targets and weights; a list of pairs is one of batches."""
    if isinstance(data, list) and len(data) in (2, 3):
        return not all(isinstance(part, tuple | list) for part in data)
    return isinstance(data, tuple)


class Chunk(NamedTuple):
    """Batches on the device, stacked, and how many samples, or tokens, they have."""

    batches: Any
    samples: int


class End(NamedTuple):
    """The end of an epoch of so many steps; `cut` if more batches would have come."""

    steps: int
    cut: bool


class Reader:
    """The batches of a stream, epoch after epoch."""

    def __init__(
        self, stream: Stream, size: int, layout: Layout | None = None, shuffle: bool = True,
        ignore: int | None = None, interval: int | None = None,
    ):  # fmt: skip
        if interval is not None:
            stream = replace(stream, chunk=interval)
        self.stream, self.layout, self.shuffle, self.ignore = stream, layout, shuffle, ignore
        self.aligned = interval is not None  # Chunks end at its multiples.
        source, self.arrays, self.once = stream.source, None, None
        if is_arrays(source):
            self.arrays = jax.tree.map(np.asarray, samples_of("fit", "data", source))
            size = min(size, length(self.arrays))
        elif not callable(source):
            if not isinstance(source, Iterable):
                expected = "arrays, an iterable of batches, or a function of the epoch"
                errors.fail("Stream", "source", expected, errors.describe(source), kind=TypeError)
            self.once = source if isinstance(source, Iterator) else None
        self.samples = None if self.arrays is None else length(self.arrays)
        self.size, self.steps, self.count = size, stream.length, stream.length
        if stream.shard:
            self._agree()
            self.count = self.steps
        elif self.arrays:
            n, most = length(self.arrays), stream.length or 2**62
            self.steps, self.count = min(most, -(-n // size)), min(most, n // size)
        self.ready: tuple[int, Iterator[Any]] | None = None
        self.example = self._peek()

    def _agree(self) -> None:
        """The steps of an epoch and the size of a batch, the same in every process."""
        if self.layout is None or (self.steps is None and not self.arrays):
            expected = "False without a mesh, or `length` given, the same in every process"
            errors.fail("Stream", "shard", expected, True)
        if self.layout.own * jax.process_count() != self.layout.parts:
            expected = "False where several processes compute the same part of a batch"
            errors.fail("Stream", "shard", expected, True, "Give all data to each process.")
        mine = self.steps or 0
        if self.arrays:
            mine = min(self.steps or 2**62, -(-length(self.arrays) // self.size))
        found = multihost_utils.process_allgather(np.array([mine, self.size], np.int32))
        self.steps, self.size = (int(n) for n in np.reshape(found, (-1, 2)).max(0))

    def _peek(self) -> Any:
        """The first batch, which stays the first to come."""
        batches = self._epoch(0, jax.random.key(0), False)
        first = next(batches, None)
        if first is None:
            errors.fail("fit", "data", "at least one batch", "a source without any")
        if self.once is not None:
            self.once = itertools.chain([first], self.once)
        elif not self.arrays:
            self.ready = (0, itertools.chain([first], batches))
        if self.stream.shard:  # Every process begins with the same shapes.
            rows = np.arange(self.size) % length(first)
            first = jax.tree.map(lambda a: a[rows], first)
        return first

    def batches(self) -> Iterator[Any]:
        """The batches of the first epoch, on the host."""
        return self._epoch(0, jax.random.key(0), self.shuffle)

    def _epoch(self, number: int, key: Any, shuffle: bool) -> Iterator[Any]:
        """The batches of an epoch, on the host."""
        if self.arrays:
            return self._rows(number, key, shuffle)
        source: Any = self.stream.source
        if self.once is not None:
            batches = self.once
        elif self.ready is not None and self.ready[0] == number:
            batches = self.ready[1]
        else:
            made: Any = source(number) if callable(source) else source
            batches = iter(made)
        self.ready = None
        return map(_batch, itertools.islice(batches, self.stream.length))

    def _rows(self, number: int, key: Any, shuffle: bool) -> Iterator[Any]:
        """The batches of arrays, in the order of the run's key."""
        n, index = length(self.arrays), None
        if shuffle:
            key = keys(key, number)[0]
            if self.stream.shard:
                key = jax.random.fold_in(key, jax.process_index())
            index = np.asarray(_order(key, n))
        for begin in range(0, min(n, (self.stream.length or n) * self.size), self.size):
            rows = slice(begin, begin + self.size)
            chosen = rows if index is None else index[rows]
            yield _batch(jax.tree.map(lambda a, c=chosen: a[c], self.arrays))

    def read(
        self, key: Any = None, first: int = 0, done: int = 0, last: int | None = None,
        steps: int | None = None,
    ) -> Batches:  # fmt: skip
        """Chunks from epoch `first` on, after `done` steps, and an `End` behind each epoch.

        It ends before epoch `last`, after so many `steps` in all, or with the source.
        """
        if self.once is not None:
            next(itertools.islice(self.once, done, done), None)
        for number in itertools.count(first) if last is None else range(first, last):
            left = None if steps is None else steps - done
            batches = itertools.islice(self._epoch(number, key, self.shuffle), left)
            taken = 0
            before = done if self.aligned else 0
            batches = self._padded(batches, left)
            for group in grouped(batches, self.stream.chunk, self.count, before):
                taken += len(group)
                yield self._placed(group)
            done += taken
            over = steps is not None and done >= steps
            yield End(taken, over and taken != self.steps)
            if over or not taken:
                return

    def _padded(self, batches: Iterator[Any], left: int | None) -> Iterator[Any]:
        """Shards' batches with a weight for each sample, 0 where a process has no more of them."""
        if not self.stream.shard:
            yield from batches
            return
        assert self.layout is not None
        here = self.layout.own
        size = -(-self.size // here) * here
        steps = self.steps if left is None else min(left, self.steps or left)
        for batch in itertools.islice(itertools.chain(batches, itertools.repeat(None)), steps):
            n = 0 if batch is None else length(batch)
            if n > self.size:
                expected = f"batches of at most {self.size} samples, as the first"
                errors.fail("fit", "data", expected, n)
            rows = np.arange(size) % max(n, 1)  # What fills up is real data of no weight.
            batch = self.example if batch is None else batch
            x, t, *weights = jax.tree.map(lambda a, r=rows: a[r], batch)
            there = (np.arange(size) < n).astype(np.float32)
            for given in weights:
                there = given * there.reshape(size, *[1] * (given.ndim - 1))
            yield x, t, there

    def _placed(self, group: Sequence[Any]) -> Chunk:
        """A chunk on the device."""
        stacked = jax.tree.map(lambda *parts: np.stack(parts), *group)
        processes = jax.process_count() if self.stream.shard else 1
        samples = sum(amount(batch, self.ignore)[0] for batch in group)
        return Chunk(scatter(self.layout, stacked, self.stream.shard), processes * samples)


_order = jax.jit(order, static_argnums=1)


def _batch(batch: Any) -> Any:
    """A batch of a source, checked, as NumPy arrays."""
    return jax.tree.map(np.asarray, samples_of("fit", "data", batch, part=True))


def grouped(
    batches: Iterator[Any], most: int | None, count: int | None, before: int = 0
) -> Iterator[list[Any]]:
    """Chunks of batches of one form, of equal size; what is left over comes by eights and ones.

    So few programs are compiled. `count` says of how many batches the chunks are to be alike. After
    `before` others the first chunk is filled up to a multiple of `most`.
    """
    waiting, size, short = [], 1, before % (most or 1)
    for batch in batches:
        if waiting and _form(batch) != _form(waiting[0]):
            yield from _rest(waiting)
            waiting = []
        if not waiting:
            size = most - short if most else _usual(batch, count)
        waiting.append(batch)
        if len(waiting) == size:
            yield from _rest(waiting) if short else [waiting]
            waiting, short = [], 0
    yield from _rest(waiting)


def _usual(batch: Any, count: int | None) -> int:
    """As many batches as the memory of a chunk holds; or fewer, so that chunks divide `count`."""
    bytes_ = sum(a.nbytes for a in jax.tree.leaves(batch))
    size = min(MOST, max(1, CHUNK // max(bytes_, 1)))
    return max(1, count // -(-count // size)) if count else size


def _rest(waiting: list[Any]) -> Iterator[list[Any]]:
    while waiting:
        size = 8 if len(waiting) >= 8 else 1
        yield waiting[:size]
        waiting = waiting[size:]


def _form(batch: Any) -> Any:
    leaves, structure = jax.tree.flatten(batch)
    return structure, [(a.shape, a.dtype) for a in leaves]
