"""scikit-learn's own checks of estimators, with data of many kinds, good and bad."""

import warnings

import pytest

from jnn.estimators import (
    CNNClassifier,
    LinearRegression,
    LogisticRegression,
    MLPClassifier,
    MLPRegressor,
    RBFClassifier,
    RBFRegressor,
)

checks = pytest.importorskip("sklearn.utils.estimator_checks", reason="these are its checks")


def failures(estimator, names=None):
    """The checks that fail, with what they say."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of checks that scikit-learn skips without pandas.
        for bound, check in checks.estimator_checks_generator(estimator):
            name = check.func.__name__
            if names is None or name in names:
                try:
                    check(bound)
                except checks.SkipTest:
                    pass
                except Exception as error:
                    found[name] = str(error)
    return found


@pytest.mark.slow
def test_linear_regression_passes_all_checks():
    assert not failures(LinearRegression())


# Each data set of another shape is compiled anew, so only these are run for the others. They pass
# all checks, but that a network trained in batches takes a weight of two for a sample twice.
FACE = {
    "check_estimator_cloneable", "check_estimator_repr", "check_no_attributes_set_in_init",
    "check_parameters_default_constructible", "check_get_params_invariance", "check_set_params",
    "check_do_not_raise_errors_in_init_or_set_param", "check_estimators_unfitted",
    "check_estimator_sparse_array", "check_estimators_empty_data_messages", "check_complex_data",
    "check_requires_y_none", "check_fit1d", "check_classifiers_one_label",
    "check_classifiers_regression_target", "check_n_features_in", "check_fit_score_takes_y",
    "check_valid_tag_types", "check_supervised_y_no_nan", "check_estimators_overwrite_params",
}  # fmt: skip


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        MLPClassifier(hidden=(), epochs=1),
        MLPRegressor(hidden=(), epochs=1),
        pytest.param(RBFClassifier(units=2), marks=pytest.mark.slow),
        pytest.param(RBFRegressor(units=2), marks=pytest.mark.slow),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_the_face_is_what_scikit_learn_expects(estimator):
    assert not failures(estimator, FACE)


# Samples of two or three numbers, which are no square, come before whatever else these ask for.
NO_IMAGES = {
    "check_fit_score_takes_y", "check_estimators_overwrite_params", "check_n_features_in",
    "check_classifiers_one_label", "check_classifiers_regression_target", "check_requires_y_none",
}  # fmt: skip


def test_so_is_that_of_a_network_for_images():
    found = failures(CNNClassifier(maps=(1,), hidden=(), epochs=1), FACE)
    assert set(found) <= NO_IMAGES
