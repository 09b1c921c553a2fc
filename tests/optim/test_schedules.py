"""Schedules: their values at the corners, as Python integers and as traced steps."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn import schedules as s

CORNERS = {
    "constant": (s.constant(0.5), {0: 0.5, 10**6: 0.5}),
    "step": (s.step(1.0, 0.1, 10), {0: 1, 9: 1, 10: 0.1, 19: 0.1, 20: 0.01}),
    "piecewise": (s.piecewise([1.0, 0.5, 2.0], [3, 5]), {0: 1, 2: 1, 3: 0.5, 4: 0.5, 5: 2, 99: 2}),
    "exponential": (s.exponential(2.0, 0.5, every=3), {0: 2, 3: 1, 6: 0.5}),
    "inverse_time": (s.inverse_time(1.0, every=2), {0: 1, 2: 0.5, 6: 0.25}),
    "inverse_time, root": (s.inverse_time(1.0, power=0.5), {0: 1, 3: 0.5, 8: 1 / 3}),
    "polynomial": (s.polynomial(1.0, 0.1, 4, power=2), {0: 1, 2: 0.325, 4: 0.1, 5: 0.1}),
    "linear": (s.linear(0.0, 1.0, 4), {0: 0, 1: 0.25, 4: 1, 9: 1}),
    "cosine": (s.cosine(1.0, 8, end=0.2), {0: 1, 4: 0.6, 8: 0.2, 9: 0.2}),
    "cosine_restarts": (
        s.cosine_restarts(1.0, 4),
        {0: 1, 2: 0.5, 3: (1 + math.cos(0.75 * math.pi)) / 2, 4: 1, 6: 0.5, 4 * 10**6: 1},
    ),
    "cosine_restarts, growing": (
        s.cosine_restarts(1.0, 4, growth=2, factor=0.5, end=0.1),
        {0: 1, 4: 0.5, 8: 0.3, 12: 0.25, 20: 0.175, 28: 0.125},
    ),
    "warm_up": (s.warm_up(s.cosine(1.0, 4), 2, start=0.5), {0: 0.5, 1: 0.75, 2: 1, 4: 0.5, 6: 0}),
    "warm_up to a number": (s.warm_up(3.0, 3), {0: 0, 1: 1, 3: 3, 50: 3}),
    "one_cycle": (
        s.one_cycle(1.0, 10, rise=0.4, start=0.1, end=0.01),
        {0: 0.1, 2: 0.55, 4: 1, 7: 0.505, 10: 0.01, 99: 0.01},
    ),
    "join": (s.join([s.linear(0, 1, 2), 5.0, s.step(1, 0.5, 1)], [2, 4]), {1: 0.5, 3: 5, 6: 0.25}),
}  # fmt: skip


@pytest.mark.parametrize("name", CORNERS)
def test_values_at_the_corners(name):
    schedule, corners = CORNERS[name]
    steps = np.array(list(corners))
    traced = jax.jit(jax.vmap(schedule))(jnp.asarray(steps, jnp.int32))
    np.testing.assert_allclose(traced, list(corners.values()), rtol=1e-5, atol=1e-6)
    plain = [float(schedule(step)) for step in steps[:2]]
    np.testing.assert_allclose(plain, traced[:2], rtol=1e-6, atol=1e-7)


def test_every_restart_is_met_exactly():
    schedule = jax.jit(jax.vmap(s.cosine_restarts(1.0, 7, growth=3)))
    starts = 7 * (3 ** np.arange(15) - 1) // 2
    np.testing.assert_array_equal(schedule(jnp.asarray(starts, jnp.int32)), np.ones(15))
    assert (schedule(jnp.asarray(starts[1:] - 1, jnp.int32)) < 0.06).all()


@pytest.mark.parametrize("name", CORNERS)
def test_a_schedule_follows_the_precision_in_force(name):
    schedule, _ = CORNERS[name]
    for wide in (False, True):
        with jax.enable_x64(wide):
            assert jnp.result_type(schedule(jnp.int32(3))) == ("float64" if wide else "float32")


def test_what_is_left_open_is_filled_with_the_steps_of_the_run():
    spanning, adam = jnn.optim.spanning, jnn.adam

    def label(path, leaf):
        return "a"

    open_ended = {
        adam(s.one_cycle(1.0, rise=0.5)): adam(s.one_cycle(1.0, 40, rise=0.5)),
        adam(s.linear(1.0, 0.0)): adam(s.linear(1.0, 0.0, 40)),
        adam(s.warm_up(s.polynomial(1.0, 0.0), 0.25)): adam(
            s.warm_up(s.polynomial(1.0, 0.0, 30), 10)
        ),
        adam(s.join([s.cosine(1.0), s.cosine(0.5)], [15])): adam(
            s.join([s.cosine(1.0, 15), s.cosine(0.5, 25)], [15])
        ),
        jnn.optim.accumulate(adam(s.cosine(1.0)), 4): jnn.optim.accumulate(
            adam(s.cosine(1.0, 10)), 4
        ),
        jnn.chain(
            jnn.optim.clip(1.0), jnn.optim.groups(label, {"a": adam(s.cosine(1.0))})
        ): jnn.chain(jnn.optim.clip(1.0), jnn.optim.groups(label, {"a": adam(s.cosine(1.0, 40))})),
        adam(s.cosine(1.0, 7)): adam(s.cosine(1.0, 7)),
    }
    for given, filled in open_ended.items():
        assert spanning(given, 40) == filled
    other: Any = jnn.optim.Optimizer(lambda params: (), adam().update)
    assert spanning(other, 40) is other


def test_an_open_schedule_says_that_it_has_no_end():
    with pytest.raises(ValueError, match=r"cosine: `steps` must be how long it lasts.*jnn\.fit"):
        s.cosine(1.0)(3)
    with pytest.raises(ValueError, match="warm_up: `steps`"):
        s.warm_up(1.0, 0.1)(3)


BAD = {
    "share": (lambda: s.warm_up(1.0, 1.5), r"warm_up: `steps` must be a positive integer"),
    "cosine": (lambda: s.cosine(1.0, 0), r"cosine: `steps` must be a positive integer, got 0"),
    "rate": (lambda: s.step(-1.0, 0.5, 10), r"step: `rate` must be at least 0"),
    "rise": (lambda: s.one_cycle(1.0, 10, rise=1.0), r"one_cycle: `rise`"),
    "pieces": (lambda: s.piecewise([1.0, 2.0], []), r"join: `boundaries` must be of length 1"),
    "order": (lambda: s.join([1.0, 2.0, 3.0], [5, 5]), r"`boundaries` must be increasing"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_settings_are_refused_with_a_sentence(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_the_count_stays_at_its_last_value():
    step = jnn.optim.descend(s.constant(1.0))
    last = jnn.optim.DescendState(jnp.asarray(2**31 - 1, jnp.int32))
    _, state = step.update(jnp.ones(1), last)
    assert state.step.item() == 2**31 - 1
