"""What samples and tokens weigh: in the loss, the metrics and the counts, by weights or labels."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.train import Stream
from tests.train.test_fit import close

# Rows of ids, of which the first few are real: what stands behind them is no part of the task.
RANDOM = np.random.default_rng(3)
LENGTHS = RANDOM.integers(1, 6, 20)
MASK = np.arange(5) < LENGTHS[:, None]
IDS = RANDOM.integers(0, 7, (20, 5)).astype(np.int32)
NEXT = (IDS + 1) % 7
NET = jnn.serial(jnn.embedding(7, 4), jnn.dense(7))
LOSS = jnn.softmax_cross_entropy
IGNORING = functools.partial(LOSS, ignore=-1)
MASKED = np.where(MASK, NEXT, -1)
PARAMS, _ = NET.init(jax.random.key(1), IDS)


def run(data, loss: Any = LOSS, optimizer: Any = None, **settings):
    common = {"epochs": 2, "batch_size": 8, "params": PARAMS, "metrics": "accuracy",
              "shuffle": False, "progress": None}  # fmt: skip
    return jnn.fit(NET, loss, optimizer or jnn.adam(0.05), data, **{**common, **settings})


def plain(weights, epochs=2, size=8):
    """Everybody's loop, over the means that a mask makes: the loss and the accuracy by epoch."""
    optimizer = jnn.adam(0.05)
    params, state, told = PARAMS, optimizer.init(PARAMS), []

    @jax.jit
    def gradient(params, x, t, w):
        def objective(params):
            logits = NET(params, x)
            logs = jax.nn.log_softmax(logits)
            values = -jnp.take_along_axis(logs, t[..., None], -1)[..., 0]
            right = jnp.where(logits.argmax(-1) == t, w, 0)
            return (values * w).sum() / w.sum(), right.sum() / w.sum()

        return jax.value_and_grad(objective, has_aux=True)(params)

    for _ in range(epochs):
        sums = np.zeros(3)
        for i in range(0, len(IDS), size):
            rows = slice(i, i + size)
            w = weights[rows].astype(np.float32)
            (loss, right), grads = gradient(params, IDS[rows], NEXT[rows], w)
            updates, state = optimizer.update(grads, state, params)
            params = jnn.apply_updates(params, updates)
            sums += w.sum() * np.array([loss, right, 1])
        told.append(sums[:2] / sums[2])
    return params, np.array(told).T


def test_tokens_weigh_as_in_a_plain_loop_in_training_and_validation():
    weights = MASK * RANDOM.uniform(0.5, 2, MASK.shape).astype(np.float32)
    data = IDS, NEXT, weights
    fit = run(data, validation=data)
    params, (loss, accuracy) = plain(weights)
    close(fit.params, params)
    np.testing.assert_allclose(fit.history["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(fit.history["accuracy"], accuracy, rtol=1e-5)
    each = LOSS(NET(fit.params, IDS), jnp.asarray(NEXT))
    expected = (each * weights).sum() / weights.sum()
    np.testing.assert_allclose(fit.history["validation_loss"][-1], expected, rtol=1e-5)
    # A stream, and twice the weights: the same run.
    pairs = [(IDS[i : i + 8], NEXT[i : i + 8], 2 * weights[i : i + 8]) for i in (0, 8, 16)]
    stream = run(Stream(pairs), validation=Stream(pairs))
    close(stream.params, params)
    for name in ("loss", "accuracy", "validation_loss", "validation_accuracy"):
        np.testing.assert_allclose(stream.history[name], fit.history[name], rtol=1e-5)


def test_a_label_that_the_loss_ignores_weighs_nothing_anywhere():
    masked = IDS, NEXT, MASK  # Booleans weigh 1 and 0.
    fit, expected = run((IDS, MASKED), IGNORING, validation=(IDS, MASKED)), run(masked)
    close(fit.params, expected.params)
    np.testing.assert_allclose(fit.history["accuracy"], expected.history["accuracy"], rtol=1e-6)
    hidden = MASKED.copy()
    hidden[:8] = -1  # A whole batch of nothing is a step of no gradient, and no NaN.
    fit = run((IDS, hidden), IGNORING)
    assert fit.status == "done"
    assert np.isfinite(fit.history["loss"]).all()
    # A sample's weight is that of its tokens that are left.
    samples = np.where(np.arange(20) < 10, 3.0, 0.0).astype(np.float32)
    fit = run((IDS, MASKED, samples), IGNORING)
    close(fit.params, run((IDS, NEXT, MASK * samples[:, None])).params)


def test_a_sample_of_no_weight_might_as_well_not_be_there():
    weights = np.ones(20, np.float32)
    weights[[3, 11, 12]] = 0
    kept = weights > 0
    some = run((IDS, NEXT, weights), batch_size=20)
    fewer = run((IDS[kept], NEXT[kept]), batch_size=17)
    close(some.params, fewer.params)
    np.testing.assert_allclose(some.history["loss"], fewer.history["loss"], rtol=1e-5)
    many = jnn.fit_many(NET, LOSS, jnn.adam(0.05), (IDS, NEXT, weights), members=2, epochs=1,
                        progress=None, batch_size=20)  # fmt: skip
    alone = jnn.fit(NET, LOSS, jnn.adam(0.05), (IDS[kept], NEXT[kept]), epochs=1, progress=None,
                    batch_size=17, key=jax.random.fold_in(jax.random.key(0), 1))  # fmt: skip
    close(many.member(1)[0], alone.params)


@pytest.mark.parametrize("solver", [jnn.lbfgs(), jnn.levenberg_marquardt()], ids=["value", "terms"])
def test_a_solver_weighs_too(solver):
    """Squared errors along a sequence, of which some places weigh nothing."""
    net = jnn.dense(2)
    x = RANDOM.normal(size=(12, 3, 2)).astype(np.float32)
    t = (x @ [[1.0, 2.0], [-1.0, 0.5]] + 0.3).astype(np.float32)
    weights = RANDOM.uniform(0.5, 2, (12, 3)).astype(np.float32)
    wrong = RANDOM.uniform(size=(12, 3)) < 0.3
    weights[wrong] = 0
    t[wrong] += 10
    fit = jnn.fit(net, jnn.squared_error, solver, (x, t, weights), epochs=6, progress=None)
    np.testing.assert_allclose(fit.params.w, [[1.0, 2.0], [-1.0, 0.5]], atol=2e-2)
    noisy = t + RANDOM.normal(size=t.shape).astype(np.float32) * ~wrong[..., None]
    fit = jnn.fit(net, jnn.squared_error, solver, (x, noisy, weights), epochs=6, progress=None)
    left = ((np.asarray(net(fit.params, x)) - noisy) ** 2).sum(-1)
    mean = (weights * left).sum() / weights.sum()
    np.testing.assert_allclose(fit.history["loss"][-1], mean, rtol=1e-4)
    root = np.sqrt(weights)[..., None]  # The least squares of NumPy.
    design = np.concatenate([x, np.ones((12, 3, 1))], -1) * root
    best = np.linalg.lstsq(design.reshape(36, 3), (noisy * root).reshape(36, 2), rcond=None)[0]
    np.testing.assert_allclose(fit.params.w, best[:2], atol=2e-2)


def test_shards_weigh_what_they_were_given():
    mesh = jax.make_mesh((4,), ("data",), devices=jax.devices()[:4])
    weights = MASK * RANDOM.uniform(0.5, 2, MASK.shape).astype(np.float32)
    arrays = Stream((IDS, NEXT, weights), shard=True)
    fit = run(arrays, sharding=mesh)
    close(fit.params, plain(weights)[0], rtol=1e-4, atol=1e-5)


def test_progress_counts_tokens_that_count(capsys):
    lines = jnn.train.Lines(every=0)
    run((IDS, NEXT, MASK), progress=lines, epochs=1)
    assert lines.samples == MASK.sum()
    assert re.search(r"[\d,]+ tokens/s", capsys.readouterr().err)
    run(Stream([(IDS, MASKED), (IDS[:8], MASKED[:8])]), IGNORING, progress=lines, epochs=1)
    assert lines.samples == MASK.sum() + MASK[:8].sum()


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ((IDS, NEXT, np.ones((20, 4))), r"of shape \(20,\) or of the first axes of .*20, 5"),
        ((IDS, NEXT, -np.ones(20)), "of at least 0, some above, got -1 among them"),
        ((IDS, NEXT, np.zeros(20)), "weights that are all 0. They say how much"),
        ((IDS, NEXT, 1.0), "arrays of numbers, got float"),
        ((IDS, np.full_like(NEXT, 9)), "the loss; the labels of its batch are 9 to 9, of which 0 "),
        ((IDS, NEXT.astype("i8") + 2**40), r"that int32 can hold, got 10995\d+ at 0, 0"),
        (Stream([(IDS, NEXT.astype("i8") + 2**31)]), r"int32 can hold, got 21474836\d+ at 0, 0"),
        ((IDS + 4, NEXT), "output of layer 0.embedding; the ids of its batch are 4 to 10"),
    ],
)  # fmt: skip
def test_bad_weights_labels_and_ids_get_a_sentence(data, fault):
    try:
        told = run(data, epochs=1, batch_size=20).message
    except (ValueError, TypeError) as error:
        told = str(error)
    assert re.search(fault, told), told
