"""Learning curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jnn import errors
from jnn.plots.canvas import Canvas, page, panel, saved, whole_numbers
from jnn.plots.training.curves import draw


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
    canvas = page(figure, 0.8 + 4.4 * len(panels), 3.6)
    for k, (quantity, lines) in enumerate(panels.items()):
        axes = panel(canvas, len(panels), k)
        lines = lines if isinstance(lines, Mapping) else {"": lines}
        arrays = {name: np.asarray(values, dtype=float).ravel() for name, values in lines.items()}
        draw(axes, np.arange(1, 1 + max(map(len, arrays.values()))), arrays)
        values = np.concatenate(list(arrays.values()))
        values = values[np.isfinite(values)]
        if values.size and values.max() > 100 * values.min() > 0:
            axes.set_yscale("log")
        axes.set_xlabel(step)
        axes.set_ylabel(quantity or ("" if len(arrays) > 1 else next(iter(arrays))))
        axes.xaxis.set_major_locator(whole_numbers())
        if len(arrays) > 1:
            axes.legend(frameon=False, fontsize=9)
    return saved(canvas, path)
