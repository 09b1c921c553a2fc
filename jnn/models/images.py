"""Networks for images: LeNet-5 and VGG."""

from collections.abc import Sequence
from typing import Any

from jnn import errors
from jnn.layers.combinators.rows import serial
from jnn.layers.convolution import conv
from jnn.layers.core.initialisers import Initialiser, he_normal
from jnn.layers.core.layer import Layer
from jnn.layers.dropout import dropout as drop
from jnn.layers.flatten import flatten
from jnn.layers.linear import dense
from jnn.layers.pointwise import relu
from jnn.layers.pooling import max_pool, weighted_subsample
from jnn.models.norms import Norm, norm_layers
from jnn.rules.convolution.connections import Connections
from jnn.rules.core.rule import Rule

Activation = str | Rule


def lenet5(classes: int = 10, *, activation: Activation = "tanh") -> Layer:
    """LeNet-5 (LeCun et al. 1998), on images of 28 x 28 pixels: Hedberg's layers in a row.

    Convolutions by 5 x 5 filters, of which the second reads the maps of the table `lenet5`, each
    followed by weighted sub-sampling (H-86, H-87: one weight and one bias a map). The first
    convolution pads the image by 2 to the 32 x 32 pixels of the paper. Where the paper ends in
    radial units with fixed centres there is a dense layer here, for `softmax_cross_entropy`; and
    where its squashing function is `1.7159 tanh(2 x / 3)`, the tanh.

    >>> net = jnn.models.lenet5()
    >>> jnn.summary(net, jax.ShapeDtypeStruct((32, 28, 28, 1), jnp.float32)).parameters
    60850
    """
    errors.positive_integer("lenet5", "classes", classes)
    return serial(
        conv(6, 5, padding=2, activation=activation),  # C1: 28 x 28
        weighted_subsample(2, activation=activation),  # S2: 14 x 14
        conv(16, 5, connections=Connections.lenet5(), activation=activation),  # C3: 10 x 10
        weighted_subsample(2, activation=activation),  # S4: 5 x 5
        conv(120, 5, activation=activation),  # C5: 1 x 1
        flatten(),
        dense(84, activation=activation),  # F6
        dense(classes),
    )


def modern_lenet(
    classes: int = 10, *, widths: tuple[int, int] = (32, 64), hidden: int = 256
) -> Layer:
    """LeNet as one would build it now: wider, rectified, pooled by maxima, all maps connected.

    >>> jnn.models.modern_lenet().spec.layers[:3]
    (conv(32, 5, weights=he_normal), relu(), max_pool(2))
    """
    errors.positive_integer("modern_lenet", "classes", classes)
    layers = []
    for maps in widths:
        layers += [conv(maps, 5, weights=he_normal), relu(), max_pool(2)]
    layers += [flatten(), dense(hidden, weights=he_normal), relu()]
    return serial(*layers, dense(classes))


def cnn(
    maps: Sequence[int], size: int, hidden: Sequence[int], classes: int, *,
    norm: Norm = None, dropout: float = 0.0,
) -> Layer:  # fmt: skip
    """Rectified convolutions, each pooled by maxima, then dense layers.

    >>> jnn.models.cnn((8,), 3, (), 10)
    serial(conv(8, 3, padding='same', weights=he_normal), relu(), max_pool(2), flatten(), dense(10))

    Args:
      maps: of each convolution, how many maps it makes.
      size: of the filters, in pixels.
      hidden: the units of the dense layers before the output.
      classes: the number of outputs.
      norm: "batch" or "group", behind each convolution; None for none.
      dropout: the rate of dropout behind each hidden dense layer.
    """
    layers: list[Any] = []
    for count in maps:
        layers.append(conv(count, size, padding="same", weights=he_normal))
        layers += [*norm_layers("cnn", norm, count), relu(), max_pool(2)]
    layers.append(flatten())
    for count in hidden:
        layers += [dense(count, weights=he_normal), relu(), *([drop(dropout)] if dropout else [])]
    return serial(*layers, dense(classes))


def vgg(
    classes: int = 10,
    *,
    blocks: Sequence[tuple[int, int]] = ((32, 2), (64, 2), (128, 2)),
    hidden: Sequence[int] = (256,),
    norm: Norm = None,
    weights: Initialiser = he_normal,
) -> Layer:
    """VGG: rectified 3 x 3 convolutions that keep the size; pooling that halves it (X-137..142).

    By default the small VGG-6, for images of 32 x 32 pixels. The sixteen layers of VGG-16 are

        jnn.models.vgg(1000, blocks=((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)),
                       hidden=(4096, 4096))

    Args:
      classes: the number of outputs.
      blocks: of each block the maps, and the number of convolutions before it is pooled.
      hidden: the units of the dense layers before the output.
      norm: between a convolution and its rectifier: None, "batch", "group", or a layer; see
        `jnn.models.resnet`.
      weights: initialiser of all but the last layer.

    >>> net = jnn.models.vgg()
    >>> jnn.summary(net, jax.ShapeDtypeStruct((64, 32, 32, 3), jnp.float32)).parameters
    814122
    """
    errors.positive_integer("vgg", "classes", classes)
    layers = []
    for maps, count in blocks:
        wide = conv(maps, 3, padding="same", weights=weights)
        layers += [wide, *norm_layers("vgg", norm, maps), relu()] * count
        layers.append(max_pool(2))
    layers.append(flatten())
    for units in hidden:
        layers += [dense(units, weights=weights), relu()]
    return serial(*layers, dense(classes))
