"""Who differentiates: one function under all three modes, and Hessian-vector products.

    python examples/three_modes.py [--short] [--out FOLDER]

The function is the mean loss of a network with one hidden layer, as a function of its weights. Each
derivative that JAX can take is taken from hand-written VJPs ("backward"), from hand-written JVPs
("forward") and from the definitions ("autodiff"). The table shows its time, the picture the Hessian
and how the ways to multiply by it compare.
"""

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from jnn import plots
from jnn.measure import program, race

MODES = ("backward", "forward", "autodiff")


def loss_of(hidden: int, samples: int) -> tuple[Callable[[jax.Array], jax.Array], jax.Array]:
    """The loss as a function of all weights in one vector, and such a vector."""
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(samples, 4)), jnp.float32)
    t = jnp.sin(x.sum(-1, keepdims=True))

    def loss(weights: jax.Array) -> jax.Array:
        w1, b1, w2 = jnp.split(weights, [4 * hidden, 5 * hidden])
        h = jnn.rules.tanh(jnn.rules.affine(x, w1.reshape(4, hidden), b1))
        return jnp.square(jnn.rules.affine(h, w2.reshape(hidden, 1)) - t).mean()

    return loss, jnp.asarray(random.normal(size=6 * hidden) / 2, jnp.float32)


def derivatives_of(f: Callable, v: jax.Array) -> dict[str, Callable[[jax.Array], jax.Array]]:
    """Every derivative to be shown, as a function of the weights; `v` is a direction."""
    grad = jax.grad(f)
    return {
        "grad": grad,
        "jvp": lambda q: jax.jvp(f, (q,), (v,))[1],
        "jacrev": jax.jacrev(f),
        "jacfwd": jax.jacfwd(f),
        "hessian": jax.hessian(f),
        "H v, forward over reverse": lambda q: jax.jvp(grad, (q,), (v,))[1],
        "H v, reverse over reverse": lambda q: jax.grad(lambda q: jnp.vdot(grad(q), v))(q),
        "H v, reverse over forward": jax.grad(lambda q: jax.jvp(f, (q,), (v,))[1]),
    }


def measure(f: Callable, q: jax.Array, v: jax.Array, budget: float) -> dict[str, dict[str, Any]]:
    """Microseconds in each mode, None where a mode cannot; and how far the modes differ."""
    rows = {}
    for name, derivative in derivatives_of(f, v).items():
        programs = {}
        for mode in MODES:
            with jnn.derivatives(mode), contextlib.suppress(TypeError, NotImplementedError):
                programs[mode] = program(derivative, q)  # No tangents go through a custom VJP.
        times = race(programs, budget=budget)
        values = {mode: np.asarray(run()) for mode, run in programs.items()}
        scale = np.abs(values["autodiff"]).max()
        difference = max(np.abs(value - values["autodiff"]).max() for value in values.values())
        rows[name] = {"difference": difference / scale} | {
            mode: 1e6 * times.seconds(mode) if mode in programs else None for mode in MODES
        }
    return rows


def table(rows: dict[str, dict[str, Any]]) -> str:
    lines = [
        f"{'microseconds':26}" + "".join(f"{mode:>12}" for mode in MODES) + f"{'differ by':>12}"
    ]
    for name, row in rows.items():
        cells = ["-" if row[mode] is None else f"{row[mode]:.0f}" for mode in MODES]
        lines.append(
            f"{name:26}" + "".join(f"{c:>12}" for c in cells) + f"{row['difference']:12.1e}"
        )
    return "\n".join([*lines, "- : needs tangents, which this mode does not have"])


def draw(hessian: np.ndarray, rows: dict[str, dict[str, Any]], file: Path) -> None:
    picture = plots.figure(11, 4.4)
    left, right = picture.subplots(1, 2, width_ratios=(1, 1.6))
    limit = np.abs(hessian).max()
    image = left.imshow(hessian, cmap="RdBu", vmin=-limit, vmax=limit)
    picture.colorbar(image, ax=left, shrink=0.8)
    left.set_title(f"The Hessian, {len(hessian)} x {len(hessian)}", loc="left")
    left.set_xlabel("weight")
    left.set_ylabel("weight")

    places = np.arange(len(rows))[::-1]
    for i, (mode, (colour, *_)) in enumerate(zip(MODES, plots.STYLES, strict=False)):
        times = [row[mode] or 0 for row in rows.values()]
        right.barh(places + 0.25 * (1 - i), times, 0.22, label=mode, color=colour)
    for place, row in zip(places, rows.values(), strict=True):
        if row["backward"] is None:
            right.annotate("needs tangents", (0.01, place + 0.25), color=plots.INK, fontsize=7,
                           xycoords=right.get_yaxis_transform(), va="center")  # fmt: skip
    right.set_yticks(places, list(rows))
    right.set_xscale("log")
    right.set_xlabel("microseconds")
    right.set_title("Time of each derivative", loc="left")
    right.legend(frameon=False)
    right.spines[["top", "right"]].set_visible(False)
    picture.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="a small network, few runs")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    hidden, samples, budget = (4, 32, 0.02) if options.short else (12, 512, 0.5)

    loss, weights = loss_of(hidden, samples)
    direction = jnp.ones_like(weights)
    rows = measure(loss, weights, direction, budget)
    print(table(rows))

    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "three_modes.png"
    draw(np.asarray(jax.hessian(loss)(weights)), rows, file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
