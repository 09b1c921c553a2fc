"""scikit-learn's handwritten digits: 1797 images of 8 x 8 pixels, real and small."""

from typing import NamedTuple

import numpy as np

CLASSES = 10
TESTED = 5  # One sample of this many is held back, in each class.


class Samples(NamedTuple):
    """Images `x`, float32 (n, height, width, 1) in [0, 1], and labels `y`, int32 (n,)."""

    x: np.ndarray
    y: np.ndarray


class Digits(NamedTuple):
    """What to train on, and what to test on; no image is in both."""

    train: Samples
    test: Samples


def digits() -> Digits:
    """The digits in one fixed split: four fifths of each class to train on, the rest to test.

    The images come with scikit-learn itself; nothing is downloaded.

    >>> train, test = jnn.data.digits()
    >>> train.x.shape, test.x.shape
    ((1442, 8, 8, 1), (355, 8, 8, 1))
    """
    x, y = _load()
    held_back = np.zeros(y.shape, bool)
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        members = random.permutation(np.flatnonzero(y == label))
        held_back[members[: len(members) // TESTED]] = True
    order = random.permutation(len(y))
    held_back, x, y = held_back[order], x[order], y[order]
    return Digits(Samples(x[~held_back], y[~held_back]), Samples(x[held_back], y[held_back]))


def _load() -> tuple[np.ndarray, np.ndarray]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            'The digits come with scikit-learn. To install it: pip install "jnn[examples]".'
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    return (pixels / 16).astype(np.float32).reshape(-1, 8, 8, 1), labels.astype(np.int32)
