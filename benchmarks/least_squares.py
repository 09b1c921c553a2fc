"""Least-squares fits against SciPy, optimistix and jaxopt.

Three sections: the certified regressions of NIST in float64 and in float32, with digits,
evaluations and time, and the problems of Moré, Garbow and Hillstrom, with the points that it takes
to solve each.
"""

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks import peers_least_squares as peers
from benchmarks.peers_least_squares import Fit, Make
from benchmarks.report import command, destination, markdown, options, publish_section
from tests.problems import nist
from tests.problems.mgh import PROBLEMS, Problem

TITLES = {"nist": "NIST, float64", "single": "NIST, float32", "mgh": "Moré, Garbow and Hillstrom"}
ROUNDS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the sections."""
    parser = options(__doc__, "least_squares", *TITLES)
    chosen = parser.parse_args(arguments)
    wrong = set(chosen.names) - set(TITLES)
    if wrong:
        parser.error(f"no section is called {', '.join(sorted(wrong))}")
    path = destination(chosen, "least_squares")
    for name in chosen.names or TITLES:
        with jax.enable_x64(name != "single"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Theirs, of starts that overflow.
            body = SECTIONS[name](chosen.quick)
        page = "Least-squares fits"
        publish_section(TITLES[name], command(chosen, "least_squares"), body, path, page=page)
    return 0


def ours(residual: Callable, tolerance: float) -> Callable[[np.ndarray], Fit]:
    """`jnn.least_squares` as it comes: it has no tolerance to set."""
    del tolerance

    @jax.jit
    def go(x0: jax.Array) -> Fit:
        found = jnn.least_squares(residual, x0)
        return Fit(found.params, found.evaluations)

    return go


def contestants(quick: bool, dtype: Any) -> dict[str, tuple[Make, float]]:
    """All solvers, those with tolerances at the root of epsilon and at the tightest."""
    others = (peers.scipy() if dtype == np.float64 else {}) | peers.for_jax()
    if quick:
        others = dict(list(others.items())[:1])
    runs = {"jnn": (ours, 0.0)}
    for tolerance, words in ((float(np.finfo(dtype).eps) ** 0.5, ""), (0.0, ", tightest")):
        runs |= {name + words: (make, tolerance) for name, make in others.items()}
    return runs


def regressions(quick: bool, dtype: Any) -> str:
    """Certified digits, evaluations and time from both starts, and what goes wrong."""
    names = nist.available()[:1] if quick else nist.available()
    if not names:
        return f"NIST's data files are not in {nist.FOLDER.name}: see `tests/problems/nist.py`."
    runs = contestants(quick, dtype)
    found: dict[str, list[tuple[float, int, float]]] = {name: [] for name in runs}
    for problem in map(nist.load, names):
        programs = {run: make(problem.residual, tol) for run, (make, tol) in runs.items()}
        for start in problem.starts.astype(dtype):
            fits = {run: jax.block_until_ready(go(start)) for run, go in programs.items()}
            seconds = clocks({run: lambda go=go: go(start) for run, go in programs.items()}, quick)  # noqa: B023
            for run, fit in fits.items():
                found[run].append((problem.digits(fit.params), int(fit.evaluations), seconds[run]))
    rows = [["", "4 digits", "8 digits", "least", "mean", "evaluations, median", "ms, median",
             "time / jnn"]]  # fmt: skip
    base = np.array(found["jnn"])[:, 2]
    for run, results in found.items():
        digits, evaluations, seconds = np.array(results).T
        rows.append([
            run, f"{np.sum(digits >= 4)}", f"{np.sum(digits >= 8)}", f"{digits.min():.1f}",
            f"{digits.mean():.1f}", f"{np.median(evaluations):.0f}",
            f"{1e3 * np.median(seconds):.2f}", f"{np.median(seconds / base):.1f}",
        ])  # fmt: skip
    worst = {
        f"{name} from start {i + 1} ({found['jnn'][2 * k + i][0]:.1f})"
        for k, name in enumerate(names) for i in range(2) if found["jnn"][2 * k + i][0] < 4
    }  # fmt: skip
    missed = f" jnn misses four digits on {', '.join(sorted(worst))}." if worst else ""
    return markdown(rows) + (
        f"\n\n{2 * len(names)} fits: {len(names)} of the 27 data sets, from both starts. Digits: "
        "the log relative error of the worst parameter, 11 at most. Evaluations of the residuals "
        "until a solver stops by itself, 500 at most. Times are of a call, compiled before, "
        f"medians of {ROUNDS} interleaved rounds; SciPy's hold its calls of compiled residuals and "
        "Jacobians. Tolerances: the root of epsilon, about SciPy's default, and epsilon "
        "(tightest); jnn's default has none to set."
        f"{missed}"
    )


def clocks(runs: dict[str, Callable[[], Any]], quick: bool) -> dict[str, float]:
    """The median seconds of each over a few rounds in which all take turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(1 if quick else ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(t)) for name, t in times.items()}


def nist64(quick: bool) -> str:
    """The section in float64."""
    return regressions(quick, np.float64)


def single(quick: bool) -> str:
    """The section in float32."""
    return regressions(quick, np.float32)


class Points:
    """Notes the sum of squares at every new point at which residuals are asked for."""

    def __init__(self, problem: Problem) -> None:
        """Nothing seen yet."""
        self.problem, self.values = problem, dict[float, None]()

    def __call__(self, x: jax.Array) -> jax.Array:
        """The residuals, noted on the host."""
        r = self.problem.residual(x)
        square = jax.lax.stop_gradient(jnp.vdot(r, r, precision="highest"))
        jax.debug.callback(lambda v: self.values.setdefault(float(v)), square)
        return r

    def first(self, tolerance: float) -> int | None:
        """How many points it took to solve the problem."""
        jax.effects_barrier()
        solved = np.flatnonzero(self.problem.solved(np.array(list(self.values)), tolerance))
        return int(solved[0]) + 1 if len(solved) else None


def mgh(quick: bool) -> str:
    """Points until each problem is solved, at the tightest tolerances."""
    problems = PROBLEMS[:2] if quick else PROBLEMS
    runs = {"jnn": ours} | peers.scipy() | peers.for_jax()
    if quick:
        runs = dict(list(runs.items())[:2])
    table: dict[str, list[int | None]] = {name: [] for name in runs}
    for problem in problems:
        for name, make in runs.items():
            points = Points(problem)
            jax.block_until_ready(make(points, 0.0)(problem.x0.astype(float)))
            table[name].append(points.first(1e-7))
    both = [i for i in range(len(problems)) if all(row[i] for row in table.values())]
    rows = [["", "solved", "points, on all that it solved", f"on the {len(both)} all solve"]]
    for name, row in table.items():
        rows.append([name, f"{sum(n is not None for n in row)}", f"{sum(n or 0 for n in row)}",
                     f"{sum(row[i] or 0 for i in both)}"])  # fmt: skip
    lost = {
        name: [p.name for p, n in zip(problems, row, strict=True) if n is None]
        for name, row in table.items()
    }
    lines = [
        f"- {name} does not solve {', '.join(names)}." for name, names in lost.items() if names
    ]
    return markdown(rows) + (
        f"\n\n{len(problems)} instances in float64. A point is one at which residuals, with their "
        "Jacobian or without, are asked for; a problem is solved at 1e-7 of the height of its "
        "start." + "".join(["\n\n", *(line + "\n" for line in lines)] if lines else [])
    )


SECTIONS = {"nist": nist64, "single": single, "mgh": mgh}

if __name__ == "__main__":
    sys.exit(main())
