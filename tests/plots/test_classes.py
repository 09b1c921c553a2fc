"""Pictures of decision boundaries, confusion matrices and L-curves."""

from typing import Any

import numpy as np
import pytest

from tests.plots.drawn import pixels, plots


def test_a_boundary_runs_where_the_probabilities_are_equal(random):
    x, y = random.normal(size=(40, 2)), np.arange(40) % 2

    def diagonal(points):
        return 1 / (1 + np.exp(-4 * (points[:, 0] - points[:, 1])))

    figure: Any = plots.decision_boundary(diagonal, x, y, names=["cat", "dog"], title="two")
    axes = figure.axes[0]
    _, lines = axes.collections
    _, half, _ = lines.get_paths()
    np.testing.assert_allclose(half.vertices[:, 0], half.vertices[:, 1], atol=1e-2)
    for k, drawn in enumerate(axes.lines):
        np.testing.assert_array_equal(drawn.get_xydata(), x[y == k])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["cat", "dog"]
    assert pixels(figure).std() > 0
    three = plots.decision_boundary(lambda p: np.stack([*p.T, -p.sum(1)], 1), x, np.arange(40) % 3)
    assert len(three.axes[0].lines) == 3
    assert pixels(three).std() > 0
    with pytest.raises(ValueError, match=r"of shape \(m, 2\) and \(m,\)"):
        plots.decision_boundary(diagonal, x, y[:3])
    with pytest.raises(ValueError, match="at most 7 classes, got 8"):
        plots.decision_boundary(lambda p: np.zeros((len(p), 8)), x, y)


def test_a_confusion_matrix_counts(random):
    y, predicted = random.integers(0, 4, 50), random.integers(0, 3, 50)
    figure: Any = plots.confusion_matrix(y, predicted)
    axes = figure.axes[0]
    found = np.zeros((4, 4))
    for text in axes.texts:
        j, i = text.get_position()
        found[i, j] = int(text.get_text())
    expected = np.zeros((4, 4))
    for a, b in zip(y, predicted, strict=True):
        expected[a, b] += 1
    np.testing.assert_array_equal(found, expected)
    assert axes.get_ylabel() == "class"
    assert pixels(figure).std() > 0
    with pytest.raises(ValueError, match="numbers of classes"):
        plots.confusion_matrix([0.5], [0.5])


def test_an_l_curve_marks_its_elbow():
    curves = {"training": [4.0, 1.0, 0.8], "test": [4.0, 1.2, 2.0]}
    figure: Any = plots.l_curve([1, 2, 3], curves, elbow=1, levels={"oracle": 0.5})
    train, test, oracle, ring = figure.axes[0].lines
    np.testing.assert_array_equal(train.get_ydata(), curves["training"])
    np.testing.assert_array_equal(test.get_ydata(), curves["test"])
    assert set(oracle.get_ydata()) == {0.5}
    assert [*ring.get_xydata()[0]] == [2, 1.0]
    assert {text.get_text() for text in figure.axes[0].texts} == {"oracle", "elbow: 2"}
    assert pixels(figure).std() > 0
    with pytest.raises(ValueError, match=r"curves of shape \(2,\)"):
        plots.l_curve([1, 2], curves)
