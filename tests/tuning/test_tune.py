"""Candidates are held to the reference, then timed; the table says all of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn import measure
from jnn.rules.core.product import Product, products
from jnn.tuning import trial, whole


def tune(*args, whole=False, **kwargs):
    return jnn.tune(*args, budget=0.01, progress=False, whole=whole, **kwargs)


@pytest.fixture
def race(monkeypatch):
    """Puts chosen times in the place of measured ones."""

    def of(**seconds):
        class Times:
            def __init__(self, candidates):
                self.names = list(candidates)

            def seconds(self, name):
                return seconds.get(name, 1.0)

            def ratio(self, name, other):
                return self.seconds(name) / self.seconds(other)

        monkeypatch.setattr(trial, "race", lambda candidates, **_: Times(candidates))
        monkeypatch.setattr(trial, "_once", lambda run, clock: 1.0)

    return of


def names(choices):
    return {row.product: row.name for row in choices.rows}


def test_the_fastest_that_is_right_is_chosen(toy, x, race):
    race(times=0.5, sum=2.0, cubed=0.1)
    chosen = tune(toy.rule, x)
    assert names(chosen) == {"toy.value": "times", "toy.slope": "plain"}
    by_name = {t.name: t for t in chosen.rows[0].trials}
    assert by_name["cubed"].fault == "wrong"
    assert (by_name["cubed"].error or 0) > 0.1
    assert by_name["cubed"].seconds is None
    assert by_name["times"].error == pytest.approx(0, abs=1e-6)
    assert "vector" not in by_name  # It does not suit a matrix.


def test_the_default_stays_within_the_noise(toy, x, race):
    race(times=0.99, sum=0.97)
    assert names(tune(toy.rule, x)) == {"toy.value": "plain", "toy.slope": "sum"}


def test_what_fails_is_named(toy, race):
    race()
    row = tune(toy.rule, jnp.ones(3)).rows[0]
    assert row.trials[-1].fault == "fails: NotImplementedError: no vectors yet"


def test_a_real_race_finds_the_faster():
    product = Product("toy.slow", lambda call: "slow")
    try:

        @product.implementation("slow")
        def slow(x):
            return jax.lax.fori_loop(0, 200, lambda i, y: jnp.sin(y) + x, jnp.zeros_like(x)) * 0 + x

        product.implementation("fast")(lambda x: x + 0)
        assert names(tune(product, jnp.ones(5000))) == {"toy.slow": "fast"}
    finally:
        del products["toy.slow"]


def test_errors_are_relative_to_the_largest_entry_and_none_is_overlooked():
    y = np.linspace(1, 100, 1000, dtype=np.float32)
    one_wrong = y.copy()
    one_wrong[500] *= 1.001
    assert trial.difference(y, y, None) == (0.0, "")
    assert trial.difference(one_wrong, y, None)[1] == "wrong"
    assert trial.difference(one_wrong, y, 1e-2)[1] == ""
    one_wrong[3] = np.nan
    assert trial.difference(one_wrong, y, 1e9)[1] == "wrong"
    assert trial.difference([y, y[:9]], [y, y], None)[1].startswith("wrong: returns")
    index = np.arange(9, dtype=np.uint8)
    assert trial.difference(index, index, None)[1] == ""
    assert trial.difference(index[::-1], index, 1e9)[1] == "wrong"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_every_dtype_has_a_tolerance_that_rounding_passes(toy, x, dtype, race):
    race(times=0.5)
    assert names(tune(toy.rule, x.astype(dtype)))["toy.value"] == "times"


def test_a_product_may_draw_its_own_arguments(race):
    race(found=0.5)

    def draw(random, call):
        return np.arange(5.0, dtype=np.float32), np.int32(4)

    product = Product("toy.index", lambda call: "take", draw)
    product.implementation("take")(lambda x, i: x[i])
    product.implementation("found")(lambda x, i: jnp.where(i == 4, x[4], jnp.nan))
    try:
        args = (jax.ShapeDtypeStruct((5,), "float32"), jax.ShapeDtypeStruct((), "int32"))
        assert names(tune(product, *args)) == {"toy.index": "found"}
    finally:
        del products["toy.index"]


def test_a_reference_that_fails_or_stands_alone(toy, x):
    def broken(x, scale):
        raise ValueError("broken")

    toy.product.implementation("plain")(broken)
    with pytest.raises(ValueError, match="broken"):
        tune(toy.rule, x)
    assert tune(jnn.rules.tanh, x).rows == ()


def test_progress_and_the_table(toy, x, race, capsys):
    race(times=0.5)
    chosen = jnn.tune(lambda x: toy.rule(x, scale=3.0), x, whole=False)
    assert capsys.readouterr().err.splitlines() == [
        "[1/2] toy.value float32[2,3] setting=3.0: times",
        "[2/2] toy.slope float32[2,3] float32[2,3] setting=3.0: plain",
    ]
    lines = str(chosen).splitlines()
    assert lines[2] == "toy.value float32[2,3] setting=3.0"
    assert [line.split()[0] for line in lines[3:6]] == ["plain", "times", "cubed"]
    assert [line.split()[-1] for line in lines[4:6]] == ["chosen", "wrong"]


@pytest.mark.parametrize(
    ("seconds", "value", "slope"),
    [
        ({"default": 1.0, "chosen": 0.8, "0": 0.9, "1": 0.9}, "times", "sum"),
        ({"default": 1.0, "chosen": 0.8, "0": 0.7, "1": 0.9}, "plain", "sum"),
        ({"default": 1.0, "chosen": 1.1, "0": 1.2, "1": 1.2}, "plain", "plain"),
    ],
)
def test_the_whole_function_has_the_last_word(toy, x, race, monkeypatch, seconds, value, slope):
    race(times=0.5, sum=0.5)
    compiled = []

    def program(function, *args):
        toy.ran.clear()
        made = measure.program(function, *args)
        compiled.append(sorted(set(toy.ran)))
        return made

    monkeypatch.setattr(whole, "program", program)
    monkeypatch.setattr(whole, "race", lambda runs, **_: (race(**seconds), trial.race(runs))[1])
    args = jax.ShapeDtypeStruct((2, 3), "float32")
    chosen = tune(toy.rule, args, whole=True)
    assert names(chosen) == {"toy.value": value, "toy.slope": slope}
    by_default, as_chosen = ["slope plain", "value plain"], ["slope sum", "value times"]
    assert compiled[:2] == [by_default, as_chosen]
    assert compiled[2:4] == [["slope sum", "value plain"], ["slope plain", "value times"]]
    faults = {t.fault for row in chosen.rows for t in row.trials if t.name == row.name}
    assert faults == {""}
    assert ("slower in the whole" in str(chosen)) == (value == "plain")
