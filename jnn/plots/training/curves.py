"""Lines over a common axis, told apart by colour, dashes and marker."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jnn import errors
from jnn.plots.canvas import Canvas, page, panel, saved
from jnn.plots.style import cycle


def curves(
    x: Any,
    lines: Mapping[str, Any],
    path: str | Path | None = None,
    *,
    x_label: str,
    y_label: str,
    log: str = "",
    title: str = "",
    figure: Any = None,
) -> Canvas:
    """Named lines over common places.

    Args:
      x: the places, an array.
      lines: of each name the values there; those that are not finite leave a gap.
      path: where to save the picture.
      x_label: what the places are, with their unit.
      y_label: what the values are, with their unit.
      log: the axes that are logarithmic: "", "x", "y" or "xy".
      title: the picture's.
      figure: a figure, or a part of one, to draw into.

    >>> widths, error = np.array([1, 10, 100]), np.array([0.5, 0.04, 0.003])
    >>> figure = jnn.plots.curves(widths, {"tanh": error}, x_label="units", y_label="error",
    ...                           log="xy")
    >>> figure.axes[0].get_yscale()
    'log'
    """
    if not lines:
        errors.fail("curves", "lines", "at least one", "none")
    errors.choice("curves", "log", log, ("", "x", "y", "xy"))
    canvas = page(figure, 6.4, 4.2)
    axes = panel(canvas)
    draw(axes, x, lines)
    for name in log:
        getattr(axes, f"set_{name}scale")("log")
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.set_title(title, loc="left", fontweight="bold")
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=9)
    return saved(canvas, path)


def draw(axes: Any, x: Any, lines: Mapping[str, Any]) -> None:
    """The lines, each in the next style, with a dozen markers at most."""
    for (name, values), style in zip(lines.items(), cycle(len(lines)), strict=True):
        values = np.asarray(values, dtype=float).ravel()
        colour, dashes, marker = style
        axes.plot(np.asarray(x)[: len(values)], values, color=colour, linestyle=dashes,
                  marker=marker, markersize=4, linewidth=1.5, label=name,
                  markevery=max(1, len(values) // 12))  # fmt: skip
