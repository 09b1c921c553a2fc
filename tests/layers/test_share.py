"""Tied parameters: one array, whose gradient is the sum of those of its places."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.layers import DenseParams
from jnn.layers.combinators.share import filled

KEY = jax.random.key(0, impl="rbg")
X = jnp.asarray(np.random.default_rng(1).normal(size=(6, 4)), jnp.float32)
ROW = jnn.serial(jnn.dense(4, activation="tanh"), jnn.dense(4), jnn.dense(4, activation="tanh"))
HEAD = jnn.serial(jnn.dense(3), jnn.tanh(), jnn.dense(4, bias=False))


def gradients(net, params):
    return jax.grad(lambda p: jnp.sum(jnp.sin(net(p, X))))(params)


def test_one_layer_at_two_places():
    net = jnn.share(ROW, {"2": "0"})
    params, state = net.init(KEY, X)
    assert state == ()
    assert params[2] == DenseParams(None, None)  # pyright: ignore[reportArgumentType]
    full = (params[0], params[1], params[0])
    np.testing.assert_array_equal(net(params, X), ROW(full, X))
    got, each = gradients(net, params), gradients(ROW, full)
    for name in ("w", "b"):
        np.testing.assert_allclose(
            getattr(got[0], name), getattr(each[0], name) + getattr(each[2], name), rtol=1e-6
        )
    np.testing.assert_allclose(got[1].w, each[1].w, rtol=1e-6)
    assert got[2] == DenseParams(None, None)  # pyright: ignore[reportArgumentType]


def test_a_transposed_table_behind():
    net = jnn.share(HEAD, {"2/w": "0/w.T"})
    params, _ = net.init(KEY, X)
    w, b = params[0]
    hidden = jnp.tanh(X @ w + jnp.broadcast_to(b, (6, 3)))
    np.testing.assert_allclose(net(params, X), hidden @ w.T, rtol=1e-5, atol=1e-6)
    full = (params[0], (), DenseParams(w.T, None))
    each = gradients(HEAD, full)
    np.testing.assert_allclose(
        gradients(net, params)[0].w, each[0].w + each[2].w.T, rtol=1e-5, atol=1e-6
    )


def test_a_part_of_a_layer_and_several_ties():
    net = jnn.share(ROW, {"1/w": "0/w", "2": "0"})
    params, _ = net.init(KEY, X)
    assert [p.w is None for p in params] == [False, True, True]
    assert params[1].b is not None
    assert len(jax.tree.leaves(params)) == 3
    inside = filled(params, {"1/w": "0/w", "2": "0"})
    assert inside[1].w is inside[0].w is inside[2].w


def test_they_are_optimised_stored_and_counted_once(tmp_path):
    net = jnn.share(HEAD, {"2/w": "0/w.T"})
    table = jnn.summary(net, X)
    assert [row.parameters for row in table.rows] == [15, 0, 0]
    assert table.parameters == 15
    fit = jnn.fit(net, jnn.squared_error, jnn.adam(1e-2), (X, X), epochs=3, progress=None)
    assert len(jax.tree.leaves(fit.params)) == 2
    jnn.save(tmp_path / "net", fit.params)
    back = jnn.load(tmp_path / "net", fit.params)
    np.testing.assert_array_equal(net(back, X), net(fit.params, X))
    jnn.train.save_torch(tmp_path / "torch", fit.params)
    assert {*jnn.load(tmp_path / "torch")} == {"0.weight", "0.bias"}


def test_deltas_open_it():
    net = jnn.share(ROW, {"2": "0"})
    params, _ = net.init(KEY, X)
    found = jnn.deltas(net, params, X, X)
    assert [*found] == ["input", "0.dense", "1.dense", "2.dense"]
    full = (params[0], params[1], params[0])
    np.testing.assert_allclose(found["input"], jnn.deltas(ROW, full, X, X)["input"], rtol=1e-6)


def test_inside_and_around_a_repetition():
    tied = jnn.share(jnn.serial(jnn.dense(4), jnn.tanh(), jnn.dense(4)), {"2": "0"})
    net = jnn.repeat(tied, 3)
    params, _ = net.init(KEY, X)
    assert [a.shape for a in jax.tree.leaves(params)] == [(3, 4, 4), (3, 4)]
    y = X
    for i in range(3):
        y = tied(jax.tree.map(lambda a, i=i: a[i], params.each), y)
    np.testing.assert_allclose(net(params, X), y, rtol=1e-5, atol=1e-6)
    twice = jnn.share(jnn.serial(*[jnn.repeat(jnn.dense(4), 2)] * 2), {"1": "0"})
    params, _ = twice.init(KEY, X)
    assert jnn.summary(twice, X).parameters == 2 * 20
    assert len(jax.tree.leaves(params)) == 2


def test_errors():
    def made(ties, net=ROW):
        return jnn.share(net, ties).init(KEY, X)

    with pytest.raises(ValueError, match=r"share: `ties` must be of paths among 0/w, .*got '5'"):
        made({"5": "0"})
    with pytest.raises(ValueError, match="got '0/v'"):
        made({"2/w": "0/v"})
    with pytest.raises(ValueError, match=r"of places alike; under '2' are /b, /w"):
        made({"2": "0/w"})
    with pytest.raises(ValueError, match=r"'2/w' is float32\[3,4\], got float32\[4,3\] for '0/w'"):
        made({"2/w": "0/w"}, HEAD)
    with pytest.raises(ValueError, match="share: `ties` must be to what is not tied itself"):
        made({"2": "1", "1": "0"})
    with pytest.raises(TypeError, match="share: `ties` must be such as"):
        jnn.share(ROW, {})
    with pytest.raises(TypeError, match="share: `inner` must be a layer"):
        jnn.share(jnn.dense, {"1": "0"})  # pyright: ignore[reportArgumentType]
