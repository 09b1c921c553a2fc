"""Grids of images: pictures, filters, feature maps, and gradients with respect to pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jnn import errors
from jnn.plots.canvas import Canvas, page, saved
from jnn.plots.style import FAINT, INK, SIGNED


def images(
    pictures: Any,
    path: str | Path | None = None,
    *,
    titles: Sequence[str] = (),
    columns: int | None = None,
    signed: bool = False,
    label: str = "",
    figure: Any = None,
) -> Canvas:
    """Images in a grid, row by row, all on one scale.

    Args:
      pictures: (n, height, width), with a last axis of 1 or not, or of 3 for colours in [0, 1].
      path: where to save the picture.
      titles: a line above each image.
      columns: images in a row; by default all in one, but eight at most.
      signed: whether zero is the middle of the scale, or the least value its end.
      label: what the numbers are; with it comes a colour bar.
      figure: a figure, or a part of one, to draw into.

    >>> train, _ = jnn.data.digits()
    >>> figure = jnn.plots.images(train.x[:10], titles=[str(y) for y in train.y[:10]])
    >>> len(figure.axes), figure.axes[0].get_title() == str(train.y[0])
    (10, True)
    """
    pictures = _batch("images", "pictures", pictures)
    columns = columns or min(8, len(pictures))
    rows = -(-len(pictures) // columns)
    canvas = page(
        figure, 0.2 + 1.05 * columns + 0.6 * bool(label), (1.05 + 0.2 * bool(titles)) * rows
    )
    low, high = _limits(pictures, signed)
    shown = None
    for k, picture in enumerate(pictures):
        axes = _frame(canvas, rows, columns, k)
        shown = axes.imshow(picture, cmap=SIGNED if signed else "gray", vmin=low, vmax=high)
        if k < len(titles):
            axes.set_title(titles[k], fontsize=8, color=INK, pad=3)
    if label and shown is not None:
        _bar(canvas, shown, canvas.axes, label)
    return saved(canvas, path)


def filters(w: Any, path: str | Path | None = None, figure: Any = None) -> Canvas:
    """The filters of a convolution: a column for each output map, a row for each input map.

    Args:
      w: (height, width, inputs, outputs).
      path: where to save the picture.
      figure: a figure, or a part of one, to draw into.

    >>> figure = jnn.plots.filters(np.random.default_rng(0).normal(size=(5, 5, 1, 6)))
    >>> len(figure.axes)  # Six filters, and the scale.
    7
    """
    w = np.asarray(w, dtype=float)
    if w.ndim != 4:
        errors.fail("filters", "w", "of shape (height, width, inputs, outputs)", errors.describe(w))
    outputs = w.shape[3]
    return images(w.transpose(2, 3, 0, 1).reshape(-1, *w.shape[:2]), path, columns=outputs,
                  signed=True, label="weight", figure=figure)  # fmt: skip


def feature_maps(
    maps: Mapping[str, Any],
    path: str | Path | None = None,
    *,
    most: int = 8,
    figure: Any = None,
) -> Canvas:
    r"""What the layers of a network make of an image: a row for each layer, on a scale of its own.

    Args:
      maps: of each layer (height, width, maps), from the input to the output.
      path: where to save the picture.
      most: how many maps of a layer to show.
      figure: a figure, or a part of one, to draw into.

    >>> random = np.random.default_rng(0)
    >>> figure = jnn.plots.feature_maps({"image": random.random((8, 8, 1)),
    ...                                  "conv": random.normal(size=(6, 6, 4))})
    >>> [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    ['image\n1 map', 'conv\n4 maps']
    """
    if not maps:
        errors.fail("feature_maps", "maps", "at least one layer", "none")
    columns = min(most, max(np.shape(m)[-1] for m in maps.values()))
    canvas = page(figure, 1.4 + 1.0 * columns, 1.05 * len(maps))
    for row, (name, layer) in enumerate(maps.items()):
        layer = np.asarray(layer, dtype=float)
        if layer.ndim != 3:
            errors.fail("feature_maps", f"maps[{name!r}]", "of shape (height, width, maps)",
                        errors.describe(layer))  # fmt: skip
        count = layer.shape[-1]
        signed = bool(layer.min(initial=0) < 0)
        low, high = _limits(layer, signed)
        for k in range(min(columns, count)):
            axes = _frame(canvas, len(maps), columns, row * columns + k)
            axes.imshow(layer[..., k], cmap=SIGNED if signed else "gray", vmin=low, vmax=high)
            if not k:
                axes.set_ylabel(f"{name}\n{count} map{'s' * (count > 1)}", rotation=0, ha="right",
                                va="center", fontsize=9, color=INK)  # fmt: skip
    return saved(canvas, path)


def saliency(
    pictures: Any,
    gradients: Any,
    path: str | Path | None = None,
    *,
    titles: Sequence[str] = (),
    figure: Any = None,
) -> Canvas:
    """Images, and below each the derivative of something in its pixels, on its own scale.

    Args:
      pictures: (n, height, width), with a last axis of 1 or not.
      gradients: of the same shape.
      path: where to save the picture.
      titles: a line above each image.
      figure: a figure, or a part of one, to draw into.

    >>> x = jnn.data.digits().test.x[:3]
    >>> figure = jnn.plots.saliency(x, x - 0.5)
    >>> figure.axes[1].get_ylabel()
    'gradient'
    """
    pictures = _batch("saliency", "pictures", pictures)
    gradients = _batch("saliency", "gradients", gradients)
    errors.shape("saliency", "gradients", gradients, pictures.shape)
    n = len(pictures)
    canvas = page(figure, 0.7 + 1.25 * n, 2.7 + 0.2 * bool(titles))
    for k, (picture, gradient) in enumerate(zip(pictures, gradients, strict=True)):
        above, below = _frame(canvas, 2, n, k), _frame(canvas, 2, n, n + k)
        above.imshow(picture, cmap="gray")
        low, high = _limits(gradient, signed=True)
        below.imshow(gradient, cmap=SIGNED, vmin=low, vmax=high)
        if k < len(titles):
            above.set_title(titles[k], fontsize=9, color=INK, pad=4)
        if not k:
            above.set_ylabel("image", fontsize=9, color=INK)
            below.set_ylabel("gradient", fontsize=9, color=INK)
    return saved(canvas, path)


def _batch(function: str, name: str, pictures: Any) -> np.ndarray:
    """Pictures as imshow takes them: (n, height, width) or (n, height, width, 3)."""
    pictures = np.asarray(pictures, dtype=float)
    if pictures.ndim == 4 and pictures.shape[-1] == 1:
        pictures = pictures[..., 0]
    if not len(pictures) or not (pictures.ndim == 3 or pictures.shape[3:] == (3,)):
        expected = "one image or more, (n, height, width) with or without 1 or 3 channels"
        errors.fail(function, name, expected, errors.describe(pictures))
    return pictures


def _limits(values: np.ndarray, signed: bool) -> tuple[float, float]:
    """The ends of a scale; of a signed one zero is the middle."""
    values = values[np.isfinite(values)]
    if signed:
        high = float(np.abs(values).max(initial=0)) or 1.0
        return -high, high
    return float(values.min(initial=0)), float(values.max(initial=0)) or 1.0


def _frame(canvas: Canvas, rows: int, columns: int, k: int) -> Any:
    """Axes for an image: a thin frame, no ticks."""
    axes = canvas.add_subplot(rows, columns, k + 1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(FAINT)
    return axes


def _bar(canvas: Canvas, shown: Any, axes: Any, label: str) -> None:
    """The scale of an image, as high as the grid."""
    bar = canvas.colorbar(shown, ax=axes, shrink=0.8, aspect=15, label=label)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
