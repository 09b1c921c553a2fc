"""The ways of solvers and optimizers on the map of a function."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jnn import errors
from jnn.plots.canvas import Canvas, page, panel, saved
from jnn.plots.style import BLUE, FAINT, INK, ORANGE, VERMILION, cycle

FINE = 320  # Points of a map along an axis.


def descent_path(f: Any, points: Any, path: str | Path | None = None, figure: Any = None) -> Canvas:
    """The way of a solver on the map of a function of two numbers; `f` takes a batch of points.

    >>> bowl = lambda x: np.sum(np.asarray(x) ** 2, axis=-1)
    >>> figure = jnn.plots.descent_path(bowl, np.array([[1.0, 1.0], [0.2, 0.1], [0.0, 0.0]]))
    >>> figure.axes[0].get_xlabel()
    'x[0]'
    """
    points = _way("descent_path", "points", points)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.25 * np.maximum(high - low, 0.1 * (high - low).max() + 1e-9)
    canvas = page(figure, 6.4, 4.8)
    axes = panel(canvas)
    _contours(axes, f, low - margin, high + margin)
    axes.plot(points[:, 0], points[:, 1], color=BLUE, marker="o", markersize=3, linewidth=1.2)
    axes.plot(*points[0], "s", color=ORANGE, label="start")
    axes.plot(*points[-1], "*", color=VERMILION, markersize=11, label="end")
    axes.legend(edgecolor="none", framealpha=0.9)
    return saved(canvas, path)


def paths(
    f: Any,
    ways: Mapping[str, Any],
    path: str | Path | None = None,
    *,
    low: Any,
    high: Any,
    minimum: Any = None,
    title: str = "",
    figure: Any = None,
) -> Canvas:
    """The ways of several optimizers on the map of a function of two numbers, in one frame.

    Lines of equal height are closer where the function is steeper near its least value: heights are
    logarithmic. A way that leaves the frame ends at its edge.

    Args:
      f: takes a batch of points, (n, 2), and returns their heights.
      ways: of each name the points, (steps, 2), from a common start.
      path: where to save the picture.
      low: the frame's lower left corner.
      high: its upper right one.
      minimum: where the minimum is, to be marked.
      title: the picture's.
      figure: a figure, or a part of one, to draw into.

    >>> bowl = lambda x: np.sum(np.asarray(x) ** 2, axis=-1)
    >>> ways = {"slow": [[1.0, 1.0], [0.9, 0.9]], "fast": [[1.0, 1.0], [0.1, 0.1]]}
    >>> figure = jnn.plots.paths(bowl, ways, low=(-2, -2), high=(2, 2), minimum=(0, 0))
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['slow', 'fast', 'minimum']
    """
    if not ways:
        errors.fail("paths", "ways", "at least one", "none")
    canvas = page(figure, 6.4, 5.0)
    axes = panel(canvas)
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    _contours(axes, f, low, high)
    start = _way("paths", "ways", next(iter(ways.values())))[0]
    for (name, way), (colour, dashes, marker) in zip(ways.items(), cycle(len(ways)), strict=True):
        points = _way("paths", f"ways[{name!r}]", way)
        lost = ~(np.abs(points) < 1e3 * np.abs(high - low).max()).all(axis=1)
        points = points[: np.argmax(lost)] if lost.any() else points
        axes.plot(points[:, 0], points[:, 1], color=colour, linestyle=dashes, marker=marker,
                  markersize=4, linewidth=1.4, markevery=max(1, len(points) // 10),
                  label=name)  # fmt: skip
    axes.plot(*start, "s", color=INK, markersize=7, zorder=4)
    axes.annotate("start", start, (6, 6), textcoords="offset points", color=INK, fontsize=9)
    if minimum is not None:
        axes.plot(*minimum, "*", color=INK, markersize=13, linestyle="none", label="minimum")
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.set_title(title, loc="left", fontweight="bold")
    axes.legend(frameon=True, framealpha=0.85, edgecolor="none", fontsize=9)
    return saved(canvas, path)


def _way(function: str, name: str, points: Any) -> np.ndarray:
    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        errors.fail(function, name, "of shape (steps, 2)", errors.describe(points))
    return points


def _contours(axes: Any, f: Any, low: np.ndarray, high: np.ndarray) -> None:
    x, y = (np.linspace(a, b, FINE) for a, b in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    heights = np.asarray(f(grid.reshape(-1, 2)), dtype=float).reshape(FINE, FINE)
    heights = np.log10(heights - np.nanmin(heights) + 1e-3 * np.nanstd(heights) + 1e-30)
    axes.contour(x, y, heights, levels=24, colors=FAINT, linestyles="solid", linewidths=0.8)
    axes.set(xlabel="x[0]", ylabel="x[1]")
    axes.grid(False)  # Its lines would look like heights.
