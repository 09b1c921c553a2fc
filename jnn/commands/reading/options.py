"""The options of `train`, what they name, and those that say how data are read."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jnn import errors, optim
from jnn.commands.reading.names import count, positive
from jnn.commands.reading.sources import FORMS, Reading
from jnn.commands.reading.targets import TASKS
from jnn.models.named import NETWORKS
from jnn.models.recurrent import CELLS
from jnn.rules.pointwise.activation import ACTIVATIONS
from jnn.solve.methods.marquardt import levenberg_marquardt
from jnn.solve.minimize import METHODS

TEXTS = "transformer"  # The network of texts, as is
BOTH = "recurrent"  # which reads other sequences too.
SAMPLES = (".csv", ".tsv", ".npz")  # Files of those.

# Each with a rate that is often good, where it has none of its own.
OPTIMIZERS: dict[str, tuple[Callable[..., Any], float | None]] = {
    "gd": (optim.gd, 0.1),
    "momentum": (optim.momentum, 0.05),
    "heavy_ball": (optim.heavy_ball, 0.05),
    "averaged_momentum": (optim.averaged_momentum, 0.5),
    "nesterov": (optim.nesterov, 0.05),
    "adagrad": (optim.adagrad, 0.01),
    "rmsprop": (optim.rmsprop, 0.001),
    "adam": (optim.adam, None),
    "adamw": (optim.adamw, None),
    "adamax": (optim.adamax, None),
    "amsgrad": (optim.amsgrad, None),
    "nadam": (optim.nadam, None),
    "radam": (optim.radam, None),
    "lion": (optim.lion, None),
    "lamb": (optim.lamb, None),
    "muon": (optim.muon, None),
}

# An epoch is one step of these, over all samples.
SOLVERS = {name: METHODS[name] for name in ("lbfgs", "bfgs", "cg", "newton_cg", "steepest_descent")}
SOLVERS["levenberg_marquardt"] = levenberg_marquardt  # For numbers.


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.epilog = FORMS
    parser.add_argument("data", metavar="DATA", help="digits, a folder or a file, see below")
    parser.add_argument("--model", default="mlp", choices=[*NETWORKS, TEXTS], metavar="NAME",
                        help=f"of (mlp): {', '.join(NETWORKS)}; {TEXTS} reads DATA as a text, "
                        f"{BOTH} too, and images row by row")  # fmt: skip
    parser.add_argument("--hidden", type=sizes, default=(128,), metavar="N,N",
                        help="units of mlp's hidden layers, centres of rbf (128)")  # fmt: skip
    parser.add_argument("--activation", default="relu", choices=ACTIVATIONS, metavar="NAME",
                        help=f"mlp's, of (relu): {', '.join(ACTIVATIONS)}")  # fmt: skip
    parser.add_argument("--optimizer", default="adam", choices=[*OPTIMIZERS, *SOLVERS],
                        metavar="NAME", help=f"of (adam): {', '.join(OPTIMIZERS)}; or a solver, "
                        f"whose step is of all samples: {', '.join(SOLVERS)}")  # fmt: skip
    parser.add_argument("--rate", type=positive, metavar="R", help="the optimizer's step size")
    parser.add_argument("--epochs", type=count, default=20, metavar="N", help="(20)")
    parser.add_argument("--batch-size", type=count, metavar="N", help="samples a step (32)")
    parser.add_argument("--patience", type=count, metavar="N",
                        help="stop after N epochs without gain, and keep the best")  # fmt: skip
    parser.add_argument("--validation", default="0.2", metavar="SHARE|DATA",
                        help="what to test on where DATA do not say (0.2)")  # fmt: skip
    parser.add_argument("--context", type=count, default=64, metavar="N",
                        help="letters of a window of a text (64)")  # fmt: skip
    parser.add_argument("--letters", default="bytes", choices=("bytes", "characters"),
                        help="what a text is made of (bytes)")  # fmt: skip
    for name, usual, what in (
        ("size", 64, f"features of a {TEXTS}, units of a {BOTH} layer"),
        ("heads", 4, f"heads of a {TEXTS}"),
        ("layers", 2, f"blocks of a {TEXTS}, layers of a {BOTH} network"),
    ):
        parser.add_argument(f"--{name}", type=count, default=usual, metavar="N",
                            help=f"{what} ({usual})")  # fmt: skip
    parser.add_argument("--cell", default="lstm", choices=CELLS,
                        help=f"of a {BOTH} network (lstm)")  # fmt: skip
    writing(parser)
    reading(parser)
    parser.add_argument("--target", type=words, default=(), metavar="COLUMN,...",
                        help="the target's columns, by name or number (the last)")  # fmt: skip
    parser.add_argument("--task", default="auto", choices=TASKS, help="(auto)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the network to FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the curves to FILE")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def writing(parser: argparse.ArgumentParser) -> None:
    """Adds the options of what a language model writes."""
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all chance (0)")
    parser.add_argument("--length", type=count, default=200, metavar="N",
                        help="letters that a language model writes (200)")  # fmt: skip
    parser.add_argument("--temperature", type=positive, default=0.8, metavar="T",
                        help="below 1 it writes what is likely (0.8)")  # fmt: skip


def reading(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how DATA are read, which `predict` has too."""
    parser.add_argument("--labels", type=Path, metavar="FILE", help="labels of a file of images")
    parser.add_argument("--header", choices=("yes", "no"),
                        help="whether a table's first line names its columns")  # fmt: skip
    parser.add_argument("--image", type=shape, default=(), metavar="HxW[xC]",
                        help="each row of the table is an image of that size")  # fmt: skip


def how_of(options: argparse.Namespace, target: tuple[str, ...]) -> Reading:
    """How the options of `reading` say that data are read."""
    header = None if options.header is None else options.header == "yes"
    return Reading(target, options.labels, header, options.image)


def reads_text(options: argparse.Namespace) -> bool:
    """Whether the network reads DATA as a text."""
    path = Path(options.data)
    samples = not path.is_file() or path.suffix in SAMPLES or "idx" in path.name
    return options.model == TEXTS or (options.model == BOTH and not samples)


def chosen(options: argparse.Namespace) -> Any:
    """The optimizer or the solver."""
    if options.optimizer in SOLVERS:
        if options.rate is not None:
            remedy = "It searches its step sizes itself."
            errors.fail("train", "--rate", "left out for a solver", options.rate, remedy)
        return SOLVERS[options.optimizer]()
    constructor, rate = OPTIMIZERS[options.optimizer]
    rate = options.rate or rate
    return constructor() if rate is None else constructor(rate)


def sizes(text: str) -> tuple[int, ...]:
    """Positive integers with commas between.

    >>> sizes("64,32")
    (64, 32)
    """
    return tuple(count(part) for part in text.split(","))


def shape(text: str) -> tuple[int, ...]:
    """The shape of an image; one channel unless told.

    >>> shape("28x28"), shape("32x32x3")
    ((28, 28, 1), (32, 32, 3))
    """
    numbers = tuple(count(part) for part in text.split("x"))
    if len(numbers) not in (2, 3):
        raise argparse.ArgumentTypeError(f"must be HEIGHTxWIDTH or HEIGHTxWIDTHxCHANNELS: {text}")
    return numbers if len(numbers) == 3 else (*numbers, 1)


def words(text: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(part.strip() for part in text.split(","))
