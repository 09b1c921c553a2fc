"""Ours in the loops of others, theirs in ours, and both side by side; needs the extra `bench`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from tests.optim.test_transforms import close, steps, tree

PAIRS = {
    "gd": lambda o: (jnn.gd(0.1), o.sgd(0.1)),
    "momentum": lambda o: (jnn.momentum(0.1, 0.8), o.sgd(0.1, momentum=0.8)),
    "momentum, scheduled": lambda o: (
        jnn.momentum(jnn.schedules.cosine(0.1, 8)),
        o.sgd(o.cosine_decay_schedule(0.1, 8), momentum=0.9),
    ),
    "heavy_ball": lambda o: (jnn.heavy_ball(0.1, 0.8), o.sgd(0.1, momentum=0.8)),
    "nesterov": lambda o: (jnn.nesterov(0.1, 0.8), o.sgd(0.1, momentum=0.8, nesterov=True)),
    "rmsprop": lambda o: (jnn.rmsprop(0.1), o.rmsprop(0.1, eps=1e-8, eps_in_sqrt=False)),
    "adam": lambda o: (jnn.adam(0.1), o.adam(0.1)),
    "adamw": lambda o: (jnn.adamw(0.1, decay=0.1), o.adamw(0.1, weight_decay=0.1)),
    "amsgrad": lambda o: (jnn.amsgrad(0.1), o.amsgrad(0.1)),
    "nadam": lambda o: (jnn.nadam(0.1), o.nadam(0.1)),
    "radam": lambda o: (jnn.radam(0.1), o.radam(0.1)),
    "adamax": lambda o: (jnn.adamax(0.1), o.adamax(0.1)),
    "lion": lambda o: (jnn.lion(0.1, decay=0.1), o.lion(0.1, weight_decay=0.1)),
    "lamb": lambda o: (jnn.lamb(0.1, decay=0.1), o.lamb(0.1, weight_decay=0.1)),
    "clipping": lambda o: (
        jnn.chain(jnn.optim.clip_global_norm(1.0), jnn.gd(0.1)),
        o.chain(o.clip_by_global_norm(1.0), o.sgd(0.1)),
    ),
    "cosine": lambda o: (
        jnn.gd(jnn.schedules.cosine(0.1, 8)),
        o.sgd(o.cosine_decay_schedule(0.1, 8)),
    ),
}


@pytest.fixture
def optax():
    return pytest.importorskip("optax", reason="optax is a peer: pip install 'jnn[bench]'")


@pytest.mark.parametrize("name", PAIRS)
def test_the_steps_are_optax_s(name, optax, random):
    ours, theirs = PAIRS[name](optax)
    expected = []
    # In float64: in float32 optax's 1 - 0.999^n has four digits.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        grads = [tree(random, np.float64) for _ in range(10)]
        q = params = tree(random, np.float64)
        state = theirs.init(params)
        for g in grads:
            updates, state = theirs.update(g, state, q)
            q = optax.apply_updates(q, updates)
            expected.append(q)
        close(steps(ours, grads, params)[0], expected, rtol=1e-6, atol=1e-7)


def test_optax_s_optimizers_join_our_chains(optax, random):
    grads, params = [tree(random) for _ in range(3)], tree(random)
    mixed = jnn.chain(jnn.optim.clip(1.0), optax.adam(0.1), jnn.optim.plateau())
    alone = jnn.chain(jnn.optim.clip(1.0), jnn.adam(0.1))
    with jax.numpy_dtype_promotion("standard"):
        ours, _ = steps(mixed, grads, params, value=1.0)
    close(ours, steps(alone, grads, params)[0], rtol=1e-4, atol=1e-5)


def test_our_optimizers_join_optax_s_chains(optax, random):
    grads, params = [tree(random) for _ in range(3)], tree(random)
    mixed = optax.chain(optax.clip(1.0), jnn.adam(0.1))
    alone = jnn.chain(jnn.optim.clip(1.0), jnn.adam(0.1))
    with jax.numpy_dtype_promotion("standard"):
        ours, _ = steps(mixed, grads, params)
    close(ours, steps(alone, grads, params)[0], rtol=1e-4, atol=1e-5)


def data(random):
    x = random.normal(size=(32, 3)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(x @ np.array([[1.0], [-2.0], [0.5]], np.float32))


def loss_of(predict, x, y):
    return jnp.mean(jnp.square(predict(x) - y))


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_ours_train_in_flax_s_train_state(optax, random):
    train_state = pytest.importorskip(
        "flax.training.train_state", reason="flax is a peer: pip install 'jnn[bench]'"
    )
    x, y = data(random)
    state = train_state.TrainState.create(
        apply_fn=lambda params, x: x @ params["w"],
        params={"w": jnp.zeros((3, 1))},
        tx=jnn.chain(jnn.optim.clip_global_norm(10.0), jnn.adamw(0.1, decay=0.0)),
    )

    @jax.jit
    def step(state):
        grads = jax.grad(lambda p: loss_of(lambda x: state.apply_fn(p, x), x, y))(state.params)
        return state.apply_gradients(grads=grads)

    for _ in range(200):
        state = step(state)
    np.testing.assert_allclose(state.params["w"], [[1.0], [-2.0], [0.5]], atol=1e-2)


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_ours_train_in_flax_s_nnx_optimizer(optax, random):
    nnx = pytest.importorskip("flax.nnx", reason="flax is a peer: pip install 'jnn[bench]'")
    x, y = data(random)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        model = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, jnn.adam(0.1), wrt=nnx.Param)

        @nnx.jit
        def step(model, optimizer):
            optimizer.update(model, nnx.grad(lambda m: loss_of(m, x, y))(model))

        for _ in range(200):
            step(model, optimizer)
        np.testing.assert_allclose(model.kernel[...], [[1.0], [-2.0], [0.5]], atol=1e-2)


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_ours_train_in_an_equinox_loop(random):
    eqx = pytest.importorskip("equinox", reason="equinox is a peer: pip install 'jnn[bench]'")
    x, y = data(random)
    model = eqx.nn.MLP(3, 1, 8, 1, key=jax.random.key(0))
    optimizer = jnn.chain(jnn.optim.decay(1e-4), jnn.adam(0.02))
    state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(model, state):
        value, grads = eqx.filter_value_and_grad(lambda m: loss_of(jax.vmap(m), x, y))(model)
        params = eqx.filter(model, eqx.is_inexact_array)
        updates, state = optimizer.update(grads, state, params)
        return eqx.apply_updates(model, updates), state, value

    values = []
    for _ in range(200):
        model, state, value = step(model, state)
        values.append(float(value))
    assert values[-1] < 0.02 * values[0]
