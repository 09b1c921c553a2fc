"""Where an integrator of the gradient flow is stable."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jnn import errors
from jnn.plots.canvas import Canvas, page, panel, saved
from jnn.plots.style import INK, cycle

FINE = 241  # Points of the plane along an axis.


def stability(
    methods: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    path: str | Path | None = None,
    *,
    box: tuple[float, float, float, float] = (-3.2, 0.8, -2.2, 2.2),
    figure: Any = None,
) -> Canvas:
    """The border of each method's region of stability, in the plane of z = -alpha lambda.

    Inside, errors shrink at each step. Of a minimum, z is on the negative real axis: its curvature
    lambda is positive.

    Args:
      methods: of each name a function that takes complex numbers z, an array, and returns by what
        a step multiplies errors at most, e.g. `lambda z: abs(1 + z)` for Euler's method.
      path: where to save the picture.
      box: the least and the greatest real part, the least and the greatest imaginary part.
      figure: a figure, or a part of one, to draw into.

    >>> figure = jnn.plots.stability({"Euler": lambda z: abs(1 + z)})
    >>> figure.axes[0].get_xlabel()
    'real part of z'
    """
    if not methods:
        errors.fail("stability", "methods", "at least one", "none")
    canvas = page(figure, 5.4, 6.0)
    axes = panel(canvas)
    x, y = np.linspace(*box[:2], FINE), np.linspace(*box[2:], FINE)
    z = x[None, :] + 1j * y[:, None]
    for (name, growth), (colour, dashes, _) in zip(
        methods.items(), cycle(len(methods)), strict=True
    ):
        size = np.asarray(growth(z), dtype=float)
        inside = (size < 1).any()
        if inside:
            axes.contourf(x, y, size, levels=[0, 1], colors=[colour], alpha=0.08)
            axes.contour(x, y, size, levels=[1], colors=[colour], linestyles=[dashes],
                         linewidths=1.6)  # fmt: skip
        label = name if inside else f"{name}: nowhere"
        axes.plot([], [], color=colour, linestyle=dashes, linewidth=1.6, label=label)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set(xlabel="real part of z", ylabel="imaginary part of z", aspect="equal")
    canvas.legend(frameon=False, fontsize=9, ncols=2, loc="outside lower center")
    return saved(canvas, path)
