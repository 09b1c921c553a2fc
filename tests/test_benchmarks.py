"""The benchmarks run, say what they found, and refuse candidates that disagree."""

import argparse
import importlib
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import (
    cnn,
    conv,
    first_step,
    fused,
    ideas,
    lbfgs,
    least_squares,
    maps,
    mlp,
    networks,
    pods,
    rules,
    solvers,
    suite,
    training,
    update,
)
from benchmarks.convolutional import NETWORKS, Affine, initial, ours
from benchmarks.modern import __main__ as modern
from benchmarks.peers_cnn import channels_first, channels_last
from benchmarks.report import RESULTS, agree, destination, markdown, publish_section
from jnn.commands.solve import double
from jnn.measure import program

QUICK = ("--quick", "--seconds", "0.01")


def test_rules(tmp_path, capsys):
    page = tmp_path / "deep" / "rules.md"
    assert rules.main(["gelu", *QUICK, "--out", str(page)]) == 0
    text = page.read_text()
    assert [line.split()[1] for line in text.splitlines() if line.startswith("| gelu")] == ["gelu"]
    assert "`python -m benchmarks.rules gelu --quick --seconds 0.01`" in text
    assert "- Saves less: gelu." in text
    assert text in capsys.readouterr().out


def test_a_rule_that_does_not_exist(capsys):
    with pytest.raises(SystemExit):
        rules.main(["tan"])
    assert "no rule is called tan" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("benchmark_main", "words"),
    [
        (mlp.main, ("by hand", "autodiff", "Goal")),
        (fused.main, ("relu", "The fused rule")),
        (solvers.main, ("jnn lbfgs", "SciPy L-BFGS-B", "under vmap")),
        (lbfgs.main, ("one kernel", "many / one", "loops / products")),
        (ideas.main, ("search every 10th step", "steepest_descent", "Digits")),
        (least_squares.main, ("NIST, float64", "jnn", "SciPy lm, tightest", "start")),
        (maps.main, ("full 4 -> 8", "single 4 -> 4", "and backward")),
        (training.main, ("digits: 64-64-10", "lenet", "tiny", "jnn.fit", "scikit-learn")),
        (update.main, ("adamw", "1,000 arrays", "optax")),
        (pods.main, ("by hand", "autodiff", "plain jax", "sent, of 3 x parameters")),
    ],
)
def test_the_other_pages(benchmark_main, words, tmp_path):
    if benchmark_main is update.main:
        pytest.importorskip("optax", reason="it compares with optax, of jnn[bench]")
    page = tmp_path / "page.md"
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # Of the peers.
        assert benchmark_main([*QUICK, "--out", str(page)]) == 0
    assert all(word in page.read_text() for word in words)


@pytest.mark.slow
def test_the_first_step(tmp_path):
    """Flax may be there or not; every process has a say."""
    page = tmp_path / "page.md"
    assert first_step.main(["mlp", "fit", "import", "train", *QUICK, "--out", str(page)]) == 0
    text = page.read_text()
    rows = [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| mlp ")]
    assert rows[:2] == ["ours", "ours under autodiff"]
    assert all(word in text for word in ("`jnn.fit`", "the second less the first", "with it"))
    assert text.count("- Goal, ") >= 4


def test_a_process_that_fails_says_so():
    with pytest.raises(SystemExit, match=r"(?s)1 / 0 failed.*ZeroDivisionError"):
        first_step.whole(["-c", "1 / 0"])


def test_products_of_a_convolution(tmp_path):
    """Autodiff of a transposed one agrees with products by another name."""
    page = tmp_path / "conv.md"
    assert conv.main(["transposed", *QUICK, "--out", str(page)]) == 0
    rows = [line.split("|")[1:4] for line in page.read_text().splitlines() if "by 3x3" in line]
    assert [row[1].strip() for row in rows] == ["value", "input", "filter"]
    assert all("transposed stride 2" in row[0] for row in rows)


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


# Convolutional networks.


@pytest.mark.slow
def test_a_network_and_rules_alone(tmp_path):
    page = tmp_path / "cnn.md"
    for part in ("lenet", "pooling"):
        assert cnn.main([part, *QUICK, "--out", str(page)]) == 0
    text = page.read_text()
    assert text.count("\n## ") == 2
    assert all(f"| {who}" in text for who in (cnn.TUNED, cnn.AUTODIFF, "max 3x3 stride 2"))
    assert "Goal, at least 3 times as fast as autodiff: m" in text


def test_a_part_that_does_not_exist(capsys):
    with pytest.raises(SystemExit):
        cnn.main(["alexnet"])
    assert "no part is called alexnet" in capsys.readouterr().err


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_fit_the_networks_and_peers_get_them_back(name):
    network = NETWORKS[name]
    params = initial(network)
    x = jax.ShapeDtypeStruct(network.shape, "float32")
    assert jax.eval_shape(ours(network), params, x).shape == (network.shape[0], 10)
    theirs = channels_first(network, params)
    assert theirs[0].w.shape == params[0].w.transpose(3, 2, 0, 1).shape
    for ours_, back in zip(params, channels_last(network, theirs), strict=True):
        np.testing.assert_array_equal(ours_.w, back.w)


def test_a_step_that_differs_is_refused():
    network, params = NETWORKS["lenet"], [Affine(np.ones((2, 2)), np.ones(2))]
    step = 1.0, [Affine(np.zeros((2, 2)), np.zeros(2))]
    cnn._agree(network, params, {"a": step, "b": step})
    wrong = 1.0, [Affine(np.zeros((2, 2)), np.array([0.0, 0.1]))]
    with pytest.raises(SystemExit, match="b differs from a"):
        cnn._agree(network, params, {"a": step, "b": wrong})


def test_goals_of_a_network():
    class Times:
        def ratio(self, who, other):
            return {cnn.FLAX: 3.1, cnn.AUTODIFF: 2.9, cnn.TORCH: 1.0}[who]

        def seconds(self, who):
            return 1.0

    runs = {name: SimpleNamespace(temporaries=bytes_) for name, bytes_ in
            ((cnn.TUNED, 3), (cnn.FLAX, 9), (cnn.AUTODIFF, 9), (cnn.TORCH, None))}  # fmt: skip
    lines = cnn.verdict(cnn.GOALS["lenet"], Times(), runs, 0.5).splitlines()  # pyright: ignore[reportArgumentType]
    assert [line.split(": ")[1] for line in lines] == [
        "met (3.10).", "missed (2.90).", "met (1.00).", "missed (0.33).", "met (0.50).",
    ]  # fmt: skip


def test_a_section_replaces_itself_alone(tmp_path):
    page = tmp_path / "page.md"
    for title, body in (("A", "one"), ("B", "two"), ("A", "three\n\n- four")):
        publish_section(title, "python", body, page, page="Page")
    heads = [line for line in page.read_text().splitlines() if line.startswith("#")]
    assert heads == ["# Page", "## A", "## B"]
    assert "one" not in page.read_text()
    assert page.read_text().index("- four") < page.read_text().index("two")


# Solvers.


def test_a_suite_counts_until_solved_and_goes_on_where_it_stopped(tmp_path):
    problems = [
        suite.Problem("bowl", lambda x: jnp.sum(x**2), np.array([2.0, 1.0])),
        suite.Problem("valley", lambda x: 1 + x[0] ** 2, np.array([3.0]), (1.0, 4.0)),
    ]

    def walk(*parts):
        """Evaluates at parts of the start."""

        def make(f, steps):
            value = jax.jit(f)
            return lambda x, case: [value(part * x, case) for part in parts]

        return make

    def broken(f, steps):
        raise AssertionError("all runs are known")

    solvers_ = {"all the way": walk(1, 0.5, 0), "not far": walk(1, 0.9, 0.8)}
    cache = tmp_path / "runs.json"
    with double():
        runs = suite.measure("t", problems, solvers_, suite.Cache(cache), rounds=1)
        again = suite.measure("t", problems, dict.fromkeys(solvers_, broken), suite.Cache(cache))
    assert [run.evaluations for run in runs["all the way"]] == [3, 2]
    assert runs["not far"] == [(None, None)] * 2
    assert all(run.seconds for run in runs["all the way"])
    assert again == runs


def test_a_suite_asks_the_host_for_what_it_would_compile():
    problems = [
        suite.Problem("cubic", lambda x: x[0] ** 3, np.array([2.0])),
        suite.Problem("valley", lambda x: x[0] ** 2 * jnp.exp(x[1]), np.array([1.0, 0.5])),
    ]
    with double():
        group = suite.Group(problems)
        x, v, case = group.start(1), jnp.ones(2), suite.Case(jnp.int32(1), jnp.asarray(0.1))
        for f in (group.counted, group.compiled):
            slope = jax.jit(jax.grad(f))
            product = jax.jvp(lambda x, slope=slope: slope(x, case), (x,), (v,))[1]
            e = np.exp(0.5)
            np.testing.assert_allclose(slope(x, case), [2 * e, e], rtol=1e-12)
            np.testing.assert_allclose(product, [4 * e, 3 * e], rtol=1e-12)
            assert jax.jit(f)(0.1 * x, case) == 0.1  # The level, below which it is flat.
            assert not slope(0.1 * x, case).any()


def test_a_run_that_ended_early_does_not_tell_of_lower_levels():
    solved, failed = (suite.Trace([1, 2], [3.0, v], None, 1.5) for v in (1.0, 2.0))
    assert solved.tells(1.2)
    assert not solved.tells(0.5)
    assert failed.tells(0.5)


def test_an_idea_pays_where_it_solves_as_many_for_less():
    fast, slow = suite.Run(10, 2.0), suite.Run(20, 1.0)
    none = suite.Run(None, None)
    assert ideas.compared([fast], "slow", [slow])[-3:] == ["0.50", "2.00", "in evaluations"]
    assert ideas.compared([slow], "fast", [fast])[-1] == "in time"
    assert ideas.compared([fast, none], "slow", [slow, slow])[-1] == "no"


def test_modern_recurrences_agree(capsys):
    assert modern.main(["recurrent", *QUICK]) == 0
    text = capsys.readouterr().out
    assert text.count("\n### ") == 4
    assert text.count("| jnn, autodiff ") == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("dropout", ("bits saved", "jax.random.bernoulli", "the step without dropout")),
        ("embedding", ("jnp.take", "jnn, sorted", "jnn, one_hot")),
    ],
)
def test_modern_rules(subject, words, capsys):
    assert modern.main([subject, *QUICK]) == 0
    text = capsys.readouterr().out
    for word in words:
        assert word in text


def told_beside_peers(subject, capsys):
    """What the contests of a subject print; peers promote dtypes and ranks."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert modern.main([subject, *QUICK]) == 0
    return capsys.readouterr().out


def test_modern_gates_agree(capsys):
    text = told_beside_peers("gated", capsys)
    assert text.count("\n### ") == 2
    assert text.count("| jnn, autodiff ") == 2


def test_modern_attentions_agree(capsys):
    text = told_beside_peers("attention", capsys)
    assert text.count("\n### ") == text.count("| jax.nn ") == 5


def test_modern_losses_agree(capsys):
    text = told_beside_peers("losses", capsys)
    assert text.count("\n### ") == text.count("| jax.nn ") == 3
    assert text.count("| jnn, logits whole ") == 1


def test_modern_norms_agree(capsys):
    text = told_beside_peers("normal", capsys)
    assert text.count("\n### ") == 5
    assert text.count("| jnn, autodiff ") == 9
    found = re.findall(r"^\| jnn +\| [^|]+ \| +(\S+e\S+) \|$", text, re.MULTILINE)
    assert len(found) == 4
    assert max(map(float, found)) < 1e-5  # dx where the mean is 1e4 deviations.


@pytest.mark.parametrize("subject", ["rules", "modern", "networks"])
def test_cases_for_devices_are_traced_by_every_side(subject):
    module = importlib.import_module(f"benchmarks.devices.{subject}")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # Of the peers.
        for case in module.cases(jnp.bfloat16, quick=True):
            for side in case.sides.values():
                assert jax.eval_shape(side.function, *side.args)


def test_the_plain_step_of_a_language_model_is_ours():
    """The same loss of the same parameters, and Adam's first step along the same signs."""
    _, layout = pods.layout_on("cpu", (1, 1))
    model = pods.QUICK._replace(size=32, hidden=64, vocabulary=64, context=16, batch=2)
    mine, (params, moments, x, _) = pods.ours(model, layout)
    plain, _ = pods.plain(model, layout)
    drawn = np.random.default_rng(0)
    params = jax.tree.map(lambda a: jnp.asarray(drawn.normal(size=a.shape) / 8, a.dtype), params)
    moments = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), moments)
    ids = jnp.asarray(drawn.integers(0, 64, x.shape), jnp.int32)

    def theirs(params):
        ((norm1, a),), ((norm2, g),) = params[1].each
        each = {"norm1": norm1.scale, "q": a.w_q, "k": a.w_k, "v": a.w_v, "out": a.w_out,
                "norm2": norm2.scale, "gate": g.w_gate, "up": g.w_up, "down": g.w_down}  # fmt: skip
        ends = {"table": params[0].w, "norm": params[2].scale, "head": params[3].w}
        return ends | {"each": each}

    ours, _, loss = jax.jit(mine)(params, moments, ids, ids)
    zeros = jax.tree.map(jnp.zeros_like, theirs(params))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        state = {"m": zeros, "v": zeros, "count": 0}
        found, _, other = jax.jit(plain)(theirs(params), state, ids, ids)
    assert float(other) == pytest.approx(float(loss), rel=0.01)
    for a, b in zip(jax.tree.leaves(theirs(ours)), jax.tree.leaves(found), strict=True):
        assert float(jnp.mean(jnp.abs(a - b) > 1e-5)) < 0.05


def test_a_table_of_cases_for_a_device():
    from benchmarks.devices import case, rules

    made = next(iter(rules.cases(jnp.float32, quick=True)))
    page = case.table({made.name: case.found(made, "cpu")})
    rows = [line.split("|")[2:-1] for line in page.splitlines()[2:]]
    assert [row[0].strip() for row in rows] == ["by hand", "autodiff", "plain jax"]
    assert rows[0][-2].strip() == "0"


@pytest.mark.slow
@pytest.mark.parametrize("subject", ["transformer", "recurrent", "images"])
def test_steps_of_whole_networks_agree(subject, capsys):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # Of the peers.
        assert modern.hold(networks, "", "Networks", [subject, *QUICK]) == 0
    assert capsys.readouterr().out.count("| jnn, autodiff ") == 2
