"""Would one rule for an affine map and its activation save memory or time over the two?

    python -m benchmarks.fused [--quick] [--seconds S] [--cpu-time] [--out FILE]

The candidate is built here, and is not part of the library unless it pays.
"""

import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks.report import agree, command, destination, in_mode, markdown, options, publish
from jnn.floats import cotangent, pulled
from jnn.measure import Race, race
from jnn.rules.pointwise.activation import activation as chosen_activation
from jnn.text import bytes_text, seconds_text
from jnn.verify.compare.residuals import residuals

# (batch, in, out)
SIZES = ((256, 784, 512), (256, 512, 10), (1024, 1024, 1024))
ACTIVATIONS = ("relu", "tanh", "gelu")
PAYS = 0.95  # Where the fused rule takes at most this part of the time of two.


@jnn.rule
def dense(x: jax.Array, w: jax.Array, b: jax.Array, *, activation: str) -> jax.Array:
    """The activation of an affine map, in one rule."""
    z = jnn.rules.affine.parts.definition(x, w, b)
    return chosen_activation("dense", activation).parts.definition(z)


@dense.forward
def dense_forward(x, w, b, *, activation):
    z = jnn.rules.affine.parts.definition(x, w, b)
    y, kept = chosen_activation("dense", activation).parts.forward(z)
    return y, (x, w, kept)


@dense.backward
def dense_backward(saved, delta, *, activation):
    x, w, kept = saved
    (u,) = chosen_activation("dense", activation).parts.backward(kept, delta)
    return jnn.rules.affine.parts.backward((x, w), u)


def main(arguments: Sequence[str] | None = None) -> int:
    """Races the fused rule against the two rules."""
    chosen = options(__doc__, "fused").parse_args(arguments)
    rows = [("dense", "batch, in, out", "two rules", "one / two", "temporaries", "saved")]
    gains, saves = [], False
    for activation in ACTIVATIONS[:1] if chosen.quick else ACTIVATIONS:
        step = jnn.rules.registry[activation]
        for size in ((4, 3, 2),) if chosen.quick else SIZES:
            random = np.random.default_rng(0)
            batch, n, m = size
            shapes = ((batch, n), (n, m), (m,))
            args = tuple(jnp.asarray(random.normal(size=s) / n**0.5, jnp.float32) for s in shapes)

            def two(x: Any, w: Any, b: Any, step: Any = step) -> Any:
                return step(jnn.rules.affine(x, w, b))

            def one(x: Any, w: Any, b: Any, activation: str = activation) -> Any:
                return dense(x, w, b, activation=activation)

            functions = {"two rules": two, "one rule": one}
            delta = cotangent(jax.eval_shape(two, *args))
            programs = {
                name: in_mode("backward", lambda args, d, f=f: pulled(f, args, d), args, delta)
                for name, f in functions.items()
            }
            agree(f"{activation} at {size}", programs)
            times = race(programs, budget=chosen.seconds, clock=chosen.clock)
            saved = {name: residuals(f, *args).bytes("hand") for name, f in functions.items()}
            memory = {name: p.temporaries or 0 for name, p in programs.items()}
            gains.append(times.ratio("one rule", "two rules"))
            saves |= any(q["one rule"] < q["two rules"] for q in (saved, memory))
            rows.append((
                activation, ", ".join(map(str, size)), seconds_text(times.seconds("two rules")),
                _ratio(times), _pair(memory), _pair(saved),
            ))  # fmt: skip
    body = f"""\
Value and gradient, float32. The ratio is the median over interleaved rounds, in parentheses the
middle half; memory is that of one rule / of two.

{markdown(rows)}

{verdict(gains, saves)}"""
    publish(
        "One rule for a dense layer?", command(chosen, "fused"), body, destination(chosen, "fused")
    )
    return 0


def verdict(ratios: Sequence[float], saves: bool) -> str:
    """Whether the fused rule pays, in a sentence."""
    median = float(np.median(ratios))
    memory = "saves memory" if saves else "saves no memory"
    if saves or median <= PAYS:
        return f"The fused rule pays: it {memory}, and its median ratio is {median:.2f}."
    return (
        f"The fused rule does not pay: it {memory}, and its median ratio is {median:.2f}. The\n"
        "compiler fuses the two rules as well, so the library has no fused one."
    )


def _ratio(times: Race) -> str:
    low, high = times.spread("one rule", "two rules")
    return f"{times.ratio('one rule', 'two rules'):.2f} ({low:.2f} ... {high:.2f})"


def _pair(numbers: dict[str, int]) -> str:
    return f"{bytes_text(numbers['one rule'])} / {bytes_text(numbers['two rules'])}"


if __name__ == "__main__":
    sys.exit(main())
