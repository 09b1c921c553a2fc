"""A case: one job as several write it, weighed on one device."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax

from benchmarks.report import markdown
from jnn.floats import pulled
from jnn.rules.core.mode import derivatives
from jnn.text import bytes_text
from jnn.verify.compare.weigh import Weight
from jnn.xla.absent import compiled
from jnn.xla.census import census, memory

OURS, AUTODIFF, PLAIN = "by hand", "autodiff", "plain jax"
Struct = jax.ShapeDtypeStruct


class Side(NamedTuple):
    """How one of them writes it.

    Attributes:
      function: of `args`.
      args: arrays, or their shapes and dtypes.
      mode: who differentiates rules.
      donated: whether the first argument is given away, as a training step gives parameters.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    mode: str = "backward"
    donated: bool = False


class Case(NamedTuple):
    """The job, and the sides by name; ours leads."""

    name: str
    sides: Mapping[str, Side]


def case(
    name: str, rule: Callable[..., Any], plain: Callable[..., Any] | None, *args: Any,
    held: int = 0, **settings: Any,
) -> Case:  # fmt: skip
    """Value and gradient of a rule by hand, under autodiff, and as one writes it without jnn.

    Args:
      name: of the case.
      rule: called with `args` and the settings.
      plain: called with `args` alone; None if nobody writes it otherwise.
      *args: shapes and dtypes.
      held: so many floating arguments, the last, have no gradient.
      **settings: of the rule.
    """
    moving, fixed = args[: len(args) - held], args[len(args) - held :]

    def both(f: Callable[..., Any]) -> Side:
        delta = jax.tree.leaves(jax.eval_shape(f, *args))

        def gradients(moving: Any, fixed: Any, delta: Any) -> Any:
            return pulled(lambda *moving: f(*moving, *fixed), moving, delta, apart=True)

        return Side(gradients, (moving, fixed, delta))

    ours = both(partial(rule, **settings))
    sides = {OURS: ours, AUTODIFF: ours._replace(mode="autodiff")}
    return Case(name, sides if plain is None else sides | {PLAIN: both(plain)})


HEAD = ("", "", "temporaries", "peak", "traffic", "kernels", "scatters", "custom calls")


def weighed(side: Side, device: str) -> Weight:
    """The side's program, compiled for the device."""
    donated = {"donate_argnums": 0} if side.donated else {}
    with derivatives(side.mode):
        program = compiled(side.function, *side.args, device=device, **donated)
    return Weight(memory(program), census(program.as_text()))


Found = Mapping[str, Weight | str]  # What each side takes, or why it does not compile.


def found(each: Case, device: str) -> Found:
    """All sides of a case."""
    weights: dict[str, Weight | str] = {}
    for name, side in each.sides.items():
        try:
            weights[name] = weighed(side, device)
        except jax.errors.JaxRuntimeError as error:  # Too large for the device, most of all.
            weights[name] = " ".join(str(error).split())[:60]
    return weights


def table(results: Mapping[str, Found]) -> str:
    """A row for each side of each case; what does not compile says so."""
    return markdown([HEAD, *(row for name, each in results.items() for row in _rows(name, each))])


def _rows(case_name: str, sides: Found) -> Iterator[tuple[str, ...]]:
    for number, (name, weight) in enumerate(sides.items()):
        what = case_name if number == 0 else ""
        if isinstance(weight, str):
            yield what, name, weight, *[""] * (len(HEAD) - 3)
            continue
        peak, counts = weight.memory.get("peak"), weight.census
        calls = ", ".join(f"{n} {_short(call)}" for call, n in sorted(counts.calls.items()))
        yield (
            what,
            name,
            bytes_text(weight.memory["temporaries"]),
            "-" if peak is None else bytes_text(peak),
            bytes_text(counts.traffic),
            f"{counts.kernels:,}",
            str(weight.scatters),
            calls or "-",
        )


def _short(call: str) -> str:
    """A custom call's name, without what all of a kind begin with."""
    return call.removeprefix("__cudnn$").removeprefix("__cublas$").removeprefix("__onednn$")
