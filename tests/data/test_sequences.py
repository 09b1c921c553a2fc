"""Sequences of different lengths: nothing of them is lost, and padding weighs nothing."""

import jax
import numpy as np
import pytest

import jnn

RANDOM = np.random.default_rng(0)
SEQUENCES = [RANDOM.integers(1, 9, n) for n in RANDOM.integers(2, 12, 30)]


def test_padding_stands_where_it_should():
    found = jnn.data.pad_sequences(SEQUENCES, length=14, value=-1, side="left")
    assert found.x.shape == (30, 14)
    for row, mask, sequence in zip(found.x, found.mask, SEQUENCES, strict=True):
        np.testing.assert_array_equal(row[mask], sequence)
        assert (row[~mask] == -1).all()
        assert mask[-1]
    vectors = jnn.data.pad_sequences([np.ones((2, 3)), np.ones((4, 3))])
    assert vectors.x.sum((1, 2)).tolist() == [6, 12]


def rows(batches):
    """Of each batch the inputs and targets that weigh something."""
    return sorted(
        (tuple(a[w > 0].tolist()), tuple(b[w > 0].tolist()))
        for x, t, weights in batches
        for a, b, w in zip(x, t, weights, strict=True)
        if w.any()
    )


def test_every_sequence_comes_once_an_epoch_in_batches_alike():
    batches = jnn.data.bucketed(SEQUENCES, size=4, buckets=3, key=5)
    expected = sorted((tuple(s[:-1].tolist()), tuple(s[1:].tolist())) for s in SEQUENCES)
    first, second = list(batches(0)), list(batches(1))
    assert rows(first) == rows(second) == expected
    assert len({x.shape for x, _, _ in first}) <= 3
    assert all(len(x) == 4 for x, _, _ in first)
    padding = sum(w.size for _, _, w in first) - sum(len(s) - 1 for s in SEQUENCES)
    assert padding < 30 * 10 - sum(len(s) - 1 for s in SEQUENCES)  # Less than in one bucket.
    again = list(jnn.data.bucketed(SEQUENCES, size=4, buckets=3, key=5)(0))
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((a[0].shape != b[0].shape) or (a[0] != b[0]).any()
               for a, b in zip(first, second, strict=True))  # fmt: skip


def test_targets_may_be_one_a_sequence_or_one_a_token():
    labels = np.array([len(s) % 2 for s in SEQUENCES])
    seen = 0
    for x, t, w in jnn.data.bucketed(SEQUENCES, labels, size=4)(0):
        assert t.shape == w.shape == (4,)
        np.testing.assert_array_equal((x > 0).sum(1)[w > 0] % 2, t[w > 0])
        seen += w.sum()
    assert seen == 30
    doubled = [2 * s for s in SEQUENCES]
    for x, t, w in jnn.data.bucketed(SEQUENCES, doubled, size=4)(0):
        np.testing.assert_array_equal(2 * x[w > 0], t[w > 0])


def test_a_network_is_trained_on_them_as_on_one_padded_array():
    net = jnn.serial(jnn.embedding(9, 4), jnn.dense(9))
    one = jnn.data.pad_sequences(SEQUENCES)
    params, _ = net.init(jax.random.key(0), one.x)

    def run(data):
        return jnn.fit(net, jnn.softmax_cross_entropy, jnn.gd(0.5), data, epochs=2, batch_size=30,
                       params=params, progress=None)  # fmt: skip

    flow = run(jnn.data.bucketed(SEQUENCES, size=30, buckets=1))
    whole = run((one.x[:, :-1], one.x[:, 1:], one.mask[:, 1:]))
    for a, b in zip(jax.tree.leaves(flow.params), jax.tree.leaves(whole.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda: jnn.data.pad_sequences([]), "alike but for their lengths, got none"),
        (lambda: jnn.data.pad_sequences([[1, 2]], length=1), "at least 2, of sequence 0, got 1"),
        (lambda: jnn.data.pad_sequences([[1], [0.5]]), "alike but for their lengths"),
        (lambda: jnn.data.bucketed([[1, 2], [3]], [[1], [2]]), "a sequence of its length"),
        (lambda: jnn.data.bucketed([[1, 2, 3]], buckets=[1]), "1 to 1, the longest bucket, got 2"),
    ],
)
def test_what_cannot_be_padded_gets_a_sentence(call, fault):
    with pytest.raises(ValueError, match=fault):
        call()
