"""What all estimators share: settings, scores, files, and what scikit-learn asks of them."""

import os
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.estimators import reading
from jnn.layers.layer import Layer
from jnn.store.safetensors import load, save


@dataclass(kw_only=True, eq=False, repr=False)
class Estimator:
    """A model with scikit-learn's face. The constructor keeps settings; `fit` does the work.

    >>> model = jnn.estimators.LogisticRegression(l2=0.1)
    >>> model.get_params()["l2"], model.set_params(l2=0.2)
    (0.1, LogisticRegression(l2=0.2))

    Attributes:
      params_: what was learned, one pytree.
      n_features_in_: the number of features.
      message_: a sentence on how the training ended.
    """

    _kind: ClassVar[str] = ""
    _float: ClassVar[Any] = np.float32  # Of the parameters.

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name."""
        del deep  # No setting is an estimator.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def set_params(self, **settings: Any) -> Self:
        """Changes settings, and returns itself."""
        for name, value in settings.items():
            if name not in self.get_params():
                known = ", ".join(self.get_params())
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self}. Valid parameters are: "
                    f"{known}."
                )
            setattr(self, name, value)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes what was learned by `jnn.save`; settings, which may be functions, stay out."""
        params = self._fitted()
        held = {"params": params, "features": self.n_features_in_, "shape": np.array(self._shape_)}
        if hasattr(self, "classes_"):
            words = self.classes_.dtype.kind in "US"
            text = np.char.str_len(self.classes_).max() if words else 0
            codes = self.classes_.astype(f"U{text}").view(np.uint32) if words else self.classes_
            held |= {"classes": codes, "letters": int(text)}
        else:
            held["outputs"] = self._outputs_ or 0
        save(path, held)

    def load(self, path: str | os.PathLike[str]) -> Self:
        """Takes what another of the same settings has saved, and returns itself.

        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "line.safetensors")
        >>> jnn.estimators.LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0]).save(path)
        >>> model = jnn.estimators.LinearRegression().load(path)
        >>> model.predict([[2.0]]).round(6).item()
        5.0
        """
        found = load(path)
        if "features" not in found:
            errors.fail("load", "path", "a file that `save` of an estimator wrote", f"'{path}'")
        self.n_features_in_, shape = int(found["features"]), found["shape"]
        self._shape_ = tuple(shape.tolist())  # Of a sample, as the network reads it.
        held: dict[str, Any] = {"features": 0, "shape": shape}
        if self._kind == "classifier":
            codes, letters = found["classes"], int(found["letters"])
            self.classes_ = codes.view(f"U{letters}") if letters else codes
            held |= {"classes": codes, "letters": 0}
        else:
            self._outputs_ = int(found["outputs"]) or None
            held["outputs"] = 0
        self.params_ = load(path, held | {"params": self._like()})["params"]
        return self

    def __repr__(self) -> str:
        said = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(said)})"

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks: which kind of estimator this is."""
        from sklearn.utils import ClassifierTags, RegressorTags, Tags, TargetTags

        regressor = self._kind == "regressor"
        return Tags(
            estimator_type=self._kind,
            target_tags=TargetTags(required=True, multi_output=regressor),
            regressor_tags=RegressorTags() if regressor else None,
            classifier_tags=None if regressor else ClassifierTags(),
        )

    def _fitted(self) -> Any:
        """The parameters, if there are any."""
        if not hasattr(self, "params_"):
            reading.not_fitted(type(self).__name__)
        return self.params_

    def _net(self, outputs: int) -> Layer:
        """The network of which `params_` holds the parameters."""
        raise NotImplementedError

    def _like(self) -> Any:
        """Arrays of the structure, shapes and dtypes of `params_`."""
        x = jax.ShapeDtypeStruct((1, *self._shape_), jnp.float32)
        params, _ = jax.eval_shape(self._net(self._width).init, jax.random.key(0), x)
        return jax.tree.map(lambda a: np.zeros(a.shape, self._float), params)

    @property
    def _width(self) -> int:
        """How many outputs the network has."""
        raise NotImplementedError


class Classifier(Estimator):
    """Estimators of classes."""

    _kind = "classifier"
    class_weight: Any  # A setting of each of them: how much a class counts, or "balanced".

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (m, classes), in the order of `classes_`."""
        raise NotImplementedError

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each sample."""
        p = self.predict_proba(X)
        return self.classes_[p.argmax(1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of samples whose class is found."""
        found = self.predict(X)
        right = found == np.asarray(y).reshape(found.shape)
        return float(np.average(right, weights=reading.weights(sample_weight, len(right))))

    def _classes(self, y: Any, sample_weight: Any, count: int) -> tuple[np.ndarray, Any]:
        """Keeps the classes; the place of each sample's among them, and what the sample counts."""
        name = type(self).__name__
        classes, numbers = reading.labels(name, y, count)
        weights = reading.weights(sample_weight, count)
        weights = reading.of_classes(name, self.class_weight, classes, numbers, weights)
        counted = numbers if weights is None else numbers[weights > 0]
        reading.several(name, classes[np.unique(counted)])
        self.classes_ = classes
        return numbers, weights

    @property
    def _width(self) -> int:
        return len(self.classes_)


class Regressor(Estimator):
    """Estimators of numbers."""

    _kind = "regressor"

    def predict(self, X: Any) -> np.ndarray:
        """The value, or values, of each sample."""
        raise NotImplementedError

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The coefficient of determination R^2: 1 less the share of the variance that is left."""
        found = self.predict(X)
        y = reading.values(type(self).__name__, y, len(found)).reshape(found.shape)
        weights = reading.weights(sample_weight, len(y))
        mean = np.average(y, axis=0, weights=weights)
        left, all_of_it = (np.average((y - a) ** 2, axis=0, weights=weights) for a in (found, mean))
        return float(np.mean(1 - left / np.where(all_of_it == 0, 1, all_of_it)))

    @property
    def _width(self) -> int:
        return self._outputs_ or 1
