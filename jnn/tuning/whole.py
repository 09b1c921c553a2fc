"""The last word on choices: the whole function, with them and without.

What wins alone may lose within a program, where the compiler fuses it with its neighbours. So each
choice that differs from the default is taken back once, and stays so where that is faster.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jnn.floats import cotangent, pulled
from jnn.measure import Clock, Program, program, race
from jnn.rules.core.product import Call, products
from jnn.tuning.choices import Choice, Choices
from jnn.tuning.trial import PAYS, random_array

MOST = 6  # Compiling takes time: so many choices are taken back, those that gained least.


def settled(
    function: Callable[..., Any],
    args: Any,
    calls: Sequence[Call],
    rows: Sequence[Choice],
    *,
    gradient: bool,
    budget: float,
    clock: Clock,
) -> tuple[Choice, ...]:
    """The rows, those at their default again that the whole function does not gain from."""
    defaults = [products[c.product].default(c) for c in calls]
    changed = [i for i, row in enumerate(rows) if row.name != defaults[i]]
    if not changed:
        return tuple(rows)

    def without(taken: Sequence[int]) -> tuple[Choice, ...]:
        return tuple(_back(row, defaults[i]) if i in taken else row for i, row in enumerate(rows))

    args = jax.tree.map(_array, args)
    if gradient:
        delta = cotangent(jax.eval_shape(function, *args))
        function, args = functools.partial(pulled, function), (args, delta)

    def compiled(rows: tuple[Choice, ...]) -> Program:
        with Choices(rows, "", ""):
            return program(function, *args)

    programs = {"default": compiled(without(changed)), "chosen": compiled(without(()))}
    if len(changed) > 1:
        least = sorted(changed, key=lambda i: _gain(rows[i], defaults[i]))[:MOST]
        programs |= {str(i): compiled(without([i])) for i in least}
    times = race(programs, budget=budget, clock=clock)
    taken = [i for i in changed if str(i) in programs and times.ratio(str(i), "chosen") < PAYS]
    if taken:
        again = {"default": programs["default"], "chosen": compiled(without(taken))}
        times = race(again, budget=budget, clock=clock)
    return without(changed if times.ratio("chosen", "default") > 1 else taken)


def _back(row: Choice, default: str) -> Choice:
    """The row with its default chosen, and the reason beside what was chosen."""
    trials = tuple(
        t._replace(fault="slower in the whole") if t.name == row.name else t for t in row.trials
    )
    return row._replace(name=default, trials=trials)


def _gain(row: Choice, default: str) -> float:
    seconds = {t.name: t.seconds or 0.0 for t in row.trials}
    return seconds.get(default, 0.0) - seconds[row.name]


def _array(x: Any) -> jax.Array:
    return random_array(x.shape, x.dtype) if isinstance(x, jax.ShapeDtypeStruct) else jnp.asarray(x)
