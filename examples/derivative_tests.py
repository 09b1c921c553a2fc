"""The three tests of a derivative (T §4.3), drawn for a right rule and for a wrong one.

    python examples/derivative_tests.py [--short] [--out FOLDER]

The rule is softmax, whose outputs hang together: raise one and the others fall. Who forgets that
differentiates each output by its own input only, which is right on the diagonal of the Jacobian and
looks like the derivative of a sigmoid. Each test finds it in its own way: what the derivative
leaves of a difference falls like the step instead of its square (T-38, T-39), and `u (J v)` is not
`v (J' u)`.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from jnn import plots


@jnn.rule
def softmax(x: jax.Array) -> jax.Array:
    """Each row as probabilities.

    Saves: y, the output.
    """
    return jax.nn.softmax(x)


@softmax.forward
def softmax_forward(x):
    y = jax.nn.softmax(x)
    return y, y


@softmax.backward
def softmax_backward(y, delta):
    return (y * (delta - jnp.sum(y * delta, -1, keepdims=True)),)


@jnn.rule
def diagonal_softmax(x: jax.Array) -> jax.Array:
    """The same function, with the mistake in its backward.

    Saves: y, the output.
    """
    return jax.nn.softmax(x)


diagonal_softmax.forward(softmax_forward)


@diagonal_softmax.backward
def diagonal_softmax_backward(y, delta):
    return (y * (1 - y) * delta,)  # Of y_i by x_i, and nothing by the other x.


def tests(rule: Any, x: jax.Array, directions: int) -> dict[str, Any]:
    """The gradient test of a scalar made of the rule, and the two tests of the rule itself."""
    weights = jnp.arange(1.0, 1 + x.shape[-1], dtype=x.dtype)

    def energy(x: jax.Array) -> jax.Array:
        return jnp.vdot(jnp.broadcast_to(weights, x.shape), rule(x))

    return {
        "gradient": jnn.verify.gradient_test(energy, x, directions=directions),
        "Jacobian": jnn.verify.jacobian_test(rule, x, directions=directions),
        "transpose": jnn.verify.transpose_test(rule, x, directions=directions),
    }


def numbers(report: Any) -> str:
    """What the verdict rests on: fitted powers of the step, or the error of the pairs."""
    if hasattr(report, "corrected_orders"):
        first, corrected = np.nanmin(report.first_orders), np.nanmin(report.corrected_orders)
        return f"eps^{first:.2f}, corrected eps^{corrected:.2f}"
    return f"error {report.error.max():.0e}, may be {report.tolerance:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="few numbers, few directions")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    shape, directions = ((2, 3), 2) if options.short else ((4, 6), 5)
    x = jax.random.normal(jax.random.key(0), shape)

    found = {
        "right": tests(softmax, x, directions),
        "wrong": tests(diagonal_softmax, x, directions),
    }
    print(f"{'rule':7}{'test':11}{'verdict':9}{'numbers':34}worst entry")
    for name, reports in found.items():
        for test, report in reports.items():
            worst = str(report.wrong[0]) if report.wrong else ""
            print(f"{name:7}{test:11}{report.verdict:9}{numbers(report):34}{worst}".rstrip())
    assert all(report.ok == (name == "right") for name in found for report in found[name].values())

    picture = plots.figure(17, 9.2)
    rows = np.asarray(picture.subfigures(2, 1))
    for row, (name, reports) in zip(rows, found.items(), strict=True):
        row.suptitle(f"softmax with a {name} backward", fontweight="bold", fontsize=13)
        for part, report in zip(np.asarray(row.subfigures(1, 3)), reports.values(), strict=True):
            draw = getattr(plots, "gradient_test" if hasattr(report, "eps") else "transpose_test")
            draw(report, figure=part)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "derivative_tests.png"
    picture.savefig(file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
