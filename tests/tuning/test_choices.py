"""A table of choices: a context that jit knows of, and a file that is never more than data."""

import dataclasses
import os
import threading
from typing import Any

import jax
import pytest

import jnn
from jnn.rules.core.product import choices
from jnn.tuning import Choice, Choices, Trial
from jnn.tuning.choices import device, settings_text


def table(*rows, **changes):
    return Choices(
        tuple(Choice(p, arrays, settings, name, (Trial(name, 1e-3, 1e-7),))
              for p, arrays, settings, name in rows),
        **({"device": device(), "jax": jax.__version__} | changes),
    )  # fmt: skip


F = ((2, 3), "float32")
VALUE = ("toy.value", (F,), '{"setting": 1.0}', "times")
SLOPE = ("toy.slope", (F, F), '{"setting": 1.0}', "sum")


def test_one_compiled_function_in_and_out_of_the_context(toy, x):
    f = jax.jit(jax.value_and_grad(lambda x: toy.rule(x).sum()))
    plain, chosen = ["value plain", "slope plain"], ["value times", "slope sum"]
    runs = []
    for within in (False, True, False, True):
        toy.ran.clear()
        if within:
            with table(VALUE, SLOPE):
                f(x)
        else:
            f(x)
        runs.append(list(toy.ran))
    assert runs == [plain, chosen, [], []]  # Compiled once for each, and not again.
    with table(VALUE, SLOPE):  # An equal table shares the program.
        f(x)
        assert toy.ran == []
        toy.rule(x[:1])  # Not in the table.
    assert toy.ran == ["value plain"]


def test_threads_do_not_see_each_others_choices(toy, x):
    f = jax.jit(toy.rule)
    entered, leave, seen = threading.Event(), threading.Event(), []

    def other():
        with table(VALUE):
            f(x)
            entered.set()
            leave.wait(60)
            seen.append(choices.value)

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(60)
    f(x)
    assert toy.ran == ["value times", "value plain"]
    leave.set()
    thread.join()
    assert seen == [table(VALUE)]


def test_contexts_nest_and_one_table_may_be_entered_twice(toy, x):
    a, b = table(VALUE), table(SLOPE)
    with a, a, b:
        toy.rule(x)
    with pytest.raises(ZeroDivisionError), a:
        raise ZeroDivisionError
    toy.rule(x)
    a(toy.rule)(x)
    with a | b:
        jax.grad(lambda x: toy.rule(x).sum())(x)
    assert toy.ran == ["value plain", "value plain", *["value times"] * 2, "slope sum"]


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.checkpoint])
def test_a_derivative_keeps_the_choices_of_the_call_wherever_it_is_pulled(toy, x, wrap):
    f = wrap(lambda x: toy.rule(x))
    with table(VALUE, SLOPE):
        y, pull = jax.vjp(f, x)
    pull(y)
    assert set(toy.ran) == {"value times", "slope sum"}
    toy.ran.clear()
    y, pull = jax.vjp(f, x)
    with table(VALUE, SLOPE):
        pull(y)
    assert set(toy.ran) == {"value plain", "slope plain"}


def test_saved_and_loaded(toy, x, tmp_path):
    made = jnn.tune(lambda x: toy.rule(x, scale=3), x, progress=False, budget=0.01)
    path = tmp_path / "choices.json"
    made.save(path)
    made.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["choices.json"]
    loaded = Choices.load(path)
    assert loaded == made
    assert hash(loaded) == hash(made)
    assert loaded.rows == made.rows
    assert str(loaded) == str(made)


def test_settings_of_any_kind_come_back_from_a_file(toy, x, tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Rows:
        mask: tuple[bool, ...]

    @dataclasses.dataclass(frozen=True)
    class Settings:
        stride: Any = (2, (1, 0))
        rest: str = "error"
        none: None = None
        rows: Rows = Rows((True, False))

    call = toy.product.call(x, setting=Settings())
    row = Choice("toy.value", call.arrays, settings_text(call), "times")
    Choices((row,), device(), jax.__version__).save(tmp_path / "a")
    assert Choices.load(tmp_path / "a").choose(toy.product, call) == "times"
    with pytest.raises(ValueError, match=r"toy.value: `setting` must be one whose repr"):
        settings_text(toy.product.call(x, setting=object()))


def test_a_table_of_an_older_form_says_so(tmp_path):
    path = tmp_path / "choices.json"
    path.write_text('{"format": "jnn choices 1", "device": "cpu", "jax": "0.10.2", "rows": []}')
    with pytest.raises(ValueError, match=r"of an older form\)\. Measure again, with jnn.tune"):
        Choices.load(path)


def test_what_was_chosen_for_one_platform_holds_for_no_other(toy, x):
    with table(VALUE):
        for name in ("gpu", "cpu"):
            with jnn.platform(name):
                toy.rule(x)
    assert toy.ran == ["value plain", "value times"]


def test_rows_of_before_are_for_the_platform_of_their_device(toy, tmp_path):
    path = tmp_path / "choices.json"
    table(VALUE).save(path)
    path.write_text(path.read_text().replace('"platform": "cpu"', '"platform": "tpu"'))
    assert Choices.load(path).rows[0].platform == "tpu"
    path.write_text(path.read_text().replace(',\n   "platform": "tpu"', ""))
    assert "platform" not in path.read_text()
    assert Choices.load(path).rows[0].platform == "cpu"


def test_a_failed_save_leaves_the_old_file(toy, x, tmp_path, monkeypatch):
    path = tmp_path / "choices.json"
    table(VALUE).save(path)
    before = path.read_text()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        table(SLOPE).save(path)
    assert path.read_text() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("rows", "changes", "sentence"),
    [
        ((VALUE,), {"jax": "0.0.1"}, "a table of this version of jax, .*, got one of 0.0.1. Meas"),
        ((VALUE,), {"device": "abacus"}, "a table of this device, .*, got one of abacus"),
        ((("toy.gone", *VALUE[1:]),), {}, "`product` must be one of .*, got 'toy.gone'"),
        (((*VALUE[:3], "magic"),), {}, "toy.value: `implementation` must be .*, got 'magic'"),
    ],
)
def test_a_table_of_elsewhere_is_refused(toy, rows, changes, sentence, tmp_path):
    table(*rows, **changes).save(tmp_path / "choices.json")
    with pytest.raises(ValueError, match=sentence):
        Choices.load(tmp_path / "choices.json")


ROW = """{"format": "jnn choices 2", "device": "cpu", "jax": "0",
          "rows": [{"product": "a", "name": "b", "arrays": %s}]}"""


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"format": "jnn choices 9"}', '{"format": "jnn choices 1", "rows": [{}]}',
     "__import__('os').abort()", "[" * 200_000,
     *(ROW % part for part in ('[[[Infinity], "f"]], "settings": {}, "trials": []',
                               '[], "settings": "abc", "trials": []',
                               '[], "settings": {}, "trials": [{"name": "a", "seconds": "x",'
                               ' "error": 0}]'))],
)  # fmt: skip
def test_what_is_not_a_table_is_refused(content, tmp_path):
    (tmp_path / "choices.json").write_text(content)
    with pytest.raises(ValueError, match=r"Choices.load: `path` must be a table of jnn.tune"):
        Choices.load(tmp_path / "choices.json")


def test_a_choice_that_does_not_suit_its_call_is_refused(toy, x):
    with (
        table(("toy.value", (F,), '{"setting": 1.0}', "vector")),
        pytest.raises(ValueError, match="must be one of 'plain', 'times', 'cubed', got 'vector'"),
    ):
        toy.rule(x)


def test_a_table_is_immutable(toy):
    chosen = table(VALUE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        chosen.jax = "0"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError):
        chosen.names[chosen.rows[0].key] = "plain"  # pyright: ignore[reportIndexIssue]
