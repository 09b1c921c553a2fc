"""Pictures of curves, deltas, paths and regions of stability."""

from typing import Any

import numpy as np
import pytest

from tests.plots.drawn import pixels, plots


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


def test_a_path_lies_on_the_map_of_its_function():
    points = np.array([[1.0, 1.0], [0.2, -0.1], [0.0, 0.0]])
    figure: Any = plots.descent_path(lambda x: (x**2).sum(-1), points)
    way, start, end = figure.axes[0].lines
    np.testing.assert_array_equal(way.get_xydata(), points)
    assert [*start.get_xydata()[0], *end.get_xydata()[0]] == [1, 1, 0, 0]
    for (low, high), coordinates in zip(
        (figure.axes[0].get_xlim(), figure.axes[0].get_ylim()), points.T, strict=True
    ):
        assert low < coordinates.min()
        assert high > coordinates.max()
    assert pixels(figure).std() > 0
    with pytest.raises(ValueError, match="of shape"):
        plots.descent_path(lambda x: x, np.zeros((3, 4)))


def test_ways_start_together_and_end_where_they_leave_all_bounds():
    ways = {
        "falls": [[1.0, 1.0], [0.5, 0.2]],
        "flies": [[1.0, 1.0], [-2.0, 2.0], [1e9, 0.0], [np.nan, 0.0]],
    }
    figure: Any = plots.paths(lambda x: (x**2).sum(-1), ways, low=(-2, -2), high=(2, 2))
    axes = figure.axes[0]
    falls, flies, start = axes.lines
    np.testing.assert_array_equal(falls.get_xydata(), ways["falls"])
    np.testing.assert_array_equal(flies.get_xydata(), ways["flies"][:2])
    np.testing.assert_array_equal(start.get_xydata(), [[1, 1]])
    assert axes.get_xlim() == axes.get_ylim() == (-2, 2)
    assert pixels(figure).std() > 0


def test_a_region_of_stability_is_bordered_where_errors_keep_their_size():
    methods = {"Euler": lambda z: abs(1 + z), "never": lambda z: 1.5 + abs(z)}
    figure: Any = plots.stability(methods)
    axes = figure.axes[0]
    border = axes.collections[1].get_paths()[0].vertices
    np.testing.assert_allclose(np.hypot(border[:, 0] + 1, border[:, 1]), 1, atol=1e-3)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["Euler", "never: nowhere"]
    assert pixels(figure).std() > 0


def test_curves_lie_over_their_places(random):
    values = random.random((2, 5))
    figure: Any = plots.curves(
        2.0 ** np.arange(5), {"a": values[0], "b": values[1, :3]}, x_label="units",
        y_label="error", log="x", title="Two",
    )  # fmt: skip
    axes = figure.axes[0]
    a, b = axes.lines
    np.testing.assert_array_equal(a.get_xydata(), np.stack([2.0 ** np.arange(5), values[0]], 1))
    assert b.get_xdata().tolist() == [1, 2, 4]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("units", "error")
    assert pixels(figure).std() > 0


def test_a_profile_rises_where_a_multiple_of_the_least_cost_solves_a_problem():
    costs = {"a": [10, 20, 7, None], "b": [30, None, 7, None]}
    ratios = plots.cost_ratios(costs)
    np.testing.assert_array_equal(ratios["a"], [1, 1, 1, np.inf])
    np.testing.assert_array_equal(ratios["b"], [3, np.inf, 1, np.inf])
    figure: Any = plots.performance_profile(costs, most=10)
    first, second = figure.axes[0].lines
    assert first.get_ydata()[-1] == 0.75
    at = dict(zip(second.get_xdata(), second.get_ydata(), strict=True))
    assert at == {1: 0.25, 3: 0.5, 10: 0.5}
    with pytest.raises(ValueError, match="as many costs"):
        plots.cost_ratios({"a": [1], "b": [1, 2]})
