"""Digits read row by row, from the top: by an LSTM and by a GRU of as many units.

    python examples/digits_by_rows.py [--short] [--out FOLDER]

A digit of 28 x 28 pixels is a sequence of 28 rows. A recurrent network reads them one after the
other into its state, and names the digit by the last one. Asked after every row, by the same output
layer, it shows when it knows: of most digits not before the lower third, for it has been taught to
answer at the end only. The gradient goes back through all rows, by `jnn.rules.lstm` and
`jnn.rules.gru`, each one rule for a whole sequence.
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

UNITS, BATCH = 64, 50
RATE = 5e-3  # Falls to zero along a cosine.


def by_rows(net: jnn.Layer, params: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How often it is right after each row."""
    recurrent, _, dense = net.spec.layers
    read = jax.jit(lambda p, x: dense(p[2], recurrent(p[0], x)).argmax(-1))
    return np.asarray((read(params, jnp.asarray(x)) == y[:, None]).mean(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="one epoch on 500 digits")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    count, epochs = (500, 1) if options.short else (8000, 8)

    (train, test), source = handwritten()
    # (digit, row, pixel of the row) is what a recurrence takes as (batch, time, features).
    x, y, unseen = train.x[:count, ..., 0], train.y[:count], test.x[..., 0]
    print(f"{source}: {len(y)} digits to learn from, {len(test.y)} to be tested on")
    print(f"{'network':10}{'parameters':>12}{'accuracy':>10}{'seconds':>9}{'digits/s':>10}")
    accuracy, rows = {}, {}
    for name, recurrent in {"LSTM": jnn.lstm(UNITS), "GRU": jnn.gru(UNITS)}.items():
        net = jnn.serial(recurrent, jnn.last(), jnn.dense(10))
        steps = epochs * -(-len(y) // BATCH)
        fit = jnn.fit(
            net, jnn.softmax_cross_entropy, jnn.adam(jnn.schedules.cosine(RATE, steps)), (x, y),
            epochs=epochs, batch_size=BATCH, validation=(unseen, test.y), metrics="accuracy",
            progress=None,
        )  # fmt: skip
        accuracy[name] = fit.history["validation_accuracy"]
        rows[name] = by_rows(net, fit.params, unseen, test.y)
        seconds = fit.history["seconds"]
        # The first epoch is compiled before it is run.
        speed = len(y) * max(1, epochs - 1) / seconds[1 if epochs > 1 else 0 :].sum()
        size = jnn.summary(net, x[:BATCH]).parameters
        print(f"{name:10}{size:12,}{accuracy[name][-1]:10.3f}{seconds.sum():9.1f}{speed:10,.0f}")
    print("right after row " + "".join(f"{row:8}" for row in (7, 14, 18, 21, 24, 28)))
    for name, right in rows.items():
        print(f"{name:16}" + "".join(f"{right[row - 1]:8.3f}" for row in (7, 14, 18, 21, 24, 28)))

    picture = plots.figure(11, 4.2)
    left, right = picture.subfigures(1, 2, squeeze=False)[0]
    plots.history({"accuracy on unseen digits": accuracy}, figure=left)
    plots.curves(np.arange(1, 29), rows, x_label="rows that were read", y_label="accuracy",
                 title="Asked after every row", figure=right)  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "digits_by_rows.png"
    picture.savefig(file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
