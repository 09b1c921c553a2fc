"""Linear and logistic regression with a face: scikit-learn's coefficients on real data."""

import warnings

import numpy as np
import pytest

import jnn
from jnn.estimators import LinearRegression, LogisticRegression

datasets = pytest.importorskip("sklearn.datasets", reason="real data come with scikit-learn")
linear_model = pytest.importorskip("sklearn.linear_model")


def load(name):
    return getattr(datasets, f"load_{name}")(return_X_y=True)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_linear_coefficients_are_scikit_learns(alpha, random):
    """On the 442 patients of the diabetes study, with weights."""
    x, y = load("diabetes")
    weights = random.uniform(size=len(x))
    for given in (None, weights):
        total = len(x) if given is None else given.sum()
        ours = LinearRegression(l2=alpha / total).fit(x, y, sample_weight=given)
        theirs = linear_model.Ridge(alpha) if alpha else linear_model.LinearRegression()
        theirs.fit(x, y, sample_weight=given)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-8)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-10)
        np.testing.assert_allclose(ours.score(x, y, given), theirs.score(x, y, given), rtol=1e-9)


@pytest.mark.parametrize(
    ("solver", "steps"), [(jnn.lbfgs(), 100), (jnn.heavy_ball(0.5, 0.9), 5000)]
)
def test_solvers_and_optimizers_find_them(solver, steps):
    x, y = load("diabetes")
    exact = LinearRegression(l2=1e-3).fit(x, y)
    ours = LinearRegression(l2=1e-3, solver=solver, tol=1e-8, max_steps=steps).fit(x, y)
    np.testing.assert_allclose(ours.coef_, exact.coef_, rtol=1e-6)
    assert ours.message_.startswith("Converged")


@pytest.mark.parametrize(
    ("name", "c"),
    [
        ("breast_cancer", 1.0),
        ("iris", 100.0),
        pytest.param("digits", 1.0, marks=pytest.mark.slow),
    ],
)
def test_logistic_coefficients_are_scikit_learns(name, c):
    """Raw data, whose features differ in size by thousands; two classes, three and ten."""
    x, y = load(name)
    theirs = linear_model.LogisticRegression(
        C=c, tol=1e-12, solver="newton-cholesky", max_iter=500
    ).fit(x, y)
    ours = LogisticRegression(l2=1 / (c * len(x))).fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5, rtol=1e-5)
    # Of several classes, biases are determined up to a number added to all of them.
    ours_b, theirs_b = (b - b.mean() * (len(b) > 1) for b in (ours.intercept_, theirs.intercept_))
    np.testing.assert_allclose(ours_b, theirs_b, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-6)
    assert ours.score(x, y) == theirs.score(x, y)


def test_weights_of_samples_and_classes(random):
    x, y = load("breast_cancer")
    weights = random.uniform(size=len(x))
    theirs = linear_model.LogisticRegression(
        C=1.0, tol=1e-12, solver="newton-cholesky", class_weight="balanced"
    ).fit(x, y, sample_weight=weights)
    ours = LogisticRegression(l2=1 / weights.sum(), class_weight="balanced")
    ours.fit(x, y, sample_weight=weights)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-5, atol=1e-8)


def test_pinned_classes_predict_the_same_without_a_penalty():
    """T, Remark 2: one class of several needs no weights."""
    x, y = load("iris")
    x = x + np.random.default_rng(0).normal(size=x.shape)  # So that no plane separates them.
    free = LogisticRegression(l2=0.0).fit(x, y)
    pinned = LogisticRegression(l2=0.0, pinned=True).fit(x, y)
    assert pinned.coef_.shape == (2, 4)
    np.testing.assert_allclose(pinned.predict_proba(x), free.predict_proba(x), atol=1e-8)
    moved = free.coef_ - free.coef_[-1:]
    np.testing.assert_allclose(pinned.coef_, moved[:-1], rtol=1e-5)


def test_features_and_files(tmp_path):
    x, y = jnn.data.two_moons(100)
    names = np.array(["moon", "crescent"])
    settings = {"l2": 1e-3, "features": lambda x: jnn.models.monomials(x, 3)}
    model = LogisticRegression(**settings).fit(x, names[y])
    assert model.coef_.shape == (1, 9)
    assert model.n_features_in_ == 2
    model.save(tmp_path / "moons")
    again = LogisticRegression(**settings).load(tmp_path / "moons")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert set(again.predict(x)) == set(names)
    with pytest.raises(ValueError, match="X has 3 features, but LogisticRegression is expecting 2"):
        again.predict(np.ones((1, 3)))


def test_scikit_learn_takes_them_for_its_own():
    """A pipeline, a grid search and clones."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = load("diabetes")
    model = make_pipeline(StandardScaler(), LinearRegression())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid = GridSearchCV(model, {"linearregression__l2": [1e-2, 1e2]}, cv=2).fit(x, y)
    assert grid.best_params_ == {"linearregression__l2": 1e-2}
    assert grid.best_score_ > 0.4
