"""Suites on dtypes: half and single precision against float64, at ordinary and extreme arguments.

They run with 64-bit types off, as a user's program does; only the reference is float64, computed
from the same rounded arguments.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn.arithmetic import wide
from jnn.verify.case import (
    Arrays,
    Case,
    Outcome,
    Told,
    clipped,
    compared,
    entry,
    flattened,
    magnitude,
    widened,
    worst,
)
from jnn.verify.suites.agreement import EXACT
from jnn.verify.suites.quotients import by_differences

ULPS = 4  # What a rule may always err, whatever autodiff does.
LOST = 64  # Ulps too: what it may err where autodiff gives NaN.


def extremes(case: Case) -> Iterator[Outcome]:
    """Where float64 has a finite answer, each dtype that can hold it gives it, as accurately."""
    for dtype in ("float16", "float32", "float64"):  # bfloat16 has the range of float32.
        yield from rounding(case, dtype)


def rounding(case: Case, dtype: str) -> Iterator[Outcome]:
    """Value and cotangents have the arguments' dtype; no error is more than twice autodiff's.

    The error of a tensor is that of its worst entry, relative to the tensor's largest one; for
    elementwise rules relative to the entry itself as well. A few ulps are always allowed. Outputs
    that are statistics have the dtype in which half precisions are summed.
    """
    floats, delta, direction = (
        clipped(x, dtype) for x in (case.floats, case.delta, case.direction)
    )
    with jax.enable_x64(dtype == "float64"):
        point = floats, case.rest, delta, direction
        hand, autodiff = case.hand(*point), case.autodiff(*point)
    expected = _reference(case, *map(widened, (floats, delta, direction)))
    eps = float(jnp.finfo(dtype).eps)
    for what, names, incoming in (
        ("value", case.output_names, delta),
        ("cotangent", case.names, delta),
        ("tangent", case.output_names, direction),
    ):
        columns = zip(names, *(getattr(t, what) for t in (hand, autodiff, expected)), strict=True)
        for i, (name, got, theirs, want) in enumerate(columns):
            statistic = what != "cotangent" and i in case.rule.wide_outputs
            if got.dtype != (kind := wide(dtype) if statistic else jnp.dtype(dtype)):
                yield Outcome(f"the {what} of `{name}` is {got.dtype.name}, expected {kind.name}")
            (got, theirs), want = widened((got, theirs)), _held(want, got, dtype)
            if what != "value" and np.isfinite(flattened(expected.value)).all():
                if np.isnan(got).any():
                    yield Outcome(f"in {dtype}, the {what} of `{name}` has NaN")
                want = np.where(np.isnan(want), got, want)  # Nobody knows it: finite will do.
            scale, came_in = magnitude(want), max(map(magnitude, widened(incoming)), default=0.0)
            if scale < 8 * eps * came_in:  # It vanishes but for rounding.
                scale = came_in
            for floor in _floors(case, dtype, scale):
                error, where = worst(got, want, floor)
                by_autodiff, _ = worst(theirs, want, floor)
                allowed = ULPS * eps + (2 * by_autodiff if by_autodiff < np.inf else LOST * eps)
                if dtype == "float64":
                    allowed = max(allowed, EXACT)
                yield compared(f"in {dtype}, the {what} of {entry(name, where)}",
                               got, want, where, error, allowed)  # fmt: skip


def _floors(case: Case, dtype: str, scale: float) -> Iterator[float]:
    """What is added to an entry that an error is divided by: first its tensor's largest."""
    eps, smallest = float(jnp.finfo(dtype).eps), float(jnp.finfo(dtype).tiny)
    yield scale + smallest / eps
    if case.rule.elementwise:  # The reference too has round-off, of the size of its largest entry.
        yield scale * float(jnp.finfo("float64").eps) / eps + smallest / eps


def _reference(case: Case, floats: Arrays, delta: Arrays, direction: Arrays) -> Told:
    """Autodiff in float64; where that gives NaN, differences of the definition do."""
    told = Told(*map(widened, case.autodiff(floats, case.rest, delta, direction)[:3]))
    if np.isfinite(flattened([*told.cotangent, *told.tangent])).all():
        return told
    quotients = by_differences(case, floats, direction)
    cotangent = np.full(case.size, np.nan)
    with np.errstate(all="ignore"):
        cotangent[quotients.entries] = _settled(
            quotients.slopes @ flattened(delta), quotients.doubts @ np.abs(flattened(delta))
        )
        tangent = _settled(quotients.tangent, quotients.tangent_doubt)
    return Told(told.value, _filled(told.cotangent, cotangent), _filled(told.tangent, tangent))


def _settled(slopes: np.ndarray, doubts: np.ndarray) -> np.ndarray:
    """The slopes, NaN where differences do not know them."""
    return np.where(doubts <= 1e-3 * (np.abs(slopes) + magnitude(slopes)), slopes, np.nan)


def _filled(tensors: Arrays, entries: np.ndarray) -> list[np.ndarray]:
    """The tensors, with those entries where they are NaN themselves."""
    parts = np.split(entries, np.cumsum([x.size for x in tensors])[:-1])
    return [
        np.where(np.isfinite(x) | np.isnan(part.reshape(x.shape)), x, part.reshape(x.shape))
        for x, part in zip(tensors, parts, strict=True)
    ]


def _held(want: np.ndarray, got: Any, dtype: str) -> np.ndarray:
    """`want` as the dtype holds it: what is too large for it may be infinite."""
    too_large = np.abs(want) >= 0.999 * float(jnp.finfo(dtype).max)
    infinite = np.isinf(got) & (np.sign(got) == np.sign(want))
    return np.where(too_large & infinite, got, want)


def types(case: Case) -> Iterator[Outcome]:
    """Single precision stays so beside 64-bit types; weak types are those of the definition."""
    point = (_like(case.floats), case.rest, _like(case.delta), _like(case.direction))
    hand = jax.eval_shape(case.hand, *point)
    for what in ("value", "cotangent", "tangent"):
        names = case.names if what == "cotangent" else case.output_names
        for name, got in zip(names, getattr(hand, what), strict=True):
            if got.dtype != jnp.float32:
                yield Outcome(f"the {what} of `{name}` is {got.dtype.name} of float32 arguments "
                              "where 64-bit types are on")  # fmt: skip
    weak = _like(case.floats, weak=True), case.rest
    with jax.enable_x64(False):
        got, want = (
            jax.eval_shape(functools.partial(case.call, mode), *weak)
            for mode in ("backward", "autodiff")
        )
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        if g.weak_type != w.weak_type:
            yield Outcome(f"of weakly typed arguments the value is {_weak(g)} typed, expected "
                          f"{_weak(w)}, as the definition's")  # fmt: skip


def _like(tensors: Arrays, weak: bool = False) -> list[Any]:
    return [jax.ShapeDtypeStruct(x.shape, jnp.float32, weak_type=weak) for x in tensors]


def _weak(x: Any) -> str:
    return "weakly" if x.weak_type else "strongly"


def nan(case: Case) -> Iterator[Outcome]:
    """NaN in, NaN out, in the entries where the definition has it."""
    delta, direction = clipped(case.delta, "float32"), clipped(case.direction, "float32")
    for i, name in enumerate(case.names):
        floats = clipped(case.floats, "float32")
        floats[i] = np.full_like(floats[i], np.nan)
        with jax.enable_x64(False):
            point = floats, case.rest, delta, direction
            hand, autodiff = case.hand(*point), case.autodiff(*point)
            got, want = (np.isnan(flattened(told.value)) for told in (hand, autodiff))
        if not np.array_equal(got, want):
            yield Outcome(f"with NaN in `{name}`, the value is NaN in {got.sum()} entries, the "
                          f"definition's in {want.sum()}")  # fmt: skip
        if flattened(autodiff.cotangent[i : i + 1]).any() and not want.any():
            yield Outcome(f"with NaN in `{name}`, the value has none")
