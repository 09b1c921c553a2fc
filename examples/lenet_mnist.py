"""Trains LeNet on handwritten digits of MNIST: 8 000 images to learn from, 2 000 to be tested on.

    python examples/lenet_mnist.py [--short] [--classical] [--out FOLDER]

The images are the 10 000 of t10k, in the folder `mnist` of the one that the environment variable
JNN_DATA names (by default ../shared/data). At the end: the accuracy on images that the network has
not seen, those that it gets wrong, and a picture. `--classical` takes LeNet-5 as it was published,
with a connection table, weighted sub-sampling and tanh.
"""

import argparse
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from jnn import plots

ROOT = Path(__file__).parent.parent
FOLDER = Path(os.environ.get("JNN_DATA", ROOT / "../shared/data")) / "mnist"
BATCH = 64
RATE = 2e-3  # Of Adam; falls to zero along a cosine.
SHIFT = 2  # Pixels by which an image may be moved, drawn anew for each batch.


def shifted(key: jax.Array, x: jax.Array) -> jax.Array:
    """Each image moved by up to SHIFT pixels, what comes in being black."""
    padded = jnp.pad(x, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
    corners = jax.random.randint(key, (len(x), 2), 0, 2 * SHIFT + 1)

    def cut(image: jax.Array, corner: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (*corner, 0), x.shape[1:])

    return jax.vmap(cut)(padded, corners)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="one epoch on 2 000 images")
    parser.add_argument("--classical", action="store_true", help="LeNet-5 as it was published")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    if not FOLDER.is_dir():
        print(f"There are no images: {FOLDER} is not a folder. JNN_DATA names the one above it.")
        return

    samples = jnn.data.mnist(FOLDER, "test")
    train, test = jnn.data.split(tuple(samples), 2000, labels=samples.y)
    if options.short:
        train = tuple(part[:2000] for part in train)
    epochs = 1 if options.short else 10
    net = jnn.models.lenet5() if options.classical else jnn.models.modern_lenet()
    print(jnn.summary(net, train[0][:BATCH]))

    steps = epochs * -(-len(train[0]) // BATCH)
    fit = jnn.fit(
        net, jnn.softmax_cross_entropy, jnn.adam(jnn.schedules.cosine(RATE, steps)), train,
        epochs=epochs, batch_size=BATCH, validation=test, metrics="accuracy", augment=shifted,
    )  # fmt: skip
    answers = np.asarray(jax.jit(net)(fit.params, test[0]).argmax(-1))
    wrong = np.flatnonzero(answers != test[1])
    print(f"{fit.message} {fit.history['seconds'].sum():.0f} s, {fit.steps} steps.")
    print(f"test accuracy {1 - len(wrong) / len(answers):.4f}, on {len(answers)} unseen digits")
    print("wrong:", ", ".join(f"{test[1][i]} as {answers[i]}" for i in wrong[:12]))
    file = options.out / "lenet_mnist.png"
    plots.history(fit.history, file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
