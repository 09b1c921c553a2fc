"""Residual networks of the published kinds, and VGG with norms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn import models
from tests.draw import parameters

WIDTHS = (64, 128, 256, 512)


def images(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_resnet_18_and_50_have_their_published_parameters_and_images():
    x = images(1, 224, 224, 3)
    small = jnn.summary(models.resnet(1000, widths=WIDTHS, norm="batch", stem=7), x)
    assert small.parameters == 11_689_512
    sizes = [row.output.shape[1] for row in small.rows if len(row.output.shape) == 4]
    assert [n for i, n in enumerate(sizes) if n != sizes[i - 1]] == [112, 56, 28, 14, 7]

    def count(net):
        params, _ = jax.eval_shape(lambda: net.init(jax.random.key(0), x))
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    assert count(models.resnet(1000, widths=WIDTHS, steps=(3, 4, 6, 3), norm="batch", stem=7,
                               block="bottleneck")) == 25_557_032  # fmt: skip


def test_vgg_16_with_batch_norm_has_its_published_parameters():
    net = models.vgg(
        1000, blocks=((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), hidden=(4096, 4096),
        norm="batch",
    )  # fmt: skip
    params, state = jax.eval_shape(lambda: net.init(jax.random.key(0), images(1, 224, 224, 3)))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 138_365_992
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) == 2 * 4224


def test_the_small_network_of_before_is_what_it_was():
    net = models.resnet(widths=(8, 16), steps=1)
    assert str(net.spec.layers[0]) == "conv(8, 3, padding='same', activation='relu')"
    assert [one.spec.name for one in net.spec.layers] == [
        "conv", "parallel", "parallel", "parallel", "global_mean_pool", "dense"
    ]  # fmt: skip
    assert jnn.summary(net, images(1, 32, 32, 3)).parameters == 7474


def test_norms_stand_in_front_or_behind():
    def row(net):
        return [one.spec.name for one in net.spec.layers]

    settings = {"widths": (8, 16), "steps": 1}
    behind = models.resnet(norm="batch", **settings).spec.layers
    assert [one.spec.name for one in behind[:5]] == ["conv", "batch_norm", "relu", "skip", "relu"]
    assert row(behind[3].spec["inner"]) == ["conv", "batch_norm", "relu", "conv", "batch_norm"]
    assert row(behind[5].spec["project"]) == ["conv", "batch_norm"]
    front = models.resnet(norm=jnn.group_norm(2), order="before", **settings).spec.layers
    assert [one.spec.name for one in front] == [
        "conv", "skip", "group_norm", "relu", "skip", "group_norm", "relu", "global_mean_pool",
        "dense",
    ]  # fmt: skip
    assert row(front[1].spec["inner"]) == ["group_norm", "relu", "conv"] * 2
    assert row(front[4].spec["inner"]) == ["conv", "group_norm", "relu", "conv"]
    deep = models.resnet(block="bottleneck", steps=1).spec.layers[2].spec["inner"]
    assert [one.spec["n"] for one in deep.spec.layers if one.spec.name == "conv"] == [16, 16, 64]
    assert deep.spec.layers[0].spec["bias"]  # No norm has a shift for it.


def test_a_step_of_training_is_that_of_autodiff_and_moves_the_statistics(random):
    x = jnp.asarray(random.normal(size=(4, 6, 6, 3)), jnp.float32)
    net = models.resnet(3, widths=(4, 6), steps=1, norm="batch", order="before")
    params, state = net.init(jax.random.key(0), x)
    params = jax.tree.map(lambda p: p + 0.1, params)

    def loss(params):
        y, new = net.apply(params, state, x, train=True)
        return jnn.softmax_cross_entropy(y, jnp.array([2, 0, 1, 1])).mean(), new

    (hand, ours), (auto, theirs) = jax.jit(
        lambda p: (jax.grad(loss, has_aux=True)(p), jax.grad(jnn.autodiff(loss), has_aux=True)(p))
    )(params)
    for a, b in zip(jax.tree.leaves((hand, ours)), jax.tree.leaves((auto, theirs)), strict=True):
        scale = float(jnp.abs(b).max())
        assert scale > 0
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * scale)
    assert jax.tree.structure(ours) == jax.tree.structure(state)


def test_what_does_not_fit_is_told():
    with pytest.raises(ValueError, match=r"`block` must be 'basic' or 'bottleneck' with a norm"):
        models.resnet(block="step", norm="batch")
    with pytest.raises(ValueError, match=r"one for each of 3 widths, got \[1, 2\]"):
        models.resnet(steps=[1, 2])
    with pytest.raises(ValueError, match=r"`stem` must be one of 3, 7"):
        models.resnet(stem=5)
    with pytest.raises(ValueError, match=r"vgg: `norm` must be one of 'batch', 'group'"):
        models.vgg(norm="layer")
    with pytest.raises(ValueError, match=r"a network by jnn.models.resnet\(..., norm='batch'\)"):
        models.torchvision_names(models.resnet())


def test_a_group_has_two_maps_at_least():
    net = models.resnet(widths=(4, 128), steps=1, norm="group")
    groups = [
        one.spec["groups"]
        for one in (net.spec.layers[1], net.spec.layers[5].spec["inner"].spec.layers[1])
    ]
    assert groups == [2, 32]
    assert parameters(net, images(1, 8, 8, 3))
