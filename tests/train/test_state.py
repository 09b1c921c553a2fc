"""What layers keep without a gradient goes through all ways of training: running statistics."""

import functools

import jax
import numpy as np
import pytest

import jnn
from jnn.train import Checkpoints, mixed, patience

RANDOM = np.random.default_rng(4)
Y = RANDOM.integers(0, 3, 48)
X = (Y[:, None, None, None] + 2 + 1.5 * RANDOM.normal(size=(48, 6, 6, 2))).astype(np.float32)
NET = jnn.serial(
    jnn.batch_norm(), jnn.relu(), jnn.conv(4, 3), jnn.relu(), jnn.batch_norm(beta=0.8),
    jnn.global_mean_pool(), jnn.dense(3),
)  # fmt: skip
OPTIMIZER = jnn.momentum(0.03)  # Some gradients vanish but for rounding, which Adam would amplify.
settings = {"epochs": 6, "batch_size": 16, "progress": None}
fit = functools.partial(jnn.fit, NET, jnn.softmax_cross_entropy, OPTIMIZER)
run = functools.partial(fit, (X, Y), **settings)
many = functools.partial(
    jnn.fit_many, NET, jnn.softmax_cross_entropy, OPTIMIZER, (X, Y), **settings
)


def same(one, other, **tolerances):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if tolerances:
            np.testing.assert_allclose(a, b, **tolerances)
        else:
            np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def long():
    return run(epochs=25)


def test_the_running_statistics_approach_those_of_the_data(long):
    first = long.state[0]
    np.testing.assert_allclose(first.mean, X.mean((0, 1, 2)), rtol=0.05)
    np.testing.assert_allclose(first.variance, X.var((0, 1, 2), ddof=1), rtol=0.05)
    assert all(a.dtype == np.float32 for a in jax.tree.leaves(long.state))
    assert long.history["loss"][-1] < 0.7 * long.history["loss"][0]


def test_evaluation_with_them_is_as_good_as_training(long):
    logits = NET(long.params, X, long.state)
    loss = jnn.softmax_cross_entropy(logits, Y).mean()
    batch, _ = NET.apply(long.params, long.state, X, train=True)
    assert loss < long.history["loss"][0] / 2
    np.testing.assert_allclose(jax.nn.softmax(logits), jax.nn.softmax(batch), atol=0.1)


@pytest.mark.slow
def test_validation_runs_with_the_state_of_its_epoch():
    stopped = run(validation=(X[:20], Y[:20]))
    logits = NET(stopped.params, X[:20], stopped.state)
    loss = jnn.softmax_cross_entropy(logits, Y[:20]).mean()
    np.testing.assert_allclose(loss, stopped.history["validation_loss"][-1], rtol=1e-4)


@pytest.mark.slow
def test_a_restored_best_has_its_own_state():
    best = run(validation=(X[:20], Y[:20]), stop=patience(2, by=10.0))
    alone = run(validation=(X[:20], Y[:20]), epochs=1)
    same(best.state, alone.state)
    same(best.params, alone.params)


def test_a_run_that_resumes_has_the_same_bits(tmp_path):
    whole = run()
    for epochs in (3, 6):
        part = run(epochs=epochs, checkpoint=Checkpoints(tmp_path, every=2))
    same((part.params, part.state), (whole.params, whole.state))


def test_members_have_states_of_their_own():
    fits = many(members=3, key=5)
    assert fits.state[0].mean.shape == (3, 2)
    one = run(key=jax.random.fold_in(jax.random.key(5), 1))
    same(fits.member(1), (one.params, one.state), rtol=1e-3, atol=1e-4)
    assert not np.allclose(fits.state[4].mean[0], fits.state[4].mean[1], atol=1e-3)


def test_a_mesh_of_eight_has_the_statistics_of_the_whole_batch():
    mesh = jax.make_mesh((8,), ("data",))
    one, eight = run(), run(sharding=mesh)
    same((eight.params, eight.state), (one.params, one.state), rtol=1e-3, atol=1e-4)
    assert all(len(leaf.sharding.device_set) == 8 for leaf in jax.tree.leaves(eight.state))


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])
def test_mixed_precision_keeps_the_state_wide(dtype):
    fitted = run(precision=mixed(dtype))
    assert all(a.dtype == np.float32 for a in jax.tree.leaves(fitted.state))
    exact = run()
    same(fitted.state[0], exact.state[0], rtol=1e-2)


def test_a_step_that_is_skipped_leaves_the_state():
    bad = X.copy()
    bad[:] = np.nan
    fitted = fit((bad, Y), **settings, not_finite="skip")
    _, state = NET.init(jax.random.key(0), X)
    same(fitted.state, state)


@pytest.mark.slow
def test_a_solver_carries_it_too():
    fitted = jnn.fit(NET, jnn.softmax_cross_entropy, jnn.lbfgs(), (X, Y), epochs=2, progress=None)
    assert fitted.state[0].mean.all()


def test_a_stream_carries_it():
    flow = jnn.train.Stream(lambda epoch: [(X[:16], Y[:16]), (X[16:32], Y[16:32])])
    fitted = fit(flow, epochs=2, progress=None)
    assert fitted.state[0].mean.all()
