"""A network with chance in it: runs are those of their key, on any devices, however interrupted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.train import Checkpoints
from tests.train.test_fit import LOSS, X, Y, close, equal, run

NET = jnn.serial(jnn.dense(16), jnn.relu(), jnn.dropout(0.3), jnn.dense(2))
STILL = jnn.serial(jnn.dense(16), jnn.relu(), jnn.dropout(0.0), jnn.dense(2))


def test_a_run_is_that_of_its_key():
    first, again, other = run(net=NET, key=3), run(net=NET, key=3), run(net=NET, key=4)
    equal(again.params, first.params)
    assert abs(other.params[0].w - first.params[0].w).max() > 1e-3
    without = run(net=STILL, key=3)
    assert abs(without.params[0].w - first.params[0].w).max() > 1e-3


def test_each_step_has_a_mask_of_its_own():
    """On one batch of ones that never changes, with a rate that learns nothing."""
    seen = []

    @jnn.layer
    def watched():
        def init(key, x):
            return (), ()

        def apply(params, state, x, *, key=None, train=False):
            if train:
                jax.debug.callback(lambda y: seen.append(np.asarray(y != 0)), x)
            return x, state

        return init, apply

    net = jnn.serial(jnn.dropout(0.5), watched(), jnn.dense(2))
    data = jnp.ones((16, 8)), jnp.zeros(16, jnp.int32)
    run(net=net, data=data, optimizer=jnn.gd(0.0), epochs=4, shuffle=False)
    jax.effects_barrier()
    assert len(seen) == 4
    assert len({mask.tobytes() for mask in seen}) == 4
    assert not (seen[0][0] == seen[0][1]).all()  # Nor has one sample that of another.


@pytest.mark.slow
def test_a_resumed_run_goes_on_to_the_same_bits(tmp_path):
    whole = run(net=NET, epochs=5)
    run(net=NET, epochs=2, checkpoint=tmp_path)
    equal(run(net=NET, epochs=5, checkpoint=tmp_path).params, whole.params)


@pytest.mark.slow
def test_devices_train_the_same_network():
    """The masks are those of one device, in the short last batch too, which is padded."""
    mesh = jax.make_mesh((8,), ("data",))
    one, eight = run(net=NET), run(net=NET, sharding=mesh)
    close(eight.params, one.params, atol=1e-5)


@pytest.mark.slow
def test_members_are_the_runs_that_they_would_be_alone(tmp_path):
    def many(**settings):
        return jnn.fit_many(NET, LOSS, jnn.adam(0.02), (X, Y), members=3, key=5, batch_size=16,
                            progress=None, **settings)  # fmt: skip

    fits = many(epochs=3)
    for i in range(3):
        alone = run(net=NET, key=jax.random.fold_in(jax.random.key(5), i))
        close(fits.member(i)[0], alone.params, atol=1e-5)
    for epochs in (1, 3):
        part = many(epochs=epochs, checkpoint=Checkpoints(tmp_path, every=1))
    equal(part.params, fits.params)
