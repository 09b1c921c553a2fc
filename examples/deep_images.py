"""Three generations of networks for images on real digits: LeNet-5, a VGG and a ResNet.

    python examples/deep_images.py [--short] [--out FOLDER]

LeNet-5 as it was published, with Hedberg's connection table and weighted sub-sampling; layers of
X-137..142; residual steps `x + K2 s(K1 x + b)` (T-22), with `K2 x + s(K1 x + b)` (T-23) where the
image halves. All are small and trained alike, and the deltas of the last two are drawn.
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

BATCH = 32
RATE = 4e-3  # Falls to zero along a cosine.


def networks() -> dict[str, jnn.Layer]:
    return {
        "LeNet-5": jnn.models.lenet5(),
        "VGG": jnn.models.vgg(blocks=((8, 1), (16, 1)), hidden=(64,)),
        "ResNet": jnn.models.resnet(widths=(8, 16, 32), steps=1),
    }


def deltas(net: jnn.Layer, params: Any, x: np.ndarray, y: np.ndarray) -> Any:
    """The delta of every layer, by one compiled program."""
    found = jax.jit(lambda p, x: jnn.deltas(net, p, x, y, loss=jnn.softmax_cross_entropy))
    return found(params, jnp.asarray(x))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="a ResNet, one epoch on 256 digits")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    count, epochs = (256, 1) if options.short else (2000, 6)

    (train, test), source = handwritten()
    x, y = train.x[:count], train.y[:count]
    test = jnn.data.Samples(test.x[:500], test.y[:500])
    print(f"{source}: {len(y)} digits to learn from, {len(test.y)} to be tested on")
    print(f"{'network':10}{'parameters':>12}{'accuracy':>10}{'seconds':>9}{'digits/s':>10}")
    curves, fits = {}, {}
    nets = {"ResNet": networks()["ResNet"]} if options.short else networks()
    for name, net in nets.items():
        steps = epochs * -(-len(y) // BATCH)
        fit = fits[name] = jnn.fit(
            net, jnn.softmax_cross_entropy, jnn.adam(jnn.schedules.cosine(RATE, steps)), (x, y),
            epochs=epochs, batch_size=BATCH, validation=test, metrics="accuracy",
            augment=jnn.train.shift(2), progress=None,
        )  # fmt: skip
        curves[name] = fit.history["validation_accuracy"]
        seconds = fit.history["seconds"]
        # The first epoch is compiled before it is run.
        speed = len(y) * max(1, epochs - 1) / seconds[1 if epochs > 1 else 0 :].sum()
        size = jnn.summary(net, x[:BATCH]).parameters
        print(f"{name:10}{size:12,}{curves[name][-1]:10.3f}{seconds.sum():9.1f}{speed:10,.0f}")

    deep = list(nets)[-2:]
    picture = plots.figure(5.6 * (1 + len(deep)), 5.2)
    left, *parts = np.asarray(picture.subfigures(1, 1 + len(deep)))
    plots.history({"accuracy on unseen digits": curves}, figure=left)
    for part, name in zip(parts, deep, strict=True):
        plots.deltas(deltas(nets[name], fits[name].params, x[:BATCH], y[:BATCH]), figure=part)
        part.axes[0].set_title(f"Deltas of the {name}", loc="left", fontweight="bold")
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "deep_images.png"
    picture.savefig(file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
