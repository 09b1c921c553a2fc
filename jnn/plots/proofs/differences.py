"""Pictures of the tests of a derivative: differences against the step, errors of random pairs."""

from pathlib import Path
from typing import Any

import numpy as np

from jnn.plots.canvas import Canvas, note, page, panel, saved, whole_numbers
from jnn.plots.style import BLUE, FAINT, GREEN, INK, STYLES, VERMILION


def gradient_test(report: Any, path: str | Path | None = None, figure: Any = None) -> Canvas:
    """Both columns of a gradient or Jacobian test, log against log, a line for each direction.

    >>> figure = jnn.plots.gradient_test(jnn.verify.gradient_test(jnp.sin, 1.0))
    >>> figure.axes[0].get_ylabel()
    'size of the difference'
    """
    canvas, axes = _begun(report, figure, 4.6)
    columns = (
        ("first difference", report.first, 1, STYLES[0]),
        ("corrected by the derivative", report.corrected, 2, STYLES[1]),
    )
    for label, rows, order, (colour, line, marker) in columns:
        for i, row in enumerate(rows):
            axes.plot(report.eps, np.where(row > 0, row, np.nan), color=colour, linestyle=line,
                      marker=marker, markersize=3.5, linewidth=1.1, alpha=0.85,
                      label=None if i else label)  # fmt: skip
        start = max((row[0] for row in rows if np.isfinite(row[0])), default=0.0)
        floor = min(report.round_off, default=0.0)
        if start > floor > 0:
            guide = 3 * start * (report.eps / report.eps[0]) ** order
            shown = guide > floor
            axes.plot(report.eps[shown], guide[shown], color=INK, linewidth=0.8, alpha=0.6)
            middle = int(shown.sum()) // 2
            name = r"$\varepsilon$" if order == 1 else rf"$\varepsilon^{order}$"
            axes.annotate(name, (report.eps[middle], guide[middle]), (-4, 2), color=INK,
                          textcoords="offset points", ha="right", va="bottom")  # fmt: skip
    axes.set_xlabel(r"step $\varepsilon$")
    axes.set_ylabel("size of the difference")
    sizes = np.concatenate([report.first.ravel(), report.corrected.ravel()])
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if not sizes.size:
        axes.set(xticks=[], yticks=[])
        axes.annotate("no difference to draw", (0.5, 0.5), xycoords="axes fraction", ha="center")
        return saved(canvas, path)
    axes.set_xscale("log")
    axes.set_yscale("log")
    floor = max(report.round_off)
    low = max(min(sizes.min(), floor) / 30, sizes.min() / 1e4)
    axes.set_ylim(low, 300 * sizes.max())  # Room for the legend.
    if floor > low:
        axes.axhspan(low, floor, color=FAINT, alpha=0.6, linewidth=0, zorder=0)
        axes.annotate("round-off", (0.99, floor), (0, -3), textcoords="offset points", color=INK,
                      xycoords=("axes fraction", "data"), ha="right", va="top", fontsize=8,
                      bbox={"facecolor": FAINT, "edgecolor": "none", "pad": 1})  # fmt: skip
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    return saved(canvas, path)


def transpose_test(report: Any, path: str | Path | None = None, figure: Any = None) -> Canvas:
    """The relative error of each random pair, and what it may be.

    >>> figure = jnn.plots.transpose_test(jnn.verify.transpose_test(jnn.rules.tanh, jnp.ones(3)))
    >>> figure.axes[0].get_ylabel()
    'relative error'
    """
    canvas, axes = _begun(report, figure, 3.2)
    least = 2.0**-56
    pairs = np.arange(1, len(report.error) + 1)
    error = np.where(np.isfinite(report.error), report.error, 1.0)
    axes.plot(pairs, np.maximum(error, least), "o", color=BLUE)
    axes.axhline(report.tolerance, color=VERMILION, linestyle="--", linewidth=1)
    axes.annotate("tolerance", (0.99, report.tolerance), (0, 3), textcoords="offset points",
                  xycoords=("axes fraction", "data"), ha="right", color=INK)  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(least / 3, max(10 * report.tolerance, 3 * error.max(initial=0.0)))
    axes.set_xlabel("random pair u, v")
    axes.set_ylabel("relative error")
    axes.xaxis.set_major_locator(whole_numbers())
    axes.margins(x=0.08)
    return saved(canvas, path)


def _begun(report: Any, figure: Any, height: float) -> tuple[Canvas, Any]:
    """The canvas and its axes, under the test's verdict and the reason for it."""
    canvas = page(figure, 6.4, height)
    axes = panel(canvas)
    colour = {"right": GREEN, "wrong": VERMILION}.get(report.verdict, INK)
    axes.set_title(f"{report.test}: {report.verdict}", loc="left", color=colour, fontweight="bold")
    note(axes, report.reason)
    return canvas, axes
