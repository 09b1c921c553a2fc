"""Programs are forgotten before a process has no more memory maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.xla import memory
from jnn.xla.memory import allowed, forget_programs, maps

pytestmark = pytest.mark.skipif(not maps(), reason="maps can be counted on Linux alone")
CALL = 500  # More maps than a call makes.


@pytest.fixture
def bounded(monkeypatch):
    """Lowers the bound to so many maps more than now, and has them counted more often."""

    def bound(rise):
        jax.clear_caches()
        most = maps() + rise
        monkeypatch.setattr(memory, "allowed", lambda: most)
        monkeypatch.setattr(memory, "PROGRAMS", 4)
        return most

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


@pytest.mark.parametrize(
    ("run", "rise"), [(a_fit, CALL), (some_fits, CALL), (a_search, 50), (a_regression, 50)]
)
def test_what_is_fitted_again_and_again_stays_below_the_bound(run, rise, bounded):
    most, seen = bounded(rise), [0]
    for n in range(1, 60):
        run(n)
        seen.append(maps())
        if seen[-1] < seen[-2]:
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
def test_hundreds_of_fits_in_one_process(bounded):
    """As in a search over sizes; without the guard, 12 maps a fit and more."""
    most = bounded(CALL)
    for n in range(1, 151):
        a_fit(n)
        assert maps() < most + CALL


def test_nothing_is_forgotten_while_a_program_is_traced(monkeypatch):
    cleared = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(True))
    ask = lambda x: (monkeypatch.setattr(memory, "since", 1.0), forget_programs(0), x)[-1]  # noqa: E731
    jax.jit(ask)(1.0)
    assert not cleared
    ask(1.0)
    assert cleared
