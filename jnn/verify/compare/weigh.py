"""One function by hand and under autodiff, compiled for a device that need not be here."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax

from jnn import errors
from jnn.floats import pulled
from jnn.rules.core.mode import derivatives
from jnn.text import table
from jnn.verify.compare.measures import Measure
from jnn.xla.absent import compiled
from jnn.xla.census import Census, census, memory


class Weight(NamedTuple):
    """What a compiled program takes.

    Attributes:
      memory: bytes of temporaries, arguments, outputs, and peak where the compiler tells it.
      census: its kernels, their traffic, custom calls, operations.
    """

    memory: dict[str, int]
    census: Census

    @property
    def scatters(self) -> int:
        """How many operations add to places that numbers name: on a GPU in no fixed order."""
        return self.census.operations.get("scatter", 0)


@dataclasses.dataclass(frozen=True, eq=False)
class Weighed:
    """Value and gradient by hand and under autodiff, on a device; `str` prints them as a table.

    Attributes:
      name: the function.
      device: for which they were compiled.
      hand: what hand-written rules take.
      autodiff: what JAX makes of the same definitions.
    """

    name: str
    device: str
    hand: Weight
    autodiff: Weight

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All numbers, in the order of the table."""
        a, b = self.hand, self.autodiff

        def bytes_of(kind: str, label: str) -> Measure:
            return Measure(label, "B", a.memory.get(kind), b.memory.get(kind))

        return (
            bytes_of("temporaries", "temporary memory"),
            bytes_of("peak", "memory at its peak"),
            Measure("traffic of all kernels", "B", a.census.traffic, b.census.traffic),
            Measure("kernels", "", a.census.kernels, b.census.kernels),
            Measure("scatters", "", a.scatters, b.scatters),
        )

    def __str__(self) -> str:
        rows = [(f"{self.name} on {self.device}", "by hand", "autodiff", "ratio")]
        return table(rows + [m.row(m.ratio) for m in self.measures])


def weigh(name: str, function: Callable[..., Any], args: Any, device: str) -> Weighed:
    """Value and gradient of `function`, compiled for the device in both ways."""
    delta = [y for y in jax.tree.leaves(jax.eval_shape(function, *args)) if errors.is_floating(y)]

    def weight(mode: str) -> Weight:
        with derivatives(mode):
            program = compiled(partial(pulled, function, apart=True), args, delta, device=device)
        return Weight(memory(program), census(program.as_text()))

    return Weighed(name, device, weight("backward"), weight("autodiff"))
