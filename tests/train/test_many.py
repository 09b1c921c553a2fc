"""`fit_many`: each member is the run that it would be alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.train import Checkpoints, patience
from tests.train.test_fit import ADAM, HELD, LOSS, NET, X, Y, close, equal, run


@pytest.mark.slow
def test_an_ensemble_resumes_to_the_same_bits(tmp_path):
    settings = {"members": 3, "validation": HELD, "stop": patience(2, by=0.04)}
    whole = many(epochs=5, **settings)
    for epochs in (2, 5):
        part = many(epochs=epochs, checkpoint=Checkpoints(tmp_path, every=2), **settings)
    equal(part.params, whole.params)
    assert part.status == whole.status
    for name in whole.history:
        np.testing.assert_array_equal(part.history[name], whole.history[name])
    again = many(epochs=5, checkpoint=tmp_path, **settings)
    equal(again.params, whole.params)
    with pytest.raises(ValueError, match="`key` must be that of the run"):
        many(epochs=6, checkpoint=tmp_path, key=1, **settings)


@pytest.mark.slow
def test_an_ensemble_of_solvers():
    fits = many(optimizer=jnn.lbfgs(), members=2)
    alone = run(optimizer=jnn.lbfgs(), key=jax.random.fold_in(jax.random.key(0), 1))
    np.testing.assert_allclose(fits.history["loss"][1], alone.history["loss"], rtol=1e-4)
    assert fits.steps.tolist() == [3, 3]


def many(**settings):
    common = {"epochs": 3, "batch_size": 16, "progress": None}
    if isinstance(settings.get("optimizer"), jnn.solve.Solver):
        del common["batch_size"]
    return jnn.fit_many(NET, LOSS, settings.pop("optimizer", ADAM), settings.pop("data", (X, Y)),
                        **{**common, **settings})  # fmt: skip


def test_members_are_the_runs_that_they_would_be_alone():
    fits = many(members=3, key=5, validation=HELD)
    assert fits.history["validation_loss"].shape == (3, 3)
    for i in range(3):
        alone = run(key=jax.random.fold_in(jax.random.key(5), i), validation=HELD)
        close(fits.member(i)[0], alone.params, atol=1e-5)
        np.testing.assert_allclose(fits.history["loss"][i], alone.history["loss"], rtol=1e-4)
    assert fits.steps.tolist() == [15] * 3


def test_settings_are_the_optimizers():
    rates = jnp.array([0.0, 0.02, 0.3])
    fits = many(optimizer=jnn.adam, settings=rates, same=True)
    key = jax.random.fold_in(jax.random.key(0), 0)
    for i, rate in enumerate(rates):
        alone = run(optimizer=jnn.adam(float(rate)), key=key)
        close(fits.member(i)[0], alone.params, atol=1e-4)
    with pytest.raises(ValueError, match="one entry a member"):
        many(optimizer=jnn.adam, settings=rates, members=2)


def test_each_member_stops_by_itself():
    rates = jnp.array([0.0, 0.1, jnp.inf])
    fits = many(optimizer=jnn.gd, settings=rates, same=True, epochs=12, stop=patience(8, by=1e-5))
    assert fits.status == ("patience", "done", "not finite")
    assert fits.epochs.tolist()[:2] == [9, 12]
    assert fits.epochs[2] < 2
    losses = fits.history["loss"]
    assert np.isnan(losses[0, 9:]).all()
    assert np.isfinite(losses[1]).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fits.params))
    assert fits.messages[2].startswith("A loss or a gradient was not finite. It was step ")
    assert fits.messages[2].endswith("in the optimizer's step.")
    assert fits.messages[1] == "All epochs were run."
    assert fits.steps.tolist() == [45, 60, int(fits.messages[2].split()[11][:-1]) - 1]
    assert str(fits).splitlines()[0].endswith("(1)")
    assert "epochs               " in str(fits)
    assert len(str(fits)) < 1000
    value = LOSS(NET(fits.member(1)[0], X), Y).mean()
    assert value < losses[1, 0]
