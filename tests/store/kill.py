"""Kills a run at random moments, again and again: `python -m tests.store.kill --times 100`.

The run resumes each time from what the one before left. In the end the parameters must be those of
a run that nobody killed, and at no moment may the folder hold a checkpoint that cannot be read.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import jnn


def run(folder: str, epochs: int) -> jnn.train.Fit:
    """The run that is killed; a word on stdout says when training begins."""
    net = jnn.serial(jnn.dense(8), jnn.tanh(), jnn.dense(2))

    def begun(report: jnn.train.Report) -> None:
        print(report.epoch, flush=True)

    return jnn.fit(net, jnn.softmax_cross_entropy, jnn.adam(), jnn.data.two_moons(50),
                   epochs=epochs, checkpoint=folder, callbacks=begun, progress=None)  # fmt: skip


def kill(times: int, epochs: int, seed: int = 0) -> tuple[int, int]:
    """Kills that many runs, and compares; returns the epochs reached, and how often it grew."""
    moments = random.Random(seed)
    folder = tempfile.mkdtemp()
    reached, grew = 0, 0
    for _ in range(times):
        command = [sys.executable, "-m", "tests.store.kill", "--child", folder, str(epochs)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(moments.uniform(0, 0.15))
            child.kill()
        paths = jnn.train.Checkpoints(folder).epochs()
        for path in paths.values():
            jnn.load(path)
        if (best := Path(folder, "best.safetensors")).exists():
            jnn.load(best)
        last = max(paths, default=0)
        assert last >= reached, f"lost: {last} after {reached}"
        grew, reached = grew + (last > reached), last
    killed, whole = run(folder, reached + 3), run(tempfile.mkdtemp(), reached + 3)
    for a, b in zip(killed.params[0], whole.params[0], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(killed.history["loss"], whole.history["loss"])
    shutil.rmtree(folder)
    return reached, grew


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "EPOCHS"))
    options = parser.parse_args()
    if options.child:
        run(options.child[0], int(options.child[1]))
    else:
        print("epochs reached, resumed runs that got further:", kill(options.times, 10**6))
