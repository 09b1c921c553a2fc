"""Sequences of different lengths: each as it would be alone, whatever fills it up."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn import models
from jnn.layers.combinators.head import headless
from tests.draw import parameters

NOT_WHOLE: Any = 0.5
RANDOM = np.random.default_rng(3)
SEQUENCES = [RANDOM.integers(1, 7, n) for n in (5, 2, 1, 0)]
PADDED = jnn.data.pad_sequences(SEQUENCES, value=-1, side="left").x
WALKS = [RANDOM.normal(size=(n, 3)).astype(np.float32) for n in (5, 2, 1, 0)]
PAIR = jnn.data.pad_sequences(WALKS, value=np.nan)

CASES: dict[str, Any] = {
    "attention, filled up on the left": (
        models.encoder(7, 8, 2, 2, 3, pad=-1, positions="learned", context=6),
        models.encoder(7, 8, 2, 2, 3, positions="learned", context=6),
        PADDED, SEQUENCES,
    ),
    "recurrent layers from both ends": (
        models.recurrent(3, 4, 2, cell="gru", both=True, vocabulary=7, pad=-1),
        models.recurrent(3, 4, 2, cell="gru", both=True, vocabulary=7),
        PADDED, SEQUENCES,
    ),
    "numbers and their lengths": (
        jnn.ragged(row := jnn.serial(
            jnn.sinusoidal_positions(), jnn.skip(jnn.lstm(3, reverse=True)),
            jnn.parallel(jnn.tanh(), jnn.attention(3, causal=True), combine="concatenate"),
            jnn.global_max_pool(), jnn.dense(3),
        )),
        row, (PAIR.x, PAIR.lengths), WALKS,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("net", "alone", "x", "rows"), CASES.values(), ids=CASES)
def test_each_is_as_it_would_be_alone(net, alone, x, rows):
    """Of four rows, one of which is empty: its output is what the last layer makes of 0."""
    params = parameters(net, x)
    delta = jnp.asarray(RANDOM.normal(size=(4, 3)), jnp.float32)

    def together(params):
        return net(params, x)

    def one_by_one(params):
        found = [alone(params, row[None])[0] if len(row) else params[-1].b for row in rows]
        return jnp.stack(found)

    @jax.jit
    def both(params):
        pulled = (jax.vjp(f, params) for f in (together, one_by_one))
        return [(y, pull(delta)) for y, pull in pulled]

    found, expected = both(params)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_outputs_of_places_are_an_array_and_the_last_product_is_left_to_the_loss():
    net = models.recurrent(7, 4, both=True, read="each", vocabulary=7, pad=-1)
    params = parameters(net, PADDED)
    assert net(params, PADDED).shape == (4, 5, 7)
    without = headless(net)
    assert without is not None
    head, _ = without(params, (), PADDED, None, False)
    np.testing.assert_allclose(head.output(), net(params, PADDED), atol=1e-6)
    told = jnn.summary(net, PADDED)
    assert told.parameters == sum(a.size for a in jax.tree.leaves(params))
    assert told.rows[0].layer == "embedding(7, 4)"


def test_fit_reads_them_in_one_line_by_an_id_or_by_lengths():
    """Whether an even token is the last but one: padding must not count."""
    sequences = [RANDOM.integers(1, 7, n) for n in RANDOM.integers(2, 9, 40)]
    labels = np.array([s[-2] % 2 for s in sequences])
    net = models.recurrent(2, 8, vocabulary=7)
    params, _ = net.init(jax.random.key(0), np.ones((1, 2), int))

    def run(net, data):
        return jnn.fit(net, jnn.softmax_cross_entropy, jnn.adam(0.05), data, epochs=20,
                       batch_size=40, params=params, metrics="accuracy", progress=None)  # fmt: skip

    by_id = run(models.recurrent(2, 8, vocabulary=7, pad=0),
                jnn.data.bucketed(sequences, labels, size=40, buckets=1))  # fmt: skip
    told = run(jnn.ragged(net), jnn.data.bucketed(sequences, labels, size=40, buckets=1,
                                                  value=5, lengths=True))  # fmt: skip
    assert by_id.history["accuracy"][-1] > 0.9
    for a, b in zip(jax.tree.leaves(by_id.params), jax.tree.leaves(told.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_an_id_out_of_range_is_told_where_it_is_read():
    net = models.recurrent(2, 4, vocabulary=4, pad=-1)
    fit = jnn.fit(net, jnn.softmax_cross_entropy, jnn.gd(0.1), (PADDED, np.zeros(4, int)),
                  epochs=1, progress=None)  # fmt: skip
    assert "output of layer 0.embedding; the ids of its batch are 0 to 6" in fit.message


def test_a_length_that_cannot_be_is_told_or_is_nan():
    net = jnn.ragged(jnn.serial(jnn.dense(2), jnn.last()))
    x = jnp.ones((2, 3, 1))
    params, _ = net.init(jax.random.key(0), (x, jnp.array([3, 1])))
    with pytest.raises(ValueError, match=r"lengths are 0 \.\.\. 3, its time, got 2 \.\.\. 4"):
        net(params, (x, np.array([4, 2])))
    assert np.isnan(jax.jit(net)(params, (x, np.array([4, 2])))).any(1).tolist() == [True, False]
    data = (x, np.array([4, 2])), np.ones((2, 2), np.float32)
    with pytest.raises(ValueError, match="its time, got 2"):  # Of the step that was not finite.
        jnn.fit(net, jnn.squared_error, jnn.gd(0.1), data, epochs=1, progress=None)


@pytest.mark.parametrize(("layer", "shape"), [
    (jnn.batch_norm(), (2, 3, 4)), (jnn.conv(2, 2), (2, 3, 4)), (jnn.flatten(), (2, 3, 4)),
    (jnn.group_norm(2), (2, 3, 4)), (jnn.serial(jnn.relu(), jnn.softsign(), jnn.flatten()), (2, 3)),
])  # fmt: skip
def test_what_would_mix_places_refuses(layer, shape):
    net = jnn.ragged(jnn.serial(jnn.relu(), layer))
    with pytest.raises(ValueError, match="sequences that are all as long, got sequences of diff"):
        net.init(jax.random.key(0), (jnp.zeros(shape), jnp.array([1, 2])))


@pytest.mark.parametrize(("call", "fault"), [
    (lambda: jnn.ragged(jnn.dense(2), pad=NOT_WHOLE), "None or an integer"),
    (lambda: jnn.ragged(jnn.dense(2), pad=0)((), jnp.ones((2, 3))), "token ids, integers"),
    (lambda: jnn.ragged(jnn.dense(2))((), jnp.ones((2, 3))), r"a pair of \(batch, time"),
    (lambda: jnn.ragged(jnn.dense(2))((), (jnp.ones((2, 3)), jnp.ones(2))), "are integers"),
    (lambda: models.encoder(None, 8, 2, 1, 3, pad=0), r"jnn\.ragged\(net\) reads features"),
    (lambda: models.recurrent(3, pad=0), r"jnn\.ragged\(net\) reads features"),
])  # fmt: skip
def test_what_cannot_be_read_gets_a_sentence(call, fault):
    with pytest.raises((ValueError, TypeError), match=fault):
        call()
