"""LeNet-5, VGG, residual and radial networks: shapes of the documents, counts, learning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn import models
from tests.draw import parameters


def images(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def shapes(net, x):
    """The output of each layer."""
    return [row.output.shape for row in jnn.summary(net, x).rows]


def test_lenet5_has_the_parameters_of_its_paper():
    """Table by table: C1 156, S2 12, C3 1516, S4 32, C5 48120, F6 10164, and a dense output."""
    summary = jnn.summary(models.lenet5(), images(2, 28, 28, 1))
    assert [row.parameters for row in summary.rows if row.parameters] == [
        156, 12, 1516, 32, 48120, 10164, 850
    ]  # fmt: skip
    assert [row.output.shape[1:] for row in summary.rows[:5]] == [
        (28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (1, 1, 120)
    ]  # fmt: skip


def test_vgg_halves_its_images():
    """X-137..142: 224 -> 224 -> 112 and on to 7; 138 357 544 parameters of VGG-16."""
    net = models.vgg(
        1000, blocks=((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), hidden=(4096, 4096)
    )
    sizes = [shape[1] for shape in shapes(net, images(1, 224, 224, 3)) if len(shape) == 4]
    assert sizes[:11] == [224] * 4 + [112] * 5 + [56] * 2  # Two rectified convolutions, pooled.
    assert sizes[-1] == 7
    assert jnn.summary(net, images(1, 224, 224, 3)).parameters == 138_357_544


def test_a_step_of_the_residual_network_is_that_of_the_documents(random):
    """On one pixel a 3 x 3 convolution that keeps the size is a matrix: its middle."""
    x = jnp.asarray(random.normal(size=(3, 1, 1, 4)), jnp.float32)
    net = models.resnet(widths=(4, 6), steps=1, activation="tanh")
    params = parameters(net, x)
    _, step, projection, *_ = net.spec.layers
    _, ((), (first, second)), (beside, inner), *_ = params
    flat = x.reshape(3, 4)
    np.testing.assert_allclose(  # T-22
        step(((), (first, second)), x).reshape(3, 4),
        jnn.rules.residual(flat, first.w[1, 1], first.b, second.w[1, 1]), rtol=1e-4,
    )  # fmt: skip
    np.testing.assert_allclose(  # T-23
        projection((beside, inner), x).reshape(3, 6),
        jnn.rules.residual_projection(flat, inner.w[1, 1], inner.b, beside.w[0, 0]), rtol=1e-4,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "size"),
    [(models.lenet5(), (28, 28, 1)), (models.resnet(widths=(4, 8), steps=1), (8, 8, 3))],
    ids=["lenet5", "resnet"],
)
def test_gradients_of_whole_networks_equal_autodiff(net, size, random):
    x = jnp.asarray(random.normal(size=(2, *size)), jnp.float32)
    params = jax.tree.map(lambda p: p / np.sqrt(max(p[..., 0].size, 1)), parameters(net, x))

    def loss(params):
        return jnn.softmax_cross_entropy(net(params, x), jnp.array([3, 1])).mean()

    hand, auto = jax.jit(lambda p: (jax.grad(loss)(p), jax.grad(jnn.autodiff(loss))(p)))(params)
    for ours, theirs in zip(jax.tree.leaves(hand), jax.tree.leaves(auto), strict=True):
        scale = float(jnp.abs(theirs).max())
        assert scale > 0
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * scale)


def test_a_radial_network_separates_two_moons():
    """Centres by k-means; of the linear output NumPy finds the least squares."""
    points = jnn.data.two_moons(400, noise=0.1, seed=0)
    x, net = jnp.asarray(points.x, jnp.float32), models.rbf_network(24, 2)
    params = models.centred(net, parameters(net, x), jax.random.key(0), x)
    features = np.asarray(net.spec.layers[0](params[0], x))
    design = np.concatenate([features, np.ones((len(x), 1))], axis=1)
    solution = np.linalg.lstsq(design, np.eye(2)[points.y], rcond=None)[0]
    output = jnn.layers.DenseParams(*map(jnp.float32, (solution[:-1], solution[-1])))
    accuracy = (net((params[0], output), x).argmax(-1) == points.y).mean()
    assert accuracy > 0.98
    with pytest.raises(ValueError, match="a network that begins with `radial`"):
        models.centred(models.mlp([2]), params, jax.random.key(0), x)
