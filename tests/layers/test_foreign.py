"""Modules of Flax and Equinox as layers: they compute and train as they do at home."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(24, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)


@pytest.fixture(autouse=True)
def promotion():
    """They promote as they please."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def trained(net, **settings):
    return jnn.fit(net, jnn.softmax_cross_entropy, jnn.adam(0.05), (X, Y), epochs=4, batch_size=12,
                   shuffle=False, progress=None, **settings)  # fmt: skip


def close(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_linen_module_with_batch_norm_and_dropout():
    nn = pytest.importorskip("flax.linen", reason="Flax is a peer: pip install 'jnn[bench]'")

    class Block(nn.Module):
        rate: float = 0.5

        @nn.compact
        def __call__(self, x, train: bool):
            x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(4)(x))
            return nn.Dropout(self.rate, deterministic=not train)(x)

    module = Block()
    block = jnn.layers.from_flax(module)
    assert block == jnn.layers.from_flax(Block())
    params, state = block.init(jax.random.key(0), jax.ShapeDtypeStruct(X.shape, X.dtype))
    variables = {"params": params, **state}
    close(block(params, X, state), module.apply(variables, X, train=False))
    key = jax.random.key(1)
    y, new = block.apply(params, state, X, key=key, train=True)
    theirs, changed = module.apply(variables, X, train=True, mutable=["batch_stats"],
                                   rngs={"dropout": key})  # fmt: skip
    close((y, new), (theirs, changed))
    fit = trained(
        jnn.serial(block, jnn.relu(), jnn.dense(2)), metrics="accuracy", precision="bfloat16"
    )
    assert fit.history["loss"][-1] < fit.history["loss"][0]
    assert abs(fit.state[0]["batch_stats"]["BatchNorm_0"]["mean"]).max() > 0


def test_a_module_of_nnx():
    nnx = pytest.importorskip("flax.nnx", reason="Flax is a peer: pip install 'jnn[bench]'")

    class Block(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(3, 4, rngs=rngs)
            self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.drop(self.norm(self.first(x)))

    module = Block(nnx.Rngs(0))
    block = jnn.layers.from_flax(module)
    params, state = block.init(jax.random.key(0), X)
    module.eval()
    close(block(params, X, state), module(X))
    key = jax.random.key(3)
    draws = [block.apply(params, state, X, key=k, train=True)[0] for k in (key, key)]
    close(*draws)
    other, new = block.apply(params, state, X, key=jax.random.key(4), train=True)
    assert ((other == 0) != (draws[0] == 0)).any()
    assert abs(new["norm"]["mean"]).max() > 0
    assert not abs(state["norm"]["mean"]).any()
    fit = trained(jnn.serial(block, jnn.dense(2)))
    assert fit.history["loss"][-1] < fit.history["loss"][0]
    assert abs(fit.params[0]["first"]["kernel"] - params["first"]["kernel"]).max() > 0.01
    close(module.first.kernel[...], params["first"]["kernel"])  # The module is as it was.


def test_a_module_of_equinox_trains_as_in_a_plain_loop():
    eqx = pytest.importorskip("equinox", reason="Equinox is a peer: pip install equinox")
    module = eqx.nn.MLP(3, 2, 5, 1, key=jax.random.key(0))
    net = jnn.layers.from_equinox(module)
    params, _ = net.init(jax.random.key(9), X)
    close(net(params, X), jax.vmap(module)(X))
    adam = jnn.adam(0.05)
    opt = adam.init(params)

    @jax.jit
    def step(params, opt, x, y):
        def loss(params):
            logits = jax.vmap(eqx.combine(params, module))(x)
            return jnn.softmax_cross_entropy(logits, y).mean()

        updates, opt = adam.update(jax.grad(loss)(params), opt, params)
        return jnn.apply_updates(params, updates), opt

    for i in 4 * [0, 12]:
        params, opt = step(params, opt, X[i : i + 12], Y[i : i + 12])
    close(trained(net).params, params)


def test_equinox_with_state_and_chance():
    eqx = pytest.importorskip("equinox", reason="Equinox is a peer: pip install equinox")
    norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(3, axis_name="batch", mode="batch")
    layer = jnn.layers.from_equinox(norm, state)
    params, kept = layer.init(jax.random.key(0), X)
    y, new = layer.apply(params, kept, X, train=True)
    np.testing.assert_allclose(y, (X - X.mean(0)) / X.std(0), rtol=1e-3, atol=1e-3)
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (new, kept)), strict=True))
    drop = jnn.layers.from_equinox(eqx.nn.Dropout(0.5))
    params, _ = drop.init(jax.random.key(0), X)
    np.testing.assert_array_equal(drop(params, X), X)
    y, _ = drop.apply(params, (), X, key=jax.random.key(1), train=True)
    assert 0.3 < (y == 0).mean() < 0.7


def test_what_is_no_module_is_refused():
    for door, package in ((jnn.layers.from_flax, "flax"), (jnn.layers.from_equinox, "equinox")):
        pytest.importorskip(package)
        with pytest.raises(TypeError, match="`module` must be a module of"):
            door(jnp.ones(3))
