"""Sequences of different lengths: filled up to a common one, in batches of similar lengths."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jnn import errors
from jnn.data.prepare import generator

SIDES = ("right", "left")


class Padded(NamedTuple):
    """Sequences as one array (n, time, ...), and how long each of them is.

    Attributes:
      x: what was padded.
      lengths: int32 (n,).
      side: where the padding stands.
    """

    x: np.ndarray
    lengths: np.ndarray
    side: str = "right"

    @property
    def mask(self) -> np.ndarray:
        """Where the sequences are, (n, time): weights of the tokens, as `fit` takes them."""
        places = np.arange(self.x.shape[1])
        places = places if self.side == "right" else places[::-1]
        return places < self.lengths[:, None]


def pad_sequences(
    sequences: Sequence[Any], *, length: int | None = None, value: float = 0, side: str = "right"
) -> Padded:
    """Sequences filled up to the longest, or to `length`.

    >>> found = jnn.data.pad_sequences([[5, 6, 7], [8]])
    >>> found.x.tolist(), found.lengths.tolist(), found.mask.tolist()
    ([[5, 6, 7], [8, 0, 0]], [3, 1], [[True, True, True], [True, False, False]])

    Args:
      sequences: arrays (time, ...) or lists, of one dtype and alike but for their lengths.
      length: of what is returned; no sequence may be longer.
      value: what fills up.
      side: where it stands. "left" leaves the end of a sequence at the last time.
    """
    errors.choice("pad_sequences", "side", side, SIDES)
    arrays = _arrays("pad_sequences", "sequences", sequences)
    longest = max(len(a) for a in arrays)
    length = longest if length is None else length
    errors.positive_integer("pad_sequences", "length", length)
    if longest > length:
        at = max(range(len(arrays)), key=lambda i: len(arrays[i]))
        remedy = "Cut it before, e.g. sequence[:length]."
        errors.fail(
            "pad_sequences", "length", f"at least {longest}, of sequence {at}", length, remedy
        )
    x = np.full((len(arrays), length, *arrays[0].shape[1:]), value, arrays[0].dtype)
    for row, a in zip(x, arrays, strict=True):
        row[slice(len(a)) if side == "right" else slice(length - len(a), None)] = a
    return Padded(x, np.array([len(a) for a in arrays], np.int32), side)


@dataclass(frozen=True, eq=False)
class Buckets:
    """Batches of similar lengths, as `bucketed` makes them: a function of the epoch, for `fit`.

    Attributes:
      x: the sequences.
      t: targets, a sequence or a number for each.
      size: samples a batch.
      lengths: of the buckets, ascending.
      value: what fills up.
      key: from which orders are drawn; None for that of the data.
      told: whether inputs are pairs, with their lengths.
    """

    x: list[np.ndarray]
    t: Any
    size: int
    lengths: tuple[int, ...]
    value: float = 0
    key: int | None = 0
    told: bool = False

    def __call__(self, epoch: int) -> Iterator[tuple[Any, ...]]:
        """Batches (inputs, targets, weights) of an epoch, of all buckets in a random order."""
        random = None if self.key is None else generator((self.key, epoch))
        order = np.arange(len(self.x)) if random is None else random.permutation(len(self.x))
        bucket = np.searchsorted(self.lengths, [len(self.x[i]) for i in order])
        batches = [
            (members[begin : begin + self.size], length)
            for length, members in ((n, order[bucket == i]) for i, n in enumerate(self.lengths))
            for begin in range(0, len(members), self.size)
        ]
        turns = range(len(batches)) if random is None else random.permutation(len(batches))
        return (self._batch(*batches[i]) for i in turns)

    def _batch(self, members: np.ndarray, length: int) -> tuple[Any, ...]:
        """One batch of full size: what fills it up weighs nothing."""
        rows = np.resize(members, self.size)
        inputs = pad_sequences([self.x[i] for i in rows], length=length, value=self.value)
        there = np.arange(self.size) < len(members)
        x = (inputs.x, inputs.lengths) if self.told else inputs.x
        if isinstance(self.t, np.ndarray):
            return x, self.t[rows], there.astype(np.float32)
        targets = pad_sequences([self.t[i] for i in rows], length=length)
        return x, targets.x, (inputs.mask & there[:, None]).astype(np.float32)


def bucketed(
    sequences: Sequence[Any],
    targets: Any = None,
    *,
    size: int = 32,
    buckets: int | Sequence[int] = 4,
    value: float = 0,
    key: int | None = 0,
    lengths: bool = False,
) -> Buckets:
    """Batches of sequences that are about as long, each padded to the length of its bucket.

    What it returns is data for `fit`, which compiles one program a bucket. A batch is (inputs,
    targets, weights); padding weighs nothing, nor do the rows that fill up a bucket's last batch.

    >>> sequences = [np.arange(n) for n in (3, 9, 4, 10, 2)]
    >>> batches = jnn.data.bucketed(sequences, size=2, buckets=[3, 9], key=None)
    >>> [(x.shape, w.sum(1).tolist()) for x, _, w in batches(0)]
    [((2, 3), [2.0, 3.0]), ((2, 3), [1.0, 0.0]), ((2, 9), [8.0, 9.0])]

    Args:
      sequences: arrays (time, ...) or lists.
      targets: a sequence for each, as long as it; or an array with a target for each, whose batches
        have a weight for each; by default what comes next, so that sequences are one longer.
      size: samples a batch.
      buckets: their lengths, or how many, which then hold about as many sequences each.
      value: what fills up inputs.
      key: an integer, from which with the epoch the order is drawn; None keeps that of the data.
      lengths: whether inputs are pairs, an array and the lengths of its rows, as `jnn.ragged` reads
        them; token ids need none where `value` is the `pad` of the network.
    """
    errors.choice("bucketed", "lengths", lengths, (False, True))
    errors.positive_integer("bucketed", "size", size)
    x = _arrays("bucketed", "sequences", sequences)
    if targets is None:
        x, t = [a[:-1] for a in x], [a[1:] for a in x]
    elif isinstance(targets, np.ndarray) and targets.dtype != object:
        t = targets
    else:
        t = _arrays("bucketed", "targets", list(targets))
    if len(t) != len(x) or (isinstance(t, list) and list(map(len, t)) != list(map(len, x))):
        expected = "one for each sequence, a target or a sequence of its length"
        errors.fail("bucketed", "targets", expected, f"{len(t)} for {len(x)} sequences")
    counts = np.array([len(a) for a in x])
    if isinstance(buckets, int):
        errors.positive_integer("bucketed", "buckets", buckets)
        shares = np.arange(1, buckets + 1) / buckets
        ends = np.unique(np.quantile(counts, shares, method="higher"))
    else:
        ends = np.unique(np.asarray(buckets, int))
    if counts.max() > ends[-1] or not counts.min():
        expected = f"sequences of 1 to {ends[-1]}, the longest bucket"
        errors.fail("bucketed", "sequences", expected, f"{counts.min()} to {counts.max()}")
    return Buckets(x, t, size, tuple(int(n) for n in ends), value, key, lengths)


def _arrays(function: str, argument: str, sequences: Sequence[Any]) -> list[np.ndarray]:
    arrays = [np.asarray(sequence) for sequence in sequences]
    kinds = {(a.shape[1:], a.dtype) for a in arrays if a.ndim and len(a)} or {((), np.dtype(int))}
    if not arrays or any(a.ndim == 0 for a in arrays) or len(kinds) > 1:
        got = f"{len(arrays)} of {sorted(map(str, kinds))}" if arrays else "none"
        expected = "sequences alike but for their lengths"
        errors.fail(function, argument, expected, got)
    return [a.astype(next(iter(kinds))[1]) if not len(a) else a for a in arrays]
