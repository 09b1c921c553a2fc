"""Programs are forgotten before a process has no more memory maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.xla import memory
from jnn.xla.memory import allowed, forget_programs, maps

pytestmark = pytest.mark.skipif(not maps(), reason="maps can be counted on Linux alone")
RISE, CALL = 50, 500  # Maps to the bound, so few that a test reaches it soon; maps of a call.


@pytest.fixture
def most(monkeypatch):
    """The bound, near above what this process has now; counted after each four programs."""
    jax.clear_caches()
    bound = maps() + RISE
    monkeypatch.setattr(memory, "allowed", lambda: bound)
    monkeypatch.setattr(memory, "PROGRAMS", 4)
    return bound


def a_fit(n):
    data = np.ones((8, n), np.float32), np.zeros(8, np.int32)
    jnn.fit(jnn.dense(2), jnn.softmax_cross_entropy, jnn.gd(0.1), data, epochs=1, progress=None)


def a_search(n):
    jnn.minimize(lambda x: jnp.sum((x - 1) ** 2), jnp.zeros(n), max_steps=3)


def some_fits(n):
    data = np.ones((8, n), np.float32), np.zeros(8, np.int32)
    jnn.fit_many(jnn.dense(2), jnn.softmax_cross_entropy, jnn.gd(0.1), data, members=2, epochs=1,
                 progress=None)  # fmt: skip


def a_regression(n):
    jnn.least_squares(lambda x: x - 1, jnp.zeros(n), max_steps=3)


@pytest.mark.parametrize("run", [a_fit, some_fits, a_search, a_regression])
def test_what_is_fitted_again_and_again_stays_below_the_bound(run, most):
    seen = []
    for n in range(1, 60):
        run(n)
        seen.append(maps())
        if len(seen) > 1 and seen[-1] < seen[-2]:
            break
    assert seen[-1] < seen[-2], "programs were never forgotten"
    assert max(seen) < most + CALL


def test_the_bound_is_a_part_of_the_systems():
    assert 0.5 * int(memory.LIMIT.read_text()) < allowed() < 0.7 * int(memory.LIMIT.read_text())


def test_it_is_seldom_counted(monkeypatch):
    counted = []
    monkeypatch.setattr(memory, "maps", lambda: len(counted.append(0) or counted))
    for _ in range(memory.CALLS * 2 + 1):
        forget_programs()
    assert 1 <= len(counted) <= 3
    del counted[:]
    for n in range(1, 2 * memory.PROGRAMS + 1):
        jax.jit(lambda x: x + 1)(np.zeros(n))
        forget_programs()
    assert 1 <= len(counted) <= 3


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(memory, "MAPS", memory.MAPS / "none")
    monkeypatch.setattr(memory, "LIMIT", memory.LIMIT / "none")
    assert maps() == 0
    assert allowed() == pytest.approx(39_318)


@pytest.mark.slow
def test_hundreds_of_fits_in_one_process(most):
    """As in a search over sizes; without the guard, 12 maps a fit and more."""
    for n in range(1, 151):
        a_fit(n)
        assert maps() < most + CALL
