"""What is done to data before training: splits, scales, one-hot targets, batches."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jnn import errors

Key = int | Sequence[int] | np.ndarray


class Split(NamedTuple):
    """Two parts that share no sample, each of the structure that was split."""

    train: Any
    test: Any


def split(data: Any, test: float | int = 0.2, *, key: Key = 0, labels: Any = None) -> Split:
    """Splits arrays at random in two, all of them in the same way.

    Args:
      data: an array, or a tuple of arrays of equal length.
      test: how many samples the second part gets: a share below 1, or a number.
      key: an integer, or integers, e.g. `jax.random.key_data(key)`.
      labels: with labels, (n,), each class gives the same share.

    >>> x, y = np.arange(10.0), np.arange(10) % 2
    >>> train, test = jnn.data.split((x, y), 0.4, labels=y)
    >>> len(train[0]), sorted(test[1].tolist())
    (6, [0, 0, 1, 1])
    """
    n = length("split", data)
    if isinstance(test, bool) or not 0 <= test <= n or (test != int(test) and test > 1):
        errors.fail("split", "test", f"a share below 1 or a number up to {n}", repr(test))
    share = test if isinstance(test, float) and test < 1 else test / max(n, 1)
    random = generator(key)
    held = np.zeros(n, bool)
    if labels is None:
        held[random.permutation(n)[: round(share * n)]] = True
    else:
        if len(labels) != n:
            errors.fail("split", "labels", f"one a sample, {n}", len(labels))
        for label in np.unique(labels):
            members = random.permutation(np.flatnonzero(np.asarray(labels) == label))
            held[members[: round(share * len(members))]] = True
    order = random.permutation(n)
    held = held[order]
    return Split(take(data, order[~held]), take(data, order[held]))


class Scale(NamedTuple):
    """A shift and a scale for each feature, as `standardise` found them.

    >>> scale = jnn.data.Scale(np.array([1.0]), np.array([2.0]))
    >>> scale(np.array([[5.0]])), scale.undo(np.array([[2.0]]))
    (array([[2.]]), array([[5.]]))
    """

    mean: np.ndarray
    deviation: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """`x` in units of the deviation from the mean."""
        return ((x - self.mean) / self.deviation).astype(self.mean.dtype)

    def undo(self, x: np.ndarray) -> np.ndarray:
        """The inverse."""
        return (x * self.deviation + self.mean).astype(self.mean.dtype)


def standardise(x: np.ndarray, *others: np.ndarray) -> tuple[Any, ...]:
    """Each feature of `x` with mean 0 and deviation 1, `others` by the same scale, and the scale.

    A feature that is constant in `x` is only shifted. Sums are formed in float64; the dtype stays.

    >>> train, test = np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[4.0, 6.0]])
    >>> train, test, scale = jnn.data.standardise(train, test)
    >>> train.tolist(), test.tolist()
    ([[-1.0, 0.0], [1.0, 0.0]], [[2.0, 1.0]])
    """
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.floating):
        errors.fail("standardise", "x", "a floating array", errors.describe(x), kind=TypeError)
    mean = x.mean(0, dtype=np.float64)
    deviation = x.std(0, dtype=np.float64)
    # Rounding alone gives a constant feature a deviation: it is no signal.
    noise = np.finfo(x.dtype).eps * np.abs(x).max(0, initial=0)
    deviation = np.where(deviation > noise, deviation, 1)
    scale = Scale(mean.astype(x.dtype), deviation.astype(x.dtype))
    return *(scale(array) for array in (x, *others)), scale


def one_hot(labels: np.ndarray, classes: int | None = None, dtype: Any = np.float32) -> np.ndarray:
    """Class indices as rows with a single 1.

    >>> jnn.data.one_hot(np.array([2, 0])).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer):
        errors.fail("one_hot", "labels", "integers", errors.describe(labels), kind=TypeError)
    found = int(labels.max(initial=-1)) + 1
    classes = found if classes is None else classes
    if found > classes or labels.min(initial=0) < 0:
        got = f"labels from {labels.min(initial=0)} to {found - 1}"
        errors.fail("one_hot", "labels", f"in 0 ... {classes - 1}", got)
    hot = np.zeros((*labels.shape, classes), dtype)
    np.put_along_axis(hot, labels[..., None].astype(np.intp), 1, -1)
    return hot


def balanced(
    labels: np.ndarray, classes: int | None = None, weights: np.ndarray | None = None
) -> np.ndarray:
    """One number a class, with which all classes weigh alike: `n / (classes n_class)`, float32.

    `balanced(labels)[labels]` are weights of the samples, the third member of data for `fit`.

    >>> labels = np.array([0, 0, 0, 1])
    >>> jnn.data.balanced(labels).tolist()
    [0.6666666865348816, 2.0]

    Args:
      labels: class indices, of any shape.
      classes: how many there are; by default the largest index and one. A class without a sample
        has the weight of one with one sample.
      weights: what each label weighs itself.
    """
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer) or not labels.size or labels.min() < 0:
        expected = "class indices, integers from 0"
        errors.fail("balanced", "labels", expected, errors.describe(labels), kind=TypeError)
    count = int(labels.max()) + 1 if classes is None else classes
    found = np.bincount(labels.ravel(), None if weights is None else np.ravel(weights), count)
    if len(found) > count:
        errors.fail("balanced", "labels", f"in 0 ... {count - 1}", f"{labels.max()}")
    return (found.sum() / (count * np.where(found > 0, found, 1))).astype(np.float32)


def batches(
    data: Any, size: int, *, key: Key | None = None, epochs: int = 1, remainder: bool = True
) -> Iterator[Any]:
    """Batches of arrays, each epoch in another order where there is a key.

    Arrays may be memory-mapped (`np.load(path, mmap_mode="r")`): a batch reads its own rows only.

    Args:
      data: an array, or a tuple of arrays of equal length.
      size: how many samples a batch has.
      key: an integer, or integers, e.g. `jax.random.key_data(key)`; None keeps the order.
      epochs: how often every sample comes.
      remainder: whether the last, shorter batch of an epoch comes too.

    >>> [batch.tolist() for batch in jnn.data.batches(np.arange(5), 2)]
    [[0, 1], [2, 3], [4]]
    """
    errors.positive_integer("batches", "size", size)
    n = length("batches", data)
    random = None if key is None else generator(key)

    def epoch() -> Iterator[Any]:
        order = None if random is None else random.permutation(n)
        for begin in range(0, n if remainder else n - n % size, size):
            end = min(begin + size, n)
            yield take(data, slice(begin, end) if order is None else order[begin:end])

    return (batch for _ in range(epochs) for batch in epoch())


def generator(key: Key) -> np.random.Generator:
    """NumPy's generator for a key: equal keys draw equal numbers."""
    return np.random.default_rng(np.asarray(key).astype(np.uint64).ravel())


def length(function: str, data: Any) -> int:
    """The number of samples, the same in every array."""
    sizes = {len(array) for array in (data if isinstance(data, tuple) else (data,))}
    if len(sizes) != 1:
        expected = "arrays of equal length"
        errors.fail(function, "data", expected, f"lengths {sorted(sizes)}")
    return sizes.pop()


def take(data: Any, rows: Any) -> Any:
    """The rows of an array, or of each array of a tuple, whose type stays."""
    if not isinstance(data, tuple):
        return np.asarray(data[rows])
    parts = [np.asarray(array[rows]) for array in data]
    return type(data)(*parts) if hasattr(data, "_fields") else tuple(parts)
