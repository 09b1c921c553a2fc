"""Classical image filters as convolutions (T §5)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import correlate

import jnn
from jnn.layers import IMAGE_FILTERS, image_filter

AVERAGES = {"box_blur", "gaussian_blur", "motion_blur"}
CONTOURS = {"edges_x", "edges_y", "laplace", "outline"}


@pytest.mark.parametrize("name", IMAGE_FILTERS)
def test_a_filter_is_the_correlation_of_each_channel(name, random):
    x = random.random((2, 7, 6, 3)).astype(np.float32)
    kernel = IMAGE_FILTERS[name]
    ours = image_filter(name)((), x)
    for image, channel in np.ndindex(2, 3):
        theirs = correlate(x[image, ..., channel], kernel, mode="constant")
        np.testing.assert_allclose(ours[image, ..., channel], theirs, atol=2e-6)
    assert kernel.sum() == pytest.approx(0 if name in CONTOURS else 1)


def test_averages_weigh_and_contours_see_no_plain_area():
    assert all((IMAGE_FILTERS[name] >= 0).all() for name in AVERAGES)
    plain = jnp.full((1, 9, 9, 1), 0.7)
    for name in IMAGE_FILTERS:
        inside = image_filter(name, padding="valid")((), plain)
        np.testing.assert_allclose(inside, 0 if name in CONTOURS else 0.7, atol=1e-6)


def test_the_gradient_is_the_filter_turned_round(random):
    x, delta = random.random((2, 1, 6, 6, 1)).astype(np.float32)
    net = image_filter("emboss")
    (dx,) = jax.vjp(lambda x: net((), x), x)[1](delta)
    turned = correlate(delta[0, ..., 0], IMAGE_FILTERS["emboss"][::-1, ::-1], mode="constant")
    np.testing.assert_allclose(dx[0, ..., 0], turned, atol=1e-5)


def test_a_filter_of_ones_own_stands_among_layers():
    net = jnn.serial(image_filter(np.ones((2, 2)), padding="valid"), jnn.flatten(), jnn.dense(1))
    params, _ = net.init(jax.random.key(0), jnp.ones((1, 3, 3, 1)))
    assert jax.tree.map(jnp.shape, params)[2].w == (4, 1)
    with pytest.raises(ValueError, match="'edges_z'"):
        image_filter("edges_z")
    with pytest.raises(ValueError, match="image_filter: `x`"):
        image_filter("emboss")((), jnp.ones((3, 3)))
