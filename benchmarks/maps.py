"""All maps of a convolution in one call, or a call for each map: Hedberg's figures 2 to 4 (H §9).

    python -m benchmarks.maps [--quick] [--seconds S] [--cpu-time] [--out FILE]

Two connection tables, as there: full, 4 maps to 8, and single, each of 4 maps to one. What he found
on devices of his time, that the calls themselves cost more than the work, is measured here anew.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks.report import agree, command, destination, markdown, options, publish
from jnn.measure import Clock, race
from jnn.text import seconds_text

SIZES = (16, 32, 64, 128, 256, 512)
WINDOW = 5
TABLES = {"full 4 -> 8": (4, 8, 1), "single 4 -> 4": (4, 4, 4)}  # Input and output maps, groups.


def main(arguments: Sequence[str] | None = None) -> int:
    """Races the ways to compute a layer of maps."""
    chosen = options(__doc__, "maps").parse_args(arguments)
    ways = ("one call", "a call a map", "/ one", "a program of maps", "/ one")
    rows: list[tuple[str, ...]] = [("maps", "image", "pass", *ways)]
    ratios = []
    for table, (inputs, outputs, groups) in TABLES.items():
        for size in SIZES[:1] if chosen.quick else SIZES:
            for which in ("forward", "and backward"):
                cells, ratio = measured(inputs, outputs, groups, size, which != "forward",
                                        chosen.seconds / 4, chosen.clock)  # fmt: skip
                rows.append((table, f"{size}x{size}", which, *cells))
                ratios.append(ratio)
                print("  ".join(rows[-1]), flush=True)
    body = f"""\
One image, filters {WINDOW}x{WINDOW}, float32. One call computes all maps at once; a call a map
dispatches a compiled program for each output map; a program of maps holds the same computations,
compiled as one: what it takes less than the calls, their dispatch takes. Medians of interleaved
rounds.

{markdown(rows)}

{verdict(ratios)}"""
    publish("One call, or a call a map", command(chosen, "maps"), body, destination(chosen, "maps"))
    return 0


def measured(
    inputs: int, outputs: int, groups: int, size: int, backward: bool, seconds: float, clock: Clock
) -> tuple[list[str], float]:
    """The times of the three ways with their ratios, as text; and the calls' ratio to the one."""
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(1, size, size, inputs)), jnp.float32)
    w = jnp.asarray(random.normal(size=(WINDOW, WINDOW, inputs // groups, outputs)), jnp.float32)
    delta = jnp.ones((1, size - WINDOW + 1, size - WINDOW + 1, outputs))

    def layer(x: jax.Array, w: jax.Array, delta: jax.Array, groups: int = 1) -> Any:
        if not backward:
            return jnn.rules.conv(x, w, groups=groups)
        y, pull = jax.vjp(lambda x, w: jnn.rules.conv(x, w, groups=groups), x, w)
        return y, *pull(delta)

    parts = [
        (x if groups == 1 else x[..., i : i + 1], w[..., i : i + 1], delta[..., i : i + 1])
        for i in range(outputs)
    ]
    one_map = jax.jit(layer)

    def together(results: list[Any]) -> Any:
        if not backward:
            return jnp.concatenate(results, -1)
        y, dx, dw = zip(*results, strict=True)
        dx = jnp.concatenate(dx, -1) if groups > 1 else sum(dx[1:], dx[0])
        return jnp.concatenate(y, -1), dx, jnp.concatenate(dw, -1)

    of_all = jax.jit(functools.partial(layer, groups=groups))
    of_maps = jax.jit(lambda parts: together([layer(*p) for p in parts]))
    joined = jax.jit(together)
    ways: dict[str, Callable[[], Any]] = {
        "one call": lambda: jax.block_until_ready(of_all(x, w, delta)),
        "a call a map": lambda: jax.block_until_ready(joined([one_map(*p) for p in parts])),
        "a program of maps": lambda: jax.block_until_ready(of_maps(parts)),
    }
    agree(f"{size}x{size}", ways)
    times = race(ways, budget=seconds, clock=clock)
    one, *others = ways
    cells = [seconds_text(times.seconds(one))]
    for other in others:
        cells += [seconds_text(times.seconds(other)), f"{times.ratio(other, one):.2f}"]
    return cells, times.ratio(others[0], one)


def verdict(ratios: Sequence[float]) -> str:
    """What one call gains, in a sentence.

    >>> verdict([2.0, 3.0])
    'One call is 2.0 to 3.0 times as fast as a call a map: fewer calls win everywhere.'
    """
    always = "fewer calls win everywhere" if min(ratios) > 1 else "they do not always win"
    span = f"{min(ratios):.1f} to {max(ratios):.1f}"
    return f"One call is {span} times as fast as a call a map: {always}."


if __name__ == "__main__":
    sys.exit(main())
