"""Measure the implementations of what a model calls, and keep the best of each call.

MODEL is the name of a model, e.g. lenet, or one's own as PACKAGE.MODULE:NAME, a function of the
batch size that returns a function and its arguments. The table of candidates is printed and saved:
`with jnn.Choices.load(FILE):` applies it.
"""

import argparse
import functools
from pathlib import Path

import jax

from jnn.commands.names import MODELS, count, found
from jnn.tuning import tune
from jnn.verify.floats import cotangent, pulled
from jnn.verify.measure import program, race
from jnn.verify.table import seconds_text


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "model", metavar="MODEL", type=functools.partial(found, what="model", known=MODELS),
        help=f"one of {', '.join(MODELS)}, or PACKAGE.MODULE:NAME",
    )  # fmt: skip
    parser.add_argument("--batch", type=count, default=64, metavar="N", help="samples (64)")
    parser.add_argument(
        "--seconds", type=float, default=20.0, metavar="S", help="time to spend on timing (20)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("choices.json"), metavar="FILE",
        help="where the table goes (choices.json)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Prints and saves the table, and what it makes of value and gradient."""
    function, args = options.model(options.batch)
    choices = tune(function, *args, budget=options.seconds)
    if not choices.rows:
        print("Nothing to choose: no call has more than one implementation.")
        return 0
    print(choices)
    delta = cotangent(jax.eval_shape(function, *args))
    gradient = functools.partial(pulled, function)
    programs = {"default": program(gradient, args, delta)}
    with choices:
        programs["tuned"] = program(gradient, args, delta)
    times = race(programs, budget=options.seconds / 4)
    print(
        f"\nvalue and gradient: {seconds_text(times.seconds('default'))} by default, "
        f"{seconds_text(times.seconds('tuned'))} tuned"
    )
    choices.save(options.out)
    print(f"saved: {options.out}")
    return 0
