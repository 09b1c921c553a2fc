"""Convolutional networks with scikit-learn's face."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt, prod

import numpy as np

from jnn import data, errors
from jnn.estimators.network import NetworkClassifier, units
from jnn.layers.core.layer import Layer
from jnn.models.images import cnn
from jnn.models.named import Named


@dataclass(kw_only=True, eq=False, repr=False)
class CNNClassifier(NetworkClassifier):
    """A convolutional network: rectified convolutions, each pooled by maxima, then dense layers.

    >>> jnn.estimators.CNNClassifier(maps=(8, 16), shape=(28, 28, 1))
    CNNClassifier(maps=(8, 16), shape=(28, 28, 1))
    >>> model = jnn.estimators.CNNClassifier(net=jnn.models.lenet5, epochs=5)

    Args:
      maps: of each convolution, how many maps it makes.
      size: of the filters, in pixels.
      hidden: the units of the dense layers before the output.
      shape: (height, width, channels) of images that come as rows of numbers; None where they
        come as images (m, height, width[, channels]), or as rows of a square's pixels.
      norm: "batch" or "group", behind each convolution; None for none.
      dropout: the rate of dropout behind each hidden dense layer.
      net: a function of the number of classes that makes another network, as `jnn.models.vgg`.
      solver: as all other settings, see `MLPClassifier`.
    """

    maps: int | Sequence[int] = (16, 32)
    size: int = 3
    hidden: int | Sequence[int] = (64,)
    shape: tuple[int, int, int] | None = None
    net: Callable[[int], Layer] | None = None
    norm: str | None = None
    dropout: float = 0.0
    epochs: int = 20

    _images = True

    def _net(self, outputs: int) -> Layer:
        if self.net is not None:
            return self.net(outputs)
        return cnn(units(self.maps), self.size, units(self.hidden), outputs, norm=self.norm,
                   dropout=float(self.dropout))  # fmt: skip

    def _named(self) -> Named | None:
        """The network by name, which one of the user's has not."""
        if self.net is not None:
            return None
        hidden, maps = units(self.hidden), units(self.maps)
        return Named("cnn", self._shape_, self._width, hidden, maps=maps, size=self.size,
                     norm=self.norm or "", dropout=float(self.dropout))  # fmt: skip

    def _example(self, given: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of an image, (height, width, channels)."""
        side = isqrt(given[0]) if len(given) == 1 else 0
        if self.shape is not None:
            shape = tuple(self.shape)
        elif len(given) == 1 and side * side == given[0]:
            shape = (side, side, 1)
        else:
            shape = (*given, 1) if len(given) == 2 else given
        if len(shape) != 3 or prod(shape) != prod(given):
            expected = "given, (height, width, channels) of an image"
            got = f"{self.shape} for samples of shape {given}"
            errors.fail("CNNClassifier", "shape", expected, got)
        return shape

    def _scale(self, x: np.ndarray) -> data.Scale:
        """One for all pixels, so that a pattern looks alike wherever it stands."""
        mean, deviation = super()._scale(x.reshape(-1, 1))
        return data.Scale(np.full(x.shape[1:], mean), np.full(x.shape[1:], deviation))
