"""Every picture: it can be a part of another and saved, and touches no global state."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np

from tests.plots.drawn import measure, pixels, plots


def test_pictures_can_be_parts_of_one(tmp_path):
    whole = plots.figure(9, 4)
    left, right = np.asarray(whole.subfigures(1, 2))
    assert plots.history({"loss": [3.0, 2.0]}, figure=left) is left
    record = SimpleNamespace(name="f", measures=[measure("time", "s", 1.0, 2.0)])
    assert plots.comparison(record, tmp_path / "both.svg", figure=right) is right
    assert "<svg" in (tmp_path / "both.svg").read_text(encoding="utf-8")
    assert pixels(whole).std() > 0


def test_no_global_state_is_touched():
    code = """
import sys, matplotlib
before = matplotlib.rcParams.copy()
from jnn import plots
plots.history({"loss": [3.0, 2.0]})
assert matplotlib.rcParams.copy() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_missing_matplotlib_names_the_extra():
    code = """
import sys
sys.modules["matplotlib"] = None
import jnn, jax.numpy as jnp
report = jnn.verify.gradient_test(jnp.sin, 1.0)
try:
    report.plot()
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == 'jnn.plots needs matplotlib: pip install "jnn[examples]"'
