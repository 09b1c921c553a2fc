"""`python -m jnn tune`: a table on the screen and in a file, which applies."""

import argparse
import json
import sys
import types

import jax.numpy as jnp
import pytest

import jnn
from jnn.__main__ import main
from jnn.commands.reading.names import MODELS, found
from jnn.tuning import recorded


def run(*words):
    return main(["tune", *map(str, words)])


@pytest.fixture
def model(toy, monkeypatch):
    mine = types.ModuleType("a_model_of_mine")
    mine.model = lambda batch: (lambda x: toy.rule(x).sum(), (jnp.ones((batch, 3)),))  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, mine.__name__, mine)
    return "a_model_of_mine:model"


def test_a_model_of_ones_own(model, toy, tmp_path, capsys):
    path = tmp_path / "found.json"
    assert run(model, "--batch", 2, "--seconds", 0.01, "--out", path) == 0
    out = capsys.readouterr().out
    assert "toy.value float32[2,3] setting=1.0" in out
    assert "wrong" in out
    assert "by default" in out.splitlines()[-2]
    assert out.splitlines()[-1] == f"saved: {path}"
    assert run(model, "--batch", 2, "--seconds", 0.01, "--out", path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["choices"]) == 2
    assert told["choices"][0]["call"] == "toy.value float32[2,3] setting=1.0"
    loaded = jnn.Choices.load(path)
    assert [row.product for row in loaded.rows] == ["toy.value", "toy.slope"]


def test_the_networks_of_the_library_have_products_to_choose():
    for name, products in (("lenet", 8), ("vgg6", 21)):
        loss, args = MODELS[name](2)
        assert len(recorded(loss, *args)) == products


def test_a_model_without_a_choice(tmp_path, capsys):
    assert run("mlp", "--batch", 2, "--out", tmp_path / "none.json") == 0
    assert capsys.readouterr().out.startswith("Nothing to choose")
    assert not (tmp_path / "none.json").exists()


def test_the_command_says_what_it_knows(capsys):
    with pytest.raises(SystemExit):
        run("alexnet")
    assert "there is no model 'alexnet'. Models: mlp" in capsys.readouterr().err
    with pytest.raises(argparse.ArgumentTypeError, match="No module named 'nobody'"):
        found("nobody:f", "model", {})
