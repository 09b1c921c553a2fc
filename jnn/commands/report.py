"""Compare every rule and model with autodiff, on one page to open in a browser.

The page, report.html, needs nothing but itself: for each rule, and each model of `compare`, its
error, time and memory, by hand and under autodiff of the same definition, as bars and as numbers.
NAME picks some of them. With --quick twenty are measured, small and briefly.

Examples:
  python -m jnn report
  python -m jnn report --quick --out demo
  python -m jnn report gelu softmax_cross_entropy lenet --batch 512 --json
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax

from jnn.commands.reading.names import MODELS, count, positive
from jnn.commands.writing.page import RuleEntry, report_page
from jnn.commands.writing.plain import as_json
from jnn.files import whole
from jnn.rules import registry
from jnn.verify.compare.compare import compare
from jnn.verify.compare.typical import typical

# Not the slow ones to compile.
QUICK = ("affine", "gelu", "relu", "elu", "silu", "tanh", "sigmoid", "soft_logistic", "softmax",
         "log_softmax", "softmax_cross_entropy", "sigmoid_cross_entropy", "huber", "conv",
         "max_pool", "mean_pool", "weighted_subsample", "residual", "mlp", "lenet")  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("names", metavar="NAME", nargs="*", type=known,
                        help="a rule or a model (all)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("report"), metavar="FOLDER",
                        help="where the page goes (report)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="twenty of them, small and briefly")
    parser.add_argument("--batch", type=count, metavar="N", help="samples (256; quick: 16)")
    parser.add_argument("--seconds", type=positive, metavar="S",
                        help="time to spend on timing each (1; quick: 0.1)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON too")


def run(options: argparse.Namespace) -> int:
    """Measures, and writes the page."""
    names = options.names or (QUICK if options.quick else [*registry, *MODELS])
    batch = options.batch or (16 if options.quick else 256)
    seconds = options.seconds or (0.1 if options.quick else 1.0)
    started = time.perf_counter()
    entries = []
    for i, name in enumerate(names, 1):
        entries.append(measured(name, batch, seconds))
        print(f"{i:>{len(str(len(names)))}}/{len(names)}  {entries[-1].line}", file=sys.stderr,
              flush=True)  # fmt: skip
    words = ["python -m jnn report", *options.names, *(["--quick"] if options.quick else [])]
    took = time.perf_counter() - started
    text = report_page(entries, " ".join(words), batch, took, rough=seconds < 0.5)
    file = options.out / "report.html"
    with whole(file) as handle:
        handle.write(text.encode())
    if options.json:
        print(as_json({"page": file, "entries": [entry.numbers() for entry in entries]}))
    else:
        print(f"page: {file}")
    return 0


def known(word: str) -> str:
    """A name that there is.

    >>> known("gelu")
    'gelu'
    """
    names = [*registry, *MODELS]
    if word not in names:
        raise argparse.ArgumentTypeError(f"there is no '{word}'. There are: {', '.join(names)}.")
    return word


def measured(name: str, batch: int, seconds: float) -> RuleEntry:
    """One rule or model, compared; a rule that autodiff cannot be asked about gives its reason."""
    function: Callable[..., Any]
    if name in MODELS:
        function, args = MODELS[name](batch)
        shapes = _shapes(args[1:2])
        kind, about = "model", (MODELS[name].__doc__ or "").partition("\n")[0]
    else:
        function, args = registry[name], ()
        shapes = _shapes(typical(registry[name], batch=batch).args)
        kind, about = "rule", (registry[name].__doc__ or "").partition("\n")[0]
    try:
        result = compare(function, *args, budget=seconds, batch=batch)
    except ValueError as error:
        return RuleEntry(name, kind, about, shapes, None, str(error))
    return RuleEntry(name, kind, about, shapes, result)


def _shapes(args: Iterable[Any]) -> str:
    shapes = ["x".join(map(str, leaf.shape)) or "1" for leaf in jax.tree.leaves(tuple(args))]
    return ", ".join(shapes)
