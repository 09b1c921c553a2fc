"""Transforms and wrappers: what each promises beyond its example."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn import optim


def steps(optimizer, grads, params, **extra):
    """The points after each gradient."""
    state, points = optimizer.init(params), []
    update = jax.jit(optimizer.update)
    for g in grads:
        updates, state = update(g, state, params, **extra)
        params = jnn.apply_updates(params, updates)
        points.append(params)
    return points, state


def tree(random, dtype: type = np.float32):
    return {
        "w": jnp.asarray(random.normal(size=(4, 3)).astype(dtype)),
        "b": jnp.asarray(random.normal(size=3).astype(dtype)),
    }


def close(a, b, **tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(x, float), np.asarray(y, float), **tolerance)


# Clipping


@pytest.mark.parametrize("make", [optim.clip_norm, optim.clip_global_norm])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_norm_is_at_most_the_bound_and_the_direction_stays(make, dtype, random):
    # 1e4 squared is more than float16 holds.
    g = {k: (1e4 * x).astype(dtype) for k, x in tree(random).items()}
    u, _ = make(2.0).update(g, ())
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), u)
    whole = np.concatenate([x.ravel() for x in wide.values()])
    groups = list(wide.values()) if make is optim.clip_norm else [whole]
    for x in groups:
        assert np.linalg.norm(x) == pytest.approx(2.0, rel=1e-2)
    ratio = u["w"].astype(float) / g["w"].astype(float)
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=2e-2)
    assert all(u[k].dtype == dtype for k in u)


@pytest.mark.parametrize("make", [optim.clip, optim.clip_norm, optim.clip_global_norm])
def test_clipping_leaves_the_small_and_passes_nan(make):
    g = jnp.array([0.3, -0.4])
    np.testing.assert_array_equal(make(1.0).update(g, ())[0], g)
    np.testing.assert_array_equal(make(1.0).update(0 * g, ())[0], 0 * g)
    assert jnp.isnan(make(1.0).update(jnp.array([jnp.nan, 1.0]), ())[0][0])


@pytest.mark.parametrize("make", [optim.clip_norm, optim.clip_global_norm])
@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e30])
def test_a_gradient_without_a_finite_norm_is_not_taken_for_zero(make, bad):
    u, _ = make(1.0).update(jnp.array([bad, 1.0], jnp.float32), ())
    assert not jnp.isfinite(u).any()


def test_centralised_updates_keep_the_sum_of_each_output(random):
    w, g = tree(random), tree(random)
    (after,), _ = steps(jnn.chain(optim.centralise(), jnn.gd(0.1)), [g], w)
    np.testing.assert_allclose(after["w"].sum(0), w["w"].sum(0), atol=1e-6)
    np.testing.assert_allclose(after["b"], w["b"] - 0.1 * g["b"], rtol=1e-6)


# Noise


def test_noise_has_its_deviation_and_is_fresh_for_each_leaf_and_step():
    g = {"a": jnp.zeros(20_000), "b": jnp.zeros(20_000)}
    transform = optim.noise(jax.random.key(1), jnn.schedules.inverse_time(2.0, power=0.5))
    first, state = transform.update(g, transform.init(g))
    second, _ = transform.update(g, state)
    np.testing.assert_allclose(np.std(first["a"]), 2.0, rtol=0.03)
    np.testing.assert_allclose(np.std(second["a"]), 2.0 / 2**0.5, rtol=0.03)
    for x, y in [(first["a"], first["b"]), (first["a"], second["a"])]:
        assert abs(np.corrcoef(x, y)[0, 1]) < 0.05
    again, _ = transform.update(g, transform.init(g))
    np.testing.assert_array_equal(again["a"], first["a"])


# Plateaus


def scales(losses, **settings):
    optimizer = optim.plateau(**settings)
    state, found = optimizer.init(()), []
    for value in losses:
        u, state = optimizer.update(jnp.array(1.0), state, value=value)
        found.append(u.item())
    return found


def test_a_plateau_halves_the_steps_after_its_patience():
    assert scales([3.0, 2.0, 2.0, 2.0, 2.0, 1.0], factor=0.5, patience=2) == [1, 1, 1, 1, 0.5, 0.5]
    falling = [1.0 - 0.1 * i for i in range(8)]
    assert scales(falling, factor=0.5, patience=1) == [1.0] * 8


def test_a_plateau_has_a_floor_a_threshold_and_a_window():
    assert scales([1.0] * 6, factor=0.5, patience=0, floor=0.2)[-1] == pytest.approx(0.2)
    slow = [1.0, 0.9999, 0.9998]
    assert scales(slow, factor=0.5, patience=0, threshold=1e-2) == [1, 0.5, 0.25]
    # Noisy losses, whose means of two fall.
    assert scales([3.0, 1.0, 2.5, 0.5, 2.0, 0.0], factor=0.5, patience=0, window=2) == [1.0] * 6


def test_a_loss_that_is_not_finite_is_no_fall():
    assert scales([1.0, np.nan, np.inf], factor=0.5, patience=0) == [1, 0.5, 0.25]
    assert scales([np.inf, 1.0, 0.5], factor=0.5, patience=1) == [1, 1, 1]


# Accumulation


def test_accumulated_pieces_take_the_step_of_the_whole(random):
    grads = [tree(random) for _ in range(6)]
    params = tree(random)
    pieces, _ = steps(optim.accumulate(jnn.adam(0.1), every=3), grads, params)
    whole = [jax.tree.map(lambda *x: sum(x) / 3, *grads[i : i + 3]) for i in (0, 3)]
    expected, _ = steps(jnn.adam(0.1), whole, params)
    close(pieces[1], params, rtol=0)
    close([pieces[2], pieces[5]], expected, rtol=1e-5, atol=1e-6)


# Skipping


def test_skipped_steps_leave_everything_as_it_was(random):
    grads, params = [tree(random) for _ in range(4)], tree(random)
    bad = grads[1] | {"b": jnp.array([jnp.inf, 0, 0])}
    points, state = steps(
        optim.skip_not_finite(jnn.adam(0.1)), [grads[0], bad, bad, *grads[2:]], params
    )
    expected, inner = steps(jnn.adam(0.1), [grads[0], *grads[2:]], params)
    close(points[-1], expected[-1], rtol=0)
    close(state.inner, inner, rtol=0)
    assert state.skipped.item() == 2
    assert state.in_a_row.item() == 0


# Half precision


centred = partial(jnn.rmsprop, centred=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_widened_statistics_are_float32_and_follow_the_float32_run(dtype, random):
    params = jax.tree.map(lambda x: x.astype(dtype), tree(random))
    grads = [jax.tree.map(lambda x: (1e-4 * x).astype(dtype), tree(random)) for _ in range(50)]
    exact = [jax.tree.map(lambda x: x.astype(jnp.float32), g) for g in grads]
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), params)
    expected, _ = steps(jnn.adam(1e-4), exact, wide)
    points, state = steps(optim.widen(jnn.adam(1e-4), master=True), grads, params)
    floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert all(x.dtype == jnp.float32 for x in floats)
    close(state.master, expected[-1], rtol=1e-6)
    rounded = jax.tree.map(lambda x: x.astype(dtype), expected[-1])
    close(points[-1], rounded, rtol=float(jnp.finfo(dtype).eps))
    assert all(x.dtype == dtype for x in jax.tree.leaves(points[-1]))


def test_small_steps_are_lost_without_the_master_copy():
    params, grads = jnp.ones(3, jnp.bfloat16), [jnp.ones(3, jnp.bfloat16)] * 40
    lost, _ = steps(jnn.gd(1e-3), grads, params)
    kept, _ = steps(optim.widen(jnn.gd(1e-3), master=True), grads, params)
    assert lost[-1].tolist() == [1.0] * 3
    np.testing.assert_allclose(kept[-1].astype(float), 0.96, rtol=2**-8)


@pytest.mark.parametrize(
    "make", [jnn.adam, jnn.rmsprop, jnn.adagrad, jnn.radam, jnn.nadam, centred]
)
def test_an_adaptive_step_in_float16_is_that_of_float32(make):
    g = np.array([1e-3, 1e-4, 1e-5], np.float16)  # The square of the second is 0 in float16.
    exact, half = (
        steps(make(1e-2), [jnp.array(g, dtype)] * 2, jnp.zeros(3, dtype))[0][-1]
        for dtype in (jnp.float32, jnp.float16)
    )
    np.testing.assert_allclose(half.astype(float), exact, rtol=5e-3, atol=1e-7)


def test_an_average_of_squares_moves_in_bfloat16():
    size = optim.rms(optim.exponential(0.999))
    one, state = jnp.ones(1, jnp.bfloat16), size.init(jnp.ones(1, jnp.bfloat16))
    for _ in range(1000):
        state = size.update(one, state)
    np.testing.assert_allclose(size.value(state), (1 - 0.999**1000) ** 0.5, rtol=1e-4)


def test_updates_are_added_in_the_wider_dtype_and_rounded_once():
    # 1 + 2^-8 + 2^-16 rounds up; in bfloat16 the update would be 2^-8, and the tie rounds down.
    p, u = jnp.ones(1, jnp.bfloat16), jnp.full(1, 2.0**-8 + 2.0**-16)
    assert jnn.apply_updates(p, u).item() == 1 + 2**-7
    half = jnn.apply_updates(jnp.ones(1, jnp.float16), jnp.ones(1, jnp.bfloat16))
    assert half.dtype == jnp.float16


# Flat updates and averages of parameters


@pytest.mark.parametrize("make", [lambda: jnn.adamw(0.1), lambda: jnn.adams_bashforth(0.1)])
def test_flat_updates_are_the_updates(make, random):
    mixed = {**tree(random), "h": jnp.ones((2, 2), jnp.bfloat16), "none": jnp.ones(0)}
    grads = [jax.tree.map(partial(jnp.multiply, s), mixed) for s in (1.0, -2.0, 0.5)]
    ours, state = steps(optim.flat(make()), grads, mixed)
    theirs, _ = steps(make(), grads, mixed)
    close(ours, theirs, rtol=1e-6)
    assert len(jax.tree.leaves(state)) <= 7


@pytest.mark.parametrize(
    ("average", "beta"), [(None, 1.0), (optim.unbiased(0.5), 0.5)], ids=["Polyak", "exponential"]
)
def test_averages_of_parameters_are_those_of_the_points(average, beta, random):
    grads, params = [tree(random) for _ in range(5)], tree(random)
    points, state = steps(optim.averaged(jnn.gd(0.1), average), grads, params)
    weights = beta ** np.arange(5.0)[::-1]
    weights /= weights.sum()
    expected = jax.tree.map(lambda *x: sum(w * y for w, y in zip(weights, x, strict=True)), *points)
    close(state.average.value, expected, rtol=1e-5, atol=1e-6)


# Groups


def test_groups_have_their_own_rates_and_states(random):
    grads, params = [tree(random) for _ in range(3)], tree(random)
    optimizer = optim.groups(lambda path, _: path, {"w": jnn.adam(0.1), "b": jnn.gd(0.5)})
    points, state = steps(optimizer, grads, params)
    for name, alone in [("w", jnn.adam(0.1)), ("b", jnn.gd(0.5))]:
        expected, _ = steps(alone, [g[name] for g in grads], params[name])
        close(points[-1][name], expected[-1], rtol=1e-6)
    floats = [x.shape for x in jax.tree.leaves(state) if x.ndim]
    assert floats == [(4, 3), (4, 3)]  # Adam's averages of w: nothing for b.


def test_frozen_parameters_stay_and_decay_leaves_biases(random):
    params = tree(random)
    frozen, _ = steps(jnn.chain(jnn.adam(0.1), optim.freeze("w")), [params], params)
    np.testing.assert_array_equal(frozen[0]["w"], params["w"])
    assert abs(frozen[0]["b"] - params["b"]).min() > 0
    nothing = jax.tree.map(jnp.zeros_like, params)
    matrices = jnn.adamw(0.5, decay=0.5, where=lambda path, x: x.ndim > 1)
    (decayed,), _ = steps(matrices, [nothing], params)
    close(decayed, {"w": 0.75 * params["w"], "b": params["b"]}, rtol=1e-6)


def test_paths_name_every_kind_of_node():
    params = jnn.layers.DenseParams(jnp.ones((2, 2)), jnp.ones(2))
    for made in (optim.freeze("nonsense"), jnn.adamw(decay=0.1, where="*/w"), jnn.muon(where="q")):
        with pytest.raises(ValueError, match=r"There are: w, b\. In a pattern"):
            made.init(params)
    chosen = optim.selection("*/w", [{"layer": params}])
    assert tuple(chosen[0]["layer"]) == (True, False)
    assert isinstance(chosen[0]["layer"], jnn.layers.DenseParams)


# Settings in the state


def test_settings_are_changed_inside_a_compiled_program():
    optimizer = optim.adjustable(jnn.gd, rate=1.0)

    @jax.jit
    def run(params):
        def step(carry, n):
            params, state = carry
            state = optim.adjust(state, rate=jnp.where(n < 2, 1.0, 0.0))
            updates, state = optimizer.update(jnp.ones(()), state, params)
            return (jnn.apply_updates(params, updates), state), state.settings["rate"]

        return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(4))

    (params, _), rates = run(jnp.array(5.0))
    assert params.item() == 3.0
    assert rates.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_scheduled_settings_are_seen_in_the_state_and_act(random):
    grads, params = [tree(random) for _ in range(4)], tree(random)
    schedule = jnn.schedules.inverse_time(0.1)
    ours, state = steps(optim.adjustable(jnn.adam, rate=schedule, beta1=0.8), grads, params)
    theirs, _ = steps(jnn.adam(schedule, 0.8), grads, params)
    close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert state.settings["rate"].item() == pytest.approx(0.025)
    assert state.settings["beta1"].item() == pytest.approx(0.8)


def test_adjust_reaches_into_wrappers_and_names_what_there_is():
    inner = optim.adjustable(partial(jnn.adamw, where="w"), rate=0.1, decay=0.01)
    optimizer = optim.skip_not_finite(jnn.chain(optim.clip(1.0), inner))
    state = optim.adjust(optimizer.init({"w": jnp.ones(2)}), rate=0.5)
    assert state.inner[1].settings["rate"].item() == 0.5
    with pytest.raises(ValueError, match=r"adjust: `speed` .*it holds decay, rate"):
        optim.adjust(state, speed=1.0)
    with pytest.raises(ValueError, match=r"none: make the optimizer by jnn\.optim\.adjustable"):
        optim.adjust(jnn.adam(0.1).init(jnp.ones(2)), rate=1.0)
    with pytest.raises(ValueError, match=r"adam: `beta1`.*below 1"):
        optim.adjustable(jnn.adam, rate=0.1, beta1=2.0)
