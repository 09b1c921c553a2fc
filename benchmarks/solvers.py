"""Full-batch solvers against SciPy, optax, optimistix and jaxopt.

Sections: evaluations and time until solved on the problems of Moré, Garbow and Hillstrom, on the
unconstrained ones of CUTEst and on networks of real digits, with performance profiles as pictures;
the time to trace and compile a toy; a batch of small fits.
"""

import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks import peers_solve as peers
from benchmarks.cutest import UNKNOWNS
from benchmarks.cutest import problems as cutest_problems
from benchmarks.peers_solve import Make
from benchmarks.report import command, destination, markdown, options, publish_section
from benchmarks.suite import CACHE, ROUNDS, STEPS, Cache, Problem, Run, measure
from jnn.commands.solve import double
from jnn.plots import cost_ratios
from tests.problems import mgh as collection

TITLES = {
    "mgh": "Moré, Garbow and Hillstrom",
    "cutest": "CUTEst",
    "digits": "Digits",
    "compile": "Compiling",
    "batch": "A batch",
}
CLASSES = {
    "Limited memory": (
        "jnn lbfgs", "SciPy L-BFGS-B", "optax L-BFGS", "optimistix L-BFGS", "jaxopt L-BFGS",
    ),
    "Conjugate gradients": (
        "jnn nonlinear_cg", "SciPy CG", "optimistix NonlinearCG", "jaxopt NonlinearCG",
    ),
    "A matrix": ("jnn bfgs", "SciPy BFGS", "optimistix BFGS"),
    "Products with the Hessian": ("jnn newton_cg", "SciPy trust-krylov"),
}  # fmt: skip
TAUS = (1, 2, 10)
TIMED = 4  # Of CUTEst one problem in so many is timed.
FEWER = 1000  # Steps there of those with a matrix or its products, which take long.


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the sections."""
    parser = options(__doc__, "solvers", *TITLES)
    parser.add_argument("--cache", type=Path, help=CACHE)
    parser.add_argument(
        "--every", type=int, default=1, help="of CUTEst only one problem in so many"
    )
    parser.add_argument(
        "--unknowns", type=int, default=UNKNOWNS, help="of CUTEst those with at most so many"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of timing, 0 for none")
    chosen = parser.parse_args(arguments)
    wrong = set(chosen.names) - set(TITLES)
    if wrong:
        parser.error(f"no section is called {', '.join(sorted(wrong))}")
    path = destination(chosen, "solvers")
    for name in chosen.names or TITLES:
        with double(name != "compile"):
            body = SECTIONS[name](chosen, path)
        line = " ".join([command(chosen, "solvers"), *(
            f"--{option} {getattr(chosen, option)}" for option in ("every", "unknowns", "rounds")
            if getattr(chosen, option) != parser.get_default(option)
        )])  # fmt: skip
        publish_section(TITLES[name], line, body, path, page="Full-batch solvers")
    return 0


def ours(solver: Callable[[], jnn.solve.Solver]) -> Make:
    """One of jnn's, with no tolerance but a gradient of zero."""

    def make(f: Callable, steps: int) -> Callable:
        def go(x: jax.Array, args: Any) -> jax.Array:
            return jnn.minimize(f, x, solver(), args=(args,), tol=0.0, max_steps=steps).params

        return jax.jit(go)

    return make


def solvers(quick: bool) -> dict[str, Make]:
    """All of them, of every class; for a quick run the first two."""
    mine = (jnn.lbfgs, jnn.nonlinear_cg, jnn.bfgs, jnn.newton_cg)
    found = {f"jnn {make.__name__}": ours(make) for make in mine} | peers.all_peers()
    return {name: found[name] for name in CLASSES["Limited memory"][:2]} if quick else found


def mgh_problems(quick: bool) -> list[Problem]:
    """The instances of tests/problems/mgh.py."""
    found = [Problem(p.name, p.f, p.x0, p.minima) for p in collection.PROBLEMS]
    return found[:2] if quick else found


def mgh(chosen: Any, path: Path | None) -> str:
    """The problems of Moré, Garbow and Hillstrom."""
    problems = mgh_problems(chosen.quick)
    return race("mgh", problems, chosen, path, 1e-7) + (
        f"\n\n{len(problems)} instances in float64. Solved: within a part of 1e-7 of the height of "
        f"the start above any published minimum, within {STEPS:,} steps."
    )


def cutest(chosen: Any, path: Path | None) -> str:
    """The unconstrained problems of CUTEst."""
    try:
        small = cutest_problems(chosen.unknowns)
        found = list(islice(small, 0, 2 if chosen.quick else None, chosen.every))
    except ImportError as error:
        return f"{error}: see the extra `bench`."
    body = race("cutest", found, chosen, path, timed=TIMED, fewer=FEWER)
    part = f", one in {chosen.every}" if chosen.every > 1 else ""
    times = f" One in {TIMED} is timed." if chosen.rounds else ""
    return (
        f"{body}\n\n{len(found)} problems of at most {chosen.unknowns:,} unknowns in their default "
        f"size, as sif2jax writes them{part}, in float64; {STEPS:,} steps at most, {FEWER:,} with "
        "a matrix or its products. Solved: within a part of 1e-6 of the height of the start above "
        "the least value that SciPy's or jnn's "
        f"Newton and quasi-Newton methods meet.{times}"
    )


def digit_problems(quick: bool) -> list[Problem]:
    """Logistic regressions, and networks with one hidden layer, which are to reach a given loss."""
    (x, y), _ = jnn.data.digits()
    x = x.reshape(len(x), -1)
    if quick:
        return [network("64-10", (64, 10), x[:50], y[:50], 1e-2)]
    found = [network(f"64-10, decay {d:g}", (64, 10), x, y, d) for d in (1e-2, 1e-3, 1e-4)]
    for units, loss in ((5, 0.1), (10, 0.05)):
        for seed in range(3):
            name = f"64-{units}-10, seed {seed}"
            one = network(name, (64, units, 10), x, y, 1e-4, seed)
            found.append(one._replace(minima=(loss,)))
    return found


def digits(chosen: Any, path: Path | None) -> str:
    """Real digits, all samples at once."""
    problems = digit_problems(chosen.quick)
    return race("digits", problems, chosen, path) + (
        f"\n\n{len(problems)} problems in float64. The regressions are solved within a part of "
        "1e-6 of the height of the start above the best value known. The networks have many "
        "minima, and are solved by a loss of 0.1 with five hidden units, of 0.05 with ten."
    )


def network(
    name: str, sizes: Sequence[int], x: np.ndarray, y: np.ndarray, decay: float, seed: int = 0
) -> Problem:
    """The mean cross-entropy of a network, tanh between its layers, with a decay of its weights."""
    shapes = [s for m, n in pairwise(sizes) for s in ((m, n), (n,))]
    ends = np.cumsum([int(np.prod(s)) for s in shapes])
    random = np.random.default_rng(seed)
    parts = [random.normal(size=s) / np.sqrt(s[0]) if len(s) > 1 else np.zeros(s) for s in shapes]

    def f(w: jax.Array) -> jax.Array:
        arrays = [p.reshape(s) for p, s in zip(jnp.split(w, ends[:-1]), shapes, strict=True)]
        h = jnp.asarray(x, w.dtype)
        for i, (weights, bias) in enumerate(zip(arrays[::2], arrays[1::2], strict=True)):
            h = (jnp.tanh(h) if i else h) @ weights + bias[None]
        chosen = jnp.take_along_axis(jax.nn.log_softmax(h), jnp.asarray(y)[:, None], 1)
        return decay / 2 * jnp.vdot(w, w) - chosen.mean()

    return Problem(name, f, np.concatenate([p.ravel() for p in parts]))


def race(
    suite: str, problems: Sequence[Problem], chosen: Any, path: Path | None, near: float = 1e-6,
    timed: int = 1, fewer: int = STEPS,
) -> str:  # fmt: skip
    """A table for each class of solvers, and the profiles of all classes in one picture."""
    rounds = 1 if chosen.quick else chosen.rounds
    cache, every = Cache(chosen.cache), solvers(chosen.quick)
    slow = dict.fromkeys((*CLASSES["A matrix"], *CLASSES["Products with the Hessian"]), fewer)
    found = measure(suite, problems, every, cache, near, rounds, chosen.clock, timed, slow)
    classes = {
        title: {name: found[name] for name in names if name in found}
        for title, names in CLASSES.items()
    }
    classes = {title: runs for title, runs in classes.items() if runs}
    tables = [f"{title}:\n\n{table(runs)}" for title, runs in classes.items()]
    lost = [
        f"- {name}: {', '.join(p.name for p, r in zip(problems, runs, strict=True) if lacks(r))}."
        for name, runs in found.items() if name.startswith("jnn") and any(map(lacks, runs))
    ]  # fmt: skip
    if path is not None:
        draw(classes, path.with_name(f"{path.stem}_{suite}.png"))
    missed = ["Not solved by", "\n".join(lost)] if lost else []
    return "\n\n".join([*tables, *missed])


def lacks(run: Run) -> bool:
    """Whether a problem was not solved."""
    return run.evaluations is None


def costs(runs: dict[str, list[Run]]) -> dict[str, list[int | None]]:
    """The evaluations alone."""
    return {name: [run.evaluations for run in row] for name, row in runs.items()}


def table(runs: dict[str, list[Run]]) -> str:
    """Solved problems, evaluations, shares and areas of the profile, times against the first's."""
    found = cost_ratios(costs(runs))
    first = next(iter(runs.values()))
    all_solve = [k for k in range(len(first)) if not any(lacks(row[k]) for row in runs.values())]
    rows = [["", "solved", f"evaluations, on the {len(all_solve)} all solve",
             *(f"within {tau}" for tau in TAUS), "area", "ms, median", "time / jnn"]]  # fmt: skip
    for name, row in runs.items():
        shared = [
            a.seconds / b.seconds for a, b in zip(row, first, strict=True)
            if a.seconds is not None and b.seconds is not None
        ]  # fmt: skip
        seconds = [s for k in all_solve if (s := row[k].seconds) is not None]
        rows.append([
            name, f"{sum(not lacks(r) for r in row)}",
            f"{sum(row[k].evaluations or 0 for k in all_solve)}",
            *(f"{np.mean(found[name] <= tau):.2f}" for tau in TAUS), f"{area(found[name]):.2f}",
            f"{1e3 * np.median(seconds):.2f}" if seconds else "-",
            f"{np.median(shared):.2f}" if shared else "-",
        ])  # fmt: skip
    return markdown(rows)


def area(ratios: np.ndarray, most: float = 10) -> float:
    """The mean share within tau, over log tau up to `most`."""
    taus = np.geomspace(1, most, 400)
    return float(np.mean([np.mean(ratios <= tau) for tau in taus]))


def draw(classes: dict[str, dict[str, list[Run]]], path: Path) -> None:
    """The profiles of all classes."""
    from jnn import plots

    whole: Any = plots.figure(9.6, 6.8) if len(classes) > 1 else plots.figure()
    parts = whole.subfigures(2, 2).ravel() if len(classes) > 1 else [whole]
    for part, (title, runs) in zip(parts, classes.items(), strict=False):
        plots.performance_profile(costs(runs), title=title, figure=part)
    whole.savefig(path)


def toy(x: jax.Array) -> jax.Array:
    """Rosenbrock's function of ten unknowns."""
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def compile(chosen: Any, path: Path | None) -> str:
    """Seconds to trace and compile L-BFGS on a function of ten unknowns."""
    del path
    quick = chosen.quick
    theirs = {name: make for name, make in peers.of_jax().items() if "BFGS" in name}
    runs = {"jnn lbfgs": ours(jnn.lbfgs)} | theirs
    rows = [["", "first call, s", "a call, ms", "value"]]
    x = jnp.zeros(10)
    for name, make in runs.items():
        seconds = []
        for _ in range(1 if quick else 3):
            f = lambda x, *_: toy(x)  # A new function each time, so that nothing is cached. # noqa: E731
            go = make(f, 300)
            start = time.perf_counter()
            params = jax.block_until_ready(go(x, ()))
            seconds.append(time.perf_counter() - start)
        calls = []
        for _ in range(1 if quick else 20):
            start = time.perf_counter()
            jax.block_until_ready(go(x, ()))
            calls.append(time.perf_counter() - start)
        rows.append([name, f"{np.median(seconds):.2f}", f"{1e3 * np.median(calls):.2f}",
                     f"{toy(params):.1e}"])  # fmt: skip
    return markdown(rows) + "\n\nFrom 0 in float32."


def batch(chosen: Any, path: Path | None) -> str:
    """Fits of a decay to many noisy samples: one `vmap` against a loop over SciPy."""
    del path
    quick = chosen.quick
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


SECTIONS = {"mgh": mgh, "cutest": cutest, "digits": digits, "compile": compile, "batch": batch}

if __name__ == "__main__":
    sys.exit(main())
