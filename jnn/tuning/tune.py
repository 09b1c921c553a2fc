"""`jnn.tune`: the fastest right implementation of each product that a function calls."""

import sys
import time
from collections.abc import Callable
from typing import Any

import jax

from jnn.measure import Clock
from jnn.rules.core.product import products
from jnn.tuning.choices import Choices, device
from jnn.tuning.record import recorded
from jnn.tuning.trial import tried
from jnn.tuning.whole import settled


def tune(
    function: Callable[..., Any],
    *args: Any,
    gradient: bool = True,
    whole: bool = True,
    budget: float = 20.0,
    tolerance: float | None = None,
    progress: bool = True,
    clock: Clock = time.perf_counter,
) -> Choices:
    """Measures the implementations of what `function` calls, and returns the best of each call.

    `function` is traced, with its derivative, to find which products it calls with which shapes,
    dtypes and settings. For each call that several implementations can compute, random arguments
    are made, each candidate is held to the reference, and those that are right are timed in turns.
    One that is wrong is named in the table, and never chosen; the default stays unless another is
    faster by more than the noise. What wins alone may lose among neighbours, with which the
    compiler fuses it, so the last word has the whole function. Under `vmap`, a call is measured as
    one sample sees it.

    Args:
      function: a loss, a network, a training step: any function of arrays.
      *args: its arguments; `jax.ShapeDtypeStruct`s will do.
      gradient: whether `function` will be differentiated; False for a training step.
      whole: whether to time `function` itself too, with its derivative, and take back each choice
        without which it is faster.
      budget: seconds for timing, shared among the calls; compiling and checking come on top.
      tolerance: the largest error over the largest entry that passes as right; None for one that
        fits the dtype (float32: 1e-4).
      progress: whether to write a line for each call to stderr.
      clock: seconds; `time.process_time` counts the work of this process alone.

    >>> loss = lambda w, x: jnn.rules.affine(x, w).sum()
    >>> choices = jnn.tune(loss, jnp.ones((3, 2)), jnp.ones((8, 3)), progress=False)
    >>> with choices:
    ...     value, grads = jax.jit(jax.value_and_grad(loss))(jnp.ones((3, 2)), jnp.ones((8, 3)))
    """
    calls = [
        call
        for call in recorded(function, *args, gradient=gradient)
        if len(products[call.product].candidates(call)) > 1
    ]
    rows = []
    for i, call in enumerate(calls):
        row = tried(products[call.product], call, budget=budget / len(calls), tolerance=tolerance,
                    clock=clock)  # fmt: skip
        rows.append(row)
        if progress:
            print(f"[{i + 1}/{len(calls)}] {row}: {row.name}", file=sys.stderr, flush=True)
    if whole:
        settings = {"gradient": gradient, "budget": budget / 4, "clock": clock}
        rows = settled(function, args, calls, rows, **settings)
    return Choices(tuple(rows), device(), jax.__version__)
