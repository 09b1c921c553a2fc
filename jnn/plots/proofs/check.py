"""The picture of what `jnn.verify.check` found."""

from pathlib import Path
from typing import Any

import numpy as np

from jnn.plots.canvas import Canvas, page, panel, saved
from jnn.plots.style import BLUE, FAINT, GREEN, INK, VERMILION


def check(report: Any, path: str | Path | None = None, figure: Any = None) -> Canvas:
    """The worst error of each suite that a rule was put through.

    >>> report = jnn.verify.check(jnn.rules.tanh, suites=["agreement", "transpose"])
    >>> figure = jnn.plots.check(report)
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['agreement', 'transpose']
    """
    names = list(report.worst)
    canvas = page(figure, 6.4, 1.3 + 0.26 * len(names))
    axes = panel(canvas, grid="x")
    verdict = "ok" if report.ok else f"{len(report.findings)} findings"
    colour = GREEN if report.ok else VERMILION
    axes.set_title(f"{report.rule}: {verdict}", loc="left", color=colour, fontweight="bold")
    values = np.array([report.worst[name] for name in names], dtype=float)
    seen = np.isfinite(values) & (values > 0)
    low = 10.0 ** np.floor(np.log10(values[seen].min(initial=1e-15)) - 1)
    high = 10.0 ** np.ceil(np.log10(values[seen].max(initial=low)) + 1)
    places = np.arange(len(names))
    drawn = np.where(seen, values, np.where(values == 0, low, high))
    axes.hlines(places, low, drawn, color=FAINT, linewidth=2)
    axes.plot(drawn[seen], places[seen], "o", color=BLUE)
    axes.plot(drawn[~seen], places[~seen], "o", color=BLUE, markerfacecolor="white")
    for place, value, x in zip(places, values, drawn, strict=True):
        axes.annotate(f"{value:.1e}" if value else "0", (x, place), (7, 0), va="center",
                      textcoords="offset points", fontsize=8, color=INK)  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(low / 2, high * 30)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("worst error")
    return saved(canvas, path)
