"""Every rule alone: value and gradient by hand, under autodiff, and by a peer's function.

    python -m benchmarks.rules [RULE ...] [--quick] [--seconds S] [--cpu-time] [--out FILE]

A ratio is the time by hand over the other's: below 1 the hand-written rule is faster.
"""

import functools
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks import peers
from benchmarks.report import agree, command, destination, in_mode, markdown, options, publish
from jnn.floats import cast, cotangent, pulled
from jnn.measure import Clock, Program, Race, program, race
from jnn.rules import Example, registry
from jnn.text import bytes_text, seconds_text
from jnn.verify.compare.residuals import Ledger, residuals
from jnn.verify.compare.typical import typical

# A batch as in the documents' examples; and arrays that no cache holds. Products of matrices that
# large would take seconds, so their rules get a size of their own.
SIZES = (
    {"batch": 256, "features": 512, "classes": 10},
    {"batch": 4096, "features": 1024, "classes": 1000},
)
MATRIX_SIZES = ({"batch": 256, "features": 512}, {"batch": 1024, "features": 1024})
MATRICES = {"affine", "residual", "residual_projection"}
QUICK = ({"batch": 4, "features": 8, "classes": 3},)

SLOWER = (
    1.1  # From this ratio on a rule counts as slower than autodiff, from its inverse as faster.
)


class Row(NamedTuple):
    """One rule at one size."""

    name: str
    shape: str
    programs: dict[str, Program]
    times: Race
    ledger: Ledger

    @property
    def ratio(self) -> float:
        """By hand over autodiff."""
        return self.times.ratio("by hand", "autodiff")

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        low, high = self.times.spread("by hand", "autodiff")
        hand, autodiff = self.programs["by hand"], self.programs["autodiff"]
        known = "peer" in self.programs
        return (
            self.name,
            self.shape,
            seconds_text(self.times.seconds("by hand")),
            f"{self.ratio:.2f} ({low:.2f} ... {high:.2f})",
            f"{self.times.ratio('by hand', 'peer'):.2f}" if known else "-",
            f"{_bytes(hand.temporaries)} / {_bytes(autodiff.temporaries)}",
            f"{_bytes(self.ledger.bytes('hand'))} / {_bytes(self.ledger.bytes('autodiff'))}",
        )


HEAD = ("rule", "arguments", "by hand", "ratio to autodiff", "to peer", "temporaries", "saved")


def measure(name: str, size: dict[str, int], seconds: float, clock: Clock) -> Row:
    """Races the candidates of one rule at one size, once they agree."""
    rule, example = registry[name], typical(registry[name], **size)
    args = cast(example.args, jnp.float32)
    function = functools.partial(rule, **example.settings)
    delta = cotangent(jax.eval_shape(function, *args))

    def gradient(args: Any, delta: Any) -> Any:
        return pulled(function, args, delta)

    programs = {
        "by hand": in_mode("backward", gradient, args, delta),
        "autodiff": in_mode("autodiff", gradient, args, delta),
    }
    peer = (peers.of_jax() | peers.of_optax()).get(name)
    if peer is not None:
        programs["peer"] = program(functools.partial(pulled, peer), args, delta)
    agree(f"{name} at {size}", programs)
    times = race(programs, budget=seconds, clock=clock)
    return Row(name, _shapes(example), programs, times, residuals(function, *args))


def verdict(rows: Sequence[Row]) -> str:
    """Wins and losses in sentences."""

    def named(chosen: list[Row]) -> str:
        chosen = sorted(chosen, key=lambda row: row.ratio)
        return ", ".join(f"{r.name} {r.shape} ({r.ratio:.2f})" for r in chosen) or "none"

    leaner = [r for r in rows if r.ledger.bytes("hand") < r.ledger.bytes("autodiff")]
    fatter = [r for r in rows if r.ledger.bytes("hand") > r.ledger.bytes("autodiff")]
    return "\n".join(
        [
            f"- Faster than autodiff (ratio below {1 / SLOWER:.2f}): "
            f"{named([r for r in rows if r.ratio < 1 / SLOWER])}.",
            f"- Slower than autodiff (ratio above {SLOWER:.2f}): "
            f"{named([r for r in rows if r.ratio > SLOWER])}.",
            f"- Saves less: {_names(leaner)}.",
            f"- Saves more: {_names(fatter)}.",
        ]
    )


NOTES = """\
Value and gradient in one compiled program, float32. The ratio is the median over interleaved
rounds, and in parentheses stands the range of its middle half. The peer is `jax.nn`'s or optax's
function of the same value. Temporaries are the compiler's, saved is what JAX hands from the forward
to the backward, inputs and output included; each by hand / under autodiff."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures all rules, or those that are named."""
    parser = options(__doc__, "rules", *registry)
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - set(registry):
        parser.error(f"no rule is called {', '.join(sorted(unknown))}")
    rows = []
    for name in chosen.names or registry:
        sizes = QUICK if chosen.quick else MATRIX_SIZES if name in MATRICES else SIZES
        for size in sizes:
            rows.append(measure(name, size, chosen.seconds, chosen.clock))
            print("  ".join(rows[-1].cells()), flush=True)
    notes = NOTES
    if not peers.of_optax():
        notes += f"\n\nPeers of optax are left out: it is not installed; {peers.MISSING}."
    body = f"{notes}\n\n{markdown([HEAD, *(row.cells() for row in rows)])}\n\n{verdict(rows)}"
    publish("Every rule alone", command(chosen, "rules"), body, destination(chosen, "rules"))
    return 0


def _shapes(example: Example) -> str:
    shapes = ["x".join(map(str, leaf.shape)) for leaf in jax.tree.leaves(example.args)]
    return ", ".join(shapes)


def _bytes(count: int | None) -> str:
    return "?" if count is None else bytes_text(count)


def _names(rows: Sequence[Row]) -> str:
    return ", ".join(dict.fromkeys(row.name for row in rows)) or "none"


if __name__ == "__main__":
    sys.exit(main())
