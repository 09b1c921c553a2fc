"""Every rule of the library through every suite of `jnn.verify.check`."""

import pytest

from jnn.rules import registry
from jnn.verify import SUITES, check

# What a suite may answer instead of running.
REASONS = {
    "kinks": "there is no such example",
    "curvature": "there is no such example",
    "cost": "there is one floating argument",
    "empty batch": "no leading axis is a batch",
}


@pytest.mark.parametrize(
    ("name", "suite"), [(name, suite) for name in registry for suite in SUITES]
)
def test_a_rule_passes_a_suite(name, suite):
    report = check(registry[name], suites=[suite])
    assert report.ok, str(report)
    for reason in report.not_run:
        assert reason.startswith(f"{suite}: {REASONS[suite]}")
