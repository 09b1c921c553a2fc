"""A residual network with batch norm and the same without: steps to 97 % of unseen digits.

    python examples/batch_norm.py [--short] [--out FOLDER]

Both are rows of blocks around skips, trained by Adam at a rate that falls to 0. With batch norm in
front of each convolution the size of its weights is indifferent; without, what a block adds grows
with them. What the statistics of a batch do to the gradient is in `jnn.rules.batch_norm`; a norm, a
rectifier and a convolution in a row are computed as one rule.
"""

import argparse
from pathlib import Path

import numpy as np
from shared.handwritten import handwritten

import jnn
from jnn import plots

WIDTHS, BATCH, RATE = (8, 16, 32), 50, 1e-2
GOAL = 0.97


def network(norm: str | None) -> jnn.Layer:
    """Blocks of two convolutions in front of which stand the norms, if any (He et al. 2016)."""
    he = jnn.initialisers.he_normal
    return jnn.models.resnet(
        widths=WIDTHS, steps=1, block="basic", order="before", norm=norm, weights=he
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="a tenth of the digits, two epochs")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    epochs, some = (2, 10) if options.short else (4, 1)

    (train, test), source = handwritten()
    train, test = (jnn.data.Samples(part.x[::some], part.y[::some]) for part in (train, test))
    print(f"{source}: {len(train.y)} digits in batches of {BATCH}, tested on {len(test.y)} others")
    print(f"{'network':12}{f'steps to {GOAL:.0%}':>16}{'first epoch':>13}{'last':>8}{'seconds':>9}")
    curves = {}
    for name, norm in (("without", None), ("batch norm", "batch")):
        fit = jnn.fit(
            network(norm), jnn.softmax_cross_entropy, jnn.adam(jnn.schedules.cosine(RATE)), train,
            epochs=epochs, batch_size=BATCH, validation=test, metrics="accuracy", progress=None,
        )  # fmt: skip
        accuracy = np.asarray(fit.history["validation_accuracy"])
        reached = np.flatnonzero(accuracy >= GOAL)
        steps = str((reached[0] + 1) * -(-len(train.y) // BATCH)) if len(reached) else "not reached"
        curves[name] = accuracy
        print(f"{name:12}{steps:>16}{accuracy[0]:13.3f}{accuracy[-1]:8.3f}"
              f"{fit.history['seconds'].sum():9.1f}")  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "batch_norm.png"
    plots.history({"accuracy on unseen digits": curves}, file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
