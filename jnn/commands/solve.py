"""Minimise a function: print the trace, and draw the path or the curves.

PROBLEM is rosenbrock, beale, himmelblau, powell or wood, or one's own as PACKAGE.MODULE:NAME, a
function of one array that returns a number; then --start is needed. The exit status is 1 if no
tolerance was met.

Examples:
  python -m jnn solve rosenbrock --plot path.png
  python -m jnn solve wood --method bfgs --float32
  python -m jnn solve mypackage.problems:energy --start 1 0 2 --json
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnn.commands.reading.names import count, found, positive
from jnn.commands.writing.plain import as_json
from jnn.solve.minimize import METHODS, minimize
from jnn.solve.result import Progress, print_progress


class Problem(NamedTuple):
    """A function, and where to start."""

    f: Callable[[jax.Array], jax.Array]
    start: tuple[float, ...]


def rosenbrock(x: jax.Array) -> jax.Array:
    """A curved valley; 0 at (1, 1)."""
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def beale(x: jax.Array) -> jax.Array:
    """Flat far away, steep near the axes; 0 at (3, 1/2)."""
    powers = x[1] ** jnp.arange(1.0, 4.0, dtype=x.dtype)
    return jnp.sum((jnp.array([1.5, 2.25, 2.625], x.dtype) - x[0] * (1 - powers)) ** 2)


def himmelblau(x: jax.Array) -> jax.Array:
    """Four minima of height 0."""
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


def powell(x: jax.Array) -> jax.Array:
    """A singular Hessian at the minimum, 0 at 0."""
    a, b, c, d = x
    return (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4


def wood(x: jax.Array) -> jax.Array:
    """Two valleys coupled, with a saddle in the way; 0 at (1, 1, 1, 1)."""
    a, b, c, d = x
    valleys = 100 * (b - a**2) ** 2 + (1 - a) ** 2 + 90 * (d - c**2) ** 2 + (1 - c) ** 2
    return valleys + 10 * (b + d - 2) ** 2 + (b - d) ** 2 / 10


PROBLEMS = {
    "rosenbrock": Problem(rosenbrock, (-1.2, 1.0)),
    "beale": Problem(beale, (1.0, 1.0)),
    "himmelblau": Problem(himmelblau, (0.0, 0.0)),
    "powell": Problem(powell, (3.0, -1.0, 0.0, 1.0)),
    "wood": Problem(wood, (-3.0, -1.0, -3.0, -1.0)),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("problem", metavar="PROBLEM", type=problem, help="what to minimise")
    parser.add_argument("--method", default="lbfgs", choices=METHODS, help="the solver (lbfgs)")
    parser.add_argument("--start", type=float, nargs="+", metavar="X", help="the first point")
    parser.add_argument("--tol", type=positive, help="on the gradient's largest entry")
    parser.add_argument("--max-steps", type=count, default=1000, metavar="N", help="at most (1000)")
    parser.add_argument("--float32", action="store_true", help="in single precision")
    parser.add_argument("--plot", metavar="FILE", help="draw the path (2-D) or the curves to FILE")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints a line a step and how the search ended."""
    known = len(options.problem.start)
    if options.start is None and not known:
        print("jnn solve: a problem of one's own needs --start.", file=sys.stderr)
        return 2
    if known and options.start is not None and len(options.start) != known:
        given = len(options.start)
        print(f"jnn solve: the problem has {known} unknowns, --start {given}.", file=sys.stderr)
        return 2
    told: list[Progress] = []

    def tell(progress: Progress) -> None:
        if not options.json:
            print_progress(progress)
        told.append(jax.tree.map(np.asarray, progress))

    with double(not options.float32):
        start = jnp.asarray(options.start or options.problem.start, jnp.result_type(float))
        result = minimize(
            options.problem.f, start, method=options.method, tol=options.tol,
            max_steps=options.max_steps, callback=tell,
        )  # fmt: skip
        jax.block_until_ready(result.params)
        jax.effects_barrier()
        if options.plot:
            draw(options.problem.f, start, told, options.plot)
        if options.json:
            names = ("message", "success", "value", "params", "gradient_norm", "steps",
                     "evaluations")  # fmt: skip
            print(as_json({name: getattr(result, name) for name in names}))
        else:
            print(result.message)
            print(f"value {float(result.value):.8g} at {np.asarray(result.params)}")
            print(f"{int(result.steps)} steps, {int(result.evaluations)} evaluations")
            if options.plot:
                print(f"picture: {options.plot}")
        return 0 if result.success else 1


@contextmanager
def double(on: bool = True) -> Iterator[None]:
    """Float64 in all threads: JAX may call back from another than the one that calls it."""
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", on)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def draw(f: Callable, start: jax.Array, told: list[Progress], path: str) -> None:
    """The path on the map of the function, or value and gradient step by step."""
    from jnn import plots  # Needs matplotlib, which the rest does not.

    if start.size == 2:
        points = np.stack([np.asarray(start), *(np.asarray(p.params) for p in told)])
        plots.descent_path(jax.vmap(f), points, path)
    else:
        curves = {"value": [float(p.value) for p in told]}
        if not all(np.isnan(p.gradient_norm) for p in told):  # Some methods need none.
            curves["gradient"] = [float(p.gradient_norm) for p in told]
        plots.history(curves, path, step="step")


def problem(name: str) -> Problem:
    """The problem of that name, `rosenbrock` or `package.module:name`.

    >>> from jnn.commands.solve import problem
    >>> problem("rosenbrock").start
    (-1.2, 1.0)
    """
    one = found(name, "problem", PROBLEMS)
    return one if isinstance(one, Problem) else Problem(one, ())
