"""Delmas' question: do better integrators of dq/dt = -J reach a minimum in fewer gradients?

Each method is given the best of many rates. What counts is how many gradients it asks for until the
function is within a tolerance of its minimum.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks.report import command, destination, markdown, options, publish

TOLERANCE = 1e-6  # Of the fall from the start to the minimum.
RATES = np.geomspace(1e-4, 1e2, 61)


class Problem(NamedTuple):
    """A function, its least value and where to start."""

    function: Callable[[jax.Array], jax.Array]
    least: float
    start: np.ndarray


def quadratic(condition: float, size: int = 20) -> Problem:
    """A quadratic whose curvatures lie between 1 / condition and 1."""
    curvatures = np.geomspace(1 / condition, 1, size)
    return Problem(lambda q: jnp.sum(jnp.asarray(curvatures) * q**2) / 2, 0.0, np.ones(size))


def rosenbrock() -> Problem:
    """The curved valley, from (-1.2, 1)."""
    return Problem(
        lambda q: 100 * (q[1] - q[0] ** 2) ** 2 + (1 - q[0]) ** 2, 0.0, np.array([-1.2, 1.0])
    )


def logistic(samples: int = 60, size: int = 8) -> Problem:
    """Logistic regression with L2 on features of very different scales."""
    random = np.random.default_rng(0)
    x = random.normal(size=(samples, size)) * np.geomspace(0.05, 2, size)
    t = (x.sum(1) + random.normal(size=samples) > 0).astype(float)

    def function(q: jax.Array) -> jax.Array:
        z = jnp.asarray(x) @ q
        return jnp.mean(jax.nn.softplus(z) - jnp.asarray(t) * z) + 5e-4 * jnp.sum(q**2)

    q = np.zeros(size)
    for _ in range(30):  # Newton's method, for the least value.
        q = q - np.linalg.solve(jax.hessian(function)(q), jax.grad(function)(q))
    return Problem(function, float(function(jnp.asarray(q))), np.zeros(size))


PROBLEMS = {
    "quadratic, condition 100": lambda: quadratic(100),
    "quadratic, condition 1000": lambda: quadratic(1000),
    "logistic regression": logistic,
    "Rosenbrock": rosenbrock,
}

EULER = "Euler: gradient descent"

# Each method with the gradients that a step of it asks for.
METHODS: dict[str, tuple[Callable[[Any], Any], int]] = {
    EULER: (jnn.gd, 1),
    "midpoint (D-13)": (jnn.midpoint, 1),
    "three-step (D-14)": (jnn.three_step, 1),
    "Adams-Bashforth 2": (jnn.adams_bashforth, 1),
    "Adams-Bashforth 3": (lambda rate: jnn.adams_bashforth(rate, 3), 1),
    "Heun": (jnn.heun, 2),
    "Runge-Kutta 4": (jnn.rk4, 4),
    "Chebyshev, 5 stages": (lambda rate: jnn.chebyshev(rate, 5), 5),
    "Chebyshev, 10 stages": (lambda rate: jnn.chebyshev(rate, 10), 10),
    "Chebyshev, 20 stages": (lambda rate: jnn.chebyshev(rate, 20), 20),
    "Chebyshev of order 2, 10 stages": (lambda rate: jnn.chebyshev(rate, 10, order=2), 10),
    "for comparison: heavy ball, 0.9": (jnn.heavy_ball, 1),
    "for comparison: Nesterov, 0.9": (jnn.nesterov, 1),
}


def evaluations(problem: Problem, method: str, budget: int) -> tuple[int, float] | None:
    """The fewest gradients to the tolerance over all rates, and that rate; None if none does it."""
    make, price = METHODS[method]
    gradient = jax.grad(problem.function)
    start = jnp.asarray(problem.start)
    fall = problem.function(start) - problem.least

    def run(rate: jax.Array) -> jax.Array:
        optimizer = make(rate)

        def step(carry: Any, _: None) -> Any:
            q, state = carry
            updates, state = optimizer.update(gradient(q), state, q, gradient=gradient)
            q = jnn.apply_updates(q, updates)
            return (q, state), problem.function(q) - problem.least

        carry = start, optimizer.init(start)
        _, gaps = jax.lax.scan(step, carry, length=budget // price)
        near = gaps <= TOLERANCE * fall
        # A method that only passes by, on its way to infinity, has not arrived.
        return jnp.where(near[-1], price * (jnp.argmax(near) + 1), jnp.iinfo(jnp.int32).max)

    counts = np.asarray(jax.jit(jax.vmap(run))(jnp.asarray(RATES)))
    best = int(counts.argmin())
    return (int(counts[best]), float(RATES[best])) if counts[best] <= budget else None


def shown(found: tuple[int, float] | None, euler: tuple[int, float] | None) -> str:
    """The gradients, that many over Euler's, and the rate."""
    if found is None:
        return "-"
    ratio = f"{found[0] / euler[0]:.2f}; " if euler else ""
    return f"{found[0]} ({ratio}{found[1]:.2g})"


ANSWER = """\
The gradients asked for until a millionth of the fall is left, at the best of {rates} rates between
{low:g} and {high:g}; in brackets that many over Euler's, and the rate. A dash: not within {budget}
gradients at any rate."""

FOUND = """

Higher order does not pay: on the way to a minimum stability bounds the rate, not accuracy, and for
each gradient these methods bear less of it than Euler. D-13 and D-14 do not arrive at all, as their
roots say. Chebyshev's steps, which spend their gradients on stability, pay where curvatures differ
by a thousand, and not where they differ by a hundred. Momentum pays more than any of them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark."""
    chosen = options(__doc__, "integrators").parse_args(arguments)
    budget = 400 if chosen.quick else 40_000
    rows = [["method", *PROBLEMS]]
    with jax.enable_x64(True):
        problems = {name: make() for name, make in PROBLEMS.items()}
        euler = {name: evaluations(p, EULER, budget) for name, p in problems.items()}
        for method in METHODS:
            row = [method]
            for name, problem in problems.items():
                found = euler[name] if method == EULER else evaluations(problem, method, budget)
                row.append(shown(found, euler[name]))
            rows.append(row)
    answer = ANSWER.format(rates=len(RATES), low=RATES[0], high=RATES[-1], budget=budget)
    body = f"{markdown(rows)}\n\n{answer}{'' if chosen.quick else FOUND}"
    line = command(chosen, "integrators")
    publish("Integrators of the gradient flow", line, body, destination(chosen, "integrators"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
