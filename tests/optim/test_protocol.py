"""What every optimizer promises: states of stable arrays, and all of JAX's transformations."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from tests.optim.cases import OPTIMIZERS, UNSTABLE

TARGET = {"w": np.array([[1.0, -2.0], [0.5, 3.0], [0.0, 1.0]]), "b": np.array([0.5, -1.0])}


def loss(params):
    return sum(
        0.5 * jnp.sum(jnp.square(params[k].astype(float) - jnp.asarray(t, float)))
        for k, t in TARGET.items()
    )


gradient = jax.grad(loss)


def start(dtype="float32"):
    return {k: jnp.ones(t.shape, dtype) for k, t in TARGET.items()}


def make_step(optimizer):
    def step(params, state):
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params, value=value, gradient=gradient)
        return jnn.apply_updates(params, updates), state

    return step


def described(tree):
    return jax.tree.structure(tree), [
        (x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(tree)
    ]


@cache
def run(name, dtype="float32"):
    """The carries of 30 steps of one compiled program, and how often it was traced."""
    traces = []

    def counted(params, state):
        traces.append(1)
        return make_step(OPTIMIZERS[name])(params, state)

    step = jax.jit(counted)
    carries = [(start(dtype), OPTIMIZERS[name].init(start(dtype)))]
    for _ in range(30):
        carries.append(step(*carries[-1]))
    return step, carries, traces


HALF = [
    "adamw",
    "lion",
    "lamb",
    "muon",
    "full_adagrad",
    "adams_bashforth",
    "heun",
    "with master copy",
]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, "float32") for name in OPTIMIZERS] + [(name, "bfloat16") for name in HALF],
)
def test_a_state_is_stable_and_a_step_compiles_once(name, dtype):
    _, carries, traces = run(name, dtype)
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(carries[0]))
    assert len({str(described(carry)) for carry in carries}) == 1
    assert len(traces) == 1


@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - UNSTABLE))
def test_thirty_steps_go_down(name):
    _, carries, _ = run(name)
    before, after = (
        sum(np.square(np.asarray(params[k]) - t).sum() for k, t in TARGET.items())
        for params in (carries[0][0], carries[-1][0])
    )
    assert after < before


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_survives_being_stored_as_arrays(name, tmp_path):
    step, carries, _ = run(name)
    leaves, structure = jax.tree.flatten(carries[9])
    np.savez(tmp_path / "state.npz", *[np.asarray(x) for x in leaves])
    with np.load(tmp_path / "state.npz", allow_pickle=False) as stored:
        again = jax.tree.unflatten(structure, [jnp.asarray(stored[k]) for k in stored.files])
    resumed = jax.tree.leaves(step(*again))
    for x, y in zip(jax.tree.leaves(carries[10]), resumed, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    "name", ["adam", "heun", "accumulated", "plateau", "noisy", "adjustable", "with master copy"]
)
def test_a_scan_takes_the_steps_of_a_loop(name):
    _, carries, _ = run(name)
    step = make_step(OPTIMIZERS[name])
    scan = jax.jit(lambda carry: jax.lax.scan(lambda c, _: (step(*c), None), carry, length=30)[0])
    params, _ = scan(carries[0])
    for k in params:
        np.testing.assert_allclose(params[k], carries[-1][0][k], rtol=1e-4, atol=1e-5)


CONSTRUCTORS = {
    "gd": jnn.gd,
    "heavy_ball": jnn.heavy_ball,
    "momentum": jnn.momentum,
    "averaged_momentum": jnn.averaged_momentum,
    "damped_particle": lambda rate: jnn.damped_particle(rate, 1.0),
    "adam": jnn.adam,
    "rmsprop": jnn.rmsprop,
    "radam": jnn.radam,
    "lion": jnn.lion,
    "adams_bashforth": jnn.adams_bashforth,
    "heun": jnn.heun,
    "adjustable": lambda rate: jnn.optim.adjustable(jnn.adam, rate=rate),
}


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_rates_may_be_mapped_over(name):
    def train(rate):
        optimizer = CONSTRUCTORS[name](rate)
        carry = start(), optimizer.init(start())
        step = make_step(optimizer)
        (params, _), _ = jax.lax.scan(lambda c, _: (step(*c), None), carry, length=5)
        return params

    rates = np.array([0.01, 0.05, 0.1], np.float32)
    mapped = jax.jit(jax.vmap(train))(rates)
    single = jax.jit(train)
    for i, rate in enumerate(rates):
        alone = single(jnp.asarray(rate))
        for k in alone:
            np.testing.assert_allclose(mapped[k][i], alone[k], rtol=1e-5, atol=1e-6)


def test_beta_may_be_traced_too():
    def first(beta):
        optimizer = jnn.adam(0.1, beta, epsilon=0.0)
        return optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))[0]

    np.testing.assert_allclose(jax.jit(first)(0.5), [-0.1, -0.1], rtol=1e-6)


def test_trees_of_any_kind_and_absent_leaves_pass():
    params = (jnp.ones(2), [None, {"a": jnp.ones((2, 2))}], ())
    optimizer = jnn.chain(jnn.optim.decay(0.1, where="0"), jnn.adam(0.1))
    state = optimizer.init(params)
    updates, _ = optimizer.update(params, state, params)
    assert jax.tree.structure(updates) == jax.tree.structure(params)


def test_empty_trees_pass():
    for optimizer in (jnn.adam(0.1), jnn.optim.flat(jnn.gd(0.1)), jnn.optim.clip_global_norm(1.0)):
        assert optimizer.update({}, optimizer.init({}), {})[0] == {}


def test_an_update_without_extras_is_given_none():
    class Plain:
        def init(self, params):
            return ()

        def update(self, grads, state, params=None):
            return grads, state

    optimizer = jnn.chain(Plain(), jnn.gd(1.0))
    updates, _ = optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)), value=3.0)
    assert updates.tolist() == [-1.0, -1.0]


def test_a_chain_says_what_is_no_optimizer_and_no_state():
    with pytest.raises(TypeError, match=r"chain: .*Call the constructor, e\.g\. jnn\.adam\(1e-3\)"):
        jnn.chain(jnn.adam)
    optimizer = jnn.chain(jnn.gd(0.1), jnn.gd(0.1))
    with pytest.raises(ValueError, match=r"chain: `state` must be the states of the 2 members"):
        optimizer.update(jnp.ones(2), (), jnp.ones(2))


# By a detour, since the types would refuse them too.
ANY: dict[type, Any] = {str: "fast", int: 3}

BAD = {
    "rate": (lambda: jnn.adam(-1.0), ValueError, r"adam: `rate` must be at least 0 and finite"),
    "rate's type": (lambda: jnn.gd(ANY[str]), TypeError, r"gd: `rate` must be a number"),
    "rate's shape": (lambda: jnn.gd(jnp.ones(2)), TypeError, r"gd: `rate` .* got float32\[2\]"),
    "nan": (lambda: jnn.gd(float("nan")), ValueError, r"gd: `rate` .* got nan"),
    "beta1": (lambda: jnn.adam(0.1, 1.0), ValueError, r"adam: `beta1` .*below 1, got 1\."),
    "beta2": (lambda: jnn.adam(0.1, 0.9, -0.1), ValueError, r"adam: `beta2` must be at least 0"),
    "epsilon": (lambda: jnn.rmsprop(0.1, epsilon=-1.0), ValueError, r"rmsprop: `epsilon`"),
    "beta": (lambda: jnn.heavy_ball(0.1, 1.5), ValueError, r"heavy_ball: `beta`"),
    "nesterov": (lambda: jnn.nesterov(0.1, True), TypeError, r"nesterov: `beta` must be a number"),
    "friction": (
        lambda: jnn.damped_particle(0.5, 4.0),
        ValueError,
        r"`friction` must be at most 1 / rate = 2, got 4\. Lower the rate\.",
    ),
    "average": (lambda: jnn.adagrad(0.1, average="max"), ValueError, r"'mean', 'sum', got 'max'"),
    "sketch": (
        lambda: jnn.full_adagrad(0.1, average="sum", rank=3),
        ValueError,
        r"full_adagrad: `average` must be 'mean' where a rank",
    ),
    "rank": (lambda: jnn.full_rmsprop(0.1, rank=0), ValueError, r"`rank` must be a positive"),
    "order": (lambda: jnn.adams_bashforth(0.1, 4), ValueError, r"`order` must be one of 2, 3"),
    "stages": (lambda: jnn.chebyshev(0.1, 1, order=2), ValueError, r"at least 2 for order 2"),
    "decay": (lambda: jnn.adamw(0.1, decay=-0.1), ValueError, r"adamw: `decay`"),
    "where": (
        lambda: jnn.optim.freeze(ANY[int]).init({"w": jnp.ones(1)}),
        TypeError,
        r"only: `where`",
    ),
    "every": (lambda: jnn.optim.accumulate(jnn.gd(0.1), 0), ValueError, r"accumulate: `every`"),
    "bound": (lambda: jnn.optim.clip(-1.0), ValueError, r"clip: `bound`"),
    "factor": (lambda: jnn.optim.plateau(1.0), ValueError, r"plateau: `factor` .*below 1"),
    "table": (
        lambda: jnn.optim.runge_kutta(0.1, [[1.0, 2.0]], [0.5, 0.5]),
        ValueError,
        r"runge_kutta: `stages` must be rows of 1, 2, 3",
    ),
    "forms": (
        lambda: jnn.optim.momentum_forms(sgd=(0.1, 0.9)),
        TypeError,
        r"momentum_forms: `form` .* damped_particle, heavy_ball, averaged_momentum, got sgd",
    ),
    "no params": (
        lambda: jnn.lamb(0.1).update(jnp.ones(2), jnn.lamb(0.1).init(jnp.ones(2))),
        TypeError,
        r"trust_ratio: `params` must be given to update.* Call update\(grads, state, params\)",
    ),
    "no value": (
        lambda: jnn.optim.plateau().update(
            jnp.ones(2), jnn.optim.plateau().init(jnp.ones(2)), jnp.ones(2)
        ),
        TypeError,
        r"plateau: `value` must be given to update.*value=\.\.\.",
    ),
    "label": (
        lambda: jnn.optim.groups(lambda *_: "a", {"b": jnn.gd(0.1)}).init({"w": jnp.ones(1)}),
        ValueError,
        r"groups: `label` must be one of 'b' for 'w', got 'a'",
    ),
    "vectors": (
        lambda: jnn.optim.orthogonalise().update(jnp.ones(2), ()),
        ValueError,
        r"orthogonalise: `grads` must be matrices, got float32\[2\]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_settings_are_refused_with_a_sentence(name):
    make, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        make()
