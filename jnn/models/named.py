"""Networks by name: what a file says of a network, and the command line, and how each is built."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jnn import errors
from jnn.layers.combinators.rows import serial
from jnn.layers.core.layer import Layer
from jnn.layers.flatten import as_sequence, flatten
from jnn.layers.linear import dense
from jnn.models.images import cnn, lenet5, modern_lenet, vgg
from jnn.models.mlp import mlp
from jnn.models.radial import rbf_network
from jnn.models.recurrent import CELLS, recurrent
from jnn.models.residual import resnet
from jnn.rules.pointwise.activation import ACTIVATIONS

MOST = 2**24  # Units of a layer; who names more is not right.


class Named(NamedTuple):
    """A name of `NETWORKS`, and the settings that the network is built from.

    >>> from jnn.models.named import Named
    >>> Named("mlp", (4,), 3, hidden=(8,)).build()
    serial(dense(8, activation='relu'), dense(3))

    Attributes:
      model: the name.
      input: the shape of a sample.
      outputs: classes, or targets.
      hidden: units of the hidden layers; of a radial network, its centres; of a recurrent one those
        of its layers, all alike.
      activation: of the hidden layers of a perceptron.
      maps: of each convolution of `cnn`, how many maps it makes.
      size: of its filters.
      kernel: of a radial network.
      norm: of `mlp` and `cnn`, "" for none.
      dropout: the rate of both.
      cell: of a recurrent network.
    """

    model: str
    input: tuple[int, ...]
    outputs: int
    hidden: tuple[int, ...] = (128,)
    activation: str = "relu"
    maps: tuple[int, ...] = (16, 32)
    size: int = 3
    kernel: str = "squared"
    norm: str = ""
    dropout: float = 0.0
    cell: str = "lstm"

    def build(self) -> Layer:
        """The network."""
        if self.model in OF_IMAGES and len(self.input) != 3:
            raise ValueError(f"{self.model} reads images")
        return NETWORKS[self.model](self)


def _flat(named: Named, net: Layer) -> Layer:
    """The network behind `flatten`, where a sample has several axes."""
    return serial(flatten(), *net.spec.layers) if len(named.input) > 1 else net


def _mlp(named: Named) -> Layer:
    sizes = [*named.hidden, named.outputs]
    rest = {"norm": named.norm or None, "dropout": named.dropout}
    return _flat(named, mlp(sizes, activation=named.activation, **rest))


def _linear(named: Named) -> Layer:
    return _flat(named, serial(dense(named.outputs)))


def _rbf(named: Named) -> Layer:
    if len(named.hidden) != 1:
        errors.fail("train", "--hidden", "one number for rbf, its centres", named.hidden)
    return _flat(named, rbf_network(named.hidden[0], named.outputs, kernel=named.kernel))


def _recurrent(named: Named) -> Layer:
    if len({*named.hidden}) != 1:
        raise ValueError("its layers are alike")
    net = recurrent(named.outputs, named.hidden[0], len(named.hidden), cell=named.cell)
    return serial(as_sequence(rows=True), *net.spec.layers)


NETWORKS: dict[str, Callable[[Named], Layer]] = {
    "logistic": _linear,
    "linear": _linear,
    "mlp": _mlp,
    "rbf": _rbf,
    "cnn": lambda named: cnn(
        named.maps,
        named.size,
        named.hidden,
        named.outputs,
        norm=named.norm or None,
        dropout=named.dropout,
    ),
    "lenet5": lambda named: lenet5(named.outputs),
    "lenet": lambda named: modern_lenet(named.outputs),
    "vgg": lambda named: vgg(named.outputs),
    "resnet": lambda named: resnet(named.outputs),
    "recurrent": _recurrent,
}
OF_IMAGES = ("cnn", "lenet5", "lenet", "vgg", "resnet", "recurrent")


def read_named(told: Mapping[str, Any]) -> Named:
    """The network of settings that somebody wrote, each of which is checked.

    >>> from jnn.models.named import read_named
    >>> read_named({"model": "os.system"})
    Traceback (most recent call last):
    ...
    ValueError: model 'os.system' is not known
    """
    told = {**Named("", (), 1)._asdict(), **told}
    return Named(
        model=_one_of(told, "model", NETWORKS),
        input=counts(told, "input", 3),
        outputs=counts({"outputs": [told["outputs"]]}, "outputs", 1)[0],
        hidden=counts(told, "hidden", 100),
        activation=_one_of(told, "activation", ACTIVATIONS),
        maps=counts(told, "maps", 100),
        size=counts({"size": [told["size"]]}, "size", 1)[0],
        kernel=_one_of(told, "kernel", ("squared", "norm")),
        norm=_one_of(told, "norm", ("", "batch", "layer", "group")),
        dropout=_rate(told["dropout"]),
        cell=_one_of(told, "cell", CELLS),
    )


def _rate(told: Any) -> float:
    if type(told) not in (int, float) or not 0 <= told < 1:
        raise ValueError(f"dropout {str(told)[:40]!r} is no number from 0 to below 1")
    return float(told)


def _one_of(told: Mapping[str, Any], name: str, known: Any) -> str:
    if not isinstance(told[name], str) or told[name] not in known:
        raise ValueError(f"{name} {str(told[name])[:40]!r} is not known")
    return told[name]


def counts(told: Mapping[str, Any], name: str, most: int, least: int = 1) -> tuple[int, ...]:
    """A list of whole numbers among what was told."""
    values = told[name]
    right = isinstance(values, list | tuple) and len(values) <= most
    if not right or not all(type(n) is int and least <= n <= MOST for n in values):
        raise ValueError(f"{name} are not {most} numbers at most, of {least} ... {MOST}")
    return tuple(values)
