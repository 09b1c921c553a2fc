"""Full-batch solvers against SciPy, optax, jaxopt and optimistix.

Three sections: evaluations on the problems of Moré, Garbow and Hillstrom until each is solved, with
their performance profile as a picture, against SciPy; the time to trace and compile a toy, against
the libraries for JAX; a batch of small fits.
"""

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks import peers_solve as peers
from benchmarks.report import command, destination, markdown, options, publish_section
from tests.problems.counts import BRANCHES, UNKNOWNS
from tests.problems.mgh import PROBLEMS, Problem

SECTIONS = ("evaluations", "compile", "batch")
OURS = {
    "jnn lbfgs": jnn.lbfgs,
    "jnn nonlinear_cg": jnn.nonlinear_cg,
    "jnn bfgs": jnn.bfgs,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the sections."""
    parser = options(__doc__, "solvers", *SECTIONS)
    chosen = parser.parse_args(arguments)
    wrong = set(chosen.names) - set(SECTIONS)
    if wrong:
        parser.error(f"no section is called {', '.join(sorted(wrong))}")
    path = destination(chosen, "solvers")
    for name in chosen.names or SECTIONS:
        with jax.enable_x64(True):
            body = globals()[name](chosen.quick, path)
        title = {"evaluations": "Evaluations", "compile": "Compiling", "batch": "A batch"}[name]
        line = command(chosen, "solvers")
        publish_section(title, line, body, path, page="Full-batch solvers")
    return 0


class Recorder:
    """Keeps the value of every evaluation, in order."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self.values: list[float] = []

    def __call__(self, x: jax.Array, index: jax.Array) -> jax.Array:
        """The value of the problem of that index, noted on the host."""
        value = jax.lax.switch(index, BRANCHES, x)
        jax.debug.callback(lambda v: self.values.append(float(v)), jax.lax.stop_gradient(value))
        return value

    def first(self, problem: Problem) -> int | None:
        """The first evaluation that solved the problem."""
        jax.effects_barrier()
        solved = np.flatnonzero(problem.solved(np.array(self.values), 1e-7))
        return int(solved[0]) + 1 if len(solved) else None


def evaluations(quick: bool, path: Any) -> str:
    """How many evaluations each needs until a problem is solved."""
    problems = PROBLEMS[:2] if quick else PROBLEMS
    runs: dict[str, Callable] = {
        name: lambda f, x, i, make=make: jnn.minimize(
            f, x, make(), args=(i,), tol=0.0, max_steps=1500
        )
        for name, make in OURS.items()
    }
    runs |= peers.minimisers()
    if quick:
        runs = {name: runs[name] for name in ("jnn lbfgs", "SciPy L-BFGS-B")}
    table = {name: counts(run, problems) for name, run in runs.items()}
    both = [i for i in range(len(problems)) if all(row[i] is not None for row in table.values())]
    rows = [["", "solved", "evaluations, all that it solved", f"on the {len(both)} all solve",
             "won at 1", "at 2", "at 10"]]  # fmt: skip
    ratios = profile(table)
    for name, row in table.items():
        rows.append([
            name, f"{sum(n is not None for n in row)}", f"{sum(n or 0 for n in row)}",
            f"{sum(row[i] or 0 for i in both)}",
            *(f"{np.mean(ratios[name] <= tau):.2f}" for tau in (1, 2, 10)),
        ])  # fmt: skip
    if path is not None:
        draw(ratios, path.with_suffix(".png"))
    return (
        markdown(rows) + "\n\nAn evaluation is one of the value, with its gradient where that is "
        f"used, on {len(problems)} instances in float64; solved at 1e-7 of the height of the start."
    )


def counts(run: Callable, problems: Sequence[Problem]) -> list[int | None]:
    """The counts of one solver, each of whose runs reuses one compilation."""
    recorder, found = Recorder(), []
    for problem in problems:
        recorder.values.clear()
        x = jnp.zeros(UNKNOWNS).at[: len(problem.x0)].set(jnp.asarray(problem.x0))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            jax.block_until_ready(
                jax.tree.leaves(run(recorder, x, jnp.int32(PROBLEMS.index(problem))))
            )
        found.append(recorder.first(problem))
    return found


def profile(table: dict[str, list[int | None]]) -> dict[str, np.ndarray]:
    """Each count over the best of all on that problem (Dolan and Moré)."""
    counts = np.array([[n or np.inf for n in row] for row in table.values()], float)
    best = counts.min(axis=0)
    return dict(zip(table, np.where(np.isfinite(best), counts / best, np.inf), strict=True))


def draw(ratios: dict[str, np.ndarray], path: Any) -> None:
    """The share of the problems that are solved within a multiple of the best."""
    from jnn import plots

    taus = np.geomspace(1, 20, 200)
    curves = {n: [(r <= t).mean() for t in taus] for n, r in ratios.items()}
    figure = plots.figure(7.2, 4.4)
    axes = figure.subplots()
    styles = list(plots.STYLES) * 2
    for (name, shares), (colour, line, _) in zip(curves.items(), styles, strict=False):
        axes.plot(taus, shares, color=colour, linestyle=line, label=name, linewidth=1.5)
    axes.set(
        xscale="log", xlabel="evaluations over the best", ylabel="share solved", ylim=(0, 1.02)
    )
    axes.legend(frameon=False, loc="lower right", fontsize=8)
    figure.savefig(path)


def toy(x: jax.Array) -> jax.Array:
    """Rosenbrock's function of ten unknowns."""
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def compile(quick: bool, path: Any) -> str:
    """Seconds to trace and compile L-BFGS on a function of ten unknowns."""
    del path
    runs = {"jnn": lambda f, x, _: jnn.minimize(f, x, jnn.lbfgs()).params} | peers.lbfgs()
    rows = [["", "first call, s", "a call, ms", "value"]]
    x = jnp.zeros(10, jnp.float32)
    for name, run in runs.items():
        seconds = []
        for _ in range(1 if quick else 3):
            f = lambda x, *_: toy(x)  # A new function each time, so that nothing is cached. # noqa: E731
            go = jax.jit(partial(run, f))
            start = time.perf_counter()
            params = jax.block_until_ready(go(x, jnp.int32(0)))
            seconds.append(time.perf_counter() - start)
        calls = []
        for _ in range(1 if quick else 20):
            start = time.perf_counter()
            jax.block_until_ready(go(x, jnp.int32(0)))
            calls.append(time.perf_counter() - start)
        rows.append([name, f"{np.median(seconds):.2f}", f"{1e3 * np.median(calls):.2f}",
                     f"{toy(params):.1e}"])  # fmt: skip
    return markdown(rows) + "\n\nL-BFGS (optimistix: BFGS) from 0 in float32."


def batch(quick: bool, path: Any) -> str:
    """Fits of a decay to many noisy samples: one `vmap` against a loop over SciPy."""
    del path
    from scipy.optimize import least_squares

    lanes = 20 if quick else 1000
    random = np.random.default_rng(0)
    t = np.linspace(0, 3, 20)
    truth = random.uniform(0.5, 2.0, (lanes, 2))
    data = truth[:, :1] * np.exp(-truth[:, 1:] * t) + 0.01 * random.normal(size=(lanes, 20))

    def residual(p: jax.Array, y: jax.Array) -> jax.Array:
        return p[0] * jnp.exp(-p[1] * t) - y

    fit = jax.jit(jax.vmap(lambda y: jnn.least_squares(residual, jnp.ones(2), args=(y,)).params))
    start = time.perf_counter()
    ours = np.asarray(fit(jnp.asarray(data)))
    first = time.perf_counter() - start
    start = time.perf_counter()
    ours = np.asarray(fit(jnp.asarray(data)))
    again = time.perf_counter() - start
    start = time.perf_counter()
    theirs = np.array([
        least_squares(lambda p, y=y: p[0] * np.exp(-p[1] * t) - y, [1.0, 1.0], method="lm").x
        for y in data
    ])  # fmt: skip
    loop = time.perf_counter() - start
    error = np.abs(ours - theirs).max()
    if not error < 1e-5:
        sys.exit(f"batch: the fits differ by {error:.1e}")
    rows = [["", "ms"], ["jnn under vmap", f"{1e3 * again:.1f}"],
            ["with compiling", f"{1e3 * first:.1f}"],
            ["a loop over SciPy's lm", f"{1e3 * loop:.1f}"]]  # fmt: skip
    return markdown(rows) + f"\n\n{lanes} fits of two parameters; they agree to {error:.0e}."


if __name__ == "__main__":
    sys.exit(main())
