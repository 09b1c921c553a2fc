"""Pictures of the tests of derivatives, of checks and of comparisons."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from tests.plots.drawn import measure, pixels, plots, texts


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
    assert shown[:6] == ["3.2 ms", "4.0 KiB", "0 ulp", "2,000,000", "0", "inf ulp"]
    assert shown[6:] == ["6.4 ms", "1.0 KiB", "0.5 ulp", "?", "0", "2 ulp"]
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
