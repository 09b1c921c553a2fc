"""`python -m jnn train` and `predict`: from data of every kind to a file and to predictions."""

import csv
import functools
import io
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.__main__ import main
from jnn.commands import predict, train
from jnn.commands.reading.networks import network
from jnn.models.named import NETWORKS, OF_IMAGES, Named
from jnn.store import safetensors as files
from jnn.store.trained import Trained


def run(capsys, *words):
    """The exit status and both outputs."""
    status = main([*map(str, words)])
    return status, *capsys.readouterr()


def report(capsys, *words):
    quiet = ["--quiet"] if words[0] == "train" else []
    status, out, err = run(capsys, *words, *quiet, "--json")
    assert status == 0, err
    return json.loads(out)


def write(path, head, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([*head, *rows])
    return path


@pytest.fixture
def flowers(tmp_path, random):
    """Classes by name, which a line separates, in a table whose second column is the target."""
    x = random.normal(size=(120, 2)) + 4.0 * (np.arange(120) % 2)[:, None]
    rows = [(a, "rose" if i % 2 else "aster", 1000 * b) for i, (a, b) in enumerate(x)]
    return write(tmp_path / "flowers.csv", [("height", "kind", "weight")], rows)


@pytest.fixture
def digits(tmp_path, random):
    """A folder of images in the format of MNIST: light above, or light below."""
    y = random.integers(0, 2, 96, dtype=np.uint8)
    x = random.integers(0, 60, (96, 28, 28), dtype=np.uint8)
    x[:, :14] += (150 * y)[:, None, None]
    for name, array in (("images-idx3", x), ("labels-idx1", y)):
        head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        (tmp_path / f"t10k-{name}-ubyte").write_bytes(head + array.tobytes())
    return tmp_path


def test_classes_by_name_from_a_table_and_back(capsys, tmp_path, flowers):
    saved = tmp_path / "flowers.safetensors"
    told = report(capsys, "train", flowers, "--target", "kind", "--model", "logistic",
                  "--optimizer", "lbfgs", "--save", saved)  # fmt: skip
    assert told["classes"] == ["aster", "rose"]
    assert (told["samples"], told["tested"], told["parameters"]) == (96, 24, 6)
    assert told["scores"]["test"]["accuracy"] > 0.9
    assert np.sum(told["scores"]["test"]["confusion"]) == 24
    assert len(told["history"]["validation_loss"]) == told["epochs"] <= 20

    # The table again, its columns in another order; and without the target.
    rows = list(csv.DictReader(flowers.read_text().splitlines()))
    other = [(r["kind"], r["weight"], r["height"]) for r in rows]
    turned = write(tmp_path / "turned.csv", [("kind", "weight", "height")], other)
    out = report(capsys, "predict", saved, turned)
    assert out["scores"]["accuracy"] > 0.9
    assert out["predictions"][0].keys() == {"sample", "class", "probability", "truth"}
    bare = write(tmp_path / "bare.csv", [("weight", "height")], [r[1:] for r in other])
    same = report(capsys, "predict", saved, bare)
    assert not same["scores"]
    assert [p["class"] for p in same["predictions"]] == [p["class"] for p in out["predictions"]]

    status, text, err = run(capsys, "predict", saved, turned)
    assert status == 0
    assert next(csv.reader(io.StringIO(text))) == ["sample", "class", "probability", "truth"]
    assert "accuracy" in err
    assert "rose" in err
    written = tmp_path / "out.csv"
    status, said, _ = run(capsys, "predict", saved, turned, "--out", written)
    assert written.read_text() == text
    assert "accuracy" in said


def test_a_file_gives_the_network_back_bit_for_bit(tmp_path, capsys):
    saved = tmp_path / "net.safetensors"
    told = report(capsys, "train", "two_moons", "--hidden", "8,4", "--epochs", "2", "--save", saved)
    assert "dense(8, activation='relu'), dense(4, activation='relu')" in told["network"]
    trained = Trained.load(saved)
    x, y = jnn.data.two_moons()
    logits = trained.outputs(x)
    arrays = jnn.load(saved)
    h = (x - arrays["scale/mean"]) / arrays["scale/deviation"]
    for i in range(3):
        h = h @ arrays[f"params/{i}/w"] + arrays[f"params/{i}/b"]
        h = np.maximum(h, 0) if i < 2 else h
    np.testing.assert_allclose(logits, h, atol=1e-5)
    trained.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()
    again = report(capsys, "predict", saved, "two_moons")
    assert again["scores"]["accuracy"] == (logits.argmax(-1) == y).mean()


def test_numbers_to_predict(capsys, tmp_path, random):
    x = random.normal(size=(200, 3))
    y = 50 + 10 * x @ [1.0, 2.0, -3.0] + random.normal(size=200) / 10
    table = write(tmp_path / "houses.csv", [], np.column_stack([x, y]))
    saved = tmp_path / "linear"
    words = ("--model", "linear", "--optimizer", "momentum", "--rate", "0.05", "--save", saved)
    told = report(capsys, "train", table, *words, "--batch-size", "8")
    assert told["classes"] == []
    assert told["scores"]["test"]["r2"] > 0.999
    assert told["scores"]["test"]["rmse"] < 0.3
    bare = write(tmp_path / "bare.csv", [], x)
    rows = report(capsys, "predict", saved, bare)["predictions"]
    np.testing.assert_allclose([row["y1"] for row in rows], y, atol=1)


def test_images_in_a_folder_a_pair_of_files_and_an_archive(capsys, tmp_path, digits):
    saved = tmp_path / "net"
    words = ("--model", "logistic", "--epochs", "5", "--rate", "0.01", "--save", saved)
    told = report(capsys, "train", digits, *words)
    assert (told["samples"], told["tested"], told["input"]) == (77, 19, [28, 28, 1])
    images = digits / "t10k-images-idx3-ubyte"
    found = report(capsys, "predict", saved, images)
    assert len(found["predictions"]) == 96
    assert found["scores"]["accuracy"] > 0.9
    x, y = jnn.data.idx(images), jnn.data.idx(digits / "t10k-labels-idx1-ubyte")
    np.savez(tmp_path / "flat.npz", x=x.reshape(96, -1) / np.float32(255))
    flat = report(capsys, "predict", saved, tmp_path / "flat.npz")
    assert [p["class"] for p in flat["predictions"]] == [p["class"] for p in found["predictions"]]
    np.savez(tmp_path / "two.npz", x_train=x[:64], y_train=y[:64], x_test=x[64:], y_test=y[64:])
    told = report(capsys, "train", tmp_path / "two.npz", "--model", "logistic", "--epochs", "1")
    assert (told["samples"], told["tested"]) == (64, 32)


def test_a_row_may_be_an_image(capsys, tmp_path, random):
    table = write(tmp_path / "pixels.csv", [], [(i % 2, *random.normal(size=64) + i % 2) for i in
                                                range(40)])  # fmt: skip
    words = ("--target", "1", "--image", "8x8", "--model", "logistic", "--epochs", "1")
    assert report(capsys, "train", table, *words)["input"] == [8, 8, 1]


def test_the_report_for_people(capsys, tmp_path):
    picture = tmp_path / "curves.png"
    status, out, err = run(capsys, "train", "xor", "--model", "rbf", "--hidden", "10", "--epochs",
                           "15", "--optimizer", "nadam", "--rate", "0.02", "--patience", "15",
                           "--plot", picture)  # fmt: skip
    assert status == 0
    assert "xor: 800 samples of 2 to train on, 200 to test on; 2 classes" in out
    assert "All epochs were run. 15 epochs, 375 steps" in out
    assert "true \\ predicted" in out
    assert f"picture: {picture}" in out
    assert "epoch 15/15" in err
    assert picture.stat().st_size > 5000


def test_ctrl_c_keeps_what_was_reached(capsys, tmp_path, monkeypatch):
    def press(report):
        if report.epoch == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(jnn.train, "fit", functools.partial(jnn.fit, callbacks=press))
    saved = tmp_path / "net"
    words = ("train", "xor", "--hidden", "4", "--epochs", "1000", "--quiet", "--json")
    status, out, _ = run(capsys, *words, "--save", saved)
    told = json.loads(out)
    assert (status, told["status"]) == (130, "interrupted")
    assert 3 <= told["epochs"] < 10
    assert Trained.load(saved).named == Named("mlp", (2,), 2, (4,))


def test_a_run_that_diverges(capsys, tmp_path, random):
    words = ("--model", "linear", "--optimizer", "gd", "--rate", "1e30", "--quiet")
    table = write(tmp_path / "numbers.csv", [], random.normal(size=(50, 3)))
    status, out, _ = run(capsys, "train", table, *words)
    assert status == 1
    assert "A loss or a gradient was not finite." in out
    assert "A smaller --rate often helps." in out


# What a user can cause.


def wrong(capsys, *words):
    """What is said of an error, which is one sentence and no traceback."""
    status, _, err = run(capsys, *words)
    assert status == 2, err
    assert "Traceback" not in err
    return err


def test_data_that_cannot_be_used(capsys, tmp_path, flowers, digits):
    def table(*rows):
        return write(tmp_path / f"{rows}.csv", [], rows)

    for words, sentence in (
        (["nowhere.csv"], "jnn train: DATA: `nowhere.csv` must be digits, two_moons"),
        ([tmp_path / "conftest.py"], "nothing of that name"),
        ([flowers], "DATA: `{}` must be a table of numbers"),
        ([flowers, "--target", "colour"], "got 'colour'"),
        ([flowers, "--target", "kind", "--task", "regression"], "text such as 'aster'"),
        ([flowers, "--target", "kind", "--model", "linear"], "`--model` must be logistic"),
        ([flowers, "--target", "kind", "--model", "vgg"], "Where a row of 2 numbers is an image"),
        ([flowers, "--target", "kind", "--image", "8x8"], "must be of 64 numbers a sample"),
        ([flowers, "--target", "kind", "--validation", "2"], "a share from 0 to below 1"),
        ([flowers, "--target", "kind", "--validation", "gone.csv"], "nothing of that name"),
        ([table((1, 2), (3,))], "columns"),
        ([table((1, "nan"), (3, 4))], "must be finite numbers"),
        ([table((1, ""), (3, 4))], "an empty one, row 1, column 2"),
        ([table((1, 2), (3, 2))], "of at least two classes, got '2' only"),
        ([table()], "is empty"),
        ([digits / "t10k-images-idx3-ubyte", "--labels", "gone"], "No such file or directory"),
        ([digits / "t10k-labels-idx1-ubyte"], "must be inputs of numbers"),
        ([digits, "--model", "rbf", "--hidden", "2,3"], "one number for rbf"),
        ([digits, "--model", "rbf", "--hidden", "5000"], "at most the number of samples, 77"),
        (["xor", "--save", tmp_path], "must be files, got"),
        (["xor", "--optimizer", "lbfgs", "--rate", "1"], "It searches its step sizes itself."),
        (["digits", "--model", "lenet5"], "vgg and resnet read images of any size"),
    ):
        assert sentence.format(words[0]) in wrong(capsys, "train", *words), words
    os.remove(digits / "t10k-labels-idx1-ubyte")
    assert "--labels FILE" in wrong(capsys, "train", digits / "t10k-images-idx3-ubyte")
    (tmp_path / "text.npz").write_text("no archive")
    assert "an undamaged archive" in wrong(capsys, "train", tmp_path / "text.npz")
    np.savez(tmp_path / "odd.npz", a=np.ones(3))
    assert "got one with a" in wrong(capsys, "train", tmp_path / "odd.npz")
    with pytest.raises(SystemExit) as exit_:
        main(["train", "digits", "--rate", "-1"])
    assert exit_.value.code == 2
    assert "must be a number above 0" in capsys.readouterr().err


def test_files_that_are_no_networks(capsys, tmp_path):
    path = tmp_path / "net"

    def said():
        return wrong(capsys, "predict", path, "xor")

    assert "No such file or directory" in said()
    path.write_bytes(b"\x80\x04 a pickle")
    assert "format of safetensors" in said()
    jnn.save(path, {"w": jnp.ones(3)})
    assert "names no network" in said()

    net, x = network(Named("mlp", (2,), 2)), jnp.ones((1, 2))
    params, _ = net.init(jax.random.key(0), x)
    Trained(net, params, (), (2,), 2, Named("mlp", (2,), 2), ("0", "1")).save(path)
    assert main(["predict", str(path), "xor", "--out", os.devnull]) == 0
    capsys.readouterr()
    arrays, metadata = files.read_arrays(path)
    about = json.loads(metadata["network"])
    for changes, sentence in (
        ({"model": "os.system"}, "model 'os.system' is not known"),
        ({"model": ["mlp"]}, "is not known"),
        ({"hidden": [10**30]}, "hidden are not 100 numbers at most"),
        ({"hidden": [8] * 101}, "hidden are not 100 numbers at most"),
        ({"hidden": [2**24, 2**24]}, "without 'params/2/b'"),
        ({"hidden": [64]}, "where the file has"),
        ({"input": [2.0]}, "input are not"),
        ({"input": []}, "must be"),
        ({"activation": "exec"}, "activation 'exec' is not known"),
        ({"classes": ["a"]}, "1 classes and 2 outputs"),
        ({"outputs": None}, "outputs are not"),
        ({"model": "vgg"}, "reads images"),
        ({"scaled": True}, "without 'scale/"),
        ({"places": [-1]}, "places are not"),
    ):
        about_ = json.dumps(about | changes)
        files.write(path, arrays, {"network": about_})
        assert sentence in said(), changes
    for text in ("", "[]", "3", "[" * 100_000, '{"model": "mlp"}', '{"model": "mlp", "input": {}}'):
        files.write(path, arrays, {"network": text})
        assert "whose metadata describe a network of jnn" in said(), text


def test_samples_that_do_not_fit_the_network(capsys, tmp_path, flowers):
    saved = tmp_path / "net"
    report(capsys, "train", flowers, "--target", "kind", "--epochs", "1", "--save", saved)
    assert "got 64" in wrong(capsys, "predict", saved, "digits").replace("8 x 8 x 1", "64")
    other = write(tmp_path / "other.csv", [("height", "kind")], [(1, "rose")])
    assert "one without weight" in wrong(capsys, "predict", saved, other)
    bare = write(tmp_path / "bare.csv", [], [(1.0, 2.0, 3.0, 4.0)])
    assert "a table of 2 columns, or 3 with the target" in wrong(capsys, "predict", saved, bare)
    tulips = write(tmp_path / "tulips.csv", [("height", "kind", "weight")], [(1, "tulip", 2)])
    status, _, err = run(capsys, "predict", saved, tulips)
    assert status == 0
    assert "1 of a class that the network does not know" in err


def test_sequences_are_read_by_a_recurrent_network_and_back(capsys, tmp_path, random):
    """Of each the class is where its first number is the largest, early or late."""
    y = random.integers(0, 2, 160)
    x = random.uniform(size=(160, 6, 2)).astype(np.float32)
    x[np.arange(160), 4 * y, 0] = 2
    np.savez(tmp_path / "walks.npz", x=x, y=y)
    saved, words = tmp_path / "net.safetensors", ["--layers", 1, "--size", 8, "--rate", 0.03]
    told = report(capsys, "train", tmp_path / "walks.npz", "--model", "recurrent", *words,
                  "--save", saved)  # fmt: skip
    assert told["network"] == "serial(as_sequence(rows=True), lstm(8), last(), dense(2))"
    assert told["scores"]["test"]["accuracy"] > 0.9
    out = report(capsys, "predict", saved, tmp_path / "walks.npz")
    assert out["scores"]["accuracy"] > 0.9
    assert "which reads images row by row" in wrong(capsys, "train", "xor", "--model", "recurrent")


def test_every_model_is_built_for_what_it_reads():
    for name in NETWORKS:
        named = Named(name, (28, 28, 1) if name in OF_IMAGES else (5,), 3, hidden=(4,))
        assert network(named).spec.name == "serial"


@pytest.mark.parametrize("command", [train, predict])
def test_help_shows_examples(command, capsys):
    name = command.__name__.rpartition(".")[2]
    with pytest.raises(SystemExit) as exit_:
        main([name, "--help"])
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    assert f"python -m jnn {name} digits" in out
    assert max(map(len, out.splitlines())) <= 100
