"""Radial basis function networks with scikit-learn's face (H-46..55)."""

import os
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import jax
import numpy as np

from jnn.estimators.network import Network, NetworkClassifier, NetworkRegressor
from jnn.layers.core.layer import Layer
from jnn.models.named import Named
from jnn.models.radial import centred, rbf_network
from jnn.solve.methods.lbfgs import lbfgs
from jnn.store.safetensors import load


@dataclass(kw_only=True, eq=False, repr=False)
class _RBF(Network):
    units: int = 20
    kernel: str = "squared"
    l2: float = 1e-4

    def _net(self, outputs: int) -> Layer:
        return rbf_network(self._units_, outputs, kernel=self.kernel)

    def _named(self) -> Named | None:
        """The network by name."""
        return Named("rbf", self._shape_, self._width, (self._units_,), kernel=self.kernel)

    def _begin(self, x: Any) -> np.ndarray:
        x = super()._begin(x)
        self._units_ = min(self.units, len(x))
        return x

    def _start(self, net: Layer, key: jax.Array, x: np.ndarray) -> Any:
        return _centred(net, super()._start(net, key, x), key, x)

    def load(self, path: str | os.PathLike[str]) -> Self:
        """Takes what another of the same settings has saved, and returns itself."""
        found = load(path)
        self._units_ = len(found.get("params/0/beta", found.get("params/net/0/beta", ())))
        return super().load(path)

    def _default(self) -> Any:
        return lbfgs()


@partial(jax.jit, static_argnames="net")
def _centred(net: Layer, params: Any, key: jax.Array, x: Any) -> Any:
    return centred(net, params, key, x)


class RBFClassifier(_RBF, NetworkClassifier):
    """Radial functions about centres that k-means finds, and a softmax of them.

    All parameters are trained, centres included.

    >>> jnn.estimators.RBFClassifier(units=30, solver=jnn.adam(0.01)).get_params()["units"]
    30

    Args:
      units: how many radial functions, at most one a sample.
      kernel: "squared" for the Gaussian, "norm" as H-54 prints it.
      standardise: False where features have one unit, as pixels: distances should keep it.
      solver: by default `jnn.lbfgs()`; as all other settings, see `MLPClassifier`.
    """


class RBFRegressor(_RBF, NetworkRegressor):
    """Radial functions about centres that k-means finds, and a linear output of them.

    All parameters are trained, centres included.

    >>> x = np.linspace(-1, 1, 50)[:, None]
    >>> model = jnn.estimators.RBFRegressor(units=8, l2=0.0).fit(x, np.sin(4 * x[:, 0]))
    >>> model.score(x, np.sin(4 * x[:, 0])) > 0.999
    True

    Args:
      units: how many radial functions, at most one a sample.
      kernel: "squared" for the Gaussian, "norm" as H-54 prints it.
      solver: by default `jnn.lbfgs()`; as all other settings, see `MLPRegressor`.
    """
