"""Networks with a face: what they learn on real data, how they stop, what they refuse."""

import functools
import pickle

import numpy as np
import pytest

import jnn
from jnn.estimators import (
    CNNClassifier,
    LinearRegression,
    MLPClassifier,
    MLPRegressor,
    NotFittedError,
    RBFClassifier,
    RBFRegressor,
)
from jnn.store.trained import Trained

pytest.importorskip("sklearn", reason="real data come with scikit-learn")


@pytest.fixture(scope="module")
def digits():
    (x, y), (xt, yt) = jnn.data.digits()
    return x.reshape(-1, 64), y, xt.reshape(-1, 64), yt


@pytest.mark.parametrize(
    ("model", "least"),
    [
        (MLPClassifier(hidden=(64,), epochs=15, solver=jnn.adam(3e-3), l2=1e-4), 0.95),
        (CNNClassifier(maps=(8, 16), hidden=(), epochs=5, solver=jnn.adam(0.01)), 0.92),
        (RBFClassifier(units=30, standardise=False), 0.92),
    ],
    ids=["mlp", "cnn", "rbf"],
)
def test_classifiers_read_digits_and_are_saved(model, least, digits, tmp_path):
    x, y, xt, yt = digits
    words = np.array([f"digit {k}" for k in range(10)])
    assert model.fit(x, words[y]).score(xt, words[yt]) > least
    np.testing.assert_allclose(model.predict_proba(xt).sum(1), 1, rtol=1e-5)
    model.save(tmp_path / "net")
    again = type(model)(**model.get_params()).load(tmp_path / "net")
    np.testing.assert_array_equal(again.predict(xt), model.predict(xt))


@pytest.mark.parametrize(
    "model",
    [
        MLPRegressor(hidden=(8,), activation="tanh", solver=jnn.levenberg_marquardt(), epochs=50),
        RBFRegressor(units=10, l2=1e-5),
    ],
    ids=["marquardt", "rbf"],
)
def test_regressors_follow_two_curves(model, random, tmp_path):
    x = random.uniform(-1, 1, size=(200, 1))
    y = 100 + 20 * np.concatenate([np.sin(4 * x), x**2], axis=1)
    assert model.fit(x, y).score(x, y) > 0.999
    model.save(tmp_path / "net")
    again = type(model)(**model.get_params()).load(tmp_path / "net")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_early_stopping_takes_the_best_back(digits):
    x, y, _, _ = digits
    model = MLPClassifier(hidden=(64,), epochs=300, validation=0.3, patience=3,
                          solver=jnn.adam(0.01)).fit(x[:300], y[:300])  # fmt: skip
    losses = model.history_["validation_loss"]
    assert len(losses) < 300
    assert losses.argmin() == len(losses) - 4
    assert model.message_ == "The watched quantity did not improve any more."


def test_the_class_of_a_sample_of_weight_zero_does_not_matter(digits):
    x, y = digits[0][:200], digits[1][:200] % 2
    wrong, weights = y.copy(), np.ones(200)
    wrong[::2], weights[::2] = 1 - wrong[::2], 0
    model = MLPClassifier(hidden=8, solver=jnn.adam(0.01), epochs=10, l2=1e-2)
    right = model.fit(x, y, weights).predict_proba(x)
    np.testing.assert_array_equal(model.fit(x, wrong, weights).predict_proba(x), right)
    assert np.abs(model.fit(x, wrong, np.ones(200)).predict_proba(x) - right).max() > 0.1


def test_dropout_and_norms_learn_and_are_saved_with_their_statistics(tmp_path):
    x, y = jnn.data.two_moons(240)
    model = MLPClassifier(hidden=(16,), norm="batch", dropout=0.2, epochs=15, solver=jnn.adam(0.03))
    assert model.fit(x, y, np.ones(240)).score(x, y) > 0.9
    assert abs(model.state_[1].mean).max() > 0
    np.testing.assert_array_equal(model.predict_proba(x), model.predict_proba(x))
    model.save(tmp_path / "net")
    again = MLPClassifier(hidden=(16,), norm="batch", dropout=0.2).load(tmp_path / "net")
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    trained = Trained.load(tmp_path / "net")  # By its name alone, as the command line does.
    np.testing.assert_array_equal(trained.outputs(x).argmax(-1), model.predict(x))
    net = CNNClassifier(maps=(4,), hidden=(8,), norm="group", dropout=0.5)._net(3)
    names = [layer.spec.name for layer in net.spec.layers]
    assert names == [
        "conv", "group_norm", "relu", "max_pool", "flatten", "dense", "relu", "dropout", "dense"
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"an optimizer .* with dropout or batch norm, got"):
        MLPClassifier(dropout=0.5, solver=jnn.lbfgs()).fit(x, y)
    with pytest.raises(ValueError, match="'batch', 'layer'"):
        MLPClassifier(norm="group").fit(x, y)


@pytest.mark.parametrize(
    "solver",
    [
        jnn.levenberg_marquardt(radius=2.0),
        functools.partial(jnn.levenberg_marquardt, radius=2.0),
    ],
)
def test_a_model_is_pickled_with_its_solver_or_a_function_that_makes_it(solver):
    """So do processes that search a grid hand it on."""
    x = np.linspace(-1, 1, 40)[:, None]
    model = MLPRegressor(hidden=(4,), activation="tanh", solver=solver).fit(x, x[:, 0] ** 2)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again.predict(x).dtype == np.float64
    assert again.fit(x, x[:, 0] ** 2).score(x, x[:, 0] ** 2) > 0.999


def test_what_is_refused(digits, tmp_path):
    x, y, _, _ = digits
    with pytest.raises(NotFittedError, match="This MLPClassifier is not fitted yet"):
        MLPClassifier().predict(x)
    with pytest.raises(ValueError, match="2 classes; the data contain one class only"):
        MLPClassifier().fit(x, np.zeros(len(x), int))
    with pytest.raises(ValueError, match="an optimizer to stop early by validation, got lbfgs"):
        MLPClassifier(solver=jnn.lbfgs(), patience=3).fit(x, y)
    with pytest.raises(ValueError, match="CNNClassifier: `shape` must be given"):
        CNNClassifier().fit(x[:, :60], y)
    with pytest.raises(ValueError, match=r"Valid parameters are: solver, epochs"):
        MLPClassifier().set_params(depth=3)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        LinearRegression().fit(x[:2], [0.0, np.nan])
    jnn.save(tmp_path / "other", {"a": np.ones(1)})
    with pytest.raises(ValueError, match="a file that `save` of an estimator wrote"):
        LinearRegression().load(tmp_path / "other")
