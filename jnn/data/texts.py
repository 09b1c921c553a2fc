"""Text as numbers: bytes or characters, in windows that are no copies of it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from jnn import errors

LONGEST = 4096  # Characters of a string that may be the name of a file.

Source = str | bytes | os.PathLike[str] | Sequence[os.PathLike[str]]


@dataclass(frozen=True)
class Alphabet:
    """The letters of a text, each with a number: its characters, or all 256 bytes.

    >>> alphabet = jnn.data.Alphabet("abc")
    >>> alphabet.encode("cab").tolist(), alphabet.decode([0, 1]), alphabet.size
    ([2, 0, 1], 'ab', 3)
    >>> jnn.data.Alphabet().decode(jnn.data.Alphabet().encode("é"))
    'é'

    Attributes:
      characters: in the order of their numbers, which is that of Unicode; None for bytes of UTF-8.
    """

    characters: str | None = None

    @property
    def size(self) -> int:
        """How many letters there are: the vocabulary of a network."""
        return 256 if self.characters is None else len(self.characters)

    def encode(self, text: str) -> np.ndarray:
        """The numbers of a text, in the smallest dtype."""
        if self.characters is None:
            return np.frombuffer(text.encode(), np.uint8)
        codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        known = np.frombuffer(self.characters.encode("utf-32-le"), np.uint32)
        places = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        if (known[places] != codes).any():
            missing = chr(int(codes[known[places] != codes][0]))
            expected = f"of the alphabet's {self.size} characters"
            errors.fail("encode", "text", expected, f"{missing!r} among them")
        return places.astype(np.min_scalar_type(self.size - 1))

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of numbers; bytes that are no UTF-8 become U+FFFD."""
        numbers = np.asarray(ids).ravel()
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < self.size:
            got = f"{numbers.min()} to {numbers.max()}"
            errors.fail("decode", "ids", f"in 0 ... {self.size - 1}", got)
        if self.characters is None:
            return numbers.astype(np.uint8).tobytes().decode(errors="replace")
        return "".join(self.characters[i] for i in numbers)


class TextWindows(NamedTuple):
    """Windows `x` (n, context) of a text, and in `y` the letter behind each of theirs: a view."""

    x: np.ndarray
    y: np.ndarray


class Text(NamedTuple):
    """What to train on, what to test on, and the alphabet; no window is in both.

    Attributes:
      train: windows of the text's beginning.
      test: windows of its end; None where nothing was held back.
      alphabet: from text to numbers and back.
    """

    train: TextWindows
    test: TextWindows | None
    alphabet: Alphabet


def text(
    source: Source, context: int, *, letters: str = "bytes", stride: int | None = None,
    test: float = 0.1,
) -> Text:  # fmt: skip
    """A text as data of a language model: windows of so many letters, and the next of each.

    `jnn.fit(net, loss, optimizer, found.train, validation=found.test, ...)`. Windows are views of
    the numbers, which are made once; the bytes of one file are not even read before they are
    needed, so that it may be larger than the memory.

    Args:
      source: a file, by a `Path` or its name; files, which are read one after the other; or a text,
        a string that is the name of none.
      context: letters of a window.
      letters: "bytes", those of UTF-8; or "characters", those that there are.
      stride: how far apart windows begin; by default `context`, so that each letter is predicted
        once.
      test: the share of the text at its end that is held back.

    >>> found = jnn.data.text("abababab" * 10, context=4, letters="characters", test=0.5)
    >>> found.train.x.shape, found.train.x[0].tolist(), found.train.y[0].tolist()
    ((9, 4), [0, 1, 0, 1], [1, 0, 1, 0])
    >>> found.alphabet.characters, found.train.y.base is not None
    ('ab', True)
    """
    errors.positive_integer("text", "context", context)
    errors.choice("text", "letters", letters, ("bytes", "characters"))
    step = context if stride is None else stride
    errors.positive_integer("text", "stride", step)
    errors.number("text", "test", test, low=0, high=0.9)
    ids, alphabet, told = _numbers(source, letters)
    border = len(ids) - round(test * len(ids))
    parts = ids[:border], ids[border:]
    for part in parts if test else parts[:1]:
        if len(part) <= context:
            held = f", {len(part)} of them in a part" if test else ""
            expected = f"longer than a window of {context} letters and the one behind it"
            errors.fail("text", "source", expected, f"{told} of {len(ids)} letters{held}")
    train, held_back = (_windows(part, context, step) if len(part) else None for part in parts)
    assert train is not None
    return Text(train, held_back, alphabet)


def _numbers(source: Source, letters: str) -> tuple[np.ndarray, Alphabet, str]:
    """All letters, the alphabet, and in words what they are of."""
    told = "a text"
    if isinstance(source, str) and len(source) <= LONGEST and "\n" not in source:
        if _is_file(source):
            source = Path(source)
        else:
            told = f"a text, {source[:40]!r}, for which there is no file,"
    if isinstance(source, str | bytes):
        data = source.encode() if isinstance(source, str) else source
    elif isinstance(source, os.PathLike):
        told = f"'{source}'"
        if letters == "bytes" and Path(source).stat().st_size:
            return np.memmap(source, np.uint8, mode="r"), Alphabet(), told
        data = Path(source).read_bytes()
    else:
        told = f"{len(source)} files"
        data = b"".join(Path(path).read_bytes() for path in source)
    if letters == "bytes":
        return np.frombuffer(data, np.uint8), Alphabet(), told
    try:
        characters = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        remedy = 'letters="bytes" takes any file.'
        errors.fail("text", "source", "in UTF-8", f"{told}: {error}", remedy)
    alphabet = Alphabet("".join(sorted(set(characters))))
    return alphabet.encode(characters) if characters else np.zeros(0, np.uint8), alphabet, told


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # It is no name.
        return False


def _windows(ids: np.ndarray, context: int, step: int) -> TextWindows:
    pairs = sliding_window_view(ids, context + 1, subok=True)[::step]
    return TextWindows(pairs[:, :-1], pairs[:, 1:])
