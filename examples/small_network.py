"""A small network fitted to convergence by Levenberg-Marquardt, L-BFGS, CG and Adam (H §4.1, §8).

    python examples/small_network.py [--short] [--out FOLDER]

Hedberg says that Levenberg-Marquardt wins on small networks. Here it is tried on one, from several
starts, with all samples at once: the table shows how far each method comes and how long it takes.
The picture's other half is the error along the first direction of descent, with the steps that line
searches take there.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import jnn
from jnn import plots

STARTS = 5
HIDDEN = 10
SAMPLES = 100
RATE = 3e-2  # Of Adam; falls to zero along a cosine.


class Way(NamedTuple):
    """The errors on the way, how much work had been done by then, and the seconds of it all."""

    error: np.ndarray
    work: np.ndarray
    steps: int
    seconds: float


def data() -> tuple[jax.Array, jax.Array]:
    """A curve with a steep part, which a network of that size can follow."""
    x = jnp.linspace(-1, 1, SAMPLES)[:, None]
    return x, jnp.sin(3 * x) + jnp.tanh(10 * x)


def methods(net: Any, x: jax.Array, t: jax.Array, steps: int) -> dict[str, Callable]:
    """Each as a function of the first parameters: errors on the way, work until each, steps."""

    def residual(params: Any) -> jax.Array:
        return net(params, x) - t

    def error(params: Any) -> jax.Array:
        return jnn.squared_error(net(params, x), t).sum()

    def solver(find: Callable, factor: float) -> Callable:
        def run(params: Any) -> tuple:
            found = find(params)
            return factor * found.history.value, found.history.evaluations, found.steps

        return run

    def minimize(make: Callable) -> Callable:
        return solver(
            lambda p: jnn.minimize(error, p, make(), tol=1e-9, max_steps=steps, history=True), 1.0
        )

    def adam(params: Any) -> tuple:
        optimizer = jnn.adam(jnn.schedules.cosine(RATE, 2 * steps))

        def step(carry: tuple, _: None) -> tuple:
            params, state = carry
            value, gradient = jax.value_and_grad(error)(params)
            updates, state = optimizer.update(gradient, state, params)
            return (jax.tree.map(jnp.add, params, updates), state), value

        _, values = jax.lax.scan(step, (params, optimizer.init(params)), None, 2 * steps)
        return values, jnp.arange(1, 2 * steps + 1), jnp.int32(2 * steps)

    lm = solver(lambda p: jnn.least_squares(residual, p, max_steps=steps, history=True), 2.0)
    return {
        "Levenberg-Marquardt": lm,
        "L-BFGS": minimize(jnn.lbfgs),
        "CG": minimize(jnn.nonlinear_cg),
        "Adam": adam,
    }


def follow(run: Callable, starts: list[Any]) -> list[Way]:
    """The ways from all starts, timed by a second run."""
    go, ways = jax.jit(run), []
    jax.block_until_ready(go(starts[0]))
    for params in starts:
        begin = time.perf_counter()
        errors, work, steps = jax.block_until_ready(go(params))
        seconds = time.perf_counter() - begin
        there = np.isfinite(errors) & (np.asarray(work) >= 0)
        ways.append(Way(np.asarray(errors)[there], np.asarray(work)[there], int(steps), seconds))
    return ways


def until(ways: list[Way], level: float) -> float:
    """The median milliseconds until an error is reached, infinite where less than half do."""
    times = [
        1e3 * way.seconds * way.work[way.error <= level][0] / way.work[-1]
        if (way.error <= level).any() else np.inf
        for way in ways
    ]  # fmt: skip
    return float(np.median(times))


def table(found: dict[str, list[Way]]) -> str:
    """Where each method ends, and how long it takes to come down to common errors."""
    levels = (1e-2, 1e-4, 1e-6, 1e-8)
    heads = ("error at the end", "steps", "ms", *(f"ms to {level:g}" for level in levels))
    lines = [f"{'medians of the starts':22}" + "".join(f"{head:>17}" for head in heads)]
    for name, ways in found.items():
        cells = [
            f"{np.median([way.error.min() for way in ways]) / SAMPLES:.1e}",
            f"{np.median([way.steps for way in ways]):.0f}",
            f"{1e3 * np.median([way.seconds for way in ways]):.1f}",
            *(f"{until(ways, level * SAMPLES):.1f}".replace("inf", "-") for level in levels),
        ]
        lines.append(f"{name:22}" + "".join(f"{cell:>17}" for cell in cells))
    return "\n".join(lines)


def searches(error: Callable, params: Any) -> dict[str, tuple[float, float]]:
    """Step and error of line searches along the negative gradient, from a step of 1."""
    flat, unravel = ravel_pytree(params)
    both = jax.value_and_grad(lambda v: error(unravel(v)))

    @jax.jit
    def ends() -> dict[str, tuple]:
        value, gradient = both(flat)

        def phi(alpha: jax.Array) -> tuple:
            there, slope = both(flat - alpha * gradient)
            return there, -slope @ gradient, ()

        origin = value, -gradient @ gradient, ()
        names = ("wolfe", "exact")
        found = {n: getattr(jnn.linesearch, n)(phi, origin, start=jnp.ones(())) for n in names}
        return {name: (end.alpha, end.value) for name, end in found.items()}

    return {name: (float(alpha), float(value)) for name, (alpha, value) in ends().items()}


def draw(
    found: dict[str, list[Way]], curve: Any, ends: dict[str, tuple[float, float]], file: Path
) -> None:
    """The errors over time, a line for each start, and the error along the first direction."""
    picture = plots.figure(11, 4.4)
    left, right = map(plots.styled, picture.subplots(1, 2))
    for (name, ways), (colour, dashes, _) in zip(found.items(), plots.STYLES, strict=False):
        for i, way in enumerate(ways):
            left.plot(
                1e3 * way.seconds * way.work / way.work[-1], way.error / SAMPLES, color=colour,
                linestyle=dashes, linewidth=1.2, label=None if i else name,
            )  # fmt: skip
    left.set(xscale="log", yscale="log", xlabel="milliseconds", ylabel="mean squared error")
    left.set_title("To convergence, from each start", loc="left", fontweight="bold")
    left.legend(frameon=False, fontsize=9)

    right.plot(curve.alpha, curve.value / SAMPLES, color=plots.INK, linewidth=1.5)
    styles = zip(ends.items(), plots.STYLES, strict=False)
    for (name, (alpha, value)), (colour, _, marker) in styles:
        right.plot(alpha, value / SAMPLES, marker, color=colour, markersize=8, label=name)
    right.set(xscale="log", yscale="log", xlabel="step along the negative gradient",
              ylabel="mean squared error")  # fmt: skip
    right.set_title("The error along the first direction", loc="left", fontweight="bold")
    right.legend(frameon=False, fontsize=9)
    picture.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="one start, few steps")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    starts, steps = (1, 50) if options.short else (STARTS, 3000)

    net = jnn.models.mlp([HIDDEN, 1])
    with jax.enable_x64(True):
        x, t = data()
        params = [net.init(jax.random.key(i), x)[0] for i in range(starts)]
        found = {name: follow(run, params) for name, run in methods(net, x, t, steps).items()}
        error = lambda params: jnn.squared_error(net(params, x), t).sum()  # noqa: E731
        curve = jnn.solve.error_curve(error, params[0], alphas=np.geomspace(1e-4, 0.1, 61))
        curve = jax.tree.map(np.asarray, curve)
        ends = searches(error, params[0])
    print(table(found))
    for name, (alpha, value) in ends.items():
        print(f"{name:8} steps to {alpha:.3g}, where the error is {value / SAMPLES:.3g}")

    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "small_network.png"
    draw(found, curve, ends, file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
