"""What a network shall predict: classes or numbers, as arrays for training."""

from collections.abc import Sequence

import numpy as np

from jnn import errors

MOST_CLASSES = 100  # Whole numbers of more different values are taken for quantities.
TASKS = ("auto", "classification", "regression")


def classes_of(y: np.ndarray, task: str = "auto") -> tuple[str, ...]:
    """The names of the classes in order; none where numbers are to be predicted.

    >>> classes_of(np.array([10.0, 2.0, 2.0])), classes_of(np.array([1.5, 2.0]))
    (('2', '10'), ())
    """
    values = np.unique(y)
    text = y.dtype.kind in "US"
    whole = text or bool((values == np.round(values.astype(np.float64))).all())
    if task == "auto":
        several = y.ndim == 2 or (not text and (not whole or len(values) > MOST_CLASSES))
        task = "regression" if several else "classification"
    if task == "regression":
        if text:
            got = f"text such as '{values[0]}'"
            errors.fail("train", "--task", "classification for targets of text", got)
        return ()
    if y.ndim == 2 or not whole:
        expected = "regression, unless the target is one column of text or whole numbers"
        errors.fail("train", "--task", expected, "classification")
    if len(values) < 2:
        errors.fail("train", "DATA", "of at least two classes", f"'{_name(values[0])}' only")
    return tuple(map(_name, values))


def numbered(y: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Each class by its place among the names, -1 for one that is not there.

    >>> numbered(np.array([10, 2, 3]), ("2", "10")).tolist()
    [1, 0, -1]
    """
    values, places = np.unique(y, return_inverse=True)
    order = {name: i for i, name in enumerate(classes)}
    found = np.array([order.get(_name(v), -1) for v in values], np.int32)
    return found[places.reshape(-1)]


def numbers(y: np.ndarray) -> np.ndarray:
    """Targets that are numbers, float32 (n, targets)."""
    if y.dtype.kind in "US":
        errors.fail("DATA", "target", "numbers", "text")
    return np.asarray(y, np.float32).reshape(len(y), -1)


def _name(value: object) -> str:
    if isinstance(value, str | np.str_):
        return str(value)
    number = float(value)  # pyright: ignore[reportArgumentType]
    return str(int(number)) if number.is_integer() else str(number)
