"""The ways of solvers and optimizers on the map of a function."""

from pathlib import Path
from typing import Any

import numpy as np

from jnn import errors
from jnn.plots.canvas import Canvas, page, panel, saved
from jnn.plots.style import BLUE, FAINT, ORANGE, VERMILION


def descent_path(f: Any, points: Any, path: str | Path | None = None, figure: Any = None) -> Canvas:
    """The way of a solver on the map of a function of two numbers; `f` takes a batch of points.

    >>> bowl = lambda x: np.sum(np.asarray(x) ** 2, axis=-1)
    >>> figure = jnn.plots.descent_path(bowl, np.array([[1.0, 1.0], [0.2, 0.1], [0.0, 0.0]]))
    >>> figure.axes[0].get_xlabel()
    'x[0]'
    """
    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2:
        errors.fail("descent_path", "points", "of shape (steps, 2)", errors.describe(points))
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.25 * np.maximum(high - low, 0.1 * (high - low).max() + 1e-9)
    x, y = (np.linspace(a, b, 160) for a, b in zip(low - margin, high + margin, strict=True))
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    heights = np.asarray(f(grid.reshape(-1, 2)), dtype=float).reshape(160, 160)
    heights = np.log10(heights - np.nanmin(heights) + 1e-3 * np.nanstd(heights) + 1e-30)
    canvas = page(figure, 6.4, 4.8)
    axes = panel(canvas)
    axes.contour(x, y, heights, levels=24, colors=FAINT, linewidths=0.8)
    axes.plot(points[:, 0], points[:, 1], color=BLUE, marker="o", markersize=3, linewidth=1.2)
    axes.plot(*points[0], "s", color=ORANGE, label="start")
    axes.plot(*points[-1], "*", color=VERMILION, markersize=11, label="end")
    axes.set_xlabel("x[0]")
    axes.set_ylabel("x[1]")
    axes.legend(frameon=False)
    return saved(canvas, path)
