"""Convolution against the documents' numbers, SciPy, an explicit matrix, and its error messages."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

import jnn
from jnn.rules import Connections, affine, conv, conv_transpose, convolution_matrix, toeplitz
from jnn.rules.convolution import linked
from tests.golden import golden


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def close(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-12, atol=1e-13)


def image(y):
    """A document's (maps, height, width) as a batch of one, channels last."""
    return jnp.asarray(np.moveaxis(np.asarray(y, float), 0, -1)[None])


def maps(x):
    """The reverse."""
    return np.moveaxis(np.asarray(x)[0], -1, 0)


def flops(function, *args):
    """The compiler's count of operations."""
    return (jax.jit(function).lower(*args).compile().cost_analysis() or {})["flops"]


@pytest.mark.parametrize("case", range(4))
@pytest.mark.parametrize("kind", ["cross", "single"])
def test_golden_connection_tables(kind, case):
    """H-60..81, Tables 5: one kernel a link, and one a map; H-80 sums over D_i, not C_i."""
    inputs, outputs = (golden(f"CONV-{kind}-{case}")[part] for part in ("inputs", "outputs"))
    table = Connections.of([np.atleast_1d(d) for d in inputs["D"]], len(inputs["Y"]))
    into, out = table.indices()

    def ours(w):  # the document's (output, input, *window) or (output, *window)
        kernels = w[out, into] if kind == "cross" else w[:, None]
        return jnp.asarray(np.moveaxis(kernels, (0, 1), (-1, -2))[..., 0, :] if kind == "single"
                           else np.moveaxis(kernels, 0, -1))  # fmt: skip

    w = ours(inputs["W"])
    w = w[..., None, :] if kind == "single" else w
    settings = {"stride": tuple(inputs["stride"].tolist()), "rest": "drop", "connections": table}
    z, pull = jax.vjp(lambda *args: conv(*args, **settings), image(inputs["Y"]), w, inputs["b"])
    dy, dw, db = pull(image(inputs["g"]))
    close(maps(z), outputs["Z"])
    close(maps(dy), outputs["dY"])
    close(dw, ours(outputs["dW"]).reshape(dw.shape))
    close(db, outputs["db"])


def test_the_printed_sum_of_h80_runs_over_the_wrong_maps():
    """H-80 and Table 5 print C_i, the maps fed by i, where D_i, the maps read by i, is right."""
    inputs, outputs = (golden("CONV-single-0")[part] for part in ("inputs", "outputs"))
    y, g, (high, wide) = inputs["Y"], inputs["g"], inputs["W"].shape[1:]

    def summed(sets):
        return np.array([
            sum(scipy.signal.correlate2d(y[j], g[i], "valid") for j in sets[i]) for i in range(2)
        ])  # fmt: skip

    table = Connections.of([[0], [0, 1]], 2)
    assert summed(table.inputs).shape == (2, high, wide)
    close(summed(table.inputs), outputs["dW"])
    assert np.abs(summed(table.outputs) - outputs["dW"]).max() > 5


def test_a_stride_is_the_convolution_sub_sampled():
    """Remarks 4 and 5: computing only what is kept changes nothing, forward and backward."""
    inputs, outputs = (
        golden("CONV-stride-equals-subsample")[part] for part in ("inputs", "outputs")
    )
    x, w = image(inputs["Y"]), jnp.asarray(np.transpose(inputs["W"], (2, 3, 1, 0)))
    k = int(inputs["k"])

    def strided(*args):
        return conv(*args, stride=k, rest="drop")

    def composed(*args):
        return conv(*args)[:, ::k, ::k]

    for function in (strided, composed):
        z, pull = jax.vjp(function, x, w, inputs["b"])
        dx, dw, db = pull(image(inputs["g"]))
        close(maps(z), outputs["Z"])
        close(maps(dx), outputs["dY"])
        close(np.transpose(dw, (3, 2, 0, 1)), outputs["dW"])
        close(db, outputs["db"])
    assert flops(strided, x, w) < 0.35 * flops(composed, x, w)


def test_the_recursion_of_delmas_takes_the_strides_of_the_later_layer():
    """D-45 drops the superscripts: they are of layer l + 1."""
    inputs, outputs = (golden("XI-D45")[part] for part in ("inputs", "outputs"))
    f, b = np.transpose(inputs["f1"], (2, 3, 1, 0)), inputs["b1"]

    def network(z):
        p = conv(jnp.tanh(z), f, b, stride=tuple(inputs["stride"].tolist()))
        return jnp.tanh(p)

    p1, pull = jax.vjp(network, image(inputs["z0"]))
    close(maps(p1), outputs["p1"])
    close(maps(pull(image(inputs["g"]))[0]), outputs["Xi0"])


def test_convolution_flatten_dense():
    """D-38..47: a convolution, D-41's order of the axes, and a dense layer; strides as in D-47.

    Delmas has the channel first in D-41; the dense layer's rows are put in our order.
    """
    inputs, outputs = (golden("NET-D38-47")[part] for part in ("inputs", "outputs"))
    channels, high, wide = np.asarray(outputs["p0"]).shape
    weights = np.reshape(inputs["W"], (-1, channels, high, wide))
    params = (
        jnp.asarray(np.transpose(inputs["f"], (2, 3, 1, 0))), jnp.asarray(inputs["b_conv"]),
        jnp.asarray(np.moveaxis(weights, 1, -1).reshape(len(weights), -1).T),
        jnp.asarray(inputs["b_dense"]),
    )  # fmt: skip

    def loss(f, b, w, c) -> Any:
        p0 = jnp.tanh(conv(image(inputs["x"]), f, b, stride=tuple(inputs["stride"].tolist())))
        p1 = jnp.tanh(affine(p0.reshape(1, -1), w, c))
        return jnn.half_squared_error(p1, inputs["t"][None], outputs="mean")[0], (p0, p1)

    (value, (p0, p1)), (df, db, dw, dc) = jax.value_and_grad(loss, (0, 1, 2, 3), has_aux=True)(
        *params
    )
    close(value, outputs["loss"])
    close(maps(p0), outputs["p0"])
    close(p1[0], outputs["p1"])
    close(np.transpose(df, (3, 2, 0, 1)), outputs["df"])
    close(db, outputs["db_conv"])
    ours = np.moveaxis(np.asarray(dw).T.reshape(-1, high, wide, channels), -1, 1)
    close(ours.reshape(len(weights), -1), outputs["dW"])
    close(dc, outputs["db_dense"])


def test_the_worked_correlations_of_xu():
    """X-126..132, valid and unflipped; X-127 and X-128 print 5 as the last entry, which is 4."""
    inputs, outputs = (golden("X-126..128")[part] for part in ("inputs", "outputs"))
    f, g = inputs["f"], inputs["g"]
    close(conv(f.reshape(1, -1, 1), g.reshape(-1, 1, 1)).ravel(), outputs["out"])
    assert outputs["out"][-1] == 4
    inputs, outputs = (golden("X-129..132")[part] for part in ("inputs", "outputs"))
    f, g = inputs["f"], inputs["g"]
    z = conv(f.reshape(1, *f.shape, 1).astype(float), g.reshape(*g.shape, 1, 1).astype(float))
    close(z[0, ..., 0], outputs["out"])


def test_the_toeplitz_matrix_of_xu_is_the_full_convolution():
    """X-135: as printed, (n + m - 1, n), it is not the valid correlation of X-127."""
    inputs, outputs = (golden("X-135")[part] for part in ("inputs", "outputs"))
    w, a = inputs["w"], inputs["a"]
    full = toeplitz(w, a.size)
    close(full, outputs["T_full"])
    close(full @ a, outputs["full"])
    close(full @ a, np.convolve(a, w))
    valid = convolution_matrix(w.reshape(-1, 1, 1), (a.size,)).T
    close(valid, outputs["T_valid"])
    close(valid @ a, outputs["valid"])
    dx = jax.grad(lambda x: conv(x, w.reshape(-1, 1, 1)).sum())(jnp.asarray(a).reshape(1, -1, 1))
    close(dx.ravel(), outputs["TvT_ones"])  # the transposed matrix times the delta


SETTINGS = {
    "a line": ((7,), (3,), {"stride": 2}),
    "an image": ((5, 6), (2, 3), {"padding": ((1, 0), (2, 1)), "dilation": (2, 1)}),
    "groups": ((4, 5), (3, 2), {"groups": 2, "padding": "same", "stride": 2}),
    "depthwise": ((4, 4), (3, 3), {"groups": 4, "padding": 1}),
    "a volume": ((3, 4, 3), (2, 2, 1), {"stride": (1, 2, 1)}),
    "pixels left over": ((6, 6), (3, 2), {"stride": (2, 3), "rest": "drop"}),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_convolution_is_a_dense_layer_with_tied_weights(name, random):
    """D-36, D-37: value and derivatives equal those of an explicit matrix, and the transpose."""
    size, window, settings = SETTINGS[name]
    groups = settings.get("groups", 1)
    x, w = random.normal(size=(2, *size, 4)), random.normal(size=(*window, 4 // groups, 4))

    def dense(x, w):
        return affine(x.reshape(2, -1), convolution_matrix(w, size, **settings))

    y, pull = jax.vjp(lambda *args: conv(*args, **settings), x, w)
    expected, pull_dense = jax.vjp(dense, jnp.asarray(x), jnp.asarray(w))
    close(y.reshape(2, -1), expected)
    delta = random.normal(size=y.shape)
    for ours, theirs in zip(
        pull(jnp.asarray(delta)), pull_dense(delta.reshape(2, -1)), strict=True
    ):
        close(ours, theirs)
    if settings.pop("rest", "error") == "drop" or settings.get("padding") == "same":
        return
    matrix = np.asarray(convolution_matrix(w, size, **settings))
    back = conv_transpose(delta, w, **settings)
    close(back.reshape(2, -1), delta.reshape(2, -1) @ matrix.T)


def test_values_equal_those_of_scipy(random):
    x, w, b = random.normal(size=(1, 6, 7, 2)), random.normal(size=(3, 2, 2, 3)), np.arange(3.0)
    z = conv(x, w, b)
    for i in range(3):
        both = (scipy.signal.correlate2d(x[0, ..., j], w[..., j, i], "valid") for j in range(2))
        close(z[0, ..., i], sum(both) + b[i])
    volume, kernel = random.normal(size=(4, 5, 3)), random.normal(size=(2, 3, 2))
    z = conv(volume[None, ..., None], kernel[..., None, None])
    close(z[0, ..., 0], scipy.signal.correlate(volume, kernel, "valid"))


def test_the_transpose_of_same_multiplies_the_image_by_the_stride(random):
    for stride, window in [(1, 3), (2, 2), (2, 3), (3, 2)]:
        x, w = random.normal(size=(1, 4, 3)), random.normal(size=(window, 2, 3))
        y = conv_transpose(x, w, stride=stride, padding="same")
        assert y.shape == (1, 4 * stride, 2)
        other = random.normal(size=y.shape)
        inner = np.vdot(conv(other, w, stride=stride, padding="same"), x)
        np.testing.assert_allclose(np.vdot(other, y), inner, rtol=1e-12)


def test_bfloat16_is_summed_in_float32():
    """Of 4096 ones, a sum kept in bfloat16 would stop at 256."""
    x, w = jnp.ones((1, 64, 64, 1), jnp.bfloat16), jnp.ones((64, 64, 1, 1), jnp.bfloat16)
    assert conv(x, w).item() == 4096
    dw = jax.grad(lambda w: conv(x, w, padding=1).sum())(jnp.ones((3, 3, 1, 1), jnp.bfloat16))
    assert dw[1, 1].item() == 4096


# Connection tables.


def test_tables():
    table = Connections.lenet5()
    assert table.table.shape == (6, 16)
    assert table.links == 60  # 1516 = 25 * 60 + 16 parameters, as LeCun et al. count
    assert [len(read) for read in table.inputs] == [3] * 6 + [4] * 9 + [6]
    assert table.inputs[11] == (0, 1, 2, 5)
    assert all(len(fed) == 10 for fed in table.outputs)
    for j, fed in enumerate(table.outputs):  # C is derived from D
        assert fed == tuple(i for i, read in enumerate(table.inputs) if j in read)
    assert Connections.full(2, 3).links == 6
    assert Connections.one_to_one(3).inputs == ((0,), (1,), (2,))
    drawn = Connections.random(9, 5, fan_in=4, seed=1)
    assert [len(read) for read in drawn.inputs] == [4] * 5
    assert drawn == Connections.random(9, 5, fan_in=4, seed=1) != Connections.random(9, 5, 4, 2)
    assert hash(drawn) == hash(Connections(np.array(drawn.table)))


def test_a_full_table_is_no_table_and_one_to_one_is_depthwise(random):
    x, w = random.normal(size=(2, 5, 5, 3)), random.normal(size=(2, 2, 3, 3))
    full = Connections.full(3, 3)
    links = np.moveaxis(w, -2, -1).reshape(2, 2, 9)  # By output, then input.
    close(conv(x, links, connections=full), conv(x, w))
    diagonal = np.eye(3, dtype=bool)
    close(conv(x, w[:, :, 0], connections=diagonal), conv(x, w[:, :, :1], groups=3))


TABLES = {
    "two halves": Connections(np.kron(np.eye(2), np.ones((32, 32))).astype(bool)),
    "one to one": Connections.one_to_one(64),
    "the first map alone": Connections.of([[0]] * 64, 64),
    "halves with gaps": Connections(np.kron(np.eye(2), 1 - np.eye(32)).astype(bool)),
    "random": Connections.random(64, 64, fan_in=2),  # Link by link.
}


@pytest.mark.parametrize("name", TABLES)
def test_cost_shrinks_with_the_table(name, random):
    """Value and both derivatives; a full table's operations are the measure."""
    table = TABLES[name]
    maps, _ = table.table.shape
    x = out = jnp.ones((1, 4, 4, maps))

    def operations(table):
        w = jnp.ones((3, 3, table.links))

        def step(x, w):
            y, pull = jax.vjp(lambda *a: conv(*a, padding="same", connections=table), x, w)
            return y, pull(out)

        return flops(step, x, w)

    share = table.links / maps**2
    assert operations(table) < 1.5 * share * operations(Connections.full(maps, maps))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_in_parts_computes_what_its_definition_says(name, random):
    table = TABLES[name]
    parts, maps = linked.blocks(table, 9), len(table.table)
    assert len(parts) == {"two halves": 2, "halves with gaps": 2, "random": 0}.get(name, 1)
    if parts:
        assert sorted(o for part in parts for o in part.outputs) == list(range(maps))
    x, delta = (jnp.asarray(random.normal(size=(1, 3, 3, maps))) for _ in range(2))
    w = jnp.asarray(random.normal(size=(3, 3, table.links)))

    def told(function):
        def both(x, w, delta):
            y, pull = jax.vjp(function, x, w)
            return y, *pull(delta)

        return jax.jit(both)(x, w, delta)

    def rule(x, w):
        return conv(x, w, padding="same", connections=table)

    for ours, theirs in zip(told(rule), told(jnn.autodiff(rule)), strict=True):
        close(ours, theirs)


# Wrong input.

ONES = jnp.ones
X, W = ONES((2, 8, 8, 4)), ONES((3, 3, 4, 6))
BAD = {
    "no room": ((ONES((1, 2, 8, 4)), W), {}, ValueError,
                "conv: `x` must be at least 3 pixels long on axis 1, as the window is, got 2"),
    "does not fit": ((X, W), {"stride": 2}, ValueError,
                     "conv: `stride` must be a divisor of the 5 pixels that the window of 3 can "
                     'move along axis 1, got 2. Pad 1 more, or leave 1 out by rest="drop".'),
    "channels": ((X, ONES((3, 3, 3, 6))), {}, ValueError,
                 "conv: `w` must be of shape (3, 3, 4, 6), got float32[3,3,3,6]. Filters are "),
    "no channels": ((ONES((8, 8)), W), {}, ValueError, "`x` must be an array of rank 3 or 4 or 5"),
    "rank": ((X, ONES((3, 4, 6))), {}, ValueError, "`w` must be an array of rank 4"),
    "bias": ((X, W, ONES(4)), {}, ValueError, "`b` must be of shape (6,), got float32[4]. One"),
    "groups": ((X, W), {"groups": 4}, ValueError, "a divisor of the 4 input and 6 output maps"),
    "padding": ((X, W), {"padding": "full"}, ValueError, '`padding` must be "valid", "same", or'),
    "stride": ((X, W), {"stride": 0}, ValueError, "`stride` must be a positive integer, got 0"),
    "strides": ((X, W), {"stride": (1, 1, 1)}, ValueError, "`stride` must be an integer or 2 of"),
    "rest": ((X, W), {"rest": "ceil"}, ValueError, "`rest` must be one of 'error', 'drop'"),
    "integers": ((X.astype(int), W), {}, TypeError, "`x` must be a floating array"),
    "table": ((X, W), {"connections": np.eye(3, dtype=bool)}, ValueError, "of 4 input maps"),
    "a traced table": ((X, W), {"connections": ONES((4, 6))}, TypeError, "a boolean NumPy array"),
    "links": ((X, ONES((3, 3, 3))), {"connections": np.eye(4, dtype=bool)}, ValueError,
              "`w` must be of shape (3, 3, 4)"),
}  # fmt: skip


@pytest.mark.parametrize(("args", "settings", "error", "message"), BAD.values(), ids=BAD)
def test_bad_input_says_what_was_expected(args, settings, error, message):
    with jax.enable_x64(False), pytest.raises(error, match=re.escape(message)):
        conv(*args, **settings)


def test_bad_input_of_the_transpose():
    w = np.ones((2, 2, 6, 4), np.float32)
    for args, settings, message in [
        ((X, w[..., :3]), {}, "conv_transpose: `w` must be of shape (2, 2, 6, 4)"),
        ((X, w), {"padding": 9}, "`padding` must be smaller than the image"),
        ((X, w, np.ones(4, np.float32)), {}, "`b` must be of shape (6,)"),
        ((X, w), {"groups": 3}, "a divisor of the 4 maps"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            conv_transpose(*args, **settings)
    with pytest.raises(ValueError, match="Connections: `table` must be such that each output map"):
        Connections([[True, False]])
