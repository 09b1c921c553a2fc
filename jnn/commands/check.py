"""Check rules: hand-written derivatives against autodiff, differences, dtypes, transformations.

RULE is the name of a rule, e.g. affine, or of one's own as PACKAGE.MODULE:NAME. Without one, every
rule of the library is checked. The exit status is 1 if anything was found.

Examples:
  python -m jnn check affine tanh
  python -m jnn check mypackage.rules:gated --suite differences --seeds 10
"""

import argparse
import sys

from jnn.commands.reading.names import count, found
from jnn.commands.writing.plain import as_json
from jnn.rules import Rule, registry
from jnn.verify.check import SUITES, check
from jnn.xla.flags import two_devices

HEAD = ("rule", "modes", "dtypes", "float64 error", "seconds", "")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("rules", metavar="RULE", nargs="*", type=rule, help="a rule (all)")
    parser.add_argument(
        "--suite", dest="suites", metavar="SUITE", action="append", choices=SUITES,
        help=f"run only this one of {', '.join(SUITES)}; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=count, default=3, metavar="N", help="examples to draw of each rule (3)"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints a line a rule, and what was found below it."""
    two_devices()
    rules = options.rules or list(registry.values())
    width = max(len(r.name) for r in rules)
    if not options.json:
        print(_line(width, *HEAD), flush=True)
    wrong, told = [], []
    for r in rules:
        report = check(r, suites=options.suites, seeds=options.seeds)
        wrong += [] if report else [r.name]
        if options.json:
            told.append({"ok": report.ok, **vars(report)})
            continue
        error = report.worst.get("agreement")
        print(
            _line(
                width, report.rule, " ".join(report.modes),
                " ".join(_SHORT.get(d, d) for d in report.dtypes),
                "-" if error is None else f"{error:.1e}",
                f"{sum(report.seconds.values()):.1f}", "ok" if report else "WRONG",
            )
        )  # fmt: skip
        for sentence in report.findings:
            print(f"  {sentence}")
        sys.stdout.flush()
    if options.json:
        print(as_json({"rules": told, "wrong": wrong}))
    elif wrong:
        print(f"\nwrong: {', '.join(wrong)}")
    return 1 if wrong else 0


def rule(name: str) -> Rule:
    """The rule of that name, `affine` or `package.module:name`.

    >>> rule("jnn.rules:affine") is rule("affine")
    True
    """
    one = found(name, "rule", registry)
    if not isinstance(one, Rule):
        raise argparse.ArgumentTypeError(f"'{name}' is a {type(one).__name__}, not a rule.")
    return one


_SHORT = {"float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64"}


def _line(width: int, *columns: str) -> str:
    name, modes, dtypes, error, seconds, verdict = columns
    return f"{name:{width}}  {modes:16}  {dtypes:16}  {error:>13}  {seconds:>7}  {verdict}".rstrip()
