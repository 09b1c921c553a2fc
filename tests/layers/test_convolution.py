"""Convolutions, pooling and radial functions as layers: shapes, fans, tables, whole networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules import Connections
from tests.draw import parameters
from tests.golden import golden

IMAGES = jax.ShapeDtypeStruct((2, 12, 12, 4), jnp.float32)
TABLE = Connections.of([[0, 1], [1, 2, 3], [3]], maps=4)


@pytest.mark.parametrize(
    ("net", "params", "output"),
    [
        (jnn.conv(6, 3), [(3, 3, 4, 6), (6,)], (2, 10, 10, 6)),
        (jnn.conv(6, (1, 3), padding="same", bias=False), [(1, 3, 4, 6)], (2, 12, 12, 6)),
        (jnn.conv(6, 3, groups=2, stride=3, rest="drop"), [(3, 3, 2, 6), (6,)], (2, 4, 4, 6)),
        (jnn.conv(3, 3, connections=TABLE), [(3, 3, 6), (3,)], (2, 10, 10, 3)),
        (jnn.conv(3, 3, connections=TABLE, shared=True), [(3, 3, 1, 3), (3,)], (2, 10, 10, 3)),
        (jnn.depthwise_conv(3, multiplier=2), [(3, 3, 1, 8), (8,)], (2, 10, 10, 8)),
        (jnn.separable_conv(6, 3), [(3, 3, 1, 4), (1, 1, 4, 6), (6,)], (2, 10, 10, 6)),
        (jnn.conv_transpose(6, 2, stride=2), [(2, 2, 6, 4), (6,)], (2, 24, 24, 6)),
        (jnn.conv_transpose(6, 3, groups=2), [(3, 3, 3, 4), (6,)], (2, 14, 14, 6)),
        (jnn.max_pool(3, stride=2, padding="same"), [], (2, 6, 6, 4)),
        (jnn.mean_pool((2, 3)), [], (2, 6, 4, 4)),
        (jnn.global_max_pool(), [], (2, 4)),
        (jnn.global_mean_pool(), [], (2, 4)),
        (jnn.subsample(5), [], (2, 3, 3, 4)),
        (jnn.weighted_subsample(2), [(4,), (4,)], (2, 6, 6, 4)),
        (jnn.weighted_subsample(2, connections=TABLE), [(3,), (3,)], (2, 6, 6, 3)),
        (jnn.weighted_subsample(2, 3, connections=TABLE, bias=False), [(4, 3)], (2, 6, 6, 3)),
        (jnn.radial(5), [(5, 4), (5,)], (2, 12, 12, 5)),
        (jnn.dense(3, connections=TABLE), [(4, 3), (3,)], (2, 12, 12, 3)),
    ],
    ids=repr,
)
def test_shapes_of_parameters_and_outputs(net, params, output):
    made, state = jax.eval_shape(net.init, jax.random.key(0), IMAGES)
    assert [p.shape for p in jax.tree.leaves(made)] == params
    y, _ = jax.eval_shape(net.apply, made, state, IMAGES)
    assert y.shape == output
    assert y.dtype == jnp.float32


@pytest.mark.parametrize("dimensions", [1, 3])
def test_lines_and_volumes(dimensions):
    net = jnn.serial(jnn.conv(3, 3), jnn.max_pool(2), jnn.conv_transpose(2, 2), jnn.mean_pool(2))
    x = jax.ShapeDtypeStruct((2, *[10] * dimensions, 1), jnp.float32)
    params, _ = jax.eval_shape(net.init, jax.random.key(0), x)
    assert jax.eval_shape(net, params, x).shape == (2, *[2] * dimensions, 2)


@pytest.mark.parametrize(
    ("net", "fan"),
    [
        (jnn.conv(200, 3, weights=jnn.initialisers.lecun_normal), 9 * 4),
        (jnn.conv(200, 3, groups=2, weights=jnn.initialisers.lecun_normal), 9 * 2),
        (jnn.depthwise_conv(5, multiplier=50, weights=jnn.initialisers.lecun_normal), 25),
        (jnn.conv(3, 15, connections=TABLE, weights=jnn.initialisers.lecun_normal), 225 * 2),
    ],
    ids=repr,
)
def test_filters_are_drawn_by_the_maps_that_they_read(net, fan):
    params, _ = net.init(jax.random.key(0), jax.ShapeDtypeStruct((1, 15, 15, 4), jnp.float32))
    assert params.w.var() * fan == pytest.approx(1, abs=0.15)


def test_kernels_of_several_sizes_stand_side_by_side(random):
    """Remark 3: as one kernel of the largest size whose smaller filters are padded with zeros."""
    small, large = jnn.conv(2, 3, padding="same"), jnn.conv(3, 5, padding="same")
    both = jnn.parallel(small, large, combine="concatenate")
    x = jnp.asarray(random.normal(size=(2, 6, 6, 4)), jnp.float32)
    params = parameters(both, x)
    padded = jnp.pad(params[0].w, ((1, 1), (1, 1), (0, 0), (0, 0)))
    one = jnp.concatenate([padded, params[1].w], -1), jnp.concatenate([params[0].b, params[1].b])
    np.testing.assert_allclose(
        both(params, x), jnn.rules.conv(x, *one, padding="same"), rtol=1e-4, atol=1e-4
    )


def test_subsampling_begins_as_a_mean(random):
    x = jnp.asarray(random.normal(size=(1, 4, 4, 4)), jnp.float32)
    net = jnn.weighted_subsample(2)
    params, _ = net.init(jax.random.key(0), x)
    np.testing.assert_allclose(net(params, x), jnn.mean_pool(2)((), x), rtol=1e-5, atol=1e-6)


def test_weights_outside_a_table_do_nothing(random):
    net = jnn.dense(3, connections=TABLE)
    x = jnp.asarray(random.normal(size=(2, 4)), jnp.float32)
    params = parameters(net, x)
    gradient = jax.grad(lambda p: (net(p, x) ** 2).sum())(params)
    np.testing.assert_array_equal(np.asarray(gradient.w) != 0, TABLE.table)


def test_flatten_is_the_bijection_of_delmas(random):
    """D-41: I = o_v o_h i + o_h j + k counts maps first; ours, channels last, counts them last."""
    maps, height, width = 3, 2, 4
    x = random.normal(size=(1, height, width, maps))
    flat = np.asarray(jnn.flatten()((), jnp.asarray(x)))[0]
    for i, j, k in np.ndindex(maps, height, width):
        assert flat[(j * width + k) * maps + i] == np.float32(x[0, j, k, i])
    by_maps = np.asarray(jnn.flatten()((), jnp.asarray(np.moveaxis(x, -1, 1))))[0]
    for i, j, k in np.ndindex(maps, height, width):
        assert by_maps[height * width * i + width * j + k] == np.float32(x[0, j, k, i])  # D-41


def test_the_network_of_delmas():
    """D-38..47: convolution with strides, flatten, dense; every delta and gradient."""
    case = golden("NET-D38-47")
    inputs, outputs = case["inputs"], case["outputs"]
    with jax.enable_x64(True):
        x = jnp.asarray(np.moveaxis(inputs["x"], 0, -1)[None])
        net = jnn.serial(
            jnn.conv(2, (2, 2), stride=tuple(map(int, inputs["stride"]))), jnn.tanh(),
            jnn.flatten(), jnn.dense(2), jnn.tanh(),
        )  # fmt: skip
        filters = np.moveaxis(inputs["f"], (0, 1), (-1, -2))
        # The document flattens maps first, D-41; channels last, its columns are in another order.
        p0 = outputs["p0"]
        order = np.moveaxis(np.arange(p0.size).reshape(p0.shape), 0, -1).ravel()
        params = jax.tree.map(jnp.asarray, (
            jnn.layers.ConvParams(filters, inputs["b_conv"]), (), (),
            jnn.layers.DenseParams(inputs["W"][:, order].T, inputs["b_dense"]), (),
        ))  # fmt: skip
        t = jnp.asarray(inputs["t"][None])

        def mean_of_outputs(prediction, t):  # D-19 divides by the number of outputs.
            return jnn.half_squared_error(prediction, t) / t.shape[-1]

        def loss(params, x):
            return mean_of_outputs(net(params, x), t).sum()

        value, grads = jax.value_and_grad(loss)(params, x)
        deltas = jnn.deltas(net, params, x, t, loss=mean_of_outputs)

    def close(ours, theirs):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-14)

    close(value, outputs["loss"])
    close(np.moveaxis(np.asarray(deltas["0.conv"])[0], -1, 0), outputs["Xi"])  # D-45, D-46
    close(np.asarray(deltas["3.dense"])[0], outputs["delta_dense"])
    close(np.moveaxis(np.asarray(grads[0].w), (-1, -2), (0, 1)), outputs["df"])  # D-47
    close(grads[0].b, outputs["db_conv"])
    close(np.asarray(grads[3].w).T, outputs["dW"][:, order])
    close(grads[3].b, outputs["db_dense"])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: jnn.conv(0, 3), "conv: `n` must be a positive integer, got 0"),
        (lambda: jnn.conv(4, 3, connections=TABLE), "conv: `connections` must be a table to 4"),
        (lambda: jnn.conv(3, 3, shared=True), "conv: `connections` must be a table where"),
        (lambda: jnn.max_pool(2, ties="last"), "max_pool: `ties` must be one of"),
        (lambda: jnn.radial(2, kernel="gauss"), "radial: `kernel` must be one of"),
        (lambda: jnn.dense(4, connections=TABLE), "dense: `connections` must be a table to 4"),
        (lambda: jnn.conv(6, 3, groups=5).init(jax.random.key(0), IMAGES), "a divisor of the 4"),
    ],
)
def test_what_does_not_fit_says_so(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
