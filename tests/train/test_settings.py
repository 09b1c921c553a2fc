"""What people expect of a run: averages, parts of a batch, penalties, schedules, calls by steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.train import Stream, every, patience
from tests.train.test_fit import ADAM, HELD, LOSS, NET, STARTS, X, Y, close, equal, plain, run
from tests.train.test_stream import PAIRS, stepwise

cosine, warm_up = jnn.schedules.cosine, jnn.schedules.warm_up
SIZES = np.array([16, 16, 16, 16, 6])


def cost(params):
    return 0.01 * jnn.l2(params)


@jax.jit
def gradient(params, x, y):
    return jax.value_and_grad(lambda p: LOSS(NET(p, x), y).mean() + cost(p))(params)


def test_average_parts_and_penalty_are_those_of_a_plain_loop():
    params, _ = NET.init(jax.random.key(5), X)
    settings = {"average": 0.8, "accumulate": 3, "penalty": cost, "validation": HELD}
    fit = run(params=params, shuffle=False, **settings)
    state, total, weight, costs = ADAM.init(params), 0.0, 0.0, []
    for i in 3 * STARTS:
        _, grads = gradient(params, X[i : i + 16], Y[i : i + 16])
        costs.append(cost(params))
        updates, state = ADAM.update(grads, state, params)
        params = jnn.apply_updates(params, updates)
        total = jax.tree.map(lambda p, t: 0.8 * t + 0.2 * p, params,
                             total or jax.tree.map(jnp.zeros_like, params))  # fmt: skip
        weight = 0.8 * weight + 0.2
    mean = jax.tree.map(lambda t: t / weight, total)
    close(fit.last, params)
    close(fit.params, mean)
    np.testing.assert_allclose(
        fit.history["penalty"], np.reshape(costs, (3, 5)) @ SIZES / 70, rtol=1e-5
    )
    held = LOSS(NET(mean, HELD.x), HELD.y).mean()
    np.testing.assert_allclose(fit.history["validation_loss"][-1], held, rtol=1e-5)
    assert "validation_penalty" not in fit.history
    # A stream of it, and an ensemble.
    stepwise(
        run(params=params, data=PAIRS, **settings), run(params=params, shuffle=False, **settings)
    )
    many = jnn.fit_many(NET, LOSS, ADAM, (X, Y), epochs=1, members=2, progress=None, batch_size=16,
                        **settings)  # fmt: skip
    alone = run(epochs=1, key=jax.random.fold_in(jax.random.key(0), 1), **settings)
    close(many.member(1)[0], alone.params)


def test_a_rule_watches_and_restores_the_average():
    far = (HELD.x, 1 - HELD.y)  # The better it learns, the worse it does here.
    fit = run(epochs=30, validation=far, stop=patience(3), average=0.5, optimizer=jnn.adam(0.05))
    losses = fit.history["validation_loss"]
    assert fit.status == "patience"
    best = LOSS(NET(fit.params, far[0]), far[1]).mean()
    np.testing.assert_allclose(best, losses.min(), rtol=1e-5)
    assert LOSS(NET(fit.last, far[0]), far[1]).mean() > best


def test_a_schedule_spans_the_run():
    told = warm_up(cosine(0.05, 12), 3)
    fits = [run(optimizer=jnn.adam(rate)) for rate in (told, warm_up(cosine(0.05), 0.2))]
    equal(fits[1].params, fits[0].params)
    by_steps = run(optimizer=jnn.adam(warm_up(cosine(0.05), 3)), steps=15)
    equal(by_steps.params, fits[0].params)
    flow = run(optimizer=jnn.adam(warm_up(cosine(0.05), 0.2)), data=Stream((X, Y)))
    close(flow.params, fits[0].params)
    many = jnn.fit_many(NET, LOSS, lambda rate: jnn.adam(cosine(rate)), (X, Y), batch_size=16,
                        settings=jnp.array([0.01, 0.05]), epochs=2, progress=None)  # fmt: skip
    key = jax.random.fold_in(jax.random.key(0), 1)
    close(many.member(1)[0], run(optimizer=jnn.adam(cosine(0.05, 10)), epochs=2, key=key).params)


def test_calls_come_after_so_many_steps_with_the_means_between():
    params, _ = NET.init(jax.random.key(5), X)
    losses = np.array(plain(params, 3 * STARTS)[2])
    weights = np.tile(SIZES, 3)
    seen, pairs, epochs = [], [], []
    calls = [every(4, seen.append), every(6, lambda r: pairs.append(r.steps)), epochs.append]
    fit = run(params=params, shuffle=False, callbacks=calls)
    assert [r.steps for r in seen] == [4, 8, 12]
    assert [r.epoch for r in seen] == [0, 1, 2]
    assert pairs == [6, 12]
    assert [r.steps for r in epochs] == [5, 10, 15]
    for r in seen:
        rows = slice(r.steps - 4, r.steps)
        mean = (losses[rows] * weights[rows]).sum() / weights[rows].sum()
        np.testing.assert_allclose(r.values["loss"], mean, rtol=1e-5)
    stepwise(fit, run(params=params, shuffle=False))
    shuffled = run(callbacks=every(2, lambda report: report.steps == 8))
    assert (shuffled.status, shuffled.steps, shuffled.epochs) == ("called", 8, 1)
    close(shuffled.params, run(steps=8).params)


def test_chance_averages_and_words_resume_to_the_same_bits(tmp_path):
    net = jnn.serial(jnn.dense(8), jnn.relu(), jnn.dropout(0.3), jnn.dense(2))
    same = functools.partial(run, net=net, precision="bfloat16", average=0.9, accumulate=2, key=3,
                             optimizer=jnn.adam(warm_up(cosine(0.05), 0.2)))  # fmt: skip
    whole = same()
    equal(same().params, whole.params)
    killed = same(checkpoint=tmp_path, callbacks=lambda report: report.epoch == 1)
    assert killed.status == "called"
    resumed = same(checkpoint=tmp_path)
    equal((resumed.params, resumed.last), (whole.params, whole.last))
    assert resumed.params[0].w.dtype == jnp.float32


@pytest.mark.parametrize(("settings", "fault"), [
    ({"average": 0.9}, "`average` must be left out for a solver"),
    ({"accumulate": 2}, "`accumulate` must be left out for a solver"),
    ({"callbacks": every(2, print)}, "`every` must be left out for a solver"),
])  # fmt: skip
def test_what_a_solver_does_not_have(settings, fault):
    with pytest.raises(ValueError, match=fault):
        run(optimizer=jnn.lbfgs(), **settings)


def test_a_solver_has_a_penalty():
    def strong(params):
        return 0.5 * jnn.l2(params)

    fit = run(optimizer=jnn.lbfgs(), epochs=8, penalty=strong, batch_size=None)
    free = run(optimizer=jnn.lbfgs(), epochs=8, batch_size=None)
    assert jnn.l2(fit.params) < 0.2 * jnn.l2(free.params)
    np.testing.assert_allclose(fit.history["penalty"][-1], strong(fit.params), rtol=1e-4)
    with pytest.raises(ValueError, match="`penalty` must be left out for a solver of squares"):
        run(net=jnn.dense(1), loss=jnn.squared_error, optimizer=jnn.levenberg_marquardt(),
            data=(X, X[:, :1]), penalty=strong)  # fmt: skip
