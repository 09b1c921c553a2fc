"""NIST's Statistical Reference Datasets for nonlinear regression, from their own `.dat` files.

The files are read from the folder `nist` inside the one that the environment variable JNN_DATA
names (default `../shared/data` beside the checkout); `available` says which are there.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("JNN_DATA", ROOT / "../shared/data")) / "nist"


class Regression(NamedTuple):
    """One data set: its model, two starts, and the certified parameters and sum of squares."""

    name: str
    model: Callable
    x: np.ndarray
    y: np.ndarray
    starts: np.ndarray
    certified: np.ndarray
    sum_of_squares: float

    def residual(self, b):
        """Model minus data, in the precision of the parameters."""
        x, y = jnp.asarray(self.x, b.dtype), jnp.asarray(self.y, b.dtype)
        return self.model(b, x) - y

    def digits(self, b) -> float:
        """The certified digits of the worst parameter: its log relative error, 11 at most."""
        error = np.abs(np.asarray(b, np.float64) - self.certified) / np.abs(self.certified)
        if not np.all(np.isfinite(error)):
            return 0.0
        return float(np.clip(-np.log10(np.maximum(error.max(), 1e-11)), 0, 11))


def exponentials(b, x):
    return b[0] * jnp.exp(-b[1] * x) + b[2] * jnp.exp(-b[3] * x) + b[4] * jnp.exp(-b[5] * x)


def bells(b, x):
    first = b[2] * jnp.exp(-((x - b[3]) ** 2) / b[4] ** 2)
    return b[0] * jnp.exp(-b[1] * x) + first + b[5] * jnp.exp(-((x - b[6]) ** 2) / b[7] ** 2)


def chwirut(b, x):
    return jnp.exp(-b[0] * x) / (b[1] + b[2] * x)


def cubic_ratio(b, x):
    return (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (
        1 + b[4] * x + b[5] * x**2 + b[6] * x**3
    )


def seasons(b, x):
    turn = 2 * jnp.pi * x
    year = b[1] * jnp.cos(turn / 12) + b[2] * jnp.sin(turn / 12)
    slow = b[4] * jnp.cos(turn / b[3]) + b[5] * jnp.sin(turn / b[3])
    return b[0] + year + slow + b[7] * jnp.cos(turn / b[6]) + b[8] * jnp.sin(turn / b[6])


def roszman(b, x):
    return b[0] - b[1] * x - jnp.arctan(b[2] / (x - b[3])) / jnp.pi


MODELS: dict[str, Callable] = {
    "Misra1a": lambda b, x: b[0] * (1 - jnp.exp(-b[1] * x)),
    "Chwirut2": chwirut,
    "Chwirut1": chwirut,
    "Lanczos3": exponentials,
    "Gauss1": bells,
    "Gauss2": bells,
    "DanWood": lambda b, x: b[0] * x ** b[1],
    "Misra1b": lambda b, x: b[0] * (1 - (1 + b[1] * x / 2) ** -2),
    "Kirby2": lambda b, x: (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2),
    "Hahn1": cubic_ratio,
    "Nelson": lambda b, x: b[0] - b[1] * x[:, 0] * jnp.exp(-b[2] * x[:, 1]),
    "MGH17": lambda b, x: b[0] + b[1] * jnp.exp(-x * b[3]) + b[2] * jnp.exp(-x * b[4]),
    "Lanczos1": exponentials,
    "Lanczos2": exponentials,
    "Gauss3": bells,
    "Misra1c": lambda b, x: b[0] * (1 - (1 + 2 * b[1] * x) ** -0.5),
    "Misra1d": lambda b, x: b[0] * b[1] * x / (1 + b[1] * x),
    "Roszman1": roszman,
    "ENSO": seasons,
    "MGH09": lambda b, x: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
    "Thurber": cubic_ratio,
    "BoxBOD": lambda b, x: b[0] * (1 - jnp.exp(-b[1] * x)),
    "Rat42": lambda b, x: b[0] / (1 + jnp.exp(b[1] - b[2] * x)),
    "MGH10": lambda b, x: b[0] * jnp.exp(b[1] / (x + b[2])),
    "Eckerle4": lambda b, x: b[0] / b[1] * jnp.exp(-(((x - b[2]) / b[1]) ** 2) / 2),
    "Rat43": lambda b, x: b[0] / (1 + jnp.exp(b[1] - b[2] * x)) ** (1 / b[3]),
    "Bennett5": lambda b, x: b[0] * (b[1] + x) ** (-1 / b[2]),
}


def load(name: str) -> Regression:
    """The data set of that name."""
    path = FOLDER / f"{name}.dat"
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    row = re.compile(r"\s*b\d+\s*=\s*(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s*$")
    values = np.array([m.groups()[:3] for m in map(row.match, lines) if m], np.float64)
    squares = next(line for line in lines if line.startswith("Residual Sum of Squares"))
    last = max(i for i, line in enumerate(lines) if line.startswith("Data:"))
    data = np.array([line.split() for line in lines[last + 1 :] if line.strip()], np.float64)
    y, x = data[:, 0], data[:, 1:]
    y = np.log(y) if name == "Nelson" else y  # NIST's model is of log y.
    x = x if x.shape[1] > 1 else x[:, 0]
    starts, certified = values[:, :2].T, values[:, 2]
    return Regression(
        name, MODELS[name], x, y, starts, certified, float(squares.split(":")[1])
    )  # fmt: skip


def available() -> list[str]:
    """The names whose files are there."""
    return [name for name in MODELS if (FOLDER / f"{name}.dat").exists()]
