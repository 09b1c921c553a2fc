"""The update alone against optax: ten million parameters, and a thousand small arrays."""

import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks.peers import MISSING
from benchmarks.report import agree, command, destination, markdown, options, publish
from jnn.measure import Program, program, race


def large(quick: bool) -> dict[str, jax.Array]:
    """Four matrices, ten million parameters in all."""
    side = 20 if quick else 1581
    return _tree([(side, side)] * 4)


def many(quick: bool) -> dict[str, jax.Array]:
    """A thousand arrays of a hundred entries each."""
    return _tree([(10, 10)] * (20 if quick else 1000))


def _tree(shapes: list[tuple[int, ...]]) -> dict[str, jax.Array]:
    random = np.random.default_rng(0)
    return {
        str(i): jnp.asarray(random.normal(size=shape), jnp.float32)
        for i, shape in enumerate(shapes)
    }


def compiled(optimizer: Any, params: Any) -> Program:
    """One update and its addition, as a compiled program of gradients, state and parameters."""

    def step(grads: Any, state: Any, params: Any) -> Any:
        updates, state = optimizer.update(grads, state, params)
        return jnn.apply_updates(params, updates), state

    grads = jax.tree.map(lambda x: 0.1 * x, params)
    # Of a state that has seen a step, so that no zeros are known to the compiler.
    _, state = jax.jit(step)(grads, jax.jit(optimizer.init)(params), params)
    return program(step, grads, state, params)


def only_params(found: Program) -> Program:
    """The program without its state, whose form differs between libraries."""
    return found._replace(run=lambda: found.run()[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark."""
    chosen = options(__doc__, "update").parse_args(arguments)
    try:
        import optax  # pyright: ignore[reportMissingImports]
    except ImportError:
        sys.exit(f"benchmarks.update compares with optax, which is not installed: {MISSING}")
    methods = {
        "adam": (jnn.adam(1e-3), optax.adam(1e-3)),
        "adamw": (jnn.adamw(1e-3, decay=0.01), optax.adamw(1e-3, weight_decay=0.01)),
        "heavy ball": (jnn.heavy_ball(1e-3), optax.sgd(1e-3, momentum=0.9)),
    }
    rows = [["update", "jnn, ms", "jnn flat, ms", "optax, ms", "jnn / optax", "flat / optax",
             "temporaries, MB: jnn, flat, optax", "compile, s: jnn, flat, optax"]]  # fmt: skip
    for size, make in {"10 M in 4 arrays": large, "1,000 arrays of 100": many}.items():
        params = make(chosen.quick)
        for name, (ours, theirs) in methods.items():
            candidates = {
                "jnn": compiled(ours, params),
                "flat": compiled(jnn.optim.flat(ours), params),
                "optax": compiled(theirs, params),
            }
            agree(name, {k: only_params(p) for k, p in candidates.items()}, 1e-5)
            result = race(candidates, budget=chosen.seconds, clock=chosen.clock)
            rows.append([
                f"{name}, {size}",
                *(f"{1e3 * result.seconds(k):.3g}" for k in candidates),
                *(f"{result.ratio(k, 'optax'):.2f}" for k in ("jnn", "flat")),
                ", ".join(f"{(p.temporaries or 0) / 1e6:.3g}" for p in candidates.values()),
                ", ".join(f"{p.compile_seconds:.2g}" for p in candidates.values()),
            ])  # fmt: skip
    body = (
        f"{markdown(rows)}\n\nMedians of runs in turns; parameters, gradients and states are not "
        "donated. `flat` is the same optimizer in `jnn.optim.flat`. Heavy balls compile "
        "to as many fusions in both libraries, two an array: their ratios show the noise."
    )
    line = command(chosen, "update")
    publish("The update alone", line, body, destination(chosen, "update"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
