"""A trained network on data: the numbers of `fit`'s validation, and all outputs, by batches."""

import functools

import jax
import numpy as np
import pytest

import jnn
from jnn.train import evaluate, predict
from tests.train.test_fit import HELD, LOSS, NET, run

WEIGHTS = np.linspace(0, 1, len(HELD.x), dtype=np.float32)


def test_it_is_the_validation_of_fit_and_of_any_batches():
    data = (*HELD, WEIGHTS)
    fit = run(validation=data, metrics="accuracy", epochs=1)
    batches = list(jnn.data.batches(data, 9))
    for given in (data, batches, lambda epoch: iter(batches)):
        found = evaluate(NET, LOSS, fit.params, given, metrics="accuracy", batch_size=7)
        for name, value in found.items():
            np.testing.assert_allclose(value, fit.history[f"validation_{name}"][-1], rtol=1e-5)
    labels = np.where(np.arange(33) < 20, HELD.y, -1)
    loss = functools.partial(LOSS, ignore=-1)
    some = evaluate(NET, loss, fit.params, (HELD.x, labels), batch_size=7)["loss"]
    np.testing.assert_allclose(some, LOSS(NET(fit.params, HELD.x[:20]), HELD.y[:20]).mean(), 1e-5)


def test_outputs_come_in_the_order_of_the_inputs():
    net = jnn.serial(jnn.dropout(0.5), jnn.batch_norm(), jnn.dense(3))
    params, state = net.init(jax.random.key(0), HELD.x)
    found = predict(net, params, HELD.x, state, batch_size=10)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, net(params, HELD.x, state), rtol=1e-5, atol=1e-6)
    half = predict(net, params, HELD.x, state, precision="bfloat16")
    assert half.dtype == np.float32
    assert 0 < abs(half - found).max() < 0.1
    with pytest.raises(ValueError, match="`x` must be arrays of one sample at least"):
        predict(net, params, HELD.x[:0])
