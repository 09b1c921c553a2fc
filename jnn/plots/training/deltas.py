"""The size of the deltas, layer by layer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

from jnn import errors
from jnn.plots.canvas import Canvas, page, panel, saved
from jnn.plots.style import BLUE, SKY


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
    canvas = page(figure, 6.4, 1.4 + 0.3 * len(deltas))
    axes = panel(canvas, grid="x")
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
    return saved(canvas, path)


def _quantiles(size: np.ndarray) -> np.ndarray:
    moving = size[size > 0]
    return np.quantile(moving, [0.1, 0.9]) if moving.size else np.full(2, np.nan)
