"""Optimizers side by side on functions of two numbers, and where integrators are stable (D-1..14).

    python examples/optimizers_2d.py [--short] [--out FOLDER]

Gradient descent is Euler's method on the flow dq/dt = -J. Delmas asks whether better integrators
make better optimizers: the paths say how the usual ones differ, the regions say which integrators
may be used at all. Those that he proposes, the midpoint rule (D-13) and the three-step rule (D-14),
are stable nowhere.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from jnn import plots
from jnn.optim import multistep_roots


class Landscape(NamedTuple):
    """A function of two numbers, its frame, where to start and where to go."""

    f: Callable[[Any], Any]
    start: tuple[float, float]
    minimum: tuple[float, float]
    low: tuple[float, float]
    high: tuple[float, float]
    rate: float  # Of gradient descent; the others' are multiples of it.


def ravine(q: jax.Array) -> jax.Array:
    return 0.5 * (q[..., 0] ** 2 + 25 * q[..., 1] ** 2)


def banana(q: jax.Array) -> jax.Array:
    """Rosenbrock's function, less steep."""
    return (1 - q[..., 0]) ** 2 + 10 * (q[..., 1] - q[..., 0] ** 2) ** 2


def saddle(q: jax.Array) -> jax.Array:
    """A saddle at the origin, a minimum below and above it."""
    return 0.5 * q[..., 0] ** 2 + 0.25 * q[..., 1] ** 4 - 0.5 * q[..., 1] ** 2


LANDSCAPES = {
    "A ravine": Landscape(ravine, (-4.0, 1.2), (0, 0), (-4.6, -1.7), (2.1, 1.7), 0.07),
    "Rosenbrock's banana": Landscape(banana, (-1.2, 1.6), (1, 1), (-1.9, -0.7), (1.7, 2.4), 0.012),
    "A saddle": Landscape(saddle, (-1.8, 0.1), (0, 1), (-2.1, -0.4), (1.2, 1.6), 0.2),
}


def optimizers(rate: float) -> dict[str, Any]:
    return {
        "gradient descent": jnn.gd(rate),
        "heavy ball": jnn.heavy_ball(rate / 2, 0.8),
        "Nesterov": jnn.nesterov(rate / 2, 0.9),
        "RMSProp": jnn.rmsprop(0.5 * rate),
        "Adam": jnn.adam(2 * rate),
    }


def way(optimizer: Any, f: Callable, start: Any, steps: int) -> np.ndarray:
    """The points that an optimizer visits, in one compiled scan."""
    gradient = jax.grad(f)

    def step(carry: Any, _: None) -> tuple[Any, jax.Array]:
        q, state = carry
        updates, state = optimizer.update(gradient(q), state, q, gradient=gradient)
        q = jnn.apply_updates(q, updates)
        return (q, state), q

    @jax.jit
    def run(q: jax.Array) -> jax.Array:
        _, points = jax.lax.scan(step, (q, optimizer.init(q)), None, length=steps)
        return jnp.concatenate([q[None], points])

    return np.asarray(run(jnp.asarray(start)))


def linear(moves: list[float], gradients: list[float]) -> Callable[[np.ndarray], np.ndarray]:
    """The growth of a multistep method's errors, as a function of z = -alpha lambda."""
    return lambda z: abs(multistep_roots(moves, gradients, -z))[..., 0]


def exponential(order: int) -> Callable[[np.ndarray], np.ndarray]:
    """That of a Runge-Kutta method of so many stages and that order: a piece of the exponential."""
    terms = 1 / np.cumprod([1, *range(1, order + 1)])
    return lambda z: abs(np.polynomial.polynomial.polyval(z, terms))


METHODS = {
    "Euler: gradient descent": linear([], [1.0]),
    "heavy ball, 0.9": linear([0.9], [1.0]),
    "Adams-Bashforth 2": linear([], [3 / 2, -1 / 2]),
    "Adams-Bashforth 3": linear([], [23 / 12, -16 / 12, 5 / 12]),
    "Runge-Kutta 4": exponential(4),
    "midpoint (D-13)": linear([-1.0], [2.0]),
    "three-step (D-14)": linear([-2.5, 0.5], [3.0]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="one landscape, few steps")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    steps = 20 if options.short else 120
    chosen = dict(list(LANDSCAPES.items())[: 1 if options.short else None])

    picture = plots.figure(13, 11)
    parts = np.asarray(picture.subfigures(2, 2)).ravel()
    print(f"{'height above the minimum':26}{'start':>10}{'20 steps':>12}{f'{steps} steps':>12}")
    for part, (title, place) in zip(parts, chosen.items(), strict=False):
        print(title)
        ways = {
            name: way(optimizer, place.f, place.start, steps)
            for name, optimizer in optimizers(place.rate).items()
        }
        least = place.f(np.array(place.minimum, dtype=float))
        for name, points in ways.items():
            height = place.f(points) - least
            print(f"  {name:24}{height[0]:10.2f}{height[20]:12.2e}{height[-1]:12.2e}")
        plots.paths(place.f, ways, low=place.low, high=place.high, minimum=place.minimum,
                    title=title, figure=part)  # fmt: skip

    print("\nFor which alpha lambda on the real axis errors shrink")
    grid = np.linspace(1e-3, 5, 5000)
    for name, growth in METHODS.items():
        bears = grid[growth(-grid) < 1]
        print(f"  {name:26}{f'up to {bears.max():.2f}' if bears.size else 'none'}")
    plots.stability(METHODS, box=(-4.2, 1.2, -3.1, 3.1), figure=parts[-1])
    parts[-1].axes[0].set_title("Regions of stability", loc="left", fontweight="bold")
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "optimizers_2d.png"
    picture.savefig(file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
