"""`python -m jnn solve`: the trace, the statuses and the pictures."""

import json

import pytest

from jnn.__main__ import main


def test_the_trace_the_sentence_and_the_path(capsys, tmp_path):
    picture = tmp_path / "path.png"
    assert main(["solve", "himmelblau", "--plot", str(picture)]) == 0
    out = capsys.readouterr().out
    assert out.count("step ") > 5
    assert "Converged: the gradient is within its tolerance." in out
    assert "value 0 at" in out or "e-" in out
    assert picture.stat().st_size > 5000


def test_curves_and_a_failure(capsys, tmp_path):
    picture = tmp_path / "curves.png"
    few = ["--max-steps", "3", "--float32", "--method", "cg"]
    assert main(["solve", "wood", *few, "--plot", str(picture)]) == 1
    assert "the steps are used up" in capsys.readouterr().out
    assert picture.exists()


def test_a_start_of_the_wrong_size_and_a_method_without_gradients(capsys):
    assert main(["solve", "wood", "--start", "1", "2"]) == 2
    assert "4 unknowns, --start 2" in capsys.readouterr().err
    main(["solve", "himmelblau", "--method", "powell", "--max-steps", "2"])
    trace = capsys.readouterr().out
    assert trace.count("step ") == 2
    assert "nan" not in trace


def test_json(capsys):
    assert main(["solve", "beale", "--json", "--tol", "1e-6"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["success"] is True
    assert told["params"] == pytest.approx([3, 0.5], abs=1e-5)


def test_a_problem_of_ones_own(capsys):
    assert main(["solve", "jax.numpy.linalg:norm", "--start", "1", "2", "--max-steps", "2"]) == 1
    assert main(["solve", "jax.numpy.linalg:norm"]) == 2
    assert "--start" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["solve", "nowhere"])
    assert "rosenbrock" in capsys.readouterr().err
