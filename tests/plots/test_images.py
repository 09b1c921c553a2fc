"""Pictures of images, filters, feature maps and gradients in pixels."""

from typing import Any

import numpy as np
import pytest

from tests.plots.drawn import pixels, plots


def drawn(figure: Any) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def test_images_lie_row_by_row_on_one_scale(random):
    x = random.random((5, 4, 3, 1))
    figure: Any = plots.images(x, titles="abcde", columns=3, label="grey value")
    for shown, image in zip(drawn(figure), x[..., 0], strict=True):
        np.testing.assert_array_equal(shown, image)
    assert len({axes.images[0].get_clim() for axes in figure.axes if axes.images}) == 1
    assert [axes.get_title() for axes in figure.axes[:5]] == list("abcde")
    assert figure.axes[-1].get_ylabel() == "grey value"
    assert pixels(figure).std() > 0
    colours: Any = plots.images(random.random((2, 4, 3, 3)))
    assert drawn(colours)[0].shape == (4, 3, 3)
    for bad in (np.zeros((0, 4, 4)), np.zeros((4, 4)), np.zeros((2, 4, 4, 2))):
        with pytest.raises(ValueError, match="one image or more"):
            plots.images(bad)


def test_filters_have_a_column_an_output_and_zero_in_the_middle(random):
    w = random.normal(size=(3, 3, 2, 4)) + 1
    figure: Any = plots.filters(w)
    shown = drawn(figure)
    assert len(shown) == 8
    np.testing.assert_array_equal(shown[5], w[:, :, 1, 1])
    low, high = figure.axes[0].images[0].get_clim()
    assert high == -low == np.abs(w).max()
    with pytest.raises(ValueError, match="height, width, inputs, outputs"):
        plots.filters(w[0])


def test_feature_maps_have_a_row_a_layer_on_its_own_scale(random):
    maps = {"image": random.random((6, 6, 1)), "conv": 9 * random.normal(size=(4, 4, 5))}
    figure: Any = plots.feature_maps(maps, most=3)
    shown = drawn(figure)
    assert len(shown) == 4
    np.testing.assert_array_equal(shown[2], maps["conv"][..., 1])
    limits = [axes.images[0].get_clim() for axes in figure.axes]
    assert limits[1] == limits[3] != limits[0]
    assert limits[1][0] == -limits[1][1], "signed: zero is the middle"
    assert pixels(figure).std() > 0
    with pytest.raises(ValueError, match="at least one layer"):
        plots.feature_maps({})


def test_saliency_puts_each_gradient_below_its_image(random):
    x, gradient = random.random((2, 3, 5, 5, 1))
    figure: Any = plots.saliency(x, gradient, titles=["4", "9", "2"])
    shown = drawn(figure)
    np.testing.assert_array_equal(shown[0], x[0, ..., 0])
    np.testing.assert_array_equal(shown[3], gradient[1, ..., 0])
    assert pixels(figure).std() > 0
    with pytest.raises(ValueError, match="gradients"):
        plots.saliency(x, gradient[:2])
