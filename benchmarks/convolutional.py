"""Convolutional networks as plain records, which ours and every peer build their own from."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import jnn

RELU, POOL, FLATTEN, MEAN = "relu", "pool 2x2", "flatten", "mean over space"


class Conv(NamedTuple):
    """A convolution with biases; `padding` is a number of pixels on each side."""

    channels: int
    window: int
    padding: int = 0
    stride: int = 1


class Dense(NamedTuple):
    """A dense layer with biases."""

    units: int


class Residual(NamedTuple):
    """relu(main(x) + shortcut(x))."""

    main: tuple[Any, ...]
    shortcut: tuple[Any, ...] = ()


class Network(NamedTuple):
    """A network and the shape of its batch."""

    title: str
    shape: tuple[int, int, int, int]
    steps: tuple[Any, ...]


def _two(channels: int) -> tuple[Any, ...]:
    return (Conv(channels, 3, 1), RELU, Conv(channels, 3, 1), RELU, POOL)


def _block(channels: int, stride: int = 1) -> Residual:
    main = (Conv(channels, 3, 1, stride), RELU, Conv(channels, 3, 1))
    return Residual(main, () if stride == 1 else (Conv(channels, 1, 0, stride),))


HEAD = (FLATTEN, Dense(256), RELU, Dense(10))
NETWORKS = {
    "lenet": Network(
        "LeNet-like: conv 5x5x32, pool, conv 5x5x64, pool, dense 256, 10",
        (64, 28, 28, 1),
        (Conv(32, 5), RELU, POOL, Conv(64, 5), RELU, POOL, *HEAD),
    ),
    "vgg6": Network(
        "VGG-6: 3x3 same: 32, 32, pool, 64, 64, pool, 128, 128, pool, dense 256, 10",
        (64, 32, 32, 3),
        (*_two(32), *_two(64), *_two(128), *HEAD),
    ),
    "resnet": Network(
        "ResNet: 3x3x16, blocks of two 3x3: 16, 32 by stride 2, 64 by stride 2, mean, dense 10",
        (64, 32, 32, 3),
        (Conv(16, 3, 1), RELU, _block(16), _block(32, 2), _block(64, 2), MEAN, Dense(10)),
    ),
}


class Affine(NamedTuple):
    """One layer's parameters: a filter, HWIO, or weights, (in, out); and biases."""

    w: Any
    b: Any


def walk(steps: Sequence[Any], shape: tuple[int, ...]) -> Iterator[tuple[Any, tuple[int, ...]]]:
    """Every step that has parameters, in order, with the shape that comes in."""
    for step in steps:
        if isinstance(step, Conv | Dense):
            yield step, shape
        if isinstance(step, Residual):
            yield from walk(step.main, shape)
            yield from walk(step.shortcut, shape)
        shape = after(step, shape)


def after(step: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape behind a step."""
    if isinstance(step, Residual):
        for inner in step.main:
            shape = after(inner, shape)
        return shape
    if isinstance(step, Dense):
        return (*shape[:-1], step.units)
    if isinstance(step, Conv):
        height, width = (
            (n + 2 * step.padding - step.window) // step.stride + 1 for n in shape[1:3]
        )
        return (shape[0], height, width, step.channels)
    if step == POOL:
        return (shape[0], shape[1] // 2, shape[2] // 2, shape[3])
    if step == FLATTEN:
        return (shape[0], int(np.prod(shape[1:])))
    return (shape[0], shape[3]) if step == MEAN else shape


def initial(network: Network) -> list[Affine]:
    """Parameters: weights by He, small biases."""
    random = np.random.default_rng(0)
    params = []
    for step, shape in walk(network.steps, network.shape):
        conv = isinstance(step, Conv)
        n = step.channels if conv else step.units
        size = (step.window, step.window, shape[-1], n) if conv else (shape[-1], n)
        w = random.normal(size=size) * (2 / np.prod(size[:-1])) ** 0.5
        b = 0.1 * random.normal(size=n)
        params.append(Affine(np.float32(w), np.float32(b)))
    return params


def flops(network: Network) -> int:
    """Operations of a training step's products: three of each layer, but no slope of the images."""
    total = 0
    for i, (step, shape) in enumerate(walk(network.steps, network.shape)):
        outputs = int(np.prod(after(step, shape)))
        inputs = shape[-1] * (step.window**2 if isinstance(step, Conv) else 1)
        total += 2 * outputs * inputs * (3 if i else 2)
    return total


def ours(network: Network) -> Callable[..., jax.Array]:
    """The network by this library's layers: `(params, x) -> logits`."""
    net = jnn.serial(*map(_layer, network.steps))
    return lambda params, x: net(_arranged(network.steps, iter(params)), x)


def _layer(step: Any) -> jnn.Layer:
    """The layer of a step, initialisers aside: parameters come from `initial`."""
    if isinstance(step, Residual):
        main, shortcut = (jnn.serial(*map(_layer, part)) for part in step)
        return jnn.serial(jnn.parallel(main, shortcut, combine="sum"), jnn.relu())
    if isinstance(step, Conv):
        return jnn.conv(step.channels, step.window, stride=step.stride, padding=step.padding,
                        rest="drop")  # fmt: skip
    if isinstance(step, Dense):
        return jnn.dense(step.units)
    plain = {RELU: jnn.relu, FLATTEN: jnn.flatten, MEAN: jnn.global_mean_pool}
    return jnn.max_pool(2) if step == POOL else plain[step]()


def _arranged(steps: Sequence[Any], params: Iterator[Affine]) -> tuple[Any, ...]:
    """Parameters in order, in the tuples in which the layers hold theirs."""

    def of(step: Any) -> Any:
        if isinstance(step, Residual):
            return (tuple(_arranged(part, params) for part in step), ())
        if isinstance(step, Conv):
            return jnn.layers.ConvParams(*next(params))
        return jnn.layers.DenseParams(*next(params)) if isinstance(step, Dense) else ()

    return tuple(map(of, steps))
