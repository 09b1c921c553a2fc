"""One function with hand-written rules and under autodiff: how exact, how fast, how lean."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.floats import cast, cotangent, pulled
from jnn.measure import Program, program, race
from jnn.rules.core.mode import derivatives
from jnn.rules.core.rule import Rule
from jnn.text import table
from jnn.verify.compare.measures import Measure
from jnn.verify.compare.residuals import Ledger, residuals
from jnn.verify.compare.typical import typical
from jnn.verify.compare.weigh import Weighed, weigh
from jnn.xla.flags import quick_jit

TIME = "time of value and gradient"


class Error(NamedTuple):
    """How far numbers are from their float64 reference, in units in the last place.

    Attributes:
      largest: of the worst entry.
      median: of the median entry.
      relative: the worst error over the largest entry of its array, a plain number: where terms
        cancel, small entries are many ulps off and this tells how much that matters.
    """

    largest: float
    median: float
    relative: float


class Side(NamedTuple):
    """One way to differentiate, measured.

    Attributes:
      value_error: the error of the value.
      gradient_error: the error of the gradient.
      seconds: the median time of value and gradient.
      compile_seconds: the time to trace and compile them.
      temporaries: bytes of temporary memory of the compiled program, None where not known.
      flops: operations of the compiled program, None where not known.
      saved: bytes that the forward keeps for the backward, inputs and output included.
      saved_new: bytes of those that are neither.
    """

    value_error: Error
    gradient_error: Error
    seconds: float
    compile_seconds: float
    temporaries: int | None
    flops: float | None
    saved: int
    saved_new: int


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """A function by hand and under autodiff; `str` prints it as a table.

    Attributes:
      name: the function.
      hand: what hand-written rules achieve.
      autodiff: what JAX achieves from the same definitions.
      ratio: the time by hand over that of autodiff, the median over interleaved rounds.
      spread: between which two ratios the middle half of the rounds lies.
      ledger: what is saved, layer by layer.
    """

    name: str
    hand: Side
    autodiff: Side
    ratio: float
    spread: tuple[float, float]
    ledger: Ledger

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All numbers, in the order of the table."""
        a, b = self.hand, self.autodiff
        rows = []
        for which, e, f in (
            ("value", a.value_error, b.value_error),
            ("gradient", a.gradient_error, b.gradient_error),
        ):
            rows += [
                Measure(f"{which} error, median", "ulp", e.median, f.median),
                Measure(f"{which} error, worst", "ulp", e.largest, f.largest),
                Measure(f"{which} error / largest entry", "", e.relative, f.relative),
            ]
        return (
            *rows,
            Measure(TIME, "s", a.seconds, b.seconds),
            Measure("time to compile", "s", a.compile_seconds, b.compile_seconds),
            Measure("temporary memory", "B", a.temporaries, b.temporaries),
            Measure("saved for the backward", "B", a.saved, b.saved),
            Measure("... beyond input and output", "B", a.saved_new, b.saved_new),
            Measure("operations", "flop", a.flops, b.flops),
        )

    def __str__(self) -> str:
        rows = [(self.name, "by hand", "autodiff", "ratio")]
        rows += [m.row(self.ratio if m.label == TIME else m.ratio) for m in self.measures]
        low, high = self.spread
        return f"{table(rows)}\nhalf of the time's ratios lie in {low:.2f} ... {high:.2f}"

    def plot(self, path: str | Path | None = None) -> Any:
        """Draws bars of each measure; returns the figure, and saves it to `path`."""
        from jnn import plots

        return plots.comparison(self, path)


@overload
def compare(
    function: Callable[..., Any],
    *args: Any,
    budget: float = ...,
    batch: int = ...,
    platform: None = ...,
) -> Comparison: ...
@overload
def compare(
    function: Callable[..., Any], *args: Any, budget: float = ..., batch: int = ..., platform: str
) -> Weighed: ...
def compare(
    function: Callable[..., Any],
    *args: Any,
    budget: float = 1.0,
    batch: int = 256,
    platform: str | None = None,
) -> Comparison | Weighed:
    """Value and gradient of `function`, by hand-written rules and by autodiff of their definitions.

    The gradient is by all floating arguments. A function that returns more than one number is
    pulled back with a fixed cotangent of numbers between 1/2 and 3/2 in magnitude. The reference is
    the same function under autodiff in float64; a function that closes over float32 arrays would
    spoil it, so pass them as arguments.

    Args:
      function: any function of arrays that calls rules or layers; or a rule.
      *args: its arguments; none to compare a rule at a typical size.
      budget: seconds for timing.
      batch: the number of samples of a rule's typical arguments.
      platform: "h200", "h100" or "v5e", which need not be here: what XLA's compiler for it makes of
        both is weighed, without times and errors. "cpu" is this machine. Arguments may then be
        `jax.ShapeDtypeStruct`s.

    >>> result = jnn.compare(jnn.rules.gelu, budget=0.01, batch=8)
    >>> result.hand.saved_new, result.autodiff.saved_new > 0
    (0, True)
    """
    name = getattr(function, "__name__", None) or type(function).__name__
    if isinstance(function, Rule) and not args:
        example = typical(function, batch=batch)
        args = cast(example.args, jnp.result_type(float))
        function = functools.partial(function, **example.settings)
    if platform is None:
        args = jax.tree.map(jnp.asarray, args)
    if not any(map(errors.is_floating, jax.tree.leaves(args))):
        errors.fail("compare", "args", "arguments of which one is floating",
                    jax.tree.map(errors.describe, args))  # fmt: skip
    with derivatives("autodiff"):
        outputs = jax.eval_shape(function, *args)
    if not any(map(errors.is_floating, jax.tree.leaves(outputs))):
        errors.fail("compare", "function", "one with a floating output",
                    jax.tree.map(errors.describe, outputs))  # fmt: skip
    if platform is not None:
        return weigh(name, function, args, platform)
    delta = cotangent(outputs)
    expected = _reference(function, args, delta)
    programs: dict[str, Program] = {}
    found: dict[str, tuple[Error, Error]] = {}
    for mode in ("backward", "autodiff"):
        with derivatives(mode):
            programs[mode] = program(functools.partial(pulled, function), args, delta)
        pairs = zip(programs[mode](), expected, strict=True)
        value, gradient = (_error(*pair) for pair in pairs)
        found[mode] = value, gradient
    times = race(programs, budget=budget)
    ledger = residuals(function, *args)

    def side(mode: str, who: str) -> Side:
        return Side(
            *found[mode], times.seconds(mode), programs[mode].compile_seconds,
            programs[mode].temporaries, programs[mode].flops,
            ledger.bytes(who), ledger.bytes(who, "new"),
        )  # fmt: skip

    return Comparison(
        name, side("backward", "hand"), side("autodiff", "autodiff"),
        times.ratio("backward", "autodiff"), times.spread("backward", "autodiff"), ledger,
    )  # fmt: skip


def _reference(function: Callable[..., Any], args: Any, delta: Any) -> tuple[Any, Any]:
    """Value and gradient in float64, by autodiff."""
    with jax.enable_x64(True), derivatives("autodiff"):
        try:
            reference = quick_jit(functools.partial(pulled, function))
            y, gradient = reference(cast(args, jnp.float64), cast(delta, jnp.float64))
        except TypeError as error:
            error.add_note(
                "This was the reference, in float64. Does the function close over arrays of "
                "another dtype? Pass them to jnn.compare as arguments."
            )
            raise
        return jax.device_get((y, gradient))


def _error(found: Sequence[Any], expected: Sequence[np.ndarray]) -> Error:
    """The error of several arrays against float64, all entries together."""
    ulps, relative = [np.zeros(0)], 0.0
    for x, want in zip(found, expected, strict=True):
        info, got = jnp.finfo(x.dtype), np.asarray(x).astype(np.float64)
        least = float(info.smallest_normal)
        with np.errstate(all="ignore"):
            error = np.abs(got - want)
            magnitude = np.maximum(np.abs(want), least)
            unit = 2.0 ** np.floor(np.log2(magnitude)) * float(info.eps)
        # Numbers below the smallest normal one may be flushed to 0.
        equal = (got == want) | (np.isnan(got) & np.isnan(want)) | (error < least)
        with np.errstate(all="ignore"):
            ulps.append(np.where(equal, 0.0, np.where(np.isfinite(error), error / unit, np.inf)))
        finite = np.abs(want[np.isfinite(want)]).max(initial=0.0)
        worst = np.where(equal, 0.0, error).max(initial=0.0)
        relative = max(relative, float(worst / finite) if finite else 0.0)
    every = np.concatenate([u.ravel() for u in ulps])
    if not every.size:
        return Error(0.0, 0.0, 0.0)
    return Error(float(every.max()), float(np.median(every)), relative)
