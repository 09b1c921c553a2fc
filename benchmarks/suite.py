"""Many problems, many solvers: evaluations until each problem is solved, time, profiles.

Problems of similar size are branches of one function, whose surplus unknowns have no slope and stay
zero, so that a solver compiles once for all of them. A problem's best known value is a published
minimum, or the least that a few strong solvers meet, the references, which go on until they can do
no more. A run solves the problem at the first evaluation within a part of 1e-6 of the height of the
start above it; it is timed on `max(f, that level)`, whose gradient vanishes there.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers_solve import Make

STEPS = 1000
NEAR = 1e-6
SIZES = (10, 100, 1000)  # Unknowns up to which problems share a program.
MOST = 40  # Problems in one.
ROUNDS = 3
REFERENCES = (
    "SciPy L-BFGS-B", "SciPy BFGS", "SciPy trust-krylov", "jnn lbfgs", "jnn bfgs", "jnn newton_cg",
)  # fmt: skip


class Problem(NamedTuple):
    """A function, where to start, and the minima that count, if the best value met is not to."""

    name: str
    f: Callable[[jax.Array], jax.Array]
    x0: np.ndarray
    minima: tuple[float, ...] = ()


class Case(NamedTuple):
    """Which problem, the level at which it ends, and whether its values are noted."""

    index: jax.Array
    level: jax.Array
    noted: jax.Array


class Trace(NamedTuple):
    """The evaluations that lowered the value, the values, and the seconds until the end."""

    counts: list[int]
    values: list[float]
    seconds: float | None = None

    def first(self, level: float) -> int | None:
        """The evaluation that first came down to a level."""
        return next((n for n, v in zip(*self[:2], strict=True) if v <= level), None)


class Run(NamedTuple):
    """Evaluations and seconds until a problem was solved; None where it was not."""

    evaluations: int | None
    seconds: float | None


class Program:
    """A solver on a group, made when it is first called."""

    def __init__(self, make: Make, group: Callable) -> None:
        """Nothing is made yet."""
        self.make, self.group, self.made = make, group, None

    def __call__(self, x: jax.Array, case: Case) -> Any:
        """The solver's answer."""
        self.made = self.made or self.make(self.group, STEPS)
        return self.made(x, case)


class Group:
    """Problems that are branches of one function."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Takes any problems; the largest decides how many unknowns there are."""
        self.problems = list(problems)
        self.unknowns = max(len(p.x0) for p in problems)
        self.values: list[float] = []
        self.branches = [self.branch(p) for p in problems]
        self.value = jax.jit(self)

    def branch(self, problem: Problem) -> Callable[[jax.Array], jax.Array]:
        """The problem as a function of all unknowns."""
        return lambda x: jnp.asarray(problem.f(x[: len(problem.x0)]), x.dtype)

    def __call__(self, x: jax.Array, case: Case) -> jax.Array:
        """The value, no lower than the level."""
        value = jax.lax.switch(case.index, self.branches, x)

        def note(value: jax.Array) -> None:
            jax.debug.callback(lambda v: self.values.append(float(v)), value)

        jax.lax.cond(case.noted, note, lambda _: None, jax.lax.stop_gradient(value))
        return jnp.where(value <= case.level, case.level, value)

    def start(self, index: int) -> jax.Array:
        """Where the search begins."""
        x0 = self.problems[index].x0
        return jnp.zeros(self.unknowns).at[: len(x0)].set(jnp.asarray(x0, float))

    def height(self, index: int) -> float:
        """The value at the start."""
        case = Case(jnp.int32(index), jnp.asarray(-np.inf), jnp.bool_(False))
        return float(self.value(self.start(index), case))

    def run(self, go: Callable, index: int, level: float, noted: bool) -> float:
        """Runs a solver; its seconds."""
        case = Case(jnp.int32(index), jnp.asarray(level, float), jnp.bool_(noted))
        x = jax.block_until_ready(self.start(index))
        start = time.perf_counter()
        jax.block_until_ready(go(x, case))
        return time.perf_counter() - start

    def trace(self, go: Callable, index: int, end: float) -> Trace:
        """Runs a solver until a value is reached; the evaluations that went lower than before."""
        self.values.clear()
        self.run(go, index, end, True)
        jax.effects_barrier()
        values = np.array(self.values)
        values = np.where(np.isnan(values), np.inf, values)
        lower = np.flatnonzero(values < np.minimum.accumulate(np.r_[np.inf, values])[:-1])
        return Trace([int(i) + 1 for i in lower], values[lower].tolist())


class Cache:
    """Traces by suite, solver and problem, in a file if there is one, so that a run can go on."""

    def __init__(self, path: Path | None) -> None:
        """Reads what is there."""
        self.path = path
        there = path is not None and path.exists()
        self.traces: dict[str, list] = json.loads(path.read_text()) if path and there else {}

    def get(self, *key: str) -> Trace | None:
        """A trace, if it is known."""
        found = self.traces.get("/".join(key))
        return None if found is None else Trace(*found)

    def put(self, trace: Trace, *key: str) -> None:
        """Keeps a trace."""
        self.traces["/".join(key)] = list(trace)

    def keep(self) -> None:
        """Writes the file."""
        if self.path is not None:
            partial = self.path.with_suffix(".partial")
            partial.write_text(json.dumps(self.traces), encoding="utf-8")
            partial.replace(self.path)


def groups(problems: Sequence[Problem]) -> list[Group]:
    """The problems, in groups of similar size."""
    found, below = [], 0
    for size in SIZES:
        alike = [p for p in problems if below < len(p.x0) <= size]
        found += [Group(alike[i : i + MOST]) for i in range(0, len(alike), MOST)]
        below = size
    return found


def measure(
    suite: str, problems: Sequence[Problem], solvers: dict[str, Make], cache: Cache,
    near: float = NEAR, rounds: int = ROUNDS,
) -> dict[str, list[Run]]:  # fmt: skip
    """The runs of all solvers, in the order of the problems, but for those in the cache.

    The references among the solvers run first, all others only until a problem is solved.
    """
    first = [name for name in solvers if name in REFERENCES] or list(solvers)
    order = sorted(solvers, key=lambda name: name not in first)
    found: dict[str, dict[str, Run]] = {name: {} for name in solvers}
    for i, group in enumerate(groups(problems)):
        programs = {name: Program(solvers[name], group) for name in order}
        traces: list[dict[str, Trace]] = [{} for _ in group.problems]
        for name, program in programs.items():
            for k, problem in enumerate(group.problems):
                trace = cache.get(suite, name, problem.name)
                if trace is None:
                    end = -np.inf if name in first and not problem.minima else None
                    end = ends(group, k, traces[k], first, near) if end is None else end
                    trace = group.trace(program, k, end)
                    cache.put(trace, suite, name, problem.name)
                traces[k][name] = trace
            if program.made:
                print(f"{suite}, group {i}: {name}", file=sys.stderr, flush=True)
                cache.keep()
        for k, problem in enumerate(group.problems):
            end = ends(group, k, traces[k], first, near)
            for name, trace in clock(group, k, end, programs, traces[k], rounds).items():
                cache.put(trace, suite, name, problem.name)
                found[name][problem.name] = Run(trace.first(end), trace.seconds)
        cache.keep()
    return {name: [runs[p.name] for p in problems] for name, runs in found.items()}


def ends(
    group: Group, index: int, traces: dict[str, Trace], references: Sequence[str], near: float
) -> float:
    """The value at which a problem is solved."""
    met = [v for name in references if name in traces for v in traces[name].values[-1:]]
    minima = group.problems[index].minima or (min(met, default=-np.inf),)
    height = group.height(index)
    return max(low + near * (height - low) for low in minima)


def clock(
    group: Group, index: int, end: float, programs: dict[str, Callable],
    traces: dict[str, Trace], rounds: int,
) -> dict[str, Trace]:  # fmt: skip
    """The traces with the seconds until solved, medians of rounds in which all take turns."""
    new = [name for name, t in traces.items() if t.first(end) and t.seconds is None]
    times: dict[str, list[float]] = {name: [] for name in new}
    for turn in range(rounds + 1):  # The first may compile.
        for name in new:
            seconds = group.run(programs[name], index, end, False)
            times[name] += [seconds] if turn else []
    timed = {name: traces[name]._replace(seconds=float(np.median(times[name]))) for name in new}
    return traces | timed
