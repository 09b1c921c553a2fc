"""The elbow of an L-curve: where more of a model brings little more."""

from typing import Any

import numpy as np

from jnn import errors


def elbow(sizes: Any, errors_by_size: Any) -> int:
    """The place of the elbow in a curve of errors that fall with a model's size (T §1, figure 2).

    It is the point that lies farthest below the line from the first to the last, on axes that run
    from 0 to 1 each. Only training errors are needed.

    Args:
      sizes: increasing, e.g. the degrees of polynomials.
      errors_by_size: an error of each.

    >>> jnn.models.elbow([1, 2, 3, 4, 5], [9.0, 4.0, 1.0, 0.9, 0.8])
    2
    """
    x, y = (np.asarray(a, dtype=float) for a in (sizes, errors_by_size))
    if x.ndim != 1 or x.shape != y.shape or len(x) < 3 or not (np.diff(x) > 0).all():
        expected = "three or more increasing numbers, with an error of each"
        errors.fail("elbow", "sizes", expected, f"{x.tolist()} with {y.shape} errors")
    across, down = (x - x[0]) / (x[-1] - x[0]), (y[0] - y) / (abs(y[0] - y[-1]) or 1.0)
    return int(np.argmax(down - across))
