"""The benchmarks run, say what they found, and refuse candidates that disagree."""

import argparse
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from benchmarks import fused, mlp, rules
from benchmarks.report import RESULTS, agree, destination, markdown
from jnn.verify.measure import program

QUICK = ("--quick", "--seconds", "0.01")


def test_rules(tmp_path, capsys):
    page = tmp_path / "deep" / "rules.md"
    assert rules.main(["gelu", *QUICK, "--out", str(page)]) == 0
    text = page.read_text()
    assert [line.split()[1] for line in text.splitlines() if line.startswith("| gelu")] == ["gelu"]
    assert "`python -m benchmarks.rules gelu --quick`" in text
    assert "- Saves less: gelu." in text
    assert text in capsys.readouterr().out


def test_a_rule_that_does_not_exist(capsys):
    with pytest.raises(SystemExit):
        rules.main(["tan"])
    assert "no rule is called tan" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("benchmark_main", "words"),
    [(mlp.main, ("by hand", "autodiff", "Goal")), (fused.main, ("relu", "The fused rule"))],
)
def test_mlp_and_fused(benchmark_main, words, tmp_path):
    page = tmp_path / "page.md"
    assert benchmark_main([*QUICK, "--out", str(page)]) == 0
    assert all(word in page.read_text() for word in words)


def test_a_quick_or_partial_run_leaves_the_results_alone():
    def chosen(**kwargs):
        return argparse.Namespace(**({"out": None, "quick": False, "names": []} | kwargs))

    assert destination(chosen(), "rules") == RESULTS / "rules.md"
    assert destination(chosen(quick=True), "rules") is None
    assert destination(chosen(names=["tanh"]), "rules") is None


def test_candidates_must_agree():
    x = jnp.arange(4.0)
    same = {"a": program(lambda x: 2 * x, x), "b": program(lambda x: x + x, x)}
    agree("doubling", same)
    wrong = program(lambda x: (2 * x).at[3].add(1e-2), x)
    with pytest.raises(SystemExit, match=r"doubling: c differs from a in array 0 by 0\.01"):
        agree("doubling", same | {"c": wrong})
    broken = program(lambda x: 2 * x / 0, x)
    with pytest.raises(SystemExit, match="differs from a"):
        agree("doubling", same | {"d": broken})
    with pytest.raises(SystemExit, match="e returns 2 arrays, a 1"):
        agree("doubling", same | {"e": program(lambda x: (x, x), x)})


def test_wins_and_losses_are_named():
    def row(name, ratio, hand, autodiff):
        ledger = SimpleNamespace(bytes=lambda who: {"hand": hand, "autodiff": autodiff}[who])
        return SimpleNamespace(name=name, shape="2x3", ratio=ratio, ledger=ledger)

    rows = [row("a", 0.5, 4, 8), row("b", 1.0, 4, 4), row("c", 1.2, 8, 4), row("d", 1.5, 4, 8)]
    assert rules.verdict(rows).splitlines() == [  # pyright: ignore[reportArgumentType]
        "- Faster than autodiff (ratio below 0.91): a 2x3 (0.50).",
        "- Slower than autodiff (ratio above 1.10): c 2x3 (1.20), d 2x3 (1.50).",
        "- Saves less: a, d.",
        "- Saves more: c.",
    ]


def test_goals_that_are_missed_are_called_so():
    def programs(hand, autodiff):
        return {"by hand": SimpleNamespace(temporaries=hand),
                "autodiff": SimpleNamespace(temporaries=autodiff)}  # fmt: skip

    assert mlp.verdict(1.0, programs(8, 9)).count("met") == 2
    assert "missed (1.20)" in mlp.verdict(1.2, programs(9, 9))
    assert "no larger: missed" in mlp.verdict(1.0, programs(9, 8))
    assert "does not pay" in fused.verdict([1.0, 1.1], saves=False)
    assert "pays: it saves memory" in fused.verdict([1.0], saves=True)
    assert "pays: it saves no memory" in fused.verdict([0.8], saves=False)


def test_a_page_is_a_markdown_table():
    assert markdown([("a", "b"), ("cc", "12")]).splitlines() == [
        "| a  |  b |", "| -- | -: |", "| cc | 12 |",
    ]  # fmt: skip
