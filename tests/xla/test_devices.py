"""What rules and networks take on an H200, by XLA's own compiler for it: `make devices`.

Of the compiled programs: no scatter, which a GPU adds in any order, and no more temporaries, peak
or traffic than the same under autodiff, or in plain JAX, but for what `benchmarks.devices.known`
lists with its reason.
"""

import importlib
import os

import jax
import pytest

from benchmarks.devices.case import OURS, found
from benchmarks.devices.known import KNOWN, Known, lost, unknown
from jnn.verify.compare.weigh import Weight
from jnn.xla.absent import target
from jnn.xla.census import Census

SUBJECTS, DTYPES = ("rules", "modern", "networks"), ("float32", "bfloat16")


def cases(subject):
    return importlib.import_module(f"benchmarks.devices.{subject}").cases


def why_not():
    if os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS") == "1":
        return "programs are made here without XLA's optimisations"
    try:
        target("h200")
    except ImportError as error:
        return str(error)
    return ""


@pytest.mark.compiler
@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_nothing_takes_more_than_is_known(subject, dtype):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # Of the peers.
        results = {case.name: found(case, "h200") for case in cases(subject)(dtype)}
    assert all(isinstance(sides[OURS], Weight) for sides in results.values())
    assert not unknown("h200", dtype, results)


def test_what_is_known_are_rows_of_the_tables():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # Of the peers.
        names = {case.name for subject in SUBJECTS for case in cases(subject)("float32")}
    for each in KNOWN:
        assert each.case in names
        assert each.device in ("h200", "v5e")
        assert each.dtype in DTYPES
        assert each.measure in ("temporaries", "peak", "traffic")
        assert each.ratio > 1.02
        assert each.reason
    assert len({each[:4] for each in KNOWN}) == len(KNOWN)


def weight(temporaries, traffic, scatters=0):
    counts = Census(1, traffic, {}, {"scatter": scatters}, {})
    return Weight({"temporaries": temporaries, "peak": 2**30}, counts)


def test_what_takes_more_is_told(monkeypatch):
    mib = 2**20
    sides = {OURS: weight(40 * mib, 90 * mib), "autodiff": weight(50 * mib, 60 * mib)}
    assert list(lost(sides)) == [("traffic", "autodiff", 1.5)]
    sides["plain jax"] = weight(20 * mib, 100 * mib)
    assert [(measure, ratio) for measure, _, ratio in lost(sides)] == [
        ("temporaries", 2.0), ("traffic", 1.5),
    ]  # fmt: skip

    def told(*known):
        monkeypatch.setattr("benchmarks.devices.known.KNOWN", known)
        return unknown("h200", "float32", {"a": sides})

    row = Known("h200", "float32", "a", "temporaries", 2.0, "so")
    assert [s.split(": ")[1].split(" times")[0] for s in told(row)] == ["1.50"]
    assert not told(row, row._replace(measure="traffic", ratio=1.5))
    for less in ({"ratio": 1.4}, {"dtype": "bfloat16"}, {"device": "v5e"}, {"case": "b"}):
        assert len(told(row, row._replace(**{"measure": "traffic", "ratio": 1.5, **less}))) == 1


def test_a_scatter_and_a_program_that_is_none_are_told():
    sides = {OURS: weight(0, 0, scatters=1), "autodiff": weight(0, 0)}
    assert [measure for measure, *_ in lost(sides)] == ["scatters"]
    assert [m for m, *_ in lost({OURS: "too large", "autodiff": weight(0, 0)})]
    assert not list(lost({OURS: "too large", "autodiff": "too large"}))


def test_little_decides_nothing():
    sides = {OURS: weight(8 * 2**20, 900), "autodiff": weight(0, 300)}
    assert not list(lost(sides))  # Of a peak of a GiB.
