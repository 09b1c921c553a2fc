"""The digits: what they promise about values, the split and a missing package."""

import importlib.util
import subprocess
import sys
from importlib.machinery import ModuleSpec

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jnn.data import digits


def test_values_and_types():
    for samples in digits():
        assert samples.x.dtype == np.float32
        assert samples.y.dtype == np.int32
        assert samples.x.shape == (len(samples.y), 8, 8, 1)
        assert samples.x.min() == 0
        assert samples.x.max() == 1


def test_every_image_is_on_one_side_with_its_label():
    train, test = digits()
    ours = np.concatenate([train.x, test.x]).reshape(-1, 64)
    labelled = np.column_stack([ours * 16, np.concatenate([train.y, test.y])])
    pixels, labels = load_digits(return_X_y=True)
    theirs = np.column_stack([pixels, labels])
    np.testing.assert_array_equal(labelled[np.lexsort(labelled.T)], theirs[np.lexsort(theirs.T)])


def test_each_class_gives_a_fifth_to_the_test():
    train, test = digits()
    held, kept = np.bincount(test.y, minlength=10), np.bincount(train.y, minlength=10)
    np.testing.assert_array_equal(held, (held + kept) // 5)


def test_the_split_is_fixed_and_shuffled():
    first, second = digits(), digits()
    np.testing.assert_array_equal(first.train.x, second.train.x)
    np.testing.assert_array_equal(first.test.y, second.test.y)
    for samples in first:  # A batch of neighbours sees most classes.
        assert len(set(samples.y[:50].tolist())) >= 8


def test_without_scikit_learn_a_sentence_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r'pip install "jnn\[examples\]"'):
        digits()


def test_the_file_is_read_without_its_package_and_else_by_it(monkeypatch):
    code = "import jnn, sys; jnn.data.digits(); assert not {'sklearn', 'scipy'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
    from_file = digits()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None))
    for mine, theirs in zip(from_file, digits(), strict=True):
        np.testing.assert_array_equal(mine.x, theirs.x)
        np.testing.assert_array_equal(mine.y, theirs.y)


def test_enlarged_digits_pass_through_the_pixels_of_the_original():
    small, large = digits().test, digits(24).test
    assert large.x.shape == (355, 24, 24, 1)
    np.testing.assert_array_equal(large.y, small.y)
    np.testing.assert_allclose(large.x[:, 1::3, 1::3], small.x, atol=1e-6)  # Centres on centres.
    between = (2 * small.x[:, 3, 2] + small.x[:, 4, 2]) / 3
    np.testing.assert_allclose(large.x[:, 11, 7], between, atol=1e-6)
    np.testing.assert_allclose(large.x[:, 0, 1], small.x[:, 0, 0], atol=1e-6)
    assert 0 <= large.x.min() < large.x.max() <= 1
