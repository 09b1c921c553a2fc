"""What tests of pictures share; without matplotlib, they are skipped."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: jnn[examples]")

from jnn import plots as plots


def texts(figure):
    """All text in a picture's axes."""
    axes = figure.axes[0]
    return " ".join([axes.get_title(loc="left"), *(text.get_text() for text in axes.texts)])


def pixels(figure):
    """The picture as drawn, without a backend being chosen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def measure(label, unit, hand, autodiff):
    return SimpleNamespace(label=label, unit=unit, hand=hand, autodiff=autodiff)
