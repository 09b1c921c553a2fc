"""What people hand to `fit` and `predict`, as arrays; bad data are refused.

The sentences follow scikit-learn's, whose checks read them.
"""

import sys
import warnings
from typing import Any, NoReturn

import numpy as np

from jnn import data, errors


class NotFittedError(ValueError, AttributeError):
    """A prediction was asked of a model without parameters."""


def not_fitted(name: str) -> NoReturn:
    """Raises our exception, which is scikit-learn's too where that is loaded."""
    theirs = _theirs("NotFittedError", NotFittedError)
    bases = (NotFittedError,) if theirs is NotFittedError else (NotFittedError, theirs)
    kind = type("NotFittedError", bases, {})
    raise kind(f"This {name} is not fitted yet: call `fit`, or `load`, before.")


def read_samples(
    name: str, x: Any, features: int | None = None, *, images: bool = False
) -> np.ndarray:
    """Samples as float64 (m, n), or of more axes where images are read.

    Args:
      name: of the estimator.
      x: what was given.
      features: how many there must be, if that is known.
      images: whether samples may have more axes than one.
    """
    x = _array("X", x)
    if x.ndim < 2:
        raise ValueError(
            f"Expected 2D array, got {x.ndim}D array instead. Reshape your data: "
            "x.reshape(-1, 1) is many samples of one feature, x.reshape(1, -1) is one sample."
        )
    if x.ndim > 2 and not images:
        raise ValueError(f"Found array with dim {x.ndim}, while dim <= 2 is required: {name} reads "
                         "rows of features.")  # fmt: skip
    if not len(x):
        raise ValueError(f"Found array with 0 sample(s) (shape={x.shape}) while a minimum of 1 is "
                         "required.")  # fmt: skip
    n = int(np.prod(x.shape[1:]))
    if not n:
        raise ValueError(f"Found array with 0 feature(s) (shape={x.shape}) while a minimum of 1 is "
                         "required.")  # fmt: skip
    if features is not None and n != features:
        raise ValueError(
            f"X has {n} features, but {name} is expecting {features} features as input."
        )
    return x


def values(name: str, y: Any, count: int) -> np.ndarray:
    """Targets of a regression, (m,) or (m, k)."""
    y = _array("y", _given(name, y))
    if y.ndim not in (1, 2):
        raise ValueError(f"y should be a 1d or 2d array, got an array of shape {y.shape} instead.")
    _same_length("y", len(y), count)
    return y


def labels(name: str, y: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The classes, sorted, and of each sample the number of its class."""
    y = np.asarray(_given(name, y))
    if y.ndim == 2 and y.shape[1] == 1:
        kind = _theirs("DataConversionWarning", UserWarning)
        said = "A column-vector y was passed when a 1d array was expected: use y.ravel()."
        warnings.warn(said, kind, stacklevel=4)
        y = y.ravel()
    if y.ndim != 1:
        raise ValueError(f"y should be a 1d array, got an array of shape {y.shape} instead.")
    _same_length("y", len(y), count)
    if y.dtype.kind in "fc":
        _finite("y", y)
        if (y != np.round(y)).any():
            raise ValueError("Unknown label type: continuous. Classes are integers, words or "
                             "booleans; for numbers, take a regressor.")  # fmt: skip
    classes, numbers = np.unique(y, return_inverse=True)
    return classes, numbers


def several(name: str, classes: np.ndarray) -> None:
    """There are two classes at least."""
    if len(classes) < 2:
        raise ValueError(
            f"{name} needs samples of at least 2 classes; the data contain one class only: "
            f"{classes.tolist()}."
        )


def weights(given: Any, count: int) -> np.ndarray | None:
    """How much each sample counts, (m,); None where all count the same."""
    if given is None:
        return None
    found = _array("sample_weight", given)
    if found.ndim == 0:
        found = np.full(count, found)
    if found.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got {found.ndim}D array.")
    _same_length("sample_weight", len(found), count)
    if (found < 0).any() or not found.any():
        raise ValueError("sample_weight must be numbers of at least 0, and not all of them zero.")
    return found


def class_weights(
    name: str, given: Any, classes: np.ndarray, numbers: np.ndarray, weights: np.ndarray | None
) -> np.ndarray | None:
    """The samples' weights times those of their classes."""
    if given is None:
        return weights
    if isinstance(given, str):
        errors.choice(name, "class_weight", given, ("balanced",))
        by_class = data.balanced(numbers, len(classes), weights)
    else:
        by_class = np.array([given.get(c, 1.0) for c in classes.tolist()], float)
    return by_class[numbers] * (1.0 if weights is None else weights)


def _given(name: str, y: Any) -> Any:
    if y is None:
        raise ValueError(f"{name} requires y to be passed, but the target y is None.")
    return y


def _array(argument: str, given: Any) -> np.ndarray:
    """A finite float64 array."""
    if hasattr(given, "toarray") and hasattr(given, "nnz"):
        raise TypeError(f"Sparse data was passed for {argument}, but dense data is required: use "
                        f"{argument}.toarray().")  # fmt: skip
    array = np.asarray(given)
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {argument} is {array.dtype}.")
    array = array.astype(np.float64)
    _finite(argument, array)
    return array


def _finite(argument: str, array: np.ndarray) -> None:
    if not np.isfinite(array).all():
        found = "NaN" if np.isnan(array).any() else "infinity"
        raise ValueError(f"Input {argument} contains {found}.")


def _same_length(argument: str, found: int, count: int) -> None:
    if found != count:
        raise ValueError(f"Found {argument} with {found} samples, inconsistent with the {count} "
                         "samples of X.")  # fmt: skip


def _theirs(name: str, ours: type) -> type:
    """scikit-learn's exception of that name, where scikit-learn is loaded."""
    return getattr(sys.modules.get("sklearn.exceptions"), name, ours)
