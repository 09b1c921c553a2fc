"""`python -m jnn train FILE --model transformer`, and `predict`, which writes on."""

import json

import pytest

from jnn.__main__ import main
from jnn.data import Alphabet
from jnn.store import safetensors as files
from jnn.store.writer import WRITER, Writer

SMALL = [
    "--model",
    "transformer",
    "--context",
    "8",
    "--size",
    "16",
    "--heads",
    "2",
    "--layers",
    "1",
]


def run(capsys, *words):
    status = main([*map(str, words)])
    return status, *capsys.readouterr()


def test_a_text_is_learned_written_and_saved(capsys, tmp_path):
    path, saved = tmp_path / "letters.txt", tmp_path / "net.safetensors"
    path.write_text("abcdef\n" * 170)  # Windows begin anywhere in it.
    words = ["train", path, *SMALL, "--letters", "characters", "--epochs", 12, "--rate", 0.02,
             "--length", 16, "--temperature", 0.1, "--save", saved, "--quiet"]  # fmt: skip
    status, out, err = run(capsys, *words, "--json")
    assert status == 0, err
    told = json.loads(out)
    assert told["scores"]["test"]["right"] > 0.9
    assert told["scores"]["test"]["bits a letter"] < 0.5
    assert told["alphabet"] == 7
    assert told["sample"] in "abcdef\n" * 9
    assert len(told["sample"]) == 8 + 16
    writer = Writer.load(saved)
    assert (writer.alphabet.characters, writer.context) == ("\nabcdef", 8)
    status, out, _ = run(capsys, "predict", saved, "abc", "--length", 8, "--temperature", 0.1)
    assert (status, out) == (0, "abcdef\nabcd\n")
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert "bits a letter" in out
    assert "right" in out
    assert f"saved: {saved}" in out


def test_a_recurrent_network_learns_a_text_too(capsys, tmp_path):
    path, saved = tmp_path / "letters.txt", tmp_path / "net.safetensors"
    path.write_text("abcdef\n" * 120)
    words = ["train", path, "--model", "recurrent", "--cell", "gru", "--size", 16, "--layers", 1,
             "--context", 8, "--letters", "characters", "--epochs", 12, "--rate", 0.03,
             "--length", 16, "--save", saved, "--quiet"]  # fmt: skip
    status, out, err = run(capsys, *words, "--json")
    assert status == 0, err
    told = json.loads(out)
    assert told["network"] == "serial(embedding(7, 16), gru(16), dense(7))"
    assert told["scores"]["test"]["right"] > 0.9
    status, out, _ = run(capsys, "predict", saved, "abc", "--length", 8, "--temperature", 0.1)
    assert (status, out) == (0, "abcdef\nabcd\n")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["missing.txt", *SMALL], "a text file for a transformer"),
        (["{short}", *SMALL], "longer than a window of 8 letters"),
        (["{short}", *SMALL, "--optimizer", "lbfgs"], "no solver for a text"),
        (["{short}", *SMALL, "--validation", "other.txt"], "a share of the text"),
        (["{short}", *SMALL, *["--context", "1", "--heads", "3", "--validation", "0"]], "heads"),
    ],
)
def test_what_cannot_be_learned_gets_a_sentence(words, fault, capsys, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("abcdef")
    status, _, err = run(capsys, "train", *(word.format(short=short) for word in words))
    assert status == 2
    assert fault in err


def test_files_that_are_no_writers(capsys, tmp_path):
    path = tmp_path / "odd.safetensors"
    good = {
        "model": "transformer",
        "characters": "ab",
        "size": 8,
        "heads": 2,
        "layers": 1,
        "context": 4,
    }
    for wrong, fault in (
        ({"model": "os.system"}, "its network is not known"),
        ({"size": -1}, "size is no number"),
        ({"characters": "ba"}, "no alphabet"),
        ({"model": "recurrent", "cell": "rnn"}, "its cell is not known"),
        ({}, "without 'params/0/w'"),
    ):
        files.save(path, {"odd": 1.0}, {WRITER: json.dumps(good | wrong)})
        status, _, err = run(capsys, "predict", path, "a")
        assert status == 2
        assert fault in err, err
    with pytest.raises(ValueError, match="one letter at least"):
        Writer(Alphabet()).write("", 3)
