"""Measure the implementations of what a model calls, and keep the best of each call.

MODEL is the name of a model, e.g. lenet, or one's own as PACKAGE.MODULE:NAME, a function of the
batch size that returns a function and its arguments. The table of candidates is printed and saved:
`with jnn.Choices.load(FILE):` applies it.

Examples:
  python -m jnn tune lenet --batch 64 --out choices.json
  python -m jnn tune mypackage.networks:step --json
"""

import argparse
import functools
from pathlib import Path

import jax

from jnn.commands.reading.names import MODELS, count, found, positive
from jnn.commands.writing.plain import as_json
from jnn.floats import cotangent, pulled
from jnn.measure import program, race
from jnn.text import seconds_text
from jnn.tuning import tune


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "model", metavar="MODEL", type=functools.partial(found, what="model", known=MODELS),
        help=f"one of {', '.join(MODELS)}, or PACKAGE.MODULE:NAME",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    parser.add_argument("--batch", type=count, default=64, metavar="N", help="samples (64)")
    parser.add_argument(
        "--seconds", type=positive, default=20.0, metavar="S", help="time to spend on timing (20)"
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
        nothing = "Nothing to choose: no call has more than one implementation."
        print(as_json({"choices": []}) if options.json else nothing)
        return 0
    if not options.json:
        print(choices)
    delta = cotangent(jax.eval_shape(function, *args))
    gradient = functools.partial(pulled, function)
    programs = {"default": program(gradient, args, delta)}
    with choices:
        programs["tuned"] = program(gradient, args, delta)
    times = race(programs, budget=options.seconds / 4)
    seconds = {name: times.seconds(name) for name in programs}
    choices.save(options.out)
    if options.json:
        rows = [
            {"call": str(row), "chosen": row.name, "trials": [t._asdict() for t in row.trials]}
            for row in choices.rows
        ]
        print(as_json({"choices": rows, "seconds": seconds, "saved": options.out}))
        return 0
    print(
        f"\nvalue and gradient: {seconds_text(seconds['default'])} by default, "
        f"{seconds_text(seconds['tuned'])} tuned"
    )
    print(f"saved: {options.out}")
    return 0
