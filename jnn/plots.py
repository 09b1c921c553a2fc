"""Pictures of reports, comparisons, learning curves and deltas: the only import of matplotlib.

Each function returns the figure, saves it where a path is given, and shows nothing: no backend is
chosen and no global setting touched. Colours are Okabe and Ito's, which colour-blind people tell
apart; markers, dashes and hatches tell the same in grey.
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jnn import errors

try:
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
except ModuleNotFoundError as error:
    raise ImportError('jnn.plots needs matplotlib: pip install "jnn[examples]"') from error

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK = "#CC79A7", "#56B4E9", "#000000"
INK, FAINT = "#333333", "#D9D9D9"
STYLES = (
    (BLUE, "-", "o"),
    (VERMILION, "--", "s"),
    (GREEN, "-.", "^"),
    (PURPLE, ":", "D"),
    (ORANGE, (0, (5, 1, 1, 1, 1, 1)), "v"),
    (SKY, (0, (1, 1)), "P"),
    (BLACK, (0, (8, 3)), "X"),
)
Canvas = Figure | SubFigure


def figure(width: float = 6.4, height: float = 4.2) -> Figure:
    """An empty figure, in inches, for pictures of several parts.

    >>> whole = jnn.plots.figure(11, 4)
    >>> left, right = whole.subfigures(1, 2)
    >>> _ = jnn.plots.history({"loss": [0.9, 0.5, 0.3]}, figure=left)
    """
    return Figure(figsize=(width, height), layout="constrained", dpi=150)


def gradient_test(report: Any, path: str | Path | None = None, figure: Any = None) -> Canvas:
    """Both columns of a gradient or Jacobian test, log against log, a line for each direction.

    >>> figure = jnn.plots.gradient_test(jnn.verify.gradient_test(jnp.sin, 1.0))
    >>> figure.axes[0].get_ylabel()
    'size of the difference'
    """
    canvas = _canvas(figure, 6.4, 4.6)
    axes = _axes(canvas)
    colour = {"right": GREEN, "wrong": VERMILION}.get(report.verdict, INK)
    axes.set_title(f"{report.test}: {report.verdict}", loc="left", color=colour, fontweight="bold")
    _note(axes, report.reason)
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
        return _saved(canvas, path)
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
    return _saved(canvas, path)


def transpose_test(report: Any, path: str | Path | None = None, figure: Any = None) -> Canvas:
    """The relative error of each random pair, and what it may be.

    >>> figure = jnn.plots.transpose_test(jnn.verify.transpose_test(jnn.rules.tanh, jnp.ones(3)))
    >>> figure.axes[0].get_ylabel()
    'relative error'
    """
    canvas = _canvas(figure, 6.4, 3.2)
    axes = _axes(canvas)
    colour = {"right": GREEN, "wrong": VERMILION}.get(report.verdict, INK)
    axes.set_title(f"{report.test}: {report.verdict}", loc="left", color=colour, fontweight="bold")
    _note(axes, report.reason)
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
    axes.xaxis.set_major_locator(_whole_numbers())
    axes.margins(x=0.08)
    return _saved(canvas, path)


def check(report: Any, path: str | Path | None = None, figure: Any = None) -> Canvas:
    """The worst error of each suite that a rule was put through.

    >>> report = jnn.verify.check(jnn.rules.tanh, suites=["agreement", "transpose"])
    >>> figure = jnn.plots.check(report)
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['agreement', 'transpose']
    """
    names = list(report.worst)
    canvas = _canvas(figure, 6.4, 1.3 + 0.26 * len(names))
    axes = _axes(canvas, grid="x")
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
    return _saved(canvas, path)


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
    canvas = _canvas(figure, 7.6, 1.2 + 0.46 * len(rows))
    axes = _axes(canvas, grid="x")
    axes.set_title(f"{record.name}: by hand against autodiff", loc="left", fontweight="bold")
    places = np.arange(len(rows))
    sides = (("by hand", "hand", BLUE, "", -0.19), ("autodiff", "autodiff", ORANGE, "////", 0.19))
    for label, attribute, colour, hatch, shift in sides:
        lengths = [_relative(getattr(row, attribute), row) for row in rows]
        axes.barh(places + shift, lengths, 0.34, color=colour, hatch=hatch, edgecolor="white",
                  linewidth=0, label=label)  # fmt: skip
        for place, length, row in zip(places, lengths, rows, strict=True):
            text = _quantity(getattr(row, attribute), row.unit)
            axes.annotate(text, (length, place + shift), (4, 0), textcoords="offset points",
                          va="center", fontsize=7.5, color=INK)  # fmt: skip
    axes.set_yticks(places, [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1.25)
    axes.set_xticks(np.linspace(0, 1, 5), ["0", "1/4", "1/2", "3/4", "1"])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("relative to the larger of the two: shorter is better")
    canvas.legend(frameon=False, fontsize=9, ncols=2, loc="outside lower center")
    return _saved(canvas, path)


def history(
    curves: Any,
    path: str | Path | None = None,
    *,
    step: str = "epoch",
    figure: Any = None,
) -> Canvas:
    """Learning curves: one panel of `{name: values}`, or one for each of `{axis: {name: values}}`.

    The history of `jnn.fit` has a panel for each quantity, training and validation together.

    The first value belongs to step 1. Positive curves that span more than a hundredfold are drawn
    on a logarithmic axis.

    Args:
      curves: arrays of one value a step, e.g. `{"loss": losses, "accuracy": {"test": ...}}`.
      path: where to save the picture.
      step: what a step is called.
      figure: a figure, or a part of one, to draw into.

    >>> figure = jnn.plots.history({"loss": [0.9, 0.5, 0.3], "accuracy": {"test": [0.4, 0.8, 0.9]}})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'accuracy']
    """
    curves = curves.panels() if hasattr(curves, "panels") else curves  # Of `fit`.
    if not curves:
        errors.fail("history", "curves", "at least one curve", "none")
    nested = any(isinstance(value, Mapping) for value in curves.values())
    panels = curves if nested else {"": curves}
    canvas = _canvas(figure, 0.8 + 4.4 * len(panels), 3.6)
    for k, (quantity, lines) in enumerate(panels.items()):
        axes = _axes(canvas, len(panels), k)
        lines = lines if isinstance(lines, Mapping) else {"": lines}
        arrays = {name: np.asarray(values, dtype=float).ravel() for name, values in lines.items()}
        for (name, values), style in zip(arrays.items(), _cycle(len(arrays)), strict=True):
            steps = np.arange(1, len(values) + 1)
            colour, line, marker = style
            axes.plot(steps, values, color=colour, linestyle=line, marker=marker, markersize=4,
                      linewidth=1.5, label=name, markevery=max(1, len(values) // 12))  # fmt: skip
        values = np.concatenate(list(arrays.values()))
        values = values[np.isfinite(values)]
        if values.size and values.max() > 100 * values.min() > 0:
            axes.set_yscale("log")
        axes.set_xlabel(step)
        axes.set_ylabel(quantity or ("" if len(arrays) > 1 else next(iter(arrays))))
        axes.xaxis.set_major_locator(_whole_numbers())
        if len(arrays) > 1:
            axes.legend(frameon=False, fontsize=9)
    return _saved(canvas, path)


def deltas(deltas: Mapping[str, Any], path: str | Path | None = None, figure: Any = None) -> Canvas:
    """The size of every layer's delta on a logarithmic axis: root mean square, and the middle 80 %.

    Args:
      deltas: an array for each layer, from the input to the output, as from `jnn.deltas`.
      path: where to save the picture.
      figure: a figure, or a part of one, to draw into.

    >>> net = jnn.serial(jnn.dense(4), jnn.tanh(), jnn.dense(2))
    >>> x, y = jnp.ones((8, 3)), jnp.zeros((8, 2))
    >>> params, _ = net.init(jax.random.key(0), x)
    >>> figure = jnn.plots.deltas(jnn.deltas(net, params, x, y))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['input', '0.dense', '1.tanh', '2.dense']
    """
    if not deltas:
        errors.fail("deltas", "deltas", "at least one layer", "none")
    canvas = _canvas(figure, 6.4, 1.4 + 0.3 * len(deltas))
    axes = _axes(canvas, grid="x")
    axes.set_title("Size of the deltas, layer by layer", loc="left", fontweight="bold")
    sizes = [np.abs(np.asarray(delta, dtype=float)).ravel() for delta in deltas.values()]
    places = np.arange(len(sizes))
    quantiles = np.array([_quantiles(size) for size in sizes])
    means = np.array([np.sqrt(np.mean(np.square(size))) if size.size else np.nan for size in sizes])
    axes.hlines(places, quantiles[:, 0], quantiles[:, 1], color=SKY, linewidth=6, alpha=0.7,
                label="middle 80 % of the non-zero entries")  # fmt: skip
    axes.plot(np.where(means > 0, means, np.nan), places, "-o", color=BLUE, markersize=5,
              linewidth=1, label="root mean square")  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(LogLocator(subs="auto"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(places, list(deltas))
    axes.set_ylim(len(sizes) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("|delta|, in units of the loss per unit of the layer's output")
    canvas.legend(frameon=False, fontsize=9, ncols=2, loc="outside lower center")
    return _saved(canvas, path)


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
    canvas = _canvas(figure, 6.4, 4.8)
    axes = _axes(canvas)
    axes.contour(x, y, heights, levels=24, colors=FAINT, linewidths=0.8)
    axes.plot(points[:, 0], points[:, 1], color=BLUE, marker="o", markersize=3, linewidth=1.2)
    axes.plot(*points[0], "s", color=ORANGE, label="start")
    axes.plot(*points[-1], "*", color=VERMILION, markersize=11, label="end")
    axes.set_xlabel("x[0]")
    axes.set_ylabel("x[1]")
    axes.legend(frameon=False)
    return _saved(canvas, path)


def _canvas(figure_or_part: Any, width: float, height: float) -> Canvas:
    return figure(width, height) if figure_or_part is None else figure_or_part


def _axes(canvas: Canvas, columns: int = 1, k: int = 0, grid: Literal["both", "x"] = "both") -> Any:
    axes = canvas.add_subplot(1, columns, k + 1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(axis=grid, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def _whole_numbers() -> MaxNLocator:
    return MaxNLocator(integer=True, steps=[1, 2, 5, 10])


def _note(axes: Any, sentence: str) -> None:
    """A sentence under the title, broken into lines of the width of the axes."""
    lines = textwrap.wrap(sentence, 92)
    shown = lines[:2] if len(lines) <= 2 else [lines[0], lines[1] + " ..."]
    title = axes.get_title(loc="left")
    axes.set_title(title, loc="left", fontweight="bold", pad=6 + 11 * len(shown))
    axes.annotate("\n".join(shown), (0, 1), (0, 4), xycoords="axes fraction", color=INK,
                  textcoords="offset points", va="bottom", fontsize=8)  # fmt: skip


def _cycle(count: int) -> Sequence[Any]:
    return [STYLES[i % len(STYLES)] for i in range(count)]


def _quantiles(size: np.ndarray) -> np.ndarray:
    moving = size[size > 0]
    return np.quantile(moving, [0.1, 0.9]) if moving.size else np.full(2, np.nan)


def _relative(value: float | None, row: Any) -> float:
    largest = max((v for v in (row.hand, row.autodiff) if v is not None), default=0)
    return value / largest if value and largest and np.isfinite(largest) else 0.0


def _quantity(value: float | None, unit: str) -> str:
    """A number for people, e.g. `3.2 ms`."""
    if value is None:
        return "not known"
    if unit == "B":
        scales = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))
    elif unit == "s":
        scales = ((1, "s"), (1e-3, "ms"), (1e-6, "us"))
    elif unit == "flop":
        scales = ((1e12, "Tflop"), (1e9, "Gflop"), (1e6, "Mflop"), (1e3, "kflop"), (1, "flop"))
    else:
        scales = ((1, unit),)
    scale, name = next(((s, n) for s, n in scales if abs(value) >= s), scales[-1])
    return f"{value / scale:.3g} {name}".strip()


def _saved(canvas: Canvas, path: str | Path | None) -> Canvas:
    if path is not None:
        whole = canvas.figure if isinstance(canvas, SubFigure) else canvas
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        whole.savefig(path)
    return canvas
