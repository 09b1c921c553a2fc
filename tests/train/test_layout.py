"""Layouts: parameters and optimizer state divided over devices train the model of one device."""

import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import jnn
from jnn.train import Layout, fully_sharded
from tests.train.test_fit import HELD, close, run

SHARDED = partial(fully_sharded, least=8)


@pytest.fixture(scope="module")
def mesh():
    if len(jax.devices()) < 8:
        pytest.skip("needs eight devices: XLA_FLAGS=--xla_force_host_platform_device_count=8")
    return jax.make_mesh((4, 2), ("data", "model"))


def divided(tree) -> int:
    """How many arrays are not copied to every device."""
    return sum(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(tree))


def test_a_layout_is_a_value(mesh):
    one, other = (Layout(mesh, params={"*/w": PartitionSpec(None, "model")}) for _ in range(2))
    assert one == other == Layout(mesh, ("data",), (("*/w", (None, "model")),))
    assert hash(one) == hash(other)
    assert one != Layout(mesh, params={"*/w": ("model",)}) != Layout(mesh)
    assert fully_sharded(mesh) == fully_sharded(mesh) != SHARDED(mesh)
    assert repr(one) == f"Layout({one.mesh!r}, params={{'*/w': (None, 'model')}})"
    assert "batch=('data', 'model'), params=largest_axis(" in repr(fully_sharded(mesh))
    with pytest.raises(pickle.PicklingError, match="make the mesh where it is used"):
        pickle.dumps(one)


def test_state_lies_as_the_parameters_that_it_goes_with(mesh):
    net = jnn.serial(jnn.dense(8), jnn.dense(8))
    params, _ = net.init(jax.random.key(0), jnp.ones((2, 8)))
    layout = Layout(mesh, params={"0/w": (None, "model"), "1/w": ("model",)})
    weights = jnn.optim.only("*/w", jnn.momentum(0.1))  # Biases are absent from its state.
    for optimizer in (jnn.adam(0.1), jnn.chain(jnn.optim.clip_norm(1.0), weights), jnn.muon(0.1)):
        state = jax.eval_shape(jnn.optim.averaged(optimizer).init, params)
        specs = layout.specs(params, state)
        assert jax.tree.structure(specs) == jax.tree.structure(state)
        found = {
            jax.tree_util.keystr(path, simple=True, separator="/"): tuple(sharding.spec)
            for path, sharding in jax.tree_util.tree_leaves_with_path(specs)
        }
        assert len([s for s in found.values() if s]) >= 4
        for name, spec in found.items():
            expected = (None, "model") if name.endswith("0/w") else ("model",)
            assert spec == (expected if name.endswith("/w") else ()), name


@pytest.mark.parametrize("kind", ["data", "sharded", "model"])
def test_a_network_trains_as_on_one_device(kind, mesh):
    """The last batch of an epoch is no multiple of the devices."""
    layout = {
        "data": mesh,
        "sharded": SHARDED(mesh),
        "model": Layout(
            mesh, params={"0/w": (None, "model"), "0/b": ("model",), "2/w": ("model",)}
        ),
    }[kind]
    settings = {"validation": HELD, "metrics": "accuracy", "average": 0.9, "accumulate": 2}
    settings |= {"stop": jnn.train.patience(9)}
    one, many = run(**settings), run(sharding=layout, **settings)
    for a, b in ((many.params, one.params), (many.last, one.last), (many.opt_state, one.opt_state)):
        close(a, b, atol=1e-5)
        assert bool(divided(a)) == (kind != "data")
    np.testing.assert_allclose(
        many.history["validation_loss"], one.history["validation_loss"], rtol=1e-5
    )
    again = run(sharding=layout, params=many.last, opt_state=many.opt_state, **settings)
    close(again.params, run(params=one.last, opt_state=one.opt_state, **settings).params, atol=1e-5)


@pytest.mark.slow
def test_a_residual_network_has_the_statistics_of_the_whole_batch(mesh):
    net = jnn.models.resnet(3, widths=(8,), steps=1, norm="batch")
    random = np.random.default_rng(0)
    x, t = random.normal(size=(40, 6, 6, 2)).astype(np.float32), random.integers(0, 3, 40)
    settings = {"batch_size": 16, "epochs": 2, "progress": None}
    by_maps = Layout(mesh, params={"0/w": (None, None, None, "model"), "*/w": ()})
    fits = [
        jnn.fit(net, jnn.softmax_cross_entropy, jnn.momentum(0.03), (x, t), sharding=where,
                **settings)
        for where in (None, mesh, SHARDED(mesh), by_maps)
    ]  # fmt: skip
    for fit, most in zip(fits[1:], (False, True, True), strict=True):
        close((fit.params, fit.state), (fits[0].params, fits[0].state), rtol=1e-3, atol=1e-4)
        assert bool(divided(fit.params)) == most
        assert not divided(fit.state)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sharded", "model"])
def test_a_transformer_with_dropout_trains_as_on_one_device(kind, mesh):
    net = jnn.models.transformer(16, 8, 2, 2, dropout=0.2, bias=True)
    tokens = np.random.default_rng(0).integers(0, 16, (32, 9))
    data = tokens[:, :-1], tokens[:, 1:]
    layout = SHARDED(mesh)
    if kind == "model":
        layout = Layout(mesh, params=jnn.models.tensor_parallel(net))
    settings = {"batch_size": 16, "epochs": 2, "progress": None}
    one, many = (
        jnn.fit(net, jnn.softmax_cross_entropy, jnn.adamw(0.01), data, sharding=where, **settings)
        for where in (None, layout)
    )
    close(many.params, one.params, atol=1e-4)
    assert divided(many.params) >= 8
    w = many.params[2].each[0][0][1].w_q
    assert w.sharding.spec[0] is None  # The layers are no axis to be divided.
    assert w.addressable_shards[0].data.size * (8 if kind == "sharded" else 2) == w.size


def test_what_a_layout_cannot_do_is_told_before_compiling(mesh):
    for bad, said in [
        ({"mesh": None}, "`mesh` must be a mesh of devices"),
        ({"batch": "rows"}, "`batch` must be of the mesh's axes, 'data', 'model', got 'rows'"),
        ({"params": {"*/w": ("wide",)}}, "got 'wide'"),
        ({"params": {"*/w": ("model", "model")}}, "each of the mesh's axes once"),
        ({"params": {"*/w": "model"}}, "such as"),
    ]:
        with pytest.raises((ValueError, TypeError), match=said):
            Layout(**{"mesh": mesh, **bad})
    for rules, said in [
        (
            {"nonsense": ("model",)},
            "fits a parameter's path, got 'nonsense'. There are: 0/w, 0/b, ",
        ),
        ({"0/b": (None, "model")}, "at most 1 axes for '0/b'"),
        ({"0/w": ("data",)}, r"divide '0/w', float32\[2,8\], got 4 devices along 'data'"),
    ]:
        with pytest.raises(ValueError, match=said):
            run(sharding=Layout(mesh, params=rules))
    with pytest.raises(ValueError, match="a multiple of 4"):
        run(sharding=Layout(mesh, params={"0/b": ("model",)}), batch_size=15)
    with pytest.raises(ValueError, match="for a solver"):
        run(sharding=SHARDED(mesh), optimizer=jnn.lbfgs(), batch_size=None)
    with pytest.raises(TypeError, match="a Layout, or a mesh"):
        run(sharding=8)
