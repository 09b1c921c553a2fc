"""Hedberg's ideas for solvers (§8), each against the method without it.

Two sections: the problems of Moré, Garbow and Hillstrom, and networks of real digits. An idea pays
where it solves at least as many problems with fewer evaluations in the median, or in less time.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import jnn
from benchmarks.report import command, destination, markdown, options, publish_section
from benchmarks.solvers import digit_problems, mgh_problems, ours
from benchmarks.suite import CACHE, Cache, Problem, Run, measure
from jnn.commands.solve import double

TITLES = {"mgh": "Moré, Garbow and Hillstrom", "digits": "Digits"}
PROBLEMS = {"mgh": mgh_problems, "digits": digit_problems}
NEAR = 1e-3  # Steepest descent comes no closer in time.
SUBSET = {"mgh": 5, "digits": 100}
TIMED = {"mgh": 4, "digits": 3}  # One problem in so many.


def ideas(name: str) -> dict[str, tuple[Callable, str, Callable]]:
    """Each idea as a solver, and the name and the solver of what it is to be better than."""
    descent = ("steepest_descent", jnn.steepest_descent)
    return {
        "search every 10th step": (lambda: jnn.steepest_descent(every=10), *descent),
        "mean of directions, 0.9": (lambda: jnn.steepest_descent(mean=0.9), *descent),
        "both": (lambda: jnn.steepest_descent(every=10, mean=0.9), *descent),
        "switching to L-BFGS": (jnn.solve.switching, "lbfgs", jnn.lbfgs),
        f"BFGS on {SUBSET[name]} unknowns": (
            lambda: jnn.solve.active_subset(SUBSET[name]), "bfgs", jnn.bfgs,
        ),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the sections."""
    parser = options(__doc__, "ideas", *TITLES)
    parser.add_argument("--cache", type=Path, help=CACHE)
    chosen = parser.parse_args(arguments)
    wrong = set(chosen.names) - set(TITLES)
    if wrong:
        parser.error(f"no section is called {', '.join(sorted(wrong))}")
    path = destination(chosen, "ideas")
    for name in chosen.names or TITLES:
        with double():
            problems = PROBLEMS[name](chosen.quick)
            body = race(name, problems, chosen)
        line = command(chosen, "ideas")
        publish_section(TITLES[name], line, body, path, page="Hedberg's ideas for solvers")
    return 0


def race(name: str, problems: Sequence[Problem], chosen: Any) -> str:
    """A row for each idea, and what pays."""
    pairs = ideas(name)
    if chosen.quick:
        pairs = dict(list(pairs.items())[:1])
    solvers = {idea: ours(make) for idea, (make, _, _) in pairs.items()}
    solvers |= {plain: ours(make) for _, plain, make in pairs.values()}
    cache, rounds = Cache(chosen.cache), 1 if chosen.quick else 3
    timed = TIMED[name]
    runs = measure(f"ideas {name}", problems, solvers, cache, NEAR, rounds, chosen.clock, timed)
    rows = [["", "solved", "instead of", "solves", "evaluations / its", "time / its", "pays"]]
    for idea, (_, plain, _) in pairs.items():
        rows.append([idea, *compared(runs[idea], plain, runs[plain])])
    return markdown(rows) + (
        f"\n\n{len(problems)} problems in float64, each solved within a part of {NEAR:g} of the "
        "height of its start. Ratios are medians over the problems that both solve; one in "
        f"{timed} is timed."
    )


def compared(new: Sequence[Run], plain: str, old: Sequence[Run]) -> list[str]:
    """The cells of an idea's row."""

    def ratio(of: Callable[[Run], float | None]) -> float:
        pairs = [(of(a), of(b)) for a, b in zip(new, old, strict=True)]
        return float(np.median([a / b for a, b in pairs if a and b] or [np.nan]))

    work, clock = ratio(lambda run: run.evaluations), ratio(lambda run: run.seconds)
    solved = [sum(r.evaluations is not None for r in runs) for runs in (new, old)]
    better = [what for what, part in (("evaluations", work), ("time", clock)) if part < 0.95]
    verdict = "in " + " and ".join(better) if better and solved[0] >= solved[1] else "no"
    return [f"{solved[0]}", plain, f"{solved[1]}", f"{work:.2f}", f"{clock:.2f}", verdict]


if __name__ == "__main__":
    sys.exit(main())
