"""How many problems each method solves within a multiple of the least cost (Dolan and Moré)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jnn import errors
from jnn.plots.canvas import Canvas, page, panel, saved
from jnn.plots.style import cycle


def cost_ratios(costs: Mapping[str, Sequence[float | None]]) -> dict[str, np.ndarray]:
    """Of each method its cost on each problem over the least of all methods, infinite if unsolved.

    >>> ratios = jnn.plots.cost_ratios({"a": [10, 20], "b": [30, None]})
    >>> ratios["b"].tolist()
    [3.0, inf]
    """
    if len({len(row) for row in costs.values()}) != 1:
        errors.fail("cost_ratios", "costs", "as many costs of each method", f"{len(costs)} methods")
    rows = np.array([[np.inf if c is None else c for c in row] for row in costs.values()], float)
    least = rows.min(axis=0)
    solved = np.isfinite(least)
    ratios = np.where(solved, rows / np.where(solved, least, 1), np.inf)
    return dict(zip(costs, ratios, strict=True))


def performance_profile(
    costs: Mapping[str, Sequence[float | None]],
    path: str | Path | None = None,
    *,
    unit: str = "evaluations",
    most: float = 20,
    title: str = "",
    figure: Any = None,
) -> Canvas:
    """The share of the problems that a method solves within a multiple of the least cost.

    At 1 stands the share on which it was the best, at the right end that which it solves at all,
    near enough: the higher a line the better.

    Args:
      costs: of each method the cost on each problem, None where it failed.
      path: where to save the picture.
      unit: what the costs are.
      most: the largest multiple.
      title: the picture's.
      figure: a figure, or a part of one, to draw into.

    >>> figure = jnn.plots.performance_profile({"a": [10, 20], "b": [30, None]})
    >>> figure.axes[0].get_ylabel()
    'share solved'
    """
    found = cost_ratios(costs)
    canvas = page(figure, 6.4, 4.2)
    axes = panel(canvas)
    for (name, ratios), (colour, dashes, _) in zip(found.items(), cycle(len(found)), strict=True):
        ends = np.sort(ratios[ratios <= most])
        shares = np.arange(len(ends) + 1) / max(len(ratios), 1)
        x, y = np.r_[1, ends, most], np.r_[shares, shares[-1]]
        axes.step(x, y, where="post", color=colour, linestyle=dashes, linewidth=1.5, label=name)
    axes.set(xscale="log", xlabel=f"{unit} over the fewest", ylabel="share solved",
             xlim=(0.98, most), ylim=(0, 1.03))  # fmt: skip
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100) if tick <= most]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_title(title, loc="left", fontweight="bold")
    axes.legend(framealpha=0.85, edgecolor="none", loc="lower right", fontsize=8)
    return saved(canvas, path)
