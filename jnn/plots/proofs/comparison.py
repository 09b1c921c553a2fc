"""Bars: derivatives by hand against autodiff."""

from pathlib import Path
from typing import Any

import numpy as np

from jnn.plots.canvas import Canvas, page, panel, saved
from jnn.plots.style import BLUE, INK, ORANGE
from jnn.text import quantity_text


def comparison(record: Any, path: str | Path | None = None, figure: Any = None) -> Canvas:
    """A pair of bars for each measure: by hand and under autodiff, relative to the larger one.

    Args:
      record: has a `name`, and `measures` with `label`, `unit`, `hand` and `autodiff` each.
      path: where to save the picture.
      figure: a figure, or a part of one, to draw into.

    >>> record = jnn.compare(jnn.rules.tanh, jnp.ones(3), budget=0.01)
    >>> figure = jnn.plots.comparison(record)
    >>> figure.axes[0].get_title(loc="left")
    'tanh: by hand against autodiff'
    """
    rows = list(record.measures)
    canvas = page(figure, 7.6, 1.2 + 0.46 * len(rows))
    axes = panel(canvas, grid="x")
    axes.set_title(f"{record.name}: by hand against autodiff", loc="left", fontweight="bold")
    places = np.arange(len(rows))
    sides = (("by hand", "hand", BLUE, "", -0.19), ("autodiff", "autodiff", ORANGE, "////", 0.19))
    for label, attribute, colour, hatch, shift in sides:
        lengths = [_relative(getattr(row, attribute), row) for row in rows]
        axes.barh(places + shift, lengths, 0.34, color=colour, hatch=hatch, edgecolor="white",
                  linewidth=0, label=label)  # fmt: skip
        for place, length, row in zip(places, lengths, rows, strict=True):
            text = quantity_text(getattr(row, attribute), row.unit)
            axes.annotate(text, (length, place + shift), (4, 0), textcoords="offset points",
                          va="center", fontsize=7.5, color=INK)  # fmt: skip
    axes.set_yticks(places, [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1.25)
    axes.set_xticks(np.linspace(0, 1, 5), ["0", "1/4", "1/2", "3/4", "1"])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("relative to the larger of the two: shorter is better")
    canvas.legend(frameon=False, fontsize=9, ncols=2, loc="outside lower center")
    return saved(canvas, path)


def _relative(value: float | None, row: Any) -> float:
    largest = max((v for v in (row.hand, row.autodiff) if v is not None), default=0)
    return value / largest if value and largest and np.isfinite(largest) else 0.0
