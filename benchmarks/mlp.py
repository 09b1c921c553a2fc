"""A step of SGD on an MLP for digits: by hand, under autodiff, and with Flax and optax.

    python -m benchmarks.mlp [--quick] [--seconds S] [--cpu-time] [--out FILE]

The network is 784-512-512-10 with relu and the softmax cross-entropy, the batch 256. XLA fuses it
so well that parity is the goal: at most 1.05 times the time of autodiff, and no more temporary
memory.
"""

import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks import peers
from benchmarks.report import agree, command, destination, in_mode, markdown, options, publish
from jnn.measure import program, race
from jnn.text import bytes_text, seconds_text
from jnn.verify.compare.residuals import residuals

RATE = 0.1
GOAL = 1.05


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures one step of training."""
    chosen = options(__doc__, "mlp").parse_args(arguments)
    features, sizes, batch = (12, (8, 8, 3), 4) if chosen.quick else (784, (512, 512, 10), 256)
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(batch, features)), jnp.float32)
    t = jnp.asarray(random.integers(0, sizes[-1], batch), jnp.int32)
    net = jnn.models.mlp(sizes, activation="relu")
    params, _ = net.init(jax.random.key(0), x)

    def loss(params: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        return jnn.softmax_cross_entropy(net(params, x), t).mean()

    def step(params: Any, x: jax.Array, t: jax.Array) -> Any:
        value, grads = jax.value_and_grad(loss)(params, x, t)
        return value, jax.tree.map(lambda p, g: p - RATE * g, params, grads)

    programs = {
        "by hand": in_mode("backward", step, params, x, t),
        "autodiff": in_mode("autodiff", step, params, x, t),
    }
    flax = peers.flax_step(sizes, RATE, params)
    if flax is not None:
        theirs, their_params = flax
        programs["Flax and optax"] = program(theirs, their_params, x, t)
    agree("mlp", programs)
    times = race(programs, budget=5 * chosen.seconds, clock=chosen.clock)

    ledger = residuals(loss, params, x, t)
    saved = {"by hand": ledger.bytes("hand", "new"), "autodiff": ledger.bytes("autodiff", "new")}
    rows = [("a step of SGD", "time", "by hand / it", "temporaries", "saved", "compile", "flops")]
    for name, p in programs.items():
        low, high = times.spread("by hand", name)
        rows.append((
            name, seconds_text(times.seconds(name)),
            f"{times.ratio('by hand', name):.2f} ({low:.2f} ... {high:.2f})",
            "?" if p.temporaries is None else bytes_text(p.temporaries),
            bytes_text(saved[name]) if name in saved else "-",
            seconds_text(p.compile_seconds), "?" if p.flops is None else f"{p.flops:,.0f}",
        ))  # fmt: skip
    body = f"""\
MLP {features}-{"-".join(map(str, sizes))}, relu, softmax cross-entropy, batch {batch}, float32:
loss, gradient and update of all parameters in one compiled program. Times and ratios are medians
over {times.rounds} interleaved rounds, in parentheses the middle half. Saved is what JAX hands
from the forward to the backward beyond inputs and output; XLA may keep less.

{markdown(rows)}

{verdict(times.ratio("by hand", "autodiff"), programs)}"""
    if flax is None:
        body += f"\n\nFlax and optax are left out: they are not installed; {peers.MISSING}."
    publish("A step of SGD on an MLP", command(chosen, "mlp"), body, destination(chosen, "mlp"))
    return 0


def verdict(ratio: float, programs: dict[str, Any]) -> str:
    """Whether the goal is met, in a sentence."""
    fast = ratio <= GOAL
    hand, autodiff = (programs[name].temporaries for name in ("by hand", "autodiff"))
    lean = hand is None or autodiff is None or hand <= autodiff
    return (
        f"Goal, a ratio to autodiff of at most {GOAL}: {'met' if fast else 'missed'} "
        f"({ratio:.2f}). Goal, temporaries no larger: {'met' if lean else 'missed'}."
    )


if __name__ == "__main__":
    sys.exit(main())
