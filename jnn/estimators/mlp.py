"""Multilayer perceptrons with scikit-learn's face."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jnn.estimators.network import Network, NetworkClassifier, NetworkRegressor, units
from jnn.layers.core.layer import Layer
from jnn.models.mlp import mlp
from jnn.models.named import Named


@dataclass(kw_only=True, eq=False, repr=False)
class _MLP(Network):
    hidden: int | Sequence[int] = (100,)
    activation: Any = "relu"
    norm: str | None = None
    dropout: float = 0.0

    def _net(self, outputs: int) -> Layer:
        return mlp([*units(self.hidden), outputs], activation=self.activation, norm=self.norm,
                   dropout=float(self.dropout))  # fmt: skip

    def _named(self) -> Named | None:
        """The network by name, where its activation has one."""
        if not isinstance(self.activation, str):
            return None
        return Named("mlp", self._shape_, self._width, units(self.hidden), self.activation,
                     norm=self.norm or "", dropout=float(self.dropout))  # fmt: skip


class MLPClassifier(_MLP, NetworkClassifier):
    """A multilayer perceptron with a softmax.

    >>> x, y = jnn.data.two_moons(200)
    >>> model = jnn.estimators.MLPClassifier(hidden=(16,), solver=jnn.lbfgs(), epochs=60)
    >>> model.fit(x, y).score(x, y) > 0.95, model.predict_proba(x[:3]).shape
    (True, (3, 2))

    Args:
      hidden: the units of each hidden layer, or of the only one.
      activation: of the hidden layers, the name of an elementwise rule or the rule.
      norm: "batch" or "layer", in each hidden layer before its activation; None for none.
      dropout: the rate of dropout behind each hidden layer; it and batch norm need an optimizer.
      solver: an optimizer for `jnn.fit`, by default `jnn.adam(1e-3)`; or a solver of
        `jnn.minimize`, such as `jnn.lbfgs()`, for all samples at once; or a function that makes
        one, as `jnn.lbfgs`.
      epochs: passes over the samples, or steps of a solver, at most.
      batch_size: samples a step of an optimizer.
      l2: the factor of half the squared weights; biases are not shrunk.
      validation: the share of the samples that is held out, to measure on after each epoch.
      patience: stops after that many epochs without a better loss, of the validation where there is
        one, and takes the best parameters back; None for all epochs.
      standardise: whether each feature is brought to mean 0 and deviation 1 before.
      key: an integer, from which everything random is drawn.
      progress: "bar", "lines" or None, as in `jnn.fit`.
      class_weight: how much each class counts, by class, or "balanced".
    """


class MLPRegressor(_MLP, NetworkRegressor):
    """A multilayer perceptron with a linear output; targets are standardised for training.

    >>> x = np.linspace(-1, 1, 50)[:, None]
    >>> solver = jnn.levenberg_marquardt()
    >>> model = jnn.estimators.MLPRegressor(hidden=(8,), activation="tanh", solver=solver)
    >>> model.fit(x, np.sin(4 * x[:, 0])).score(x, np.sin(4 * x[:, 0])) > 0.999
    True

    Args:
      solver: also one of `jnn.least_squares`, as `jnn.levenberg_marquardt()`.
      hidden: as all other settings but `class_weight`, see `MLPClassifier`.
    """
