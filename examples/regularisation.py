"""Dropout and label smoothing against over-fitting, on a few hundred digits.

    python examples/regularisation.py [--short] [--out FOLDER]

A wide network learns few digits by heart: it is right on all of them, and its loss on others falls,
and then rises, for it grows sure of what it gets wrong. Dropout leaves units out by chance, so that
none can rely on another. Label smoothing asks for a little less than certainty: `(1 - e) t + e / n`
for the targets t of n classes. Neither learns fewer of the digits; both are less sure, and the loss
on others is measured alike for all, without smoothing.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from shared.handwritten import handwritten

import jnn
from jnn import plots

DIGITS, UNITS, BATCH, RATE = 500, 512, 50, 1e-3
SMOOTHING = 0.1
WAYS = {  # The rate of dropout, and smoothing.
    "neither": (0.0, 0.0),
    "dropout": (0.5, 0.0),
    "label smoothing": (0.0, SMOOTHING),
    "both": (0.5, SMOOTHING),
}


def network(rate: float) -> jnn.Layer:
    pixels, units = ([jnn.dropout(rate / 2)], [jnn.dropout(rate)]) if rate else ([], [])
    hidden = [jnn.dense(UNITS, activation="relu"), *units]
    return jnn.serial(jnn.flatten(), *pixels, *hidden, *hidden, jnn.dense(10))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="two epochs")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    epochs = 2 if options.short else 100

    (train, test), source = handwritten()
    some = jnn.data.Samples(train.x[:DIGITS], train.y[:DIGITS])
    print(
        f"{source}: {DIGITS} digits to learn from, {len(test.y)} to be tested on, {epochs} epochs"
    )
    print(f"{'':18}{'accuracy':>22}{'loss on unseen digits':>28}")
    print(f"{'':18}{'learned':>11}{'unseen':>11}{'least':>12}{'epoch':>7}{'last':>9}")
    panels = {"loss on unseen digits": {}, "accuracy on unseen digits": {}}
    metrics = {"right": "accuracy", "entropy": jnn.softmax_cross_entropy}
    for name, (rate, smoothing) in WAYS.items():
        loss = partial(jnn.softmax_cross_entropy, smoothing=smoothing)
        net = network(rate)
        fit = jnn.fit(
            net, loss, jnn.adam(RATE), some, epochs=epochs, batch_size=BATCH, validation=test,
            metrics=metrics, progress=None,
        )  # fmt: skip
        entropy, right = (np.asarray(fit.history[f"validation_{m}"]) for m in ("entropy", "right"))
        learned = float((net(fit.params, some.x).argmax(-1) == some.y).mean())
        print(f"{name:18}{learned:11.3f}{right[-1]:11.3f}{entropy.min():12.3f}"
              f"{entropy.argmin() + 1:7}{entropy[-1]:9.3f}")  # fmt: skip
        panels["loss on unseen digits"][name] = entropy
        panels["accuracy on unseen digits"][name] = right
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "regularisation.png"
    plots.history(panels, file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
