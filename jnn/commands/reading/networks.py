"""The networks that the command line knows by name, and how each is built for some data."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors, models
from jnn.layers import dense, flatten, serial
from jnn.layers.layer import Layer

MOST = 2**24  # Units of a layer; a file that names more is not true.


class Recipe(NamedTuple):
    """What a network is built from.

    Attributes:
      model: a name of `NETWORKS`.
      input: the shape of a sample.
      outputs: classes, or targets.
      hidden: units of the hidden layers; of a radial network, its centres.
      activation: of the hidden layers of a perceptron.
    """

    model: str
    input: tuple[int, ...]
    outputs: int
    hidden: tuple[int, ...] = (128,)
    activation: str = "relu"


def _flat(recipe: Recipe, net: Layer) -> Layer:
    """The network behind `flatten`, where a sample has several axes."""
    return serial(flatten(), *net.spec.layers) if len(recipe.input) > 1 else net


def _mlp(recipe: Recipe) -> Layer:
    sizes = [*recipe.hidden, recipe.outputs]
    return _flat(recipe, models.mlp(sizes, activation=recipe.activation))


def _linear(recipe: Recipe) -> Layer:
    return _flat(recipe, serial(dense(recipe.outputs)))


def _rbf(recipe: Recipe) -> Layer:
    if len(recipe.hidden) != 1:
        errors.fail("train", "--hidden", "one number for rbf, its centres", recipe.hidden)
    return _flat(recipe, models.rbf_network(recipe.hidden[0], recipe.outputs))


NETWORKS: dict[str, Callable[[Recipe], Layer]] = {
    "logistic": _linear,
    "linear": _linear,
    "mlp": _mlp,
    "rbf": _rbf,
    "lenet5": lambda recipe: models.lenet5(recipe.outputs),
    "lenet": lambda recipe: models.modern_lenet(recipe.outputs),
    "vgg": lambda recipe: models.vgg(recipe.outputs),
    "resnet": lambda recipe: models.resnet(recipe.outputs),
}
OF_IMAGES = ("lenet5", "lenet", "vgg", "resnet")


def network(recipe: Recipe) -> Layer:
    """The network of a recipe, tried on the shape of a sample.

    >>> network(Recipe("mlp", (4,), 3, hidden=(8,)))
    serial(dense(8, activation='relu'), dense(3))
    """
    shape = " x ".join(map(str, recipe.input))
    if recipe.model in OF_IMAGES and len(recipe.input) != 3:
        known = ", ".join(name for name in NETWORKS if name not in OF_IMAGES)
        got = f"{recipe.model}, which reads images"
        remedy = f"Where a row of {shape} numbers is an image, --image HEIGHTxWIDTH says so."
        errors.fail("train", "--model", f"{known} for a table", got, remedy)
    try:
        net = NETWORKS[recipe.model](recipe)
        x = jax.ShapeDtypeStruct((1, *recipe.input), jnp.float32)
        params, _ = jax.eval_shape(net.init, jax.random.key(0), x)
        jax.eval_shape(net, params, x)
    except ValueError as error:
        remedy = "vgg and resnet read images of any size." if recipe.model in OF_IMAGES else ""
        errors.fail("train", "--model", f"one that reads samples of {shape}",
                    f"{recipe.model}. {error}"[:-1], remedy)  # fmt: skip
    return net
