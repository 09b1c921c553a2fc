"""How many evaluations a solver needs on each published problem, and the table of what it needed.

A problem is solved by the first step whose value lies within a part of 1e-7 (float32: 1e-5) of a
published minimum, relative to the height of the start; the count holds all evaluations until then.

All problems are branches of one function of 100 unknowns, of which each uses the first few: the
others have no slope, stay 0 and change no sum, so that one compilation of a solver serves all.
NIST's certified regressions are fitted with the default settings to the end instead.
`python -m tests.problems.counts` prints the counts, `--write` stores them in counts.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from tests.problems import nist
from tests.problems.mgh import PROBLEMS, Problem

TABLE = Path(__file__).with_name("counts.json")
# Nothing ends a run before it can do no more.
NEVER = jnn.solve.Tolerance(gradient=0.0)
UNKNOWNS = max(len(p.x0) for p in PROBLEMS)


def branch(problem: Problem):
    """The problem as a function of all unknowns."""
    return lambda x: problem.f(x[: len(problem.x0)])


BRANCHES = [branch(p) for p in PROBLEMS]


def anyone(x: jax.Array, index: jax.Array) -> jax.Array:
    """The value of the problem of that index."""
    return jax.lax.switch(index, BRANCHES, x)


def count(solver: jnn.solve.Solver, problem: Problem, dtype: Any, max_steps: int) -> int | None:
    """Evaluations until the problem is solved, or None."""
    x0 = jnp.zeros(UNKNOWNS, dtype).at[: len(problem.x0)].set(jnp.asarray(problem.x0, dtype))
    index = jnp.int32(PROBLEMS.index(problem))
    found = jnn.minimize(
        anyone, x0, solver, args=(index,), tol=NEVER, max_steps=max_steps, history=True
    )
    history = jax.tree.map(np.asarray, found.history)
    return first(problem, history, 1e-7 if dtype == jnp.float64 else 1e-5)


def first(problem: Problem, history: Any, tolerance: float) -> int | None:
    """The evaluations at the first step that solves the problem."""
    steps = np.flatnonzero(problem.solved(np.asarray(history.value, np.float64), tolerance))
    return int(history.evaluations[steps[0]]) if len(steps) else None


def residuals(problem: Problem):
    """The problem's residuals as a function of the first twelve unknowns, with zeros behind."""

    def padded(x):
        r = problem.residual(x[: len(problem.x0)])
        return jnp.pad(r, (0, ROWS - len(r)))

    return padded


SMALL = [p for p in PROBLEMS if len(p.x0) <= 12]
ROWS = 99
RESIDUALS = [residuals(p) for p in SMALL]


def any_residual(x: jax.Array, index: jax.Array) -> jax.Array:
    """The residuals of the small problem of that index."""
    return jax.lax.switch(index, RESIDUALS, x)


def steps(solver: jnn.solve.Solver, problem: Problem, dtype: Any) -> int | None:
    """Steps of a least-squares solver until the problem is solved, or None."""
    n = len(problem.x0)
    residual, args, x0 = problem.residual, (), jnp.asarray(problem.x0, dtype)
    if problem in SMALL:
        residual, args = any_residual, (jnp.int32(SMALL.index(problem)),)
        x0 = jnp.zeros(12, dtype).at[:n].set(x0)
    found = jnn.least_squares(
        residual, x0, solver, args=args, tol=NEVER, max_steps=300, history=True
    )
    values = 2 * np.asarray(found.history.value, np.float64)
    solved = np.flatnonzero(problem.solved(values, 1e-7 if dtype == jnp.float64 else 1e-5))
    return int(solved[0]) if len(solved) else None


def certified(dtype: Any) -> dict[str, list[float]]:
    """Of each NIST regression and start, the evaluations and the digits of the worst parameter."""
    found = {}
    with jax.enable_x64(dtype == jnp.float64):
        for name in nist.available():
            problem = nist.load(name)
            fit = jax.jit(lambda b, problem=problem: jnn.least_squares(problem.residual, b)[:5])
            for i, start in enumerate(problem.starts, 1):
                params, _, _, _, evaluations = fit(jnp.asarray(start, dtype))
                found[f"{name} {i}"] = [int(evaluations), round(problem.digits(params), 1)]
    return found


SOLVERS: dict[str, tuple[Any, int]] = {
    "lbfgs": (jnn.lbfgs, 1500),
    "cg": (jnn.nonlinear_cg, 3000),
    "bfgs": (jnn.bfgs, 1500),
    "newton_cg": (jnn.newton_cg, 1500),
}


def counts(name: str, dtype: Any) -> dict[str, int | None]:
    """The counts of a solver on all problems, by their names; of "lm" the steps."""
    with jax.enable_x64(dtype == jnp.float64):
        if name == "lm":
            return {p.name: steps(jnn.levenberg_marquardt(), p, dtype) for p in PROBLEMS}
        make, max_steps = SOLVERS[name]
        return {p.name: count(make(), p, dtype, max_steps) for p in PROBLEMS}


def main() -> None:
    """Prints the counts of all solvers in both precisions, and the fits of NIST's data."""
    table: dict[str, Any] = {
        f"{name} {jnp.dtype(dtype).name}": counts(name, dtype)
        for name in (*SOLVERS, "lm")
        for dtype in (jnp.float64, jnp.float32)
    }
    print(f"{'':24}", *(f"{key:>14}" for key in table))
    for p in PROBLEMS:
        print(f"{p.name:24}", *(f"{row[p.name] or '-':>14}" for row in table.values()))
    solved = {key: [n for n in row.values() if n is not None] for key, row in table.items()}
    print(f"{'solved':24}", *(f"{len(row):>14}" for row in solved.values()))
    print(f"{'evaluations':24}", *(f"{sum(row):>14}" for row in solved.values()))
    fits = {f"nist {jnp.dtype(d).name}": certified(d) for d in (jnp.float64, jnp.float32)}
    for key, row in fits.items():
        work, digits = np.array(list(row.values())).reshape(-1, 2).T
        print(
            f"{key}: {len(row)} fits, {sum(digits >= 8)} with 8 digits, {sum(digits >= 4)} with 4, "
            f"{digits.mean():.1f} in the mean; {np.median(work)} evaluations in the median"
        )
    table |= fits
    if "--write" in sys.argv:
        TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
