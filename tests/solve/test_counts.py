"""How much work a solver needs: a table of evaluations, which a change may not make worse."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from tests.problems import counts, nist

TABLE = json.loads(counts.TABLE.read_text(encoding="utf-8"))
# What SciPy's CG does not solve within as many evaluations as all others need together. There a
# start that differs in the thirteenth digit takes ours from 300 to 2600 evaluations (watson_9).
HARD = ("meyer", "watson_9", "osborne_1")


def total(row, without=()):
    return sum(n for name, n in row.items() if name not in without)


def test_the_table_keeps_the_promises():
    double = {name: TABLE[f"{name} float64"] for name in (*counts.SOLVERS, "lm")}
    assert all(None not in row.values() for row in double.values())
    assert total(double["lbfgs"], ("jennrich_sampson", "powell_badly_scaled")) <= 1673
    assert total(double["cg"], HARD) <= 3555
    assert total(double["lm"]) <= 626
    single = {name: sum(map(bool, TABLE[f"{name} float32"].values())) for name in double}
    assert single["lbfgs"] >= 36
    assert single["cg"] >= 36


def test_the_table_keeps_the_promises_on_certified_fits():
    work, digits = np.array(list(TABLE["nist float64"].values())).T
    assert digits.min() >= 8
    assert digits.mean() >= 9.6
    assert np.median(work) <= 20
    _, single = np.array(list(TABLE["nist float32"].values())).T
    assert np.mean(single >= 4) >= 5 / 6


@pytest.mark.slow
@pytest.mark.parametrize("name", [*counts.SOLVERS, "lm"])
def test_the_counts_are_those_of_the_table(name):
    found, stored = counts.counts(name, jnp.float64), TABLE[f"{name} float64"]
    # Last bits differ between machines, and long runs amplify them.
    for problem, n in found.items():
        slack = 2 if stored[problem] < 60 else stored[problem] // 3
        assert n is not None, problem
        assert n <= stored[problem] + slack or (name == "cg" and problem in HARD), problem
    assert total(found, HARD) <= 1.1 * total(stored, HARD)


@pytest.mark.slow
@pytest.mark.skipif(not nist.available(), reason=f"NIST's data files are not in {nist.FOLDER}")
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_the_certified_fits_are_those_of_the_table(dtype):
    stored = TABLE[f"nist {jnp.dtype(dtype).name}"]
    found = counts.certified(dtype)
    for fit, (work, digits) in found.items():
        if dtype == jnp.float64:
            assert work <= stored[fit][0] + max(3, stored[fit][0] // 3), fit
            assert digits >= min(stored[fit][1], 9) - 1, fit
    good = [digits >= 4 for _, digits in found.values()]
    assert np.mean(good) >= np.mean([stored[fit][1] >= 4 for fit in found]) - 0.06
