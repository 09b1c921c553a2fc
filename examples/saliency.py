"""What a trained LeNet looks at: gradients in the pixels (X-114), its filters and feature maps.

    python examples/saliency.py [--short] [--out FOLDER]

The derivative of the loss in the image is the last delta of backpropagation, the one that training
throws away. It says which pixels speak for the answer and which against it. That it tells the truth
is measured: the least step along it that changes the answer is compared with the least step in a
random direction that does.
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
from jnn.layers.combinators.stages import stages


def margins(net: jnn.Layer, params: Any, x: jax.Array, answers: jax.Array) -> jax.Array:
    """By how much the answer's score leads the next best; its gradient is the saliency."""
    scores = net(params, x)
    mine = jnp.take_along_axis(scores, answers[:, None], axis=1)[:, 0]
    others = jnp.where(jax.nn.one_hot(answers, scores.shape[1], dtype=bool), -jnp.inf, scores)
    return mine - others.max(axis=1)


def least_step(lead: Any, x: jax.Array, direction: jax.Array) -> np.ndarray:
    """Of each image the least length along its direction that loses the lead; inf for none."""
    size = jnp.sqrt(jnp.square(direction).sum((1, 2, 3), keepdims=True))
    lengths = np.linspace(0, 12, 121)
    lost = np.stack([np.asarray(lead(x + s * direction / size) < 0) for s in lengths])
    return np.where(lost.any(0), lengths[lost.argmax(0)], np.inf)


def maps_of(net: jnn.Layer, params: Any, x: jax.Array) -> dict[str, np.ndarray]:
    """What the convolutions and poolings make of one image."""
    found = {"image": np.asarray(x[0])}
    for name, layer, p, s in stages(net, params, ()):
        x, _ = layer.apply(p, s, x)
        if x.ndim == 4 and layer.spec.name != "relu":
            found[name] = np.asarray(x[0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="one epoch on 256 images")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the pictures go")
    options = parser.parse_args()

    data, source = handwritten()
    train = tuple(part[: 256 if options.short else 4000] for part in data.train)
    held_out = tuple(part[:1000] for part in data.test)
    net = jnn.models.modern_lenet(widths=(8, 16), hidden=64)
    fit = jnn.fit(net, jnn.softmax_cross_entropy, jnn.adam(2e-3), train, batch_size=64,
                  epochs=1 if options.short else 4, validation=held_out, metrics="accuracy",
                  augment=jnn.train.shift(2))  # fmt: skip
    print(f"{source}: accuracy {fit.history['validation_accuracy'][-1]:.3f} on unseen digits")

    rows = [int(np.argmax(data.test.y == digit)) for digit in range(10)]  # The first of each.
    x, y = jnp.asarray(data.test.x[rows]), data.test.y[rows]
    answers = net(fit.params, x).argmax(1)
    lead = jax.jit(lambda x: margins(net, fit.params, x, answers))
    gradient = jax.jit(jax.grad(lambda x: lead(x).sum()))(x)
    noise = jax.random.normal(jax.random.key(0), x.shape)
    along, at_random = least_step(lead, x, -gradient), least_step(lead, x, noise)
    chance = jax.nn.softmax(net(fit.params, x)).max(1)
    print("least step, in grey values, that changes the answer")
    print(f"{'digit':>6}{'answer':>8}{'chance':>8}{'along the gradient':>20}{'at random':>12}")
    for row in zip(y, answers, chance, along, at_random, strict=True):
        print("{:6}{:8}{:8.3f}{:20.1f}{:12.1f}".format(*map(np.ndarray.item, map(np.asarray, row))))

    plots.saliency(
        x, gradient, options.out / "saliency.png",
        titles=[f"{digit}, read as {answer}" for digit, answer in zip(y, answers, strict=True)],
    )  # fmt: skip
    picture = plots.figure(8.6, 8.2)
    above, below = np.asarray(picture.subfigures(2, 1, height_ratios=(1, 4)))
    above.suptitle("The filters of the first layer", fontweight="bold", fontsize=11)
    plots.filters(fit.params[0].w, figure=above)
    below.suptitle("What the layers make of a digit", fontweight="bold", fontsize=11)
    plots.feature_maps(maps_of(net, fit.params, x[4:5]), figure=below)
    picture.savefig(options.out / "feature_maps.png")
    print(f"pictures: {options.out / 'saliency.png'}, {options.out / 'feature_maps.png'}")


if __name__ == "__main__":
    main()
