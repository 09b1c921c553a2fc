"""What makes L-BFGS fast: one kernel for a small solve, and products of matrices for its two loops.

python -m benchmarks.lbfgs [--quick] [--seconds S] [--cpu-time] [--out FILE]
"""

import sys
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks.report import agree, command, destination, markdown, options, publish
from benchmarks.solvers import toy
from jnn.measure import program, race
from jnn.solve.methods.lbfgs import CurvaturePairs, empty, over_vectors, store, two_loop
from jnn.text import seconds_text
from jnn.xla.kernel import wish

SIZES = (2, 10, 100, 1000)
LONG = (10, 100, 10**4, 10**6)
PAIRS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Both races."""
    chosen = options(__doc__, "lbfgs").parse_args(arguments)
    solves = [["unknowns", "one kernel", "compiled in", "many / one", "compiled in"]]
    for n in SIZES[:1] if chosen.quick else SIZES:
        programs = {"one": solve(n)}
        with wish("0"):
            programs["many"] = solve(n)
        times = race(programs, budget=chosen.seconds, clock=chosen.clock)
        seconds = [f"{p.compile_seconds:.2f} s" for p in programs.values()]
        ratio = f"{times.ratio('many', 'one'):.2f}"
        solves.append([f"{n:,}", seconds_text(times.seconds("one")), seconds[0], ratio, seconds[1]])
    loops = [["unknowns", "products", "loops / products"]]
    for n in LONG[:1] if chosen.quick else LONG:
        pairs, gradient = remembered(n)
        programs = {
            "products": program(two_loop, pairs, gradient),
            "loops": program(over_vectors, pairs, gradient),
        }
        agree(f"{n} unknowns", programs)
        times = race(programs, budget=chosen.seconds, clock=chosen.clock)
        ratio = f"{times.ratio('loops', 'products'):.2f}"
        loops.append([f"{n:,}", seconds_text(times.seconds("products")), ratio])
    body = f"""\
Rosenbrock's function, 300 steps at most, float32; a call from outside, its overhead included.

{markdown(solves)}

The two loops over {PAIRS} pairs, float32: with matrices, and as printed (Algorithm 2).

{markdown(loops)}"""
    publish("Inside L-BFGS", command(chosen, "lbfgs"), body, destination(chosen, "lbfgs"))
    return 0


def solve(n: int):
    """The solve of the toy, compiled."""
    f = lambda x: toy(x)  # A new function, so that no cache knows it. # noqa: E731
    go = lambda x: jnn.minimize(f, x, jnn.lbfgs(), tol=0.0, max_steps=300).params  # noqa: E731
    return program(go, jnp.zeros(n, jnp.float32))


def remembered(n: int) -> tuple[CurvaturePairs, jax.Array]:
    """A full memory of a quadratic's steps, and a gradient."""
    random = np.random.default_rng(0)
    curvatures = jnp.asarray(random.uniform(1, 10, n), jnp.float32)
    pairs = empty(curvatures, PAIRS)
    for _ in range(PAIRS):
        s = jnp.asarray(random.normal(size=n), jnp.float32)
        pairs = store(pairs, s, curvatures * s)
    return pairs, jnp.asarray(random.normal(size=n), jnp.float32)


if __name__ == "__main__":
    sys.exit(main())
