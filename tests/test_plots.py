"""The pictures: what they show, that they can be saved, and that they touch no global state."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jnn

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib: jnn[examples]")

from jnn import plots  # noqa: E402


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


def sines(x):
    return jnp.sin(x).sum()


REPORTS = {
    "right": (sines, None),
    "wrong": (sines, lambda x: 1.1 * jnp.cos(x)),
    "linear": (jnp.sum, None),
    "zero": (lambda x: 0 * jnp.sum(x), None),
    "nan": (lambda x: jnp.log(x).sum(), None),
    "kink": (lambda x: jnn.rules.relu(x).sum(), None),
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_difference_report_shows_its_verdict_and_both_columns(name, tmp_path):
    f, gradient = REPORTS[name]
    report = jnn.verify.gradient_test(f, np.linspace(-1, 1, 5), gradient=gradient)
    figure = report.plot(tmp_path / "new" / "report.png")
    assert (tmp_path / "new" / "report.png").read_bytes().startswith(b"\x89PNG")
    assert f"gradient_test: {report.verdict}" in texts(figure)
    assert report.reason[:40] in texts(figure).replace("\n", " ")
    axes = figure.axes[0]
    drawn = {tuple(line.get_ydata()) for line in axes.lines if len(line.get_ydata())}
    for row in (*report.first, *report.corrected):
        if (row > 0).all():
            assert tuple(row) in drawn
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert pixels(figure).std() > 0


@pytest.mark.parametrize("factor", [1, 2])
def test_a_transpose_report_shows_the_errors_and_the_tolerance(factor):
    report = jnn.verify.transpose_test(
        jnp.sin, np.linspace(-1, 1, 5), vjp=lambda x, u: factor * jnp.cos(x) * u
    )
    figure = report.plot()
    points, tolerance = figure.axes[0].lines
    low, high = figure.axes[0].get_ylim()
    shown = np.maximum(report.error, 2.0**-56)
    np.testing.assert_array_equal(points.get_ydata(), shown)
    assert tolerance.get_ydata()[0] == report.tolerance
    assert low < shown.min()
    assert high > max(shown.max(), report.tolerance)
    assert f"transpose_test: {report.verdict}" in texts(figure)


def measure(label, unit, hand, autodiff):
    return SimpleNamespace(label=label, unit=unit, hand=hand, autodiff=autodiff)


def test_a_comparison_has_two_bars_a_measure():
    record = SimpleNamespace(
        name="mlp",
        measures=[
            measure("time", "s", 3.2e-3, 6.4e-3),
            measure("memory", "B", 4096, 1024),
            measure("error", "ulp", 0.0, 0.5),
            measure("operations", "flop", 2e6, None),
            measure("nothing", "", 0, 0),
            measure("worst", "ulp", float("inf"), 2.0),
        ],
    )
    figure = plots.comparison(record)
    axes = figure.axes[0]
    hand, autodiff = ([bar.get_width() for bar in bars] for bars in axes.containers)
    assert hand == [0.5, 1, 0, 1, 0, 0]
    assert autodiff == [1, 0.25, 1, 0, 0, 0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["time", "memory", "error", "operations", "nothing", "worst"]
    shown = [text.get_text() for text in axes.texts]
    assert shown[:6] == ["3.2 ms", "4 KiB", "0 ulp", "2 Mflop", "0", "inf ulp"]
    assert shown[6:] == ["6.4 ms", "1 KiB", "0.5 ulp", "not known", "0", "2 ulp"]
    hatches = {bar.get_hatch() for bars in axes.containers for bar in bars}
    assert len(hatches) == 2, "the two can be told apart in grey"
    assert pixels(figure).std() > 0


def test_a_check_shows_every_suite():
    report = SimpleNamespace(
        rule="tanh", ok=False, findings=("one", "two"),
        worst={"agreement": 1e-15, "types": 0.0, "extremes": float("inf")},
    )  # fmt: skip
    figure = plots.check(report)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["agreement", "types", "extremes"]
    assert texts(figure) == "tanh: 2 findings 1.0e-15 0 inf"
    assert pixels(figure).std() > 0
    nothing = SimpleNamespace(rule="tanh", ok=True, findings=(), worst={})
    assert pixels(plots.check(nothing)).std() > 0


def test_curves_lie_in_one_panel_or_in_one_for_each_quantity():
    losses = np.geomspace(10, 0.01, 30)
    one: Any = plots.history({"train": losses, "test": losses + 1})
    assert len(one.axes) == 1
    assert [text.get_text() for text in one.axes[0].get_legend().get_texts()] == ["train", "test"]
    two = plots.history({"loss": {"train": losses}, "accuracy": 1 - losses / 10}, step="step")
    assert [axes.get_ylabel() for axes in two.axes] == ["loss", "accuracy"]
    assert [axes.get_yscale() for axes in two.axes] == ["log", "linear"]
    assert {axes.get_xlabel() for axes in two.axes} == {"step"}
    (line,) = two.axes[0].lines
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 31))
    np.testing.assert_array_equal(line.get_ydata(), losses)
    many = plots.history({str(i): losses + i for i in range(7)})
    styles = {(line.get_color(), line.get_marker()) for line in many.axes[0].lines}
    assert len(styles) == 7
    for bad in ({"loss": []}, {"loss": [np.nan, 1.0, 2.0]}):
        assert pixels(plots.history(bad)).std() > 0
    with pytest.raises(ValueError, match="at least one curve"):
        plots.history({})


def test_deltas_show_root_mean_squares_from_the_input_down(random):
    deltas = {
        "input": 1e-3 * random.normal(size=(5, 4)),
        "0.dense": np.where(np.arange(20) % 2, 0, 0.1),
        "1.relu": np.zeros(3),
        "2.dense": np.ones((2, 2)),
    }
    figure = plots.deltas(deltas)
    axes: Any = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(deltas)
    assert axes.yaxis_inverted()
    (means,) = axes.lines
    expected = [np.sqrt(np.mean(d**2)) for d in deltas.values()]
    expected[2] = np.nan  # Nothing on a logarithmic axis.
    np.testing.assert_allclose(means.get_xdata(), expected)
    (spans,) = axes.collections
    segments = spans.get_segments()
    low, high = np.quantile(np.abs(deltas["input"]), [0.1, 0.9])
    np.testing.assert_allclose(segments[0], [[low, 0], [high, 0]])
    np.testing.assert_allclose(segments[1], [[0.1, 1], [0.1, 1]])
    assert not len(segments[2])
    assert pixels(figure).std() > 0
    with pytest.raises(ValueError, match="at least one layer"):
        plots.deltas({})


def test_pictures_can_be_parts_of_one(tmp_path):
    whole = plots.figure(9, 4)
    left, right = np.asarray(whole.subfigures(1, 2))
    assert plots.history({"loss": [3.0, 2.0]}, figure=left) is left
    record = SimpleNamespace(name="f", measures=[measure("time", "s", 1.0, 2.0)])
    assert plots.comparison(record, tmp_path / "both.svg", figure=right) is right
    assert "<svg" in (tmp_path / "both.svg").read_text(encoding="utf-8")
    assert pixels(whole).std() > 0


def test_no_global_state_is_touched():
    code = """
import sys, matplotlib
before = matplotlib.rcParams.copy()
from jnn import plots
plots.history({"loss": [3.0, 2.0]})
assert matplotlib.rcParams.copy() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_missing_matplotlib_names_the_extra():
    code = """
import sys
sys.modules["matplotlib"] = None
import jnn, jax.numpy as jnp
report = jnn.verify.gradient_test(jnp.sin, 1.0)
try:
    report.plot()
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == 'jnn.plots needs matplotlib: pip install "jnn[examples]"'
