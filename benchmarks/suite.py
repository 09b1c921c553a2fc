"""Many problems, many solvers: evaluations until each problem is solved, time, profiles.

Problems of similar size are one function, whose surplus unknowns have no slope and stay zero, so
that a solver compiles once for all of them. Evaluations are counted on the host, which is called
for values and gradients; for times each problem is compiled with each solver. A problem's best
known value is a published minimum, or the least that a few strong solvers meet, the references,
which go on until they can do no more. A run solves the problem at the first evaluation within a
part of 1e-6 of the height of the start above it, below which the function is flat.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers_solve import Make

STEPS = 5000
NEAR = 1e-6
SIZES = (10, 100, 1000)  # Unknowns up to which problems share a program.
ROUNDS = 11
Clock = Callable[[], float]
WALL: Clock = time.perf_counter
CACHE = "a file that keeps the runs, so that a stopped benchmark goes on"
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
    """Which problem, and the level below which it is flat."""

    index: jax.Array
    level: jax.Array


class Trace(NamedTuple):
    """The evaluations that lowered the value, the values, the seconds, and where the run ended."""

    counts: list[int]
    values: list[float]
    seconds: float | None = None
    end: float = np.inf

    def first(self, level: float) -> int | None:
        """The evaluation that first came down to a level."""
        return next((n for n, v in zip(*self[:2], strict=True) if v <= level), None)

    def tells(self, level: float) -> bool:
        """Whether it knows when that is: it did not end before, at a higher level."""
        return self.first(level) is not None or self.first(self.end) is None


class Run(NamedTuple):
    """Evaluations and seconds until a problem was solved; None where it was not."""

    evaluations: int | None
    seconds: float | None


class Program:
    """A solver on a function, made when it is first called."""

    def __init__(self, make: Make, f: Callable, steps: int = STEPS) -> None:
        """Nothing is made yet."""
        self.make, self.f, self.steps, self.made = make, f, steps, None

    def __call__(self, x: jax.Array, case: Case) -> Any:
        """The solver's answer."""
        self.made = self.made or self.make(self.f, self.steps)
        return self.made(x, case)


class Group:
    """Problems that are one function."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Takes any problems; the largest decides how many unknowns there are."""
        self.problems = list(problems)
        self.unknowns = max(len(p.x0) for p in problems)
        self.values: list[float] = []
        self.branches = [self.branch(p) for p in problems]
        slopes = [jax.grad(f) for f in self.branches]
        self.both = [jax.jit(jax.value_and_grad(f)) for f in self.branches]
        self.product = [
            jax.jit(lambda x, v, g=g: jax.jvp(g, (x,), (v,))[1]) for g in slopes
        ]  # fmt: skip
        self.counted = self.by_the_host()

    def branch(self, problem: Problem) -> Callable[[jax.Array], jax.Array]:
        """The problem as a function of all unknowns."""
        return lambda x: jnp.asarray(problem.f(x[: len(problem.x0)]), x.dtype)

    def compiled(self, x: jax.Array, case: Case) -> jax.Array:
        """The value, in one program with what calls it."""
        value = jax.lax.switch(case.index, self.branches, x)
        return jnp.where(value <= case.level, case.level, value)

    def by_the_host(self) -> Callable[[jax.Array, Case], jax.Array]:
        """The value from the host, which notes it; its derivatives are calls as well."""

        def value_and_slope(index: Any, level: Any, x: Any) -> tuple[np.ndarray, np.ndarray]:
            value, slope = map(np.asarray, self.both[int(index)](np.asarray(x)))
            self.values.append(float(value))
            flat = value <= np.asarray(level)
            return (np.asarray(level), np.zeros_like(slope)) if flat else (value, slope)

        def product(index: Any, x: Any, v: Any) -> np.ndarray:
            return np.asarray(self.product[int(index)](np.asarray(x), np.asarray(v)))

        @jax.custom_jvp
        def both(x: jax.Array, case: Case) -> Any:
            shapes = jax.ShapeDtypeStruct((), x.dtype), jax.ShapeDtypeStruct(x.shape, x.dtype)
            return jax.pure_callback(value_and_slope, shapes, case.index, case.level, x)

        @both.defjvp
        def _(at: Any, along: Any) -> Any:
            (x, case), (v, _) = at, along
            value, slope = both(x, case)
            shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
            curved = jax.pure_callback(product, shape, case.index, x, v)
            return (value, slope), (jnp.vdot(slope, v), curved)

        @jax.custom_jvp
        def value(x: jax.Array, case: Case) -> jax.Array:
            return both(x, case)[0]

        @value.defjvp
        def _(at: Any, along: Any) -> Any:
            value, slope = both(*at)
            return value, jnp.vdot(slope, along[0])

        return value

    def start(self, index: int) -> jax.Array:
        """Where the search begins."""
        x0 = self.problems[index].x0
        return jnp.zeros(self.unknowns).at[: len(x0)].set(jnp.asarray(x0, float))

    def height(self, index: int) -> float:
        """The value at the start."""
        return float(self.both[index](self.start(index))[0])

    def run(self, go: Callable, index: int, level: float, clock: Clock = WALL) -> float:
        """Runs a solver; its seconds."""
        case = Case(jnp.int32(index), jnp.asarray(level, float))
        x = jax.block_until_ready(self.start(index))
        start = clock()
        jax.block_until_ready(go(x, case))
        return clock() - start

    def trace(self, go: Callable, index: int, end: float) -> Trace:
        """Runs a solver until a value is reached; the evaluations that went lower than before."""
        self.values.clear()
        self.run(go, index, end)
        values = np.array(self.values)
        values = np.where(np.isnan(values), np.inf, values)
        lower = np.flatnonzero(values < np.minimum.accumulate(np.r_[np.inf, values])[:-1])
        return Trace([int(i) + 1 for i in lower], values[lower].tolist(), None, end)


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
    found = [
        [p for p in problems if below < len(p.x0) <= size] for below, size in pairwise((0, *SIZES))
    ]
    return [Group(alike) for alike in found if alike]


def measure(
    suite: str, problems: Sequence[Problem], solvers: dict[str, Make], cache: Cache,
    near: float = NEAR, rounds: int = ROUNDS, clock: Clock = WALL, timed: int = 1,
    fewer: dict[str, int] | None = None,
) -> dict[str, list[Run]]:  # fmt: skip
    """The runs of all solvers, in the order of the problems, but for those in the cache.

    The references among the solvers run first, all others only until a problem is solved; one that
    ended there runs again where a reference has since gone lower. One problem in `timed` is timed.
    Some solvers may have `fewer` steps than others.
    """
    first = [name for name in solvers if name in REFERENCES] or list(solvers)
    order = sorted(solvers, key=lambda name: name not in first)
    steps = dict.fromkeys(solvers, STEPS) | (fewer or {})
    ends: dict[str, float] = {}  # The values at which the problems are solved.
    for i, group in enumerate(groups(problems)):
        for name in order:
            program = Program(solvers[name], group.counted, steps[name])
            for k, problem in enumerate(group.problems):
                known = [cache.get(suite, other, problem.name) for other in first]
                ends[problem.name] = level(group, k, known, near)
                further = name in first and not problem.minima
                end = -np.inf if further else ends[problem.name]
                trace = cache.get(suite, name, problem.name)
                if trace is None or not trace.tells(end):
                    cache.put(group.trace(program, k, end), suite, name, problem.name)
            tell(program, cache, f"{suite}, group {i}: {name}")
    for problem in problems[::timed] if rounds else ():
        group, end = Group([problem]), ends[problem.name]
        traces = {name: cache.get(suite, name, problem.name) for name in solvers}
        new = {name: t for name, t in traces.items() if t and t.first(end) and t.seconds is None}
        programs = {name: Program(solvers[name], group.compiled, steps[name]) for name in new}
        for name, seconds in timing(group, end, programs, rounds, clock).items():
            cache.put(new[name]._replace(seconds=seconds), suite, name, problem.name)
        print(f"{suite}, times: {problem.name}", file=sys.stderr, flush=True)
        cache.keep()

    def run(name: str, problem: str) -> Run:
        trace = cache.get(suite, name, problem) or Trace([], [])
        return Run(trace.first(ends[problem]), trace.seconds)

    return {name: [run(name, p.name) for p in problems] for name in solvers}


def tell(program: Program, cache: Cache, what: str) -> None:
    """Says that a solver has run, and keeps its runs."""
    if program.made:
        print(what, file=sys.stderr, flush=True)
        cache.keep()


def level(group: Group, index: int, known: Sequence[Trace | None], near: float) -> float:
    """The value at which a problem is solved, by the least that the references met."""
    runs = [trace.values for trace in known if trace and trace.values]
    minima = group.problems[index].minima or (min((v[-1] for v in runs), default=-np.inf),)
    height = runs[0][0] if runs else group.height(index)  # All begin with the start.
    return max(low + near * (height - low) for low in minima)


def timing(
    group: Group, end: float, programs: dict[str, Program], rounds: int, clock: Clock
) -> dict[str, float]:
    """Seconds until a group's one problem is solved, medians of rounds in which all take turns."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(rounds + 1):  # The first may compile.
        for name, program in programs.items():
            seconds = group.run(program, 0, end, clock)
            times[name] += [seconds] if turn else []
    return {name: float(np.median(seconds)) for name, seconds in times.items()}
