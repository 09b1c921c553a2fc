"""Real handwritten digits of 28 x 28 pixels: MNIST's where its files are, else scikit-learn's."""

import os
from pathlib import Path

from jnn.data import Digits, Samples, digits, mnist, split

FOLDER = Path(os.environ.get("JNN_DATA", Path(__file__).parents[2] / "../shared/data")) / "mnist"


def handwritten() -> tuple[Digits, str]:
    """What to train and to test on, and where it comes from.

    MNIST is looked for in the folder `mnist` of the one that the environment variable JNN_DATA
    names. Of its test files alone 8 000 images are to learn from, the other 2 000 to test on;
    without any, the 1797 digits of scikit-learn are enlarged.
    """
    for part in ("train", "test"):
        try:
            samples = mnist(FOLDER, part)
        except FileNotFoundError:
            continue
        train, test = split(tuple(samples), len(samples.y) // 5, labels=samples.y)
        return Digits(Samples(*train), Samples(*test)), "MNIST"
    return digits(28), "scikit-learn's digits, enlarged"
