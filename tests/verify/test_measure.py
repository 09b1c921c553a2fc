"""The stopwatch, on a clock that the test sets."""

import jax.numpy as jnp
import numpy as np
import pytest

from jnn.measure import Race, program, race
from jnn.text import bytes_text, quantity_text, seconds_text, table


class Clock:
    """A clock that stands still except when somebody works."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def test_medians_and_ratios(clock):
    result = race(
        {"a": lambda: clock.work(0.002), "b": lambda: clock.work(0.004)}, budget=1.0, clock=clock
    )
    assert result.seconds("a") == pytest.approx(0.002)
    assert result.ratio("b", "a") == pytest.approx(2.0)
    assert result.spread("b", "a") == pytest.approx((2.0, 2.0))


def test_a_drift_of_the_machine_falls_on_all(clock):
    slow = [1.0]

    def run(seconds):
        clock.work(seconds * slow[0])
        slow[0] *= 1.001  # It gets hotter and hotter.

    result = race(
        {"a": lambda: run(0.01), "b": lambda: run(0.01)}, budget=30.0, rounds=60, clock=clock
    )
    assert result.rounds == 60
    assert max(result.samples["a"]) > 2 * min(result.samples["a"])
    assert result.ratio("a", "b") == pytest.approx(1.0, abs=0.02)


def test_the_order_rotates(clock):
    order = []

    def candidate(name):
        def run():
            order.append(name)
            clock.work(0.01)

        return run

    race({name: candidate(name) for name in "abc"}, rounds=6, budget=10.0, clock=clock)
    turns = order[6::10]  # After a warm call and a timed one each, blocks of ten.
    assert order[6:] == [name for name in turns for _ in range(10)]
    rounds = ["".join(turns[i : i + 3]) for i in range(0, len(turns), 3)]
    assert len(rounds) == 6
    assert {r[0] for r in rounds} == {r[2] for r in rounds} == set("abc")


def test_short_calls_are_gathered_into_samples(clock):
    count = [0]

    def quick():
        count[0] += 1
        clock.work(1e-5)

    result = race({"quick": quick}, rounds=10, clock=clock)
    assert count[0] >= 10 * 100
    assert result.seconds("quick") == pytest.approx(1e-5)


@pytest.mark.parametrize(
    ("seconds", "calls"), [(1e-5, 100), (0.01, 10), (0.1, 5), (0.4, 2), (3, 1)]
)
def test_a_turn_is_a_block_of_calls(clock, seconds, calls):
    times = []

    def run():
        times.append(clock())
        clock.work(seconds)

    result = race({"a": run}, rounds=3, budget=100.0, clock=clock)
    assert len(times[-3 * calls :]) == 3 * calls  # Three rounds of so many calls at the end.
    warm = len(times) - 3 * calls
    assert warm <= 2 + (calls if seconds < 1e-3 else 0)
    assert result.seconds("a") == pytest.approx(seconds)


def test_the_budget_ends_it_but_not_before_three_rounds(clock):
    assert race({"a": lambda: clock.work(0.1)}, budget=4.0, clock=clock).rounds in range(7, 9)
    assert race({"a": lambda: clock.work(100.0)}, budget=1.0, clock=clock).rounds == 3


def test_one_outlier_changes_nothing():
    samples = {"a": np.array([1.0, 1.0, 50.0]), "b": np.array([2.0, 90.0, 2.0])}
    assert Race(samples).ratio("a", "b") == 0.5
    assert Race(samples).seconds("b") == 2.0


def test_a_program_is_compiled_for_its_arguments():
    calls = []

    def f(x, n):
        calls.append(1)
        return {"y": x * n["n"]}

    compiled = program(f, jnp.arange(3.0), {"n": np.float32(2)})
    assert compiled()["y"].tolist() == compiled()["y"].tolist() == [0.0, 2.0, 4.0]
    assert calls == [1]
    assert compiled.compile_seconds > 0
    assert compiled.temporaries is None or compiled.temporaries >= 0
    assert compiled.flops is None or compiled.flops >= 3


def test_a_program_waits_for_its_result():
    compiled = program(lambda x: jnp.linalg.matrix_power(x, 500), jnp.eye(300))
    assert compiled().is_ready()


def test_texts():
    assert table([("a", "b"), ("cc", "1"), ("d", "22")], total=True).splitlines() == [
        "a    b", "------", "cc   1", "------", "d   22",
    ]  # fmt: skip
    assert [bytes_text(n) for n in (0, 1023, 1024, 3 * 2**20, 2**45)] == [
        "0 B", "1023 B", "1.0 KiB", "3.0 MiB", "32.0 TiB",
    ]  # fmt: skip
    assert [seconds_text(s) for s in (2.5e-6, 9.996e-4, 0.5, 61)] == [
        "2.5 us", "1 ms", "500 ms", "61 s",
    ]  # fmt: skip
    quantities = [(None, "s"), (0.5, "s"), (2048, "B"), (1e6, "flop"), (1.5, "ulp"), (2.0, "")]
    assert [quantity_text(*q) for q in quantities] == [
        "?", "500 ms", "2.0 KiB", "1,000,000", "1.5 ulp", "2",
    ]  # fmt: skip
