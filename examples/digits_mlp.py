"""Trains a network on handwritten digits, every derivative by hand, and compares with autodiff.

    python examples/digits_mlp.py [--short] [--out FOLDER]

scikit-learn's 1797 real digits, two hidden layers, momentum. An epoch is one compiled `lax.scan`.
At the end: the accuracy on digits that the network has not seen, a table of the hand-written
gradient against JAX's own, and a picture.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from jnn import plots
from jnn.verify import Comparison

BATCH = 32
RATE = 0.1  # Falls to zero along a cosine.
MASS = 0.9  # How much of the last step momentum keeps.
NOISE = 0.2  # On the pixels, drawn anew for each batch: the same image never comes twice.


class Epoch(NamedTuple):
    """What the progress line and the curves show."""

    loss: jax.Array
    accuracy: jax.Array
    test_accuracy: jax.Array


def network() -> jnn.Layer:
    return jnn.serial(
        jnn.flatten(), jnn.dense(256), jnn.relu(), jnn.dense(128), jnn.relu(), jnn.dense(10)
    )


def loss_of(net: jnn.Layer) -> Callable[[Any, jax.Array, jax.Array], jax.Array]:
    def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return jnn.softmax_cross_entropy(net(params, x), y).mean()

    return loss


def make_epoch(net: jnn.Layer, data: jnn.data.Digits) -> Any:
    """One pass over the data in random order, jitted as a whole."""
    x, y, *test = map(jnp.asarray, (*data.train, *data.test))
    loss = loss_of(net)

    def accuracy(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return (net(params, x).argmax(-1) == y).mean()

    @jax.jit
    def epoch(state: Any, key: jax.Array, rate: jax.Array) -> tuple[Any, Epoch]:
        def step(state: Any, turn: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
            params, velocity = state
            rows, key = turn
            noisy = x[rows] + NOISE * jax.random.normal(key, x[rows].shape)
            value, grads = jax.value_and_grad(loss)(params, noisy, y[rows])
            velocity = jax.tree.map(lambda v, g: MASS * v - rate * g, velocity, grads)
            return (jax.tree.map(jnp.add, params, velocity), velocity), value

        batches = len(x) // BATCH
        order = jax.random.permutation(key, len(x))[: batches * BATCH].reshape(batches, BATCH)
        state, losses = jax.lax.scan(step, state, (order, jax.random.split(key, batches)))
        params, _ = state
        return state, Epoch(losses.mean(), accuracy(params, x, y), accuracy(params, *test))

    return epoch


def train(net: jnn.Layer, data: jnn.data.Digits, epochs: int) -> tuple[Any, list[Epoch]]:
    """Trained parameters, and the story of each epoch."""
    params, _ = net.init(jax.random.key(0), data.train.x)
    state, history = (params, jax.tree.map(jnp.zeros_like, params)), []
    start = time.perf_counter()
    epoch = make_epoch(net, data).lower(state, jax.random.key(0), np.float32(RATE)).compile()
    print(f"compiled in {time.perf_counter() - start:.1f} s")
    on_terminal, every = sys.stdout.isatty(), max(1, epochs // 6)
    for i in range(1, epochs + 1):
        start = time.perf_counter()
        rate = np.float32(RATE * (1 + np.cos(np.pi * i / epochs)) / 2)
        state, story = jax.block_until_ready(epoch(state, jax.random.key(i), rate))
        history.append(story)
        speed = len(data.train.x) / (time.perf_counter() - start)
        line = (
            f"epoch {i:3}/{epochs}   loss {story.loss:.4f}   accuracy {story.accuracy:.3f}   "
            f"{speed:10,.0f} samples/s"
        )
        if on_terminal:
            print(f"\r{line}", end="\n" if i == epochs else "", flush=True)
        elif i % every == 0 or i == epochs:
            print(line)
    return state[0], history


def draw(history: list[Epoch], comparison: Comparison, file: Path) -> None:
    """Learning curves above, hand-written gradient against autodiff below."""
    loss, accuracy, test_accuracy = np.array(history).T
    picture = plots.figure(10, 8.5)
    grid = picture.add_gridspec(2, 1, height_ratios=(3, 5))
    above, below = (picture.add_subfigure(part) for part in grid)
    curves = {"loss": {"loss": loss}, "accuracy": {"train": accuracy, "test": test_accuracy}}
    plots.history(curves, figure=above)
    plots.comparison(comparison, file, figure=below)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="three epochs")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()

    data, net = jnn.data.digits(), network()
    print(jnn.summary(net, data.train.x[:BATCH]))
    _, history = train(net, data, 3 if options.short else 60)
    print(f"test accuracy {history[-1].test_accuracy:.4f}, on {len(data.test.x)} unseen digits\n")

    x, y = data.train.x[:256], data.train.y[:256]
    params, _ = net.init(jax.random.key(0), x)  # As training begins, where no gradient is near 0.
    comparison = jnn.compare(loss_of(net), params, x, y, budget=0.1 if options.short else 4)
    print(comparison)
    file = options.out / "digits_mlp.png"
    draw(history, comparison, file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
