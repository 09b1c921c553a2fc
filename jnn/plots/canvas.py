"""The sheet that a picture is drawn on: a figure or a part of one, its axes, its file.

No backend is chosen, no global setting touched and nothing shown.
"""

import textwrap
from pathlib import Path
from typing import Any, Literal

from jnn.plots.style import FAINT, INK

try:  # The room imports this module first, so that this answers for all of them.
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.ticker import MaxNLocator
except ModuleNotFoundError as error:
    raise ImportError('jnn.plots needs matplotlib: pip install "jnn[examples]"') from error

Canvas = Figure | SubFigure


def figure(width: float = 6.4, height: float = 4.2) -> Figure:
    """An empty figure, in inches, for pictures of several parts.

    >>> whole = jnn.plots.figure(11, 4)
    >>> left, right = whole.subfigures(1, 2)
    >>> _ = jnn.plots.history({"loss": [0.9, 0.5, 0.3]}, figure=left)
    """
    return Figure(figsize=(width, height), layout="constrained", dpi=150)


def page(given: Any, width: float, height: float) -> Canvas:
    """What to draw on: the figure that was given, or a new one of that size in inches."""
    return figure(width, height) if given is None else given


def panel(
    canvas: Canvas,
    columns: int = 1,
    k: int = 0,
    *,
    rows: int = 1,
    grid: Literal["both", "x", "y"] = "both",
) -> Any:
    """The k-th axes of a grid, row by row, in the look of all pictures."""
    return styled(canvas.add_subplot(rows, columns, k + 1), grid)


def styled(axes: Any, grid: Literal["both", "x", "y"] = "both") -> Any:
    """Axes in the look of all pictures.

    >>> axes = jnn.plots.styled(jnn.plots.figure().subplots(), grid="x")
    >>> axes.spines["top"].get_visible()
    False
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(axis=grid, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def whole_numbers() -> MaxNLocator:
    """Ticks at whole numbers."""
    return MaxNLocator(integer=True, steps=[1, 2, 5, 10])


def note(axes: Any, sentence: str) -> None:
    """A sentence under the title, broken into lines of the width of the axes."""
    lines = textwrap.wrap(sentence, 92)
    shown = lines[:2] if len(lines) <= 2 else [lines[0], lines[1] + " ..."]
    title = axes.get_title(loc="left")
    axes.set_title(title, loc="left", fontweight="bold", pad=6 + 11 * len(shown))
    axes.annotate("\n".join(shown), (0, 1), (0, 4), xycoords="axes fraction", color=INK,
                  textcoords="offset points", va="bottom", fontsize=8)  # fmt: skip


def saved(canvas: Canvas, path: str | Path | None) -> Canvas:
    """The picture, written where a path is given."""
    if path is not None:
        whole = canvas.figure if isinstance(canvas, SubFigure) else canvas
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        whole.savefig(path)
    return canvas
