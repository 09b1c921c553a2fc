"""One record and one file of a trained network, for commands and estimators; files of before."""

import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.__main__ import main
from jnn.estimators import (
    CNNClassifier,
    LinearRegression,
    LogisticRegression,
    MLPClassifier,
    MLPRegressor,
    RBFRegressor,
)
from jnn.models.named import NETWORKS, OF_IMAGES, Named
from jnn.store import safetensors
from jnn.store.trained import Trained, renumbered

OLD = Path(__file__).parent / "files"  # As versions wrote them that had two formats.
X = np.array([[0.25, -0.5], [1.0, 0.75]], np.float32)


def test_a_command_reads_its_file_of_before():
    trained = Trained.load(OLD / "command.safetensors")
    expected = [[0.167760968208313, -0.08394456654787064],
                [-0.2640930414199829, -0.29850032925605774]]  # fmt: skip
    np.testing.assert_allclose(trained.outputs(X), expected, atol=1e-6)
    assert (trained.classes, trained.named) == (("0", "1"), Named("mlp", (2,), 2, (4,)))


def test_estimators_read_their_files_of_before():
    model = MLPClassifier(hidden=(3,)).load(OLD / "classifier.safetensors")
    expected = [[0.40829500555992126, 0.5917049646377563],
                [0.5493043661117554, 0.450695663690567]]  # fmt: skip
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-6)
    assert model.predict(X).tolist() == ["yes", "no"]
    line = LinearRegression().load(OLD / "line.safetensors")
    np.testing.assert_allclose(line.predict([[2.0]]), 5, rtol=1e-12)
    radial = RBFRegressor(units=3).load(OLD / "radial.safetensors")
    expected = [[0.20711994171142578], [0.5626348257064819]]
    np.testing.assert_allclose(radial.predict(X), expected, atol=1e-5)
    with pytest.raises(ValueError, match="must be a file of a regressor"):
        MLPRegressor(hidden=(3,)).load(OLD / "classifier.safetensors")
    with pytest.raises(ValueError, match="where the file has"):
        MLPClassifier(hidden=(4,)).load(OLD / "classifier.safetensors")


def test_the_old_place_says_the_new_one():
    with pytest.raises(ImportError, match=r"is now jnn\.store\.trained\.Trained"):
        from jnn.commands.trained import Trained  # noqa: F401


def test_layers_of_before_are_counted_as_today():
    """A convolution held its activation and its pool, which now are layers behind it."""
    old = {f"params/{i}/w": np.full(2, i) for i in (0, 1, 3, 10)} | {"state": np.zeros(1)}
    like = {"params": {str(i): {"w": 0} for i in (0, 3, 7, 9)}}
    found = renumbered(old, like, "params/")
    assert {name: int(a[0]) for name, a in found.items()} == {
        "params/0/w": 0, "params/3/w": 1, "params/7/w": 3, "params/9/w": 10, "state": 0,
    }  # fmt: skip


def test_a_command_predicts_by_what_an_estimator_saved(tmp_path, capsys):
    train, test = jnn.data.digits()
    y = np.array([f"digit {k}" for k in range(10)])
    for model in (MLPClassifier(hidden=(8,), epochs=2),
                  CNNClassifier(maps=(4,), hidden=(), epochs=1)):  # fmt: skip
        x = train.x if isinstance(model, CNNClassifier) else train.x.reshape(-1, 64)
        model.fit(x, y[train.y]).save(tmp_path / "net")
        trained = Trained.load(tmp_path / "net")
        flat = test.x.reshape(len(test.x), *x.shape[1:])
        found = np.array(trained.classes)[trained.outputs(flat).argmax(-1)]
        np.testing.assert_array_equal(found, model.predict(flat))
        out = tmp_path / "rows.csv"
        assert main(["predict", str(tmp_path / "net"), "digits", "--out", str(out)]) == 0
        assert ",digit " in out.read_text()
    capsys.readouterr()


def test_an_estimator_takes_what_a_command_saved(tmp_path, capsys):
    path = tmp_path / "net"
    words = ["--hidden", "4", "--epochs", "2", "--quiet", "--save", str(path)]
    assert main(["train", "xor", *words]) == 0
    capsys.readouterr()
    model = MLPClassifier(hidden=(4,)).load(path)
    logits = Trained.load(path).outputs(X)
    assert model.predict(X).tolist() == [str(k) for k in logits.argmax(-1)]
    with pytest.raises(ValueError, match=r"as the settings say, got '.*' of serial\(dense\(4"):
        MLPClassifier(hidden=(4,), activation="tanh").load(path)
    with pytest.raises(ValueError, match="must be a file of a regressor"):
        MLPRegressor(hidden=(4,)).load(path)


@pytest.mark.parametrize(
    "classes", [[3, 5], [-1.0, 2.0], [False, True], ["no", "yes"]], ids=lambda c: str(c[0])
)
def test_classes_keep_their_type(classes, tmp_path, random):
    x, y = random.normal(size=(40, 2)), np.array(classes)[np.arange(40) % 2]
    for model in (MLPClassifier(hidden=(3,), epochs=1), LogisticRegression()):
        model.fit(x, y).save(tmp_path / "net")
        again = type(model)(**model.get_params()).load(tmp_path / "net")
        assert again.classes_.dtype == model.classes_.dtype
        np.testing.assert_array_equal(again.classes_, model.classes_)
        np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_targets_keep_their_axes_and_parameters_their_precision(tmp_path, random):
    x = random.normal(size=(20, 2))
    for y in (x[:, 0], x[:, :1], x):
        model = LinearRegression().fit(x, y)
        model.save(tmp_path / "net")
        again = LinearRegression().load(tmp_path / "net")
        assert again.predict(x).shape == y.shape
        assert again.params_.w.dtype == np.float64
        np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_a_network_without_a_name_is_read_by_its_estimator_only(tmp_path, capsys):
    x, y = jnn.data.xor(40)
    model = MLPClassifier(hidden=(3,), activation=jnn.rules.tanh, epochs=1).fit(x, y)
    model.save(tmp_path / "net")
    again = MLPClassifier(hidden=(3,), activation=jnn.rules.tanh).load(tmp_path / "net")
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    assert main(["predict", str(tmp_path / "net"), "xor", "--out", os.devnull]) == 2
    assert "the estimator that wrote it reads it" in capsys.readouterr().err


def test_what_a_file_says_is_checked_and_never_run(tmp_path):
    path = tmp_path / "net"
    named = Named("mlp", (2,), 2)
    params, _ = named.build().init(jax.random.key(0), jnp.ones((1, 2)))
    Trained(named.build(), params, (), (2,), 2, named, ("a", "b")).save(path)
    assert Trained.load(path).named == named
    arrays, metadata = safetensors.read_arrays(path)
    about = json.loads(metadata["network"])
    for changes, sentence in (
        ({"kind": "|O8"}, "kind '|O8' is not known"),
        ({"kind": "<U99999"}, "is not known"),
        ({"maps": [0]}, "maps are not"),
        ({"size": "3"}, "size are not"),
        ({"kernel": "print"}, "kernel 'print' is not known"),
        ({"model": "subprocess.run"}, "model 'subprocess.run' is not known"),
        ({"outputs": 3}, "2 classes and 3 outputs"),
        ({"input": [2, 2**30]}, "input are not"),
    ):
        safetensors.write(path, arrays, {"network": json.dumps(about | changes)})
        with pytest.raises(ValueError, match="a file whose metadata describe a network") as error:
            Trained.load(path)
        assert sentence in str(error.value), changes


def test_every_name_is_built_alike_from_its_settings():
    for name in NETWORKS:
        shape = (28, 28, 1) if name in OF_IMAGES else (5,)
        named = Named(name, shape, 3, hidden=(4,))
        assert named.build() == named.build()
