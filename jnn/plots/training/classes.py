"""Classes: the regions that a classifier gives them, and what it takes for what."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb

from jnn import errors
from jnn.plots.canvas import Canvas, page, panel, saved
from jnn.plots.style import BLACK, FAINT, INK, SIZES, STYLES

RESOLUTION = 200  # Points a side on which a classifier is asked.


def decision_boundary(
    predict_proba: Callable[[np.ndarray], Any],
    x: Any,
    y: Any,
    path: str | Path | None = None,
    *,
    names: Sequence[str] | None = None,
    title: str = "",
    figure: Any = None,
) -> Canvas:
    """The plane of two features as a classifier sees it, with the samples on it.

    Of two classes, probabilities are shaded in steps of a tenth, and lines stand where the second
    has probability 0.1, 0.5 and 0.9; of more, each region has its class's colour.

    Args:
      predict_proba: probabilities (n, classes), or those of the second of two, (n,), of points
        (n, 2).
      x: samples, (m, 2).
      y: of each the number of its class, (m,).
      path: where to save the picture.
      names: of the classes.
      title: above the picture.
      figure: a figure, or a part of one, to draw into.

    >>> x, y = jnn.data.two_moons(50)
    >>> figure = jnn.plots.decision_boundary(lambda x: x[:, 0] > x[:, 1], x, y)
    >>> figure.axes[0].get_ylabel()
    'x[1]'
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y)
    if x.ndim != 2 or x.shape[1] != 2 or y.shape != x.shape[:1]:
        got = f"{errors.describe(x)} with {errors.describe(y)}"
        errors.fail("decision_boundary", "x, y", "of shape (m, 2) and (m,)", got)
    low, high = x.min(axis=0), x.max(axis=0)
    margin = 0.1 * np.maximum(high - low, 1e-9)
    across, up = (np.linspace(a, b, RESOLUTION)
                  for a, b in zip(low - margin, high + margin, strict=True))  # fmt: skip
    points = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    p = np.asarray(predict_proba(points), dtype=float)
    p = np.stack([1 - p, p], axis=-1) if p.ndim == 1 else p
    count = p.shape[1]
    if count > len(STYLES):
        errors.fail(
            "decision_boundary", "predict_proba", f"of at most {len(STYLES)} classes", count
        )
    p = p.reshape(RESOLUTION, RESOLUTION, count)
    canvas = page(figure, 5.6, 4.6)
    axes = panel(canvas)
    if count == 2:
        shades = LinearSegmentedColormap.from_list("", [_tint(STYLES[0][0]), "white",
                                                        _tint(STYLES[1][0])])  # fmt: skip
        axes.contourf(across, up, p[..., 1], np.linspace(0, 1, 11), cmap=shades)
        lines = {"linewidths": [0.7, 1.6, 0.7], "linestyles": ["dotted", "solid", "dotted"]}
        axes.contour(across, up, p[..., 1], [0.1, 0.5, 0.9], colors=INK, **lines)
    else:
        tints = LinearSegmentedColormap.from_list(
            "", [_tint(STYLES[k][0]) for k in range(count)], N=count
        )
        axes.contourf(across, up, p.argmax(-1), np.arange(count + 1) - 0.5, cmap=tints)
        for k in range(count):
            rest = np.delete(p, k, axis=-1).max(-1)
            axes.contour(across, up, p[..., k] - rest, [0.0], colors=INK, linewidths=1.2)
    for k in range(count):
        colour, _, marker = STYLES[k]
        axes.plot(*x[y == k].T, linestyle="none", marker=marker, markersize=3.6, color=colour,
                  markeredgecolor="white", markeredgewidth=0.4,
                  label=names[k] if names else f"class {k}")  # fmt: skip
    axes.grid(visible=False)
    axes.set(xlim=across[[0, -1]], ylim=up[[0, -1]], xlabel="x[0]", ylabel="x[1]")
    if title:
        axes.set_title(title, loc="left", fontweight="bold", fontsize=11)
    axes.legend(fontsize=8, loc="upper right", framealpha=0.85, edgecolor=FAINT)
    return saved(canvas, path)


def confusion_matrix(
    y: Any,
    predicted: Any,
    path: str | Path | None = None,
    *,
    names: Sequence[Any] | None = None,
    figure: Any = None,
) -> Canvas:
    """How often samples of each class, a row, were taken for each class, a column.

    Shades are shares of the row, numbers are samples; 0 is left blank.

    Args:
      y: of each sample the number of its class.
      predicted: the number of the class that it was taken for.
      path: where to save the picture.
      names: of the classes.
      figure: a figure, or a part of one, to draw into.

    >>> figure = jnn.plots.confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], names=["cat", "dog"])
    >>> figure.axes[0].get_title(loc="left")
    '3 of 4 right: 75.0 %'
    """
    y, predicted = np.asarray(y), np.asarray(predicted)
    if y.shape != predicted.shape or y.ndim != 1 or not len(y) or y.dtype.kind not in "iub":
        got = f"{errors.describe(y)} and {errors.describe(predicted)}"
        errors.fail(
            "confusion_matrix", "y, predicted", "numbers of classes, of one shape (m,)", got
        )
    count = len(names) if names else 1 + int(max(y.max(), predicted.max()))
    table = np.zeros((count, count), int)
    np.add.at(table, (y.astype(int), predicted.astype(int)), 1)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    side = 1.6 + 0.42 * count
    canvas = page(figure, side + 0.6, side + 0.3)
    axes = panel(canvas)
    axes.grid(visible=False)
    axes.imshow(shares, cmap=SIZES, vmin=0, vmax=1)
    for (i, j), number in np.ndenumerate(table):
        if number:
            axes.text(j, i, str(number), ha="center", va="center", fontsize=8,
                      color="white" if shares[i, j] > 0.6 else BLACK)  # fmt: skip
    ticks = [str(name) for name in names] if names else [str(k) for k in range(count)]
    axes.set_xticks(range(count), ticks, rotation=45 if max(map(len, ticks)) > 3 else 0)
    axes.set_yticks(range(count), ticks)
    axes.set(xlabel="predicted class", ylabel="class")
    right = int(np.trace(table))
    said = f"{right} of {len(y)} right: {100 * right / len(y):.1f} %"
    axes.set_title(said, loc="left", fontweight="bold", fontsize=11)
    return saved(canvas, path)


def _tint(colour: str) -> tuple[float, ...]:
    """A lighter shade of a colour."""
    return tuple(0.45 * c + 0.55 for c in to_rgb(colour))
