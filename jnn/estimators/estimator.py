"""What all estimators share: settings, scores, files, and what scikit-learn asks of them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import prod
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from jnn import data, errors
from jnn.estimators import reading
from jnn.layers.core.layer import Layer
from jnn.models.named import Named
from jnn.store.safetensors import fill, read_arrays
from jnn.store.trained import ABOUT, Trained, renumbered, typed


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
        """Writes what was learned by `jnn.save`; settings, which may be functions, stay out.

        The file is one of `python -m jnn train`: of a network that has a name, `predict` reads it.
        """
        params, classes = self._fitted(), getattr(self, "classes_", np.zeros(0, "U0"))
        if classes.dtype.kind not in "USiufb":
            classes = classes.astype("U")
        Trained(
            None, params, getattr(self, "state_", ()), self._shape_, self._width, self._named(),
            tuple(map(str, classes.tolist())), classes.dtype.str, self.n_features_in_,
            self._kind == "regressor" and not self._outputs_,
            scale=getattr(self, "scale_", None), target_scale=getattr(self, "target_scale_", None),
        ).save(path)  # fmt: skip

    def load(self, path: str | os.PathLike[str]) -> Self:
        """Takes what another of the same settings has saved, and returns itself.

        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "line.safetensors")
        >>> jnn.estimators.LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0]).save(path)
        >>> model = jnn.estimators.LinearRegression().load(path)
        >>> model.predict([[2.0]]).round(6).item()
        5.0
        """
        arrays, metadata = read_arrays(path)
        if ABOUT not in metadata and "features" not in arrays:
            errors.fail("load", "path", "a file that `save` of an estimator wrote", f"'{path}'")
        older = ABOUT not in metadata
        found = None if older else Trained.load(path, lambda told: self._net(told.width))
        of_classes = bool(found.classes) if found else "classes" in arrays
        if (self._kind == "classifier") != of_classes:
            expected = f"a file of a {self._kind}"
            errors.fail("load", "path", expected, f"'{path}', which is of another kind")
        found = found or self._older(path, arrays, metadata)
        net = self._net(found.width)
        if found.named is not None and found.net != net:
            expected = f"a file of {net}, as the settings say"
            errors.fail("load", "path", expected, f"'{path}' of {found.net}")
        self.params_, self.state_ = jax.tree.map(np.asarray, (found.params, found.state))
        self.scale_: Any = found.scale
        self.target_scale_: Any = found.target_scale
        self._shape_, self.n_features_in_ = found.input, found.given or prod(found.input)
        if self._kind == "classifier":
            names = np.array(found.classes)
            self.classes_ = names == "True" if found.kind == "|b1" else names.astype(found.kind)
        else:
            self._outputs_ = None if found.flat else found.width
        return self

    def _older(
        self, path: object, arrays: dict[str, np.ndarray], metadata: Mapping[str, str]
    ) -> Trained:
        """What a file of an estimator says from before they and the commands had one format."""
        shape, classes, kind, width = tuple(arrays["shape"].tolist()), (), "<U0", 1
        if self._kind == "classifier":
            codes, letters = arrays["classes"], int(arrays["letters"])
            labels = codes.view(f"U{letters}") if letters else codes
            classes, kind = tuple(map(str, labels.tolist())), labels.dtype.str
            self.classes_ = labels
            width = self._width
        else:
            width = int(arrays["outputs"]) or 1
        x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        like = jax.eval_shape(self._net(width).init, jax.random.key(0), x)[0]
        scaled = "params/inputs/mean" in arrays
        if scaled:
            pairs = [data.Scale(*(arrays[f"params/{name}/{part}"] for part in data.Scale._fields))
                     for name in ("inputs", "outputs")]  # fmt: skip
            like = {"net": like} | dict(zip(("inputs", "outputs"), pairs, strict=True))
            arrays = renumbered(arrays, {"params": like}, "params/net/")
        held = {name: a for name, a in arrays.items() if name.startswith("params/")}
        tree = fill(path, typed({"params": like}, held), held, metadata)["params"]
        params, scale, target = tree, None, None
        if scaled:
            params, scale = tree["net"], tree["inputs"]
            target = None if classes else tree["outputs"]
        flat = not classes and not int(arrays["outputs"])
        return Trained(None, params, (), shape, width, None, classes, kind, int(arrays["features"]),
                       flat, scale=scale, target_scale=target)  # fmt: skip

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

    def _named(self) -> Named | None:
        """The network by name, for a file; None where only these settings make it."""
        return None

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
        weights = reading.class_weights(name, self.class_weight, classes, numbers, weights)
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
