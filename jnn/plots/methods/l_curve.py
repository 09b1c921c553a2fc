"""The L-curve: errors against the size of a model, and its elbow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jnn import errors
from jnn.plots.canvas import Canvas, page, panel, saved, whole_numbers
from jnn.plots.style import BLACK, INK, cycle


def l_curve(
    sizes: Any,
    curves: Mapping[str, Any],
    path: str | Path | None = None,
    *,
    elbow: int | None = None,
    levels: Mapping[str, float] | None = None,
    size: str = "degree of the polynomial",
    error: str = "mean squared error",
    figure: Any = None,
) -> Canvas:
    """Errors that fall with a model's size, those on new data that rise again, and the elbow.

    Args:
      sizes: the numbers on the horizontal axis.
      curves: by name, an error for each size.
      path: where to save the picture.
      elbow: the place among the sizes that was picked.
      levels: by name, errors of other models, drawn as lines across.
      size: what a size is.
      error: what an error is, with its unit.
      figure: a figure, or a part of one, to draw into.

    >>> figure = jnn.plots.l_curve([1, 2, 3, 4], {"training": [4.0, 1.0, 0.8, 0.7]}, elbow=1)
    >>> figure.axes[0].get_xlabel()
    'degree of the polynomial'
    """
    sizes = np.asarray(sizes)
    arrays = {name: np.asarray(values, dtype=float) for name, values in curves.items()}
    if not arrays or any(values.shape != sizes.shape for values in arrays.values()):
        got = {name: values.shape for name, values in arrays.items()}
        errors.fail("l_curve", "curves", f"curves of shape {sizes.shape}, as `sizes`", got)
    canvas = page(figure, 6.8, 4.4)
    axes = panel(canvas)
    for (name, values), (colour, line, marker) in zip(
        arrays.items(), cycle(len(arrays)), strict=True
    ):
        axes.plot(sizes, values, color=colour, linestyle=line, marker=marker, markersize=4,
                  linewidth=1.5, markevery=max(1, len(sizes) // 12), label=name)  # fmt: skip
    top = 1.08 * max(np.nanmax(values) for values in arrays.values())
    for name, level in (levels or {}).items():
        axes.axhline(level, color=INK, linewidth=1, linestyle=(0, (2, 2)))
        axes.annotate(name, (1, level), (-2, -3), xycoords=("axes fraction", "data"), ha="right",
                      textcoords="offset points", fontsize=8, va="top", color=INK)  # fmt: skip
    if elbow is not None:
        first = next(iter(arrays.values()))
        axes.plot(sizes[elbow], first[elbow], "o", markersize=12, markerfacecolor="none",
                  markeredgecolor=BLACK, markeredgewidth=1.6)  # fmt: skip
        axes.annotate(f"elbow: {sizes[elbow]}", (sizes[elbow], first[elbow]), (22, 64),
                      textcoords="offset points", color=BLACK,
                      arrowprops={"arrowstyle": "-", "color": INK, "shrinkB": 7})  # fmt: skip
    axes.set(xlabel=size, ylabel=error, ylim=(0, top))
    axes.xaxis.set_major_locator(whole_numbers())
    axes.legend(frameon=False, fontsize=9)
    return saved(canvas, path)
