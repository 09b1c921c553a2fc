"""A rule of one's own: from its definition to its proof, and against autodiff.

    python examples/own_rule.py [--short] [--out FOLDER]

The rule is the gate of today's language models, `x * silu(g)`. Its backward keeps the two inputs
and computes the rest again; JAX keeps what it met on the way.
"""

import argparse
from pathlib import Path

import jax
import numpy as np

import jnn


@jnn.rule
def gated(x: jax.Array, g: jax.Array) -> jax.Array:
    """The gated input `y = x h` with `h = g s`, `s = sigmoid(g)`.

    Its derivative: `dx = h delta` and `dg = x (s + h (1 - s)) delta`.

    Saves: x, g. Both are inputs; s is computed again, an exponential costs less than a tensor.
    """
    return x * (g * jax.nn.sigmoid(g))


@gated.forward
def gated_forward(x, g):
    return x * (g * jax.nn.sigmoid(g)), (x, g)


@gated.backward
def gated_backward(saved, delta):
    x, g = saved
    h, slope = gate(g)
    return delta * h, delta * x * slope


@gated.tangent
def gated_tangent(primals, tangents):
    (x, g), (dx, dg) = primals, tangents
    h, slope = gate(g)
    return x * h, dx * h + x * slope * dg


def gate(g):
    """silu(g) and its derivative."""
    s = jax.nn.sigmoid(g)
    return g * s, s + g * s * (1 - s)


@gated.example
def gated_example(random: np.random.Generator) -> jnn.rules.Example:
    shape = random.integers(1, 5, 2)
    return jnn.rules.Example(random.normal(size=shape), random.normal(size=shape))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="small arrays, few runs")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    report = jnn.verify.check(gated)
    print(report)
    if not report.ok:
        raise SystemExit(1)

    rows, budget = (64, 0.05) if options.short else (2048, 3.0)
    x, g = jax.random.normal(jax.random.key(0), (2, rows, 512))
    comparison = jnn.compare(gated, x, g, budget=budget)
    print(f"\n{comparison}")
    file = options.out / "own_rule.png"
    comparison.plot(file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
