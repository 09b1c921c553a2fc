"""Trains LeNet on handwritten digits: 8 000 images of MNIST to learn from, 2 000 to be tested on.

    python examples/lenet_mnist.py [--short] [--epochs N] [--classical]
                                   [--out FOLDER]

The images are those of MNIST's files, in the folder `mnist` of the one that the environment
variable JNN_DATA names (by default ../shared/data), where there are any; else the 1797 digits of
scikit-learn, enlarged. At the end: the accuracy on images that the network has not seen, those that
it gets wrong, and a picture. `--classical` takes LeNet-5 as it was published,
with a connection table, weighted sub-sampling and tanh.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from shared.handwritten import handwritten

import jnn
from jnn import plots

BATCH = 64
RATE = 2e-3  # Of Adam; falls to zero along a cosine.
SHOWN = 8  # Wrong answers.


def score_gradient(net: jnn.Layer, params: Any, x: jax.Array, answers: jax.Array) -> jax.Array:
    """The derivative of each answer's score in the pixels of its image (X-114)."""
    return jax.grad(lambda x: jnp.take_along_axis(net(params, x), answers[:, None], 1).sum())(x)


def draw(fit: jnn.train.Fit, wrong: dict[str, Any], file: Path) -> None:
    """Learning curves above; below the digits that were misread, and what spoke for the answer."""
    picture = plots.figure(10.5, 6.6)
    above, below = np.asarray(picture.subfigures(2, 1, height_ratios=(3.6, 3)))
    plots.history(fit.history, figure=above)
    if wrong["titles"]:
        below.suptitle("Misread, and the gradient of the answer's score: yellow speaks for it",
                       fontsize=11, fontweight="bold")  # fmt: skip
        plots.saliency(**wrong, figure=below)
    picture.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="one epoch on 1 000 images")
    parser.add_argument("--epochs", type=int, default=10, help="how often each image is seen")
    parser.add_argument("--classical", action="store_true", help="LeNet-5 as it was published")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()

    (train, test), source = handwritten()
    if options.short:
        train = jnn.data.Samples(train.x[:1000], train.y[:1000])
    epochs = 1 if options.short else options.epochs
    net = jnn.models.lenet5() if options.classical else jnn.models.modern_lenet()
    print(f"{source}: {len(train.y)} digits to learn from, {len(test.y)} to be tested on")
    print(jnn.summary(net, train.x[:BATCH]))

    steps = epochs * -(-len(train.y) // BATCH)
    fit = jnn.fit(
        net, jnn.softmax_cross_entropy, jnn.adam(jnn.schedules.cosine(RATE, steps)), train,
        epochs=epochs, batch_size=BATCH, validation=test, metrics="accuracy",
        augment=jnn.train.shift(2),
    )  # fmt: skip
    answers = np.asarray(jax.jit(net)(fit.params, test.x).argmax(-1))
    wrong = np.flatnonzero(answers != test.y)
    print(f"{fit.message} {fit.history['seconds'].sum():.0f} s, {fit.steps} steps.")
    print(f"test accuracy {1 - len(wrong) / len(answers):.4f}, on {len(answers)} unseen digits")
    names = [f"{test.y[i]} as {answers[i]}" for i in wrong]
    print("wrong:", ", ".join(names[:12]))

    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "lenet_mnist.png"
    shown = wrong[:SHOWN]
    images, readings = jnp.asarray(test.x[shown]), jnp.asarray(answers[shown])
    gradients = score_gradient(net, fit.params, images, readings)
    draw(fit, {"pictures": images, "gradients": gradients, "titles": names[:SHOWN]}, file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
