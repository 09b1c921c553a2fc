"""Training from the first step to the last: `jnn.fit` against others' loops.

    python -m benchmarks.training [NAME ...] [--quick] [--seconds S] [--out FILE]

Every trainer makes the same number of steps of Adam, the short last batch of an epoch included,
from new parameters. A run is timed whole, with the making of the parameters and the order of the
data; the first one, which compiles, is given apart. Goals on digits: at least 8 times as fast as
PyTorch at its best, 5 times as scikit-learn, 1.3 times as the loop.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import jnn
from benchmarks.report import command, destination, markdown, options, publish
from benchmarks.trainers import Task, Trainer, trainers
from jnn.text import seconds_text

LEAST_ROUNDS = 5
PAUSE = 0.1  # Seconds: the threads of the library before may still spin.


def digits(quick: bool) -> Task:
    """64-64-10 on scikit-learn's digits, batch 32, 20 epochs."""
    train, test = jnn.data.digits()
    flat = [(part.x.reshape(-1, 64), part.y) for part in (train, test)]
    return Task("digits", (64, 64, 10), flat[0], flat[1], 2 if quick else 20, 32)


def mnist(quick: bool) -> Task | None:
    """784-256-128-10 on the ten thousand test images of MNIST, batch 128, 5 epochs."""
    folder = Path(os.environ.get("JNN_DATA", "../shared/data"), "mnist")
    if not folder.is_dir():
        return None
    x, y = jnn.data.mnist(folder, "test")
    parts = jnn.data.split((x.reshape(len(x), -1), y), 0.1, labels=y)
    (x, y), (held, labels) = parts
    most = 300 if quick else len(x)
    train, test = (x[:most], y[:most]), (held[:most], labels[:most])
    return Task("mnist", (784, 256, 128, 10), train, test, 1 if quick else 5, 128)


def tiny(quick: bool) -> Task:
    """2-8-2 on two moons, batch 16: what a step costs besides its arithmetic."""
    train, test = (jnn.data.two_moons(1600, seed=seed) for seed in (0, 1))
    return Task("tiny", (2, 8, 2), train, test, 1 if quick else 20, 16, 1e-2)


def lenet(quick: bool) -> Task | None:
    """LeNet on 1280 images of MNIST, batch 64, 2 epochs."""
    found = mnist(quick)
    if found is None:
        return None
    most = 128 if quick else 1280
    train, test = (
        (x[:most].reshape(-1, 28, 28, 1), y[:most]) for x, y in (found.train, found.test)
    )
    return Task("lenet", (1024, 256, 10), train, test, 1 if quick else 2, 64)


TASKS = {"digits": digits, "mnist": mnist, "lenet": lenet, "tiny": tiny}


def race(
    found: dict[str, Trainer], seconds: float, least: int
) -> dict[str, tuple[float, float, float]]:
    """First time, median time and accuracy of each, run in turns."""
    first, times, accuracy = {}, {name: [] for name in found}, {}
    for name, run in found.items():
        begin = time.perf_counter()
        run()
        first[name] = time.perf_counter() - begin
    begun, rounds = time.perf_counter(), 0
    while rounds < least or time.perf_counter() - begun < seconds:
        rounds += 1
        for name, run in found.items():
            time.sleep(PAUSE)
            begin = time.perf_counter()
            accuracy[name] = run()
            times[name].append(time.perf_counter() - begin)
    return {name: (first[name], float(np.median(times[name])), accuracy[name]) for name in found}


def table(task: Task, seconds: float, least: int = LEAST_ROUNDS) -> str:
    """The results of one task, as a section of the page."""
    found = race(trainers(task), seconds, least)
    _, best, _ = found["jnn.fit"]
    rows = [("trainer", "time", "a step", "it / jnn.fit", "first run", "accuracy")]
    for name, (first, taken, accuracy) in found.items():
        rows.append((name, seconds_text(taken), seconds_text(taken / task.steps),
                     f"{taken / best:.2f}", seconds_text(first), f"{accuracy:.3f}"))  # fmt: skip
    size = "-".join(map(str, task.sizes))
    if task.images:
        size = f"5x5x32, pool, 5x5x64, pool, {size}"
    head = f"{task.name}: {size}, batch {task.batch}, {task.epochs} epochs, {task.steps:,} steps"
    return f"## {head}\n\n{markdown(rows)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark."""
    chosen = options(__doc__, "training", *TASKS).parse_args(arguments)
    for name in chosen.names:
        if name not in TASKS:
            sys.exit(f"{name} is none of {', '.join(TASKS)}")
    parts = []
    for name in chosen.names or TASKS:
        task = TASKS[name](chosen.quick)
        if task is None:
            parts.append(f"## {name}\n\nNot run: it needs MNIST's files in $JNN_DATA/mnist.")
        else:
            parts.append(table(task, 0, 1) if chosen.quick else table(task, chosen.seconds))
    notes = (
        "Times are medians of runs made in turns, from the making of the parameters to the "
        "accuracy on held-out data. The first run compiles what is compiled."
    )
    body = "\n\n".join([notes, *parts])
    publish("Training", command(chosen, "training"), body, destination(chosen, "training"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
