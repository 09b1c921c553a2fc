"""Layers that are alike in a loop: the same as the row of them, in all respects but the program."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.layers import RepeatedParams, rolled, unrolled
from jnn.layers.combinators.stages import stages
from jnn.xla.programs import equations
from tests.layers.toys import centred, noisy

KEY = jax.random.key(0, impl="rbg")
X = jnp.asarray(np.random.default_rng(1).normal(size=(6, 4)), jnp.float32)
BLOCKS = {
    "plain": jnn.dense(4, activation="tanh"),
    "skip": jnn.skip(jnn.gated(5)),
    "chance and state": jnn.serial(jnn.dense(4), centred(), noisy(), jnn.tanh()),
}
EVERY = pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)


def both(block, times=3, key=KEY, **settings):
    """A repeated layer and the row of it, each with parameters and state."""
    looped, row = jnn.repeat(block, times, **settings), jnn.serial(*[block] * times)
    return (looped, *looped.init(key, X)), (row, *row.init(key, X))


def same(got, want, tolerance=1e-6):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance)


def apart(state):
    """A stacked state as that of a row."""
    leaves = jax.tree.leaves(state)
    return tuple(jax.tree.map(lambda a, i=i: a[i], state) for i in range(3)) if leaves else ()


@EVERY
@pytest.mark.parametrize("kind", ["rbg", "threefry2x32"])
def test_it_draws_what_the_row_draws(block, kind):
    (_, params, state), (_, theirs, their_state) = both(block, key=jax.random.key(3, impl=kind))
    same(unrolled(params), theirs, 0)
    same(apart(state), their_state, 0)


@EVERY
@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("train", [False, True])
def test_it_is_the_row(block, remat, train):
    """Values, gradients in parameters and data, and the new state."""
    (looped, params, state), (row, theirs, their_state) = both(block, remat=remat)
    key = jax.random.key(7, impl="rbg") if train else None

    def told(net, params, state, x):
        def loss(params, x):
            y, new = net.apply(params, state, x, key=key, train=train)
            return jnp.sum(jnp.sin(y)), (y, new)

        return jax.grad(loss, (0, 1), has_aux=True)(params, x)

    (grads, dx), (y, new) = jax.jit(told, static_argnums=0)(looped, params, state, X)
    (grads_, dx_), (y_, new_) = jax.jit(told, static_argnums=0)(row, theirs, their_state, X)
    same((unrolled(grads), dx, y, apart(new)), (grads_, dx_, y_, new_), 1e-5)
    if train and jax.tree.leaves(new):
        assert jax.tree.leaves(new)[1].tolist() == [1, 1, 1]


def test_forward_mode_and_second_derivatives():
    block = BLOCKS["skip"]
    (looped, params, _), (row, theirs, _) = both(block)
    with jnn.derivatives("forward"):
        same(jax.jvp(lambda x: looped(params, x), (X,), (X,)),
             jax.jvp(lambda x: row(theirs, x), (X,), (X,)), 1e-5)  # fmt: skip

    def bent(net, params):
        return jax.grad(lambda x: (jax.grad(lambda x: net(params, x).sum())(x) ** 2).sum())(X)

    same(bent(looped, params), bent(row, theirs), 1e-4)


def test_vmap_over_networks():
    net = jnn.repeat(jnn.dense(4, activation="tanh"), 3)
    keys = jax.random.split(jax.random.key(0), 5)
    many = jax.vmap(lambda key: net.init(key, X)[0])(keys)
    ys = jax.vmap(net, (0, None))(many, X)
    for i, key in enumerate(keys):
        same(ys[i], net(net.init(key, X)[0], X))


def test_one_body_is_traced_whatever_the_number():
    traced = []

    @jnn.layer
    def counted():
        def apply(params, state, x, *, key=None, train=False):
            traced.append(1)
            return x * params, state

        return (lambda key, x: (jnp.ones(()), ())), apply

    sizes = []
    for times in (2, 50):
        net = jnn.repeat(counted(), times)
        params, _ = net.init(KEY, X)
        traced.clear()
        program = jax.make_jaxpr(jax.grad(lambda p, net=net: net(p, X).sum()))(params)
        sizes.append((len(traced), len(list(equations(program)))))
    assert sizes[0] == sizes[1]


def test_remat_keeps_the_inputs_alone():
    block = jnn.skip(jnn.serial(jnn.dense(64, activation="tanh"), jnn.dense(4)))

    def kept(**settings):
        net = jnn.repeat(block, 3, **settings)
        params, _ = net.init(KEY, X)
        ledger = jnn.residuals(lambda p, x: net(p, x), params, X)
        return {saved.shape for saved in ledger.hand if saved.kind != "input"}

    assert (3, 6, 64) in kept()
    assert not any(64 in shape for shape in kept(remat=True))
    assert (3, 6, 4) in kept(remat=True)


def test_of_a_rule_and_of_trees():
    net = jnn.repeat(jnn.rules.tanh, 2)
    params, state = net.init(KEY, X)
    assert (params, state) == (RepeatedParams(()), ())
    same(net(params, X), jnp.tanh(jnp.tanh(X)))

    @jnn.layer  # pyright: ignore[reportArgumentType]
    def swapped():
        return (lambda key, x: ((), ())), lambda p, s, x, *, key=None, train=False: (x[::-1], s)

    pair = (X, 2 * X)
    net = jnn.repeat(swapped(), 3)
    same(net(net.init(KEY, pair)[0], pair), pair[::-1])


def test_nested_and_as_a_value():
    net = jnn.repeat(jnn.repeat(jnn.dense(4), 2), 3)
    params, _ = net.init(KEY, X)
    assert params.each.each.w.shape == (3, 2, 4, 4)
    row = jnn.serial(*[jnn.serial(*[jnn.dense(4)] * 2)] * 3)
    same(net(params, X), row(unrolled(params), X), 1e-5)
    same(rolled(unrolled(params), params), params, 0)
    assert pickle.loads(pickle.dumps(net)) == net
    assert repr(net) == "repeat(repeat(dense(4), 2), 3)"


def test_deltas_and_stages_see_each_layer():
    block = jnn.serial(jnn.dense(4), jnn.tanh())
    (looped, params, _), (row, theirs, _) = both(block)
    names = [stage.name for stage in stages(jnn.serial(looped), (params,), ((),))]
    assert names[:2] == ["0.repeat/0.serial/0.dense", "0.repeat/0.serial/1.tanh"]
    assert len(names) == 6
    found = jnn.deltas(looped, params, X, X)
    wanted = jnn.deltas(row, theirs, X, X)
    for got, want in zip(found.values(), wanted.values(), strict=True):
        same(got, want, 1e-5)


def test_the_table():
    net = jnn.serial(jnn.dense(4), jnn.repeat(jnn.skip(jnn.gated(8)), 3))
    table = jnn.summary(net, X)
    assert [(row.number, row.layer, row.parameters) for row in table.rows] == [
        ("0", "dense(4)", 20),
        ("1.0.0", "gated(8)", 3 * 96),
        ("1.0", "skip, the sum", 0),
        ("1", "repeat, times=3, with all parameters", 0),
    ]
    assert table.parameters == 20 + 3 * 96
    assert {row.output.shape for row in table.rows} == {(6, 4)}


def test_to_pytorch_and_back(tmp_path):
    net = jnn.serial(jnn.repeat(jnn.serial(jnn.dense(4), jnn.relu()), 2), jnn.gated(3))
    params, _ = net.init(KEY, X)
    jnn.train.save_torch(tmp_path / "net", params)
    names = {name: array.shape for name, array in jnn.load(tmp_path / "net").items()}
    assert names == {
        **{f"0.{i}.0.{name}": shape for i in (0, 1) for name, shape in
           (("weight", (4, 4)), ("bias", (4,)))},
        "1.gate_proj.weight": (3, 4), "1.up_proj.weight": (3, 4), "1.down_proj.weight": (4, 3),
    }  # fmt: skip
    same(jnn.train.load_torch(tmp_path / "net", params), params, 0)
    saved = jnn.load(tmp_path / "net")
    np.testing.assert_array_equal(saved["0.1.0.weight"], params[0].each[0].w[1].T)


def test_it_trains_with_keys_and_states():
    x, y = jnn.data.two_moons(128)
    block = jnn.skip(jnn.serial(centred(), jnn.dense(8, activation="tanh"), noisy(0.1)))
    net = jnn.serial(jnn.dense(8), jnn.repeat(block, 3), jnn.dense(2))
    train = functools.partial(jnn.fit, loss=jnn.softmax_cross_entropy, data=(x, y), epochs=20,
                              batch_size=32, progress=None, key=jax.random.key(1))  # fmt: skip
    fit = train(net, optimizer=jnn.adam(1e-2))
    again = train(net, optimizer=jnn.adam(1e-2))
    same(fit.params, again.params, 0)
    accuracy = (net(fit.params, x, fit.state).argmax(-1) == y).mean()
    assert accuracy > 0.95
    calls = jax.tree.leaves(fit.state)[-1]
    assert calls.tolist() == [80, 80, 80]


def test_errors():
    with pytest.raises(ValueError, match=r"whose output is like its input, float32\[6,4\], got "
                       r"float32\[6,5\]. What changes the shape"):  # fmt: skip
        jnn.repeat(jnn.dense(5), 2).init(KEY, X)
    with pytest.raises(ValueError, match="repeat: `times` must be a positive integer, got 0"):
        jnn.repeat(jnn.dense(4), 0)
    with pytest.raises(TypeError, match="repeat: `inner` must be a layer, or a rule"):
        jnn.repeat(jnn.relu, 2)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="repeat: `remat` must be True or False"):
        jnn.repeat(jnn.relu(), 2, remat="all")  # pyright: ignore[reportArgumentType]
    params, _ = jnn.repeat(jnn.dense(4), 2).init(KEY, X)
    with pytest.raises(ValueError, match="repeat: `params` must be RepeatedParams of 3 layers"):
        jnn.repeat(jnn.dense(4), 3)(params, X)
    with pytest.raises(ValueError, match="affine: `x`") as raised:
        jnn.repeat(jnn.dense(4), 2)(params, X[:, :3])
    assert "In layer 0 of repeat: dense(4)" in raised.value.__notes__
