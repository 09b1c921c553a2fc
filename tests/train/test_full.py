"""Full-batch solvers behind `fit`: the steps of `minimize`, with all that `fit` has around them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.train import Stream, mixed, patience, still
from tests.train.test_fit import HELD, LOSS, NET, X, Y, close, equal, run

LBFGS = jnn.lbfgs()


def solve(**settings):
    return run(**{"optimizer": LBFGS, "batch_size": None, "epochs": 8, **settings})


def test_epochs_are_the_steps_of_minimize():
    params, _ = NET.init(jax.random.key(5), X)
    fit = solve(params=params, validation=HELD, metrics="accuracy")
    found = jnn.minimize(
        lambda p: LOSS(NET(p, X), jnp.asarray(Y)).mean(), params, LBFGS, max_steps=8, tol=0.0,
        history=True,
    )  # fmt: skip
    close(fit.params, found.params, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(fit.history["loss"], found.history.value[1:], rtol=1e-4)
    np.testing.assert_array_equal(fit.history["evaluations"], found.history.evaluations[1:])
    assert (fit.steps, fit.epochs, fit.status) == (8, 8, "done")
    y = NET(fit.params, X)
    np.testing.assert_allclose(fit.history["loss"][-1], LOSS(y, Y).mean(), rtol=1e-4)
    accuracy = (y.argmax(-1) == Y).mean()
    np.testing.assert_allclose(fit.history["accuracy"][-1], accuracy, rtol=1e-6)
    y = NET(fit.params, HELD.x)
    np.testing.assert_allclose(fit.history["validation_loss"][-1], LOSS(y, HELD.y).mean(), 1e-4)


def test_pieces_add_up_to_the_whole():
    whole, pieces = solve(epochs=3), solve(epochs=3, batch_size=32)  # 32, 32 and 6.
    close(pieces.params, whole.params, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(pieces.history["loss"], whole.history["loss"], rtol=1e-4)


@pytest.mark.slow
def test_squares_have_least_squares_solvers():
    x, net = jnp.linspace(-2, 2, 30)[:, None], jnn.serial(jnn.dense(3), jnn.tanh(), jnn.dense(1))
    t, marquardt = jnp.sin(2 * x), jnn.levenberg_marquardt()
    params, _ = net.init(jax.random.key(0), x)
    data = {"net": net, "data": (x, t), "params": params, "optimizer": marquardt}
    fit = solve(
        loss=jnn.squared_error, metrics={"far": lambda y, t: jnp.abs(y - t).max(-1)}, **data
    )
    found = jnn.least_squares(
        lambda p: (net(p, x) - t) / jnp.sqrt(30 / 2), params, max_steps=8, history=True
    )
    np.testing.assert_allclose(fit.history["loss"], found.history.value[1:], rtol=2e-3)
    np.testing.assert_array_equal(fit.history["evaluations"], found.history.evaluations[1:])
    far = jnp.abs(net(fit.params, x) - t).mean()
    np.testing.assert_allclose(fit.history["far"][-1], far, rtol=1e-4)
    half = solve(loss=jnn.half_squared_error, **data)
    np.testing.assert_allclose(2 * half.history["loss"], fit.history["loss"], rtol=2e-3)
    with pytest.raises(ValueError, match="squared_error or half_squared_error for levenberg"):
        solve(optimizer=marquardt)


def test_rules_end_it_and_the_best_come_back():
    far = (HELD.x, 1 - HELD.y)
    fit = solve(epochs=50, validation=far, stop=patience(3))
    losses = fit.history["validation_loss"]
    best = int(np.argmin(losses))
    assert (fit.status, fit.epochs) == ("patience", best + 4)
    np.testing.assert_allclose(LOSS(NET(fit.params, far[0]), far[1]).mean(), losses[best], 1e-5)
    assert solve(stop=still(1e9)).epochs == 1


def test_it_resumes_to_the_same_bits(tmp_path):
    whole = solve()
    for epochs in (3, 8):
        part = solve(epochs=epochs, checkpoint=tmp_path)
    equal(part.params, whole.params)
    equal(part.opt_state, whole.opt_state)
    for name in ("loss", "evaluations"):
        np.testing.assert_array_equal(part.history[name], whole.history[name])


def test_how_it_ends():
    line = jnp.linspace(-1, 1, 8)[:, None]
    fit = solve(net=jnn.dense(1), loss=jnn.squared_error, data=(line, 2 * line), epochs=100)
    assert fit.status in ("converged", "stalled")
    assert fit.epochs < 40
    np.testing.assert_allclose(fit.params.w, 2, rtol=1e-5)
    x = np.array(X)
    x[37] = np.nan
    fit = solve(data=(x, Y))
    assert fit.status == "not finite"
    assert fit.message.endswith("It was step 1, in the data.")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fit.params))


def test_what_a_solver_cannot_have():
    for settings in (
        {"augment": lambda key, x: x}, {"precision": mixed()}, {"data": Stream([(X, Y)])},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="left out for a solver, lbfgs"):
            solve(**settings)


@pytest.mark.slow
def test_devices_share_the_samples():
    if len(jax.devices()) < 2:
        pytest.skip("needs two devices: XLA_FLAGS=--xla_force_host_platform_device_count=8")
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
    spread = solve(epochs=3, sharding=mesh)
    np.testing.assert_allclose(spread.history["loss"], solve(epochs=3).history["loss"], rtol=1e-4)
