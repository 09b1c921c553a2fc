"""`fit`: the same steps as a plain loop, whatever is around them, and what it says of a run."""

import json
import os
import signal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.layers.core.layer import pure, without_parameters
from jnn.train import mixed, patience, still
from jnn.train.program import epoch as program

NET = jnn.serial(jnn.dense(8), jnn.tanh(), jnn.dense(2))
LOSS = jnn.softmax_cross_entropy
ADAM = jnn.adam(0.02)
X, Y = jnn.data.two_moons(70)
EPOCH: Any = program.epoch
HELD = jnn.data.two_moons(33, seed=1)


def run(**settings) -> jnn.train.Fit:
    common: dict[str, Any] = {"epochs": 3, "batch_size": 16, "progress": None}
    net, loss = settings.pop("net", NET), settings.pop("loss", LOSS)
    optimizer, data = settings.pop("optimizer", ADAM), settings.pop("data", (X, Y))
    if "steps" in settings:
        del common["epochs"]
    return jnn.fit(net, loss, optimizer, data, **{**common, **settings})


def equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def close(a, b, **tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, **{"rtol": 1e-5, "atol": 1e-6, **tolerance})


@jax.jit
def gradient(params, x, y):
    return jax.value_and_grad(lambda p: LOSS(NET(p, x), y).mean())(params)


def plain(params, batches):
    """The loop that everybody writes."""
    state, losses = ADAM.init(params), []
    for i in batches:
        value, grads = gradient(params, X[i : i + 16], Y[i : i + 16])
        updates, state = ADAM.update(grads, state, params)
        params = jax.tree.map(lambda p, u: p + u, params, updates)
        losses.append(float(value))
    return params, state, losses


STARTS = list(range(0, 70, 16))


@pytest.mark.compiler
def test_it_takes_the_steps_of_a_plain_loop_the_last_short_batch_included():
    params, _ = NET.init(jax.random.key(5), X)
    fit = run(params=params, shuffle=False, validation=HELD, metrics="accuracy")
    expected, state, losses = plain(params, 3 * STARTS)
    close(fit.params, expected)
    close(fit.opt_state, state)
    sizes = np.array([16, 16, 16, 16, 6])
    np.testing.assert_allclose(
        fit.history["loss"], np.reshape(losses, (3, 5)) @ sizes / 70, rtol=1e-5
    )
    assert fit.steps == 15
    assert fit.epochs == 3
    assert fit.status == "done"
    assert fit.success
    y = NET(fit.params, HELD.x)
    np.testing.assert_allclose(fit.history["validation_loss"][-1], LOSS(y, HELD.y).mean(), 1e-5)
    accuracy = (y.argmax(-1) == HELD.y).mean()
    np.testing.assert_allclose(fit.history["validation_accuracy"][-1], accuracy, rtol=1e-6)
    assert set(fit.history) == {
        "loss", "accuracy", "validation_loss", "validation_accuracy", "seconds",
    }  # fmt: skip


@pytest.mark.compiler
def test_the_same_key_gives_the_same_bits_and_nothing_is_compiled_again():
    first = run(key=3)
    compiled = EPOCH._cache_size()
    again, other = run(key=jax.random.key(3)), run(key=4)
    assert EPOCH._cache_size() == compiled
    equal(again.params, first.params)
    equal(again.opt_state, first.opt_state)
    np.testing.assert_array_equal(again.history["loss"], first.history["loss"])
    assert np.abs(other.params[0].w - first.params[0].w).max() > 1e-3


def test_each_epoch_has_an_order_of_its_own_and_shows_every_sample():
    """A network whose state spells what it saw, one sample a digit."""

    @jnn.layer
    def gather():
        def init(key, x):
            return jnp.zeros(1), jnp.zeros((), jnp.float32)

        def apply(params, state, x, *, key=None, train=False):
            return x * jnp.broadcast_to(params, x.shape), 31 * state + x[0, 0]

        return init, apply

    x = jnp.array([[1.0], [2.0], [4.0]])

    def loss(y, t):
        return y[:, 0]

    orders = set()
    for key in range(12):
        fit = run(net=gather(), loss=loss, optimizer=jnn.gd(0.0), data=(x, x), batch_size=1,
                  epochs=1, key=key)  # fmt: skip
        code = float(fit.state)
        orders.add(code)
    permutations = {31 * (31 * a + b) + c for a, b, c in
                    [(1, 2, 4), (1, 4, 2), (2, 1, 4), (2, 4, 1), (4, 1, 2), (4, 2, 1)]}  # fmt: skip
    assert orders <= permutations
    assert len(orders) > 2


def test_a_number_of_steps():
    params, _ = NET.init(jax.random.key(5), X)
    short = run(steps=7, params=params, shuffle=False)
    assert (short.steps, short.epochs) == (7, 2)
    close(short.params, plain(params, [*STARTS, *STARTS[:2]])[0])


def test_what_the_caller_gave_is_still_there():
    params, state = NET.init(jax.random.key(0), X)
    opt_state = ADAM.init(params)
    x = jnp.array(X)
    run(params=params, state=state, opt_state=opt_state, data=(x, Y))
    for leaf in jax.tree.leaves((params, state, opt_state, x)):
        assert not leaf.is_deleted()


def test_patience_stops_and_restores_the_best():
    far = (HELD.x, 1 - HELD.y)  # The better it learns, the worse it does here.
    fit = run(epochs=50, validation=far, stop=patience(4), optimizer=jnn.adam(0.05))
    losses = fit.history["validation_loss"]
    best = int(np.argmin(losses))
    assert fit.status == "patience"
    assert fit.epochs == len(losses) == best + 1 + 4
    np.testing.assert_allclose(LOSS(NET(fit.params, far[0]), far[1]).mean(), losses[best], 1e-5)
    kept = run(epochs=50, validation=far, stop=patience(4, restore=False),
               optimizer=jnn.adam(0.05))  # fmt: skip
    np.testing.assert_allclose(LOSS(NET(kept.params, far[0]), far[1]).mean(), losses[-1], 1e-5)
    fit = run(epochs=50, stop=patience(2, on="accuracy", larger=True, by=0.5), metrics="accuracy")
    assert fit.epochs == 3
    with pytest.raises(ValueError, match="'validation_loss'"):
        run(stop=patience(2, on="validation_loss"))


def test_x54_stops_at_the_first_short_step():
    x = jnp.linspace(-1, 1, 8)[:, None]
    data, delta = (x, 3 * x), 1e-3
    fit = run(net=jnn.dense(1, bias=False), loss=jnn.half_squared_error, optimizer=jnn.gd(0.5),
              data=data, batch_size=8, epochs=500, stop=still(delta))  # fmt: skip
    assert fit.status == "still"
    curvature = float((x**2).mean())
    error, steps = abs(float(fit.params.w[0, 0]) - 3), fit.epochs
    last = error / (1 - 0.5 * curvature) * 0.5 * curvature
    before = last / (1 - 0.5 * curvature)
    assert last <= delta < before
    assert steps < 500
    # In the midst of an epoch, the steps behind change nothing.
    half = run(net=jnn.dense(1, bias=False), loss=jnn.half_squared_error, optimizer=jnn.gd(0.5),
               data=(jnp.tile(x, (50, 1)), jnp.tile(3 * x, (50, 1))), batch_size=8, epochs=3,
               shuffle=False, stop=still(delta), key=0)  # fmt: skip
    np.testing.assert_allclose(half.params.w, fit.params.w, rtol=1e-5)
    assert half.epochs == 1
    assert np.isfinite(half.history["loss"]).all()


def test_a_number_that_is_none_stops_before_that_step_and_is_named():
    x = np.array(X)
    x[37] = np.nan
    params, _ = NET.init(jax.random.key(5), X)
    fit = run(params=params, shuffle=False, data=(x, Y), epochs=4)
    assert fit.status == "not finite"
    assert not fit.success
    assert fit.message.endswith("It was step 3, in the data.")
    close(fit.params, plain(params, STARTS[:2])[0])
    assert fit.steps == 2


def test_the_layer_is_named():
    @jnn.layer
    def log():
        return without_parameters, pure(lambda params, x: jnp.log(x))

    fit = run(net=jnn.serial(jnn.dense(3), log(), jnn.dense(2)))
    assert fit.message.endswith("It was step 1, in the output of layer 1.log.")

    def root(y, t):
        return jnp.sqrt(jnp.abs(y[:, 0]) * 0)

    assert "It was step 1, in the gradient of 2/" in run(loss=root).message


def test_steps_that_are_not_finite_can_be_skipped():
    x = np.array(X)
    x[37] = np.nan
    fit = run(data=(x, Y), not_finite="skip", shuffle=False)
    assert fit.status == "done"
    assert fit.skipped == 3
    assert np.isfinite(fit.history["loss"]).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fit.params))


def test_callbacks_see_every_epoch_and_may_stop():
    reports = []

    def watch(report):
        reports.append(report._replace(params=jax.tree.map(np.array, report.params)))
        return report.epoch == 2

    fit = run(callbacks=watch, epochs=5)
    assert [r.epoch for r in reports] == [1, 2]
    assert [r.steps for r in reports] == [5, 10]
    assert fit.status == "called"
    assert len(fit.history["loss"]) == fit.epochs == 2
    equal(reports[-1].params, jax.tree.map(np.array, fit.params))
    np.testing.assert_allclose([r.values["loss"] for r in reports], fit.history["loss"])


def test_ctrl_c_returns_what_was_reached():
    def press(report):
        if report.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    former = signal.getsignal(signal.SIGINT)
    fit = run(epochs=100, callbacks=press)
    assert fit.status == "interrupted"
    assert fit.epochs == 2
    equal(fit.params, run(epochs=2).params)
    assert signal.getsignal(signal.SIGINT) is former


def test_mixed_precision_learns_with_parameters_in_float32():
    for dtype in ("bfloat16", "float16"):
        fit = run(precision=mixed(dtype), epochs=30)
        assert fit.params[0].w.dtype == jnp.float32
        assert fit.history["loss"][-1] < 0.4
        full = run(epochs=30)
        assert 0 < abs(fit.history["loss"][-1] - full.history["loss"][-1]) < 0.05


def test_the_loss_scale_falls_until_nothing_overflows_and_rises_again():
    fit = run(precision=mixed("float16", scale=2.0**40, every=4), epochs=10)
    assert 8 < fit.skipped < 30
    assert fit.status == "done"
    assert fit.history["loss"][-1] < fit.history["loss"][-3]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fit.params))


def test_an_augmentation_gets_another_key_each_step():
    def shake(key, x):
        return x + jax.random.normal(key, x.shape)

    a, b = run(augment=shake), run()
    assert np.abs(a.params[0].w - b.params[0].w).max() > 1e-4
    equal(a.params, run(augment=shake).params)


def test_optax_optimizers_train():
    optax: Any = pytest.importorskip("optax", reason="needs optax: jnn[bench]")
    params, _ = NET.init(jax.random.key(5), X)
    with jax.numpy_dtype_promotion("standard"):  # optax promotes.
        theirs = run(optimizer=optax.adam(0.02), params=params)
    ours = run(params=params)
    close(theirs.params, ours.params, atol=1e-5)


@pytest.mark.slow
def test_transforms_that_need_more_than_the_gradient():
    assert run(optimizer=jnn.heun(0.3), epochs=30).history["loss"][-1] < 0.4
    reduced = jnn.chain(jnn.gd(0.3), jnn.optim.plateau(patience=3))
    assert run(optimizer=reduced).status == "done"
    gathered = jnn.optim.accumulate(jnn.gd(0.3), every=2)
    assert run(optimizer=gathered, epochs=30).history["loss"][-1] < 0.5


def test_trees_of_inputs_and_a_small_set():
    fit = run(data=(X[:5], Y[:5]), batch_size=64)
    assert fit.steps == 3

    @jnn.layer
    def first():
        def init(key, x):
            return NET.init(key, x["a"])

        def apply(params, state, x, *, key=None, train=False):
            return NET.apply(params, state, x["a"], key=key, train=train)

        return init, apply

    equal(run(net=first(), data=({"a": X}, Y)).params, run().params)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"net": 3}, "`net` must be a layer"),
        ({"loss": 3}, "`loss` must be a function"),
        ({"optimizer": None}, "fit: `optimizer` must be a pair of functions"),
        ({"epochs": 0}, "positive integer"),
        ({"epochs": 1, "steps": 1}, "one of the two"),
        ({"data": X}, "a pair"),
        ({"data": (X, Y[:3])}, "same number of samples"),
        ({"data": (X[:0], Y[:0])}, "at least one"),
        ({"loss": lambda y, t: y.T}, "one value a sample"),
        ({"not_finite": "hope"}, "'stop', 'skip'"),
        ({"metrics": "area"}, "one of 'accuracy'"),
        ({"callbacks": 3}, "functions of a report"),
        ({"progress": "loud"}, "'auto'"),
        ({"stop": 5}, r"`stop` must be jnn\.train\.patience"),
        ({"precision": "double"}, "'bfloat16', 'float16'"),
        ({"precision": 16}, r"Make it by jnn\.train\.mixed"),
        ({"average": 2.0}, "`average` must be between 0 and 1"),
        ({"accumulate": 0}, "`accumulate` must be a positive integer"),
        ({"penalty": lambda params: params[0].b}, "`penalty` must be a function"),
        ({"optimizer": jnn.adam(jnn.schedules.cosine(1.0)), "data": iter([(X, Y)])}, "`steps`"),
        ({"data": (X.tolist(), Y)}, r"arrays of numbers, got float .* np\.asarray"),
        ({"data": (X, np.full(len(X), "a"))}, "arrays of numbers, got str"),
    ],
)
def test_bad_arguments_are_named(settings, fault):
    with pytest.raises((ValueError, TypeError), match=fault):
        jnn.fit(**{"net": NET, "loss": LOSS, "optimizer": ADAM, "data": (X, Y), "progress": None,
                   **({} if "steps" in settings else {"epochs": 1}), **settings})  # fmt: skip


def test_the_history_is_a_table(tmp_path):
    fit = run(validation=HELD)
    fit.history.save(tmp_path / "h.csv")
    names, values = jnn.data.csv(tmp_path / "h.csv")
    assert names == ("epoch", "loss", "validation_loss", "seconds")
    np.testing.assert_allclose(values[:, 1], fit.history["loss"], rtol=1e-6)
    fit.history.save(tmp_path / "h.json")
    stored = json.loads((tmp_path / "h.json").read_text())
    np.testing.assert_allclose(stored["validation_loss"], fit.history["validation_loss"], 1e-6)
    with pytest.raises(ValueError, match=r"'\.csv', '\.json'"):
        fit.history.save(tmp_path / "h.txt")


def test_a_fit_prints_its_sentence_and_last_row_and_no_arrays():
    fit = run(validation=HELD)
    shown = repr(fit).splitlines()
    assert fit.message in shown[0]
    row = ["epochs", "steps", "skipped", *fit.history]
    assert [line.split()[0] for line in shown[1:]] == row
    assert f"{fit.history['loss'][-1]:.4g}" in shown[4]
    assert str(fit._replace(history=jnn.train.History())).splitlines() == shown[:4]


def test_the_history_is_drawn():
    pytest.importorskip("matplotlib", reason="needs jnn[examples]")
    from jnn import plots

    figure: Any = plots.history(run(validation=HELD, metrics="accuracy").history)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    assert all(len(axes.lines) == 2 for axes in figure.axes)


def test_the_time_that_is_left_does_not_count_the_compiler(capsys, monkeypatch):
    from jnn.train.host import progress

    now = iter([0.0, 60.0, 60.0, 62.0])  # A minute of compiling and an epoch, then 2 s an epoch.
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(now))
    lines = progress.Lines(every=0)
    lines.begin(11, 0, 100)
    lines.compiled(100)
    lines.show(1, {"loss": 1.0})
    lines.show(2, {"loss": 1.0})
    first, second = capsys.readouterr().err.splitlines()
    assert "left" not in first
    assert second.endswith("50 samples/s  0:18 left")


def test_the_state_of_another_optimizer_is_refused():
    for given, optimizer in ((ADAM.init, jnn.gd(0.1)), (jnn.gd(0.1).init, ADAM)):
        params, _ = NET.init(jax.random.key(0), X)
        with pytest.raises(ValueError, match="`opt_state` must be a state of this optimizer"):
            run(optimizer=optimizer, opt_state=given(params))


def test_lines_and_bars(capsys, monkeypatch):
    from jnn.train.host.progress import Bar, Lines, Overwritten, clock

    for kind in (Lines(every=0), Overwritten(every=0), Bar(every=0)):
        run(progress=kind, epochs=3)
        shown = capsys.readouterr().err
        assert "epoch 3/3" in shown
        assert "loss" in shown
    run(progress="lines")
    assert capsys.readouterr().err.count("\n") == 1  # So short a run shows its last line only.
    run(progress=None)
    assert not capsys.readouterr().err
    assert (clock(65), clock(3700), clock(float("inf"))) == ("1:05", "1:01:40", "?")
