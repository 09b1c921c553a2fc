"""scikit-learn's handwritten digits: 1797 images of 8 x 8 pixels, real and small."""

import gzip
import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jnn import errors

CLASSES = 10
PIXELS = 8  # Of a side.
TESTED = 5  # One sample of this many is held back, in each class.


class Samples(NamedTuple):
    """Images `x`, float32 (n, height, width, 1) in [0, 1], and labels `y`, int32 (n,)."""

    x: np.ndarray
    y: np.ndarray


class Digits(NamedTuple):
    """What to train on, and what to test on; no image is in both."""

    train: Samples
    test: Samples


def digits(size: int = 8) -> Digits:
    """The digits in one fixed split: four fifths of each class to train on, the rest to test.

    The images come with scikit-learn itself; nothing is downloaded.

    Args:
      size: pixels of a side; 28 makes them fit networks for MNIST. Enlarged images have values
        that lie linearly between those of the original's pixels.

    >>> train, test = jnn.data.digits()
    >>> train.x.shape, test.x.shape
    ((1442, 8, 8, 1), (355, 8, 8, 1))
    >>> jnn.data.digits(28).test.x.shape
    (355, 28, 28, 1)
    """
    errors.positive_integer("digits", "size", size)
    x, y = _load()
    if size != PIXELS:
        x = _resized(x, size)
    held_back = np.zeros(y.shape, bool)
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        members = random.permutation(np.flatnonzero(y == label))
        held_back[members[: len(members) // TESTED]] = True
    order = random.permutation(len(y))
    held_back, x, y = held_back[order], x[order], y[order]
    return Digits(Samples(x[~held_back], y[~held_back]), Samples(x[held_back], y[held_back]))


def _load() -> tuple[np.ndarray, np.ndarray]:
    found = importlib.util.find_spec("sklearn")
    if found is None:
        raise ImportError(
            'The digits come with scikit-learn. To install it: pip install "jnn[examples]".'
        )
    for folder in found.submodule_search_locations or ():
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.is_file():  # Importing scikit-learn takes a hundred times as long as reading it.
            with gzip.open(file) as lines:
                rows = np.loadtxt(lines, np.float64, delimiter=",")
            pixels, labels = rows[:, :-1], rows[:, -1]
            break
    else:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
    return (pixels / 16).astype(np.float32).reshape(-1, 8, 8, 1), labels.astype(np.int32)


def _resized(x: np.ndarray, size: int) -> np.ndarray:
    """Images of another size: linear between the centres of pixels, constant beyond them."""
    places = np.clip((np.arange(size) + 0.5) * PIXELS / size - 0.5, 0, PIXELS - 1)
    # How much of each old pixel there is in each new one: a hat around each centre.
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(PIXELS))).astype(np.float32)
    return np.einsum("ah,nhwc,bw->nabc", weights, x, weights, optimize=True)
