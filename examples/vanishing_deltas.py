"""Vanishing and exploding deltas: their size in every layer of deep networks (X §4.5.3).

    python examples/vanishing_deltas.py [--short] [--out FOLDER]

A delta goes back through a layer by the transposed weights and the slope of the activation. The
sigmoid's slope is a quarter at most, so that through thirty layers nothing is left. Which
activations and which initial weights keep the size is seen by looking: `jnn.deltas` returns every
layer's delta, hand-written backpropagation step by step, here for real digits before any training.
He's weights keep it in plain layers; residual steps keep it by themselves, and with them it grows.
A norm makes the size of weights indifferent, and inside a skip keeps the growth small: which is why
the blocks of today's networks are built so.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from jnn import plots
from jnn.layers.core.initialisers import Initialiser, glorot_uniform, he_normal, normal, orthogonal

jax.config.update("jax_enable_x64", True)  # What vanishes would be less than float32 can hold.

UNITS = 64


def plain(activation: str, weights: Initialiser, depth: int) -> jnn.Layer:
    """Layers in a row; the last is the softmax's."""
    sizes = [UNITS] * depth + [10]
    return jnn.models.mlp(sizes, activation=activation, weights=weights)


def residual(activation: str, weights: Initialiser, depth: int) -> jnn.Layer:
    """Residual steps x + s(x w1 + b) w2 in a row (T-22), each counted as a layer."""
    steps = [jnn.residual(activation=activation, weights=weights) for _ in range(depth - 1)]
    return jnn.serial(jnn.dense(UNITS), *steps, jnn.dense(10))


def blocks(inner: jnn.Layer, depth: int) -> jnn.Layer:
    """So many of a block in a row, each counted as a layer."""
    return jnn.serial(jnn.dense(UNITS), *[inner] * (depth - 1), jnn.dense(10))


def networks(depth: int) -> dict[str, dict[str, jnn.Layer]]:
    """Three comparisons: of activations, of initial weights, and of norms and skips."""
    small = jnn.dense(UNITS, activation="relu", weights=normal(0.1))
    return {
        "Activations": {
            "sigmoid": plain("sigmoid", glorot_uniform, depth),
            "tanh": plain("tanh", glorot_uniform, depth),
            "rectifier": plain("relu", he_normal, depth),
            "residual steps, tanh": residual("tanh", glorot_uniform, depth),
            "residual steps, rectifier": residual("relu", he_normal, depth),
        },
        "Initial weights, rectifier": {
            "normal, deviation 0.1": plain("relu", normal(0.1), depth),
            "Glorot's": plain("relu", glorot_uniform, depth),
            "He's": plain("relu", he_normal, depth),
            "orthogonal, gain sqrt 2": plain("relu", orthogonal(np.sqrt(2)), depth),
            "normal, deviation 0.3": plain("relu", normal(0.3), depth),
        },
        "Norms and skips, deviation 0.1": {
            "layer": blocks(small, depth),
            "norm, layer": blocks(jnn.serial(jnn.layer_norm(), small), depth),
            "skip of layer": blocks(jnn.skip(small), depth),
            "skip of (norm, layer)": blocks(jnn.skip(jnn.serial(jnn.layer_norm(), small)), depth),
            "skip of layer, then norm": blocks(
                jnn.serial(jnn.skip(small), jnn.layer_norm()), depth
            ),
        },
    }


def sizes(net: jnn.Layer, x: jax.Array, y: jax.Array, depth: int) -> np.ndarray:
    """The root mean square of the delta of every layer; of a block of several, of the last."""

    @jax.jit
    def measure(params):
        found = jnn.deltas(net, params, x, y, loss=jnn.softmax_cross_entropy)
        return jnp.stack([jnp.sqrt(jnp.mean(jnp.square(delta))) for delta in found.values()])

    params, _ = net.init(jax.random.key(0), x)
    _, first, *between, last = np.asarray(measure(params))  # The input is not a layer.
    each = len(between) // (depth - 1)
    return np.array([first, *between[each - 1 :: each], last])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="six layers")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    depth = 6 if options.short else 30

    samples = jnn.data.digits().train
    x = jnp.asarray(samples.x[:256].reshape(256, -1) - samples.x.mean(), float)
    y = jnp.asarray(samples.y[:256])
    picture = plots.figure(17, 4.6)
    parts = np.asarray(picture.subfigures(1, 3))
    print(f"{'size of the delta':28}{'first layer':>14}{'last layer':>14}{'a layer':>10}")
    for part, (title, nets) in zip(parts, networks(depth).items(), strict=True):
        print(title)
        lines = {}
        for name, net in nets.items():
            size = lines[name] = sizes(net, x, y, depth)
            factor = (size[0] / size[-1]) ** (1 / (len(size) - 1))
            print(f"  {name:26}{size[0]:14.2e}{size[-1]:14.2e}{factor:10.3f}")
        plots.curves(np.arange(1, depth + 2), lines, x_label="layer", y_label="size of the delta",
                     log="y", title=title, figure=part)  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "vanishing_deltas.png"
    picture.savefig(file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
