"""Every rule of the library through every suite of `jnn.verify.check`."""

import itertools

import pytest

from jnn.rules import registry
from jnn.verify import SUITES, check

# What a suite may answer instead of running.
REASONS = {
    "kinks": "there is no such example",
    "curvature": "there is no such example",
    "cost": "there is one floating argument",
    "empty_batch": "no leading axis is a batch",
}


# Together, so that one process computes what several suites need.
GROUPS = {
    "numbers": ["agreement", "transpose", "differences", "kinks", "determinism", "integers"],
    "economy": ["cost", "plain", "promise"],
    "dtypes": ["extremes", "float16", "bfloat16", "float32", "types", "nan"],
    "transforms": ["transforms", "curvature", "empty_batch", "devices"],
}
SLOW = {"dtypes", "transforms"}


def test_no_suite_is_forgotten():
    assert sorted(itertools.chain(*GROUPS.values())) == sorted(SUITES)


@pytest.mark.parametrize(
    "group", [pytest.param(g, marks=pytest.mark.slow if g in SLOW else ()) for g in GROUPS]
)
@pytest.mark.parametrize("name", registry)
def test_a_rule_passes(name, group):
    report = check(registry[name], suites=GROUPS[group])
    assert report.ok, str(report)
    for reason in report.not_run:
        suite = reason.split(":")[0]
        assert reason.startswith(f"{suite}: {REASONS[suite]}")
