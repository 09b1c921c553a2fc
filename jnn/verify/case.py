"""A case: a rule at one example, with what the suites ask of it, computed once."""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.rules.core.mode import derivatives
from jnn.rules.core.rule import Example, Rule
from jnn.xla.flags import quick_jit

Arrays = Sequence[Any]


class Outcome(NamedTuple):
    """One comparison; a finding where the error exceeds what is allowed."""

    sentence: str
    error: float = np.inf
    allowed: float = 0.0


class NotRun(Exception):
    """A suite cannot run here; the report says so with this sentence."""


class Told(NamedTuple):
    """A rule at one point as somebody tells it, a list of tensors each."""

    value: Any
    cotangent: Any
    tangent: Any
    integers: Any = ()


class Case:
    """A rule at one example: its arguments apart in floating tensors and the rest."""

    def __init__(self, rule: Rule, example: Example, seed: int = 0):
        self.rule, self.example = rule, example
        bound = inspect.signature(rule).bind(*example.args, **example.settings)
        bound.apply_defaults()
        self.args = tuple(bound.arguments[name] for name in rule.arguments)
        self.settings = dict(bound.kwargs)
        paths, self.structure = jax.tree_util.tree_flatten_with_path(self.args)
        leaves = [x if isinstance(x, jax.Array) else np.asarray(x) for _, x in paths]
        names = [rule.arguments[p[0].idx] + jax.tree_util.keystr(p[1:]) for p, _ in paths]
        self.is_floating = tuple(errors.is_floating(x) for x in leaves)
        if not any(self.is_floating):
            expected, got = "a rule with a floating argument", f"'{rule.name}' at {example}"
            errors.fail("check", "rule", expected, got)
        self.names = [n for n, f in zip(names, self.is_floating, strict=True) if f]
        self.floats, self.rest = self.split(leaves)
        self.floats = [np.asarray(x, np.float64) for x in self.floats]
        random = np.random.default_rng([seed, 1])
        self.direction = [random.normal(size=x.shape) for x in self.floats]
        self.nearby = [0.999 * x for x in self.floats]
        self.random = random

    def __repr__(self) -> str:
        return repr(self.example)

    def split(self, leaves: Arrays) -> tuple[list[Any], list[Any]]:
        """Leaves of the arguments, the floating ones and the rest."""
        pairs = list(zip(leaves, self.is_floating, strict=True))
        return [x for x, f in pairs if f], [x for x, f in pairs if not f]

    def join(self, floats: Arrays, rest: Arrays) -> tuple[Any, ...]:
        """The arguments again."""
        one, other = iter(floats), iter(rest)
        return self.structure.unflatten([next(one) if f else next(other) for f in self.is_floating])

    @property
    def leaves(self) -> list[Any]:
        """All tensors of the arguments, in order."""
        return jax.tree.leaves(self.join(self.floats, self.rest))

    def call(self, mode: str, floats: Arrays, rest: Arrays) -> tuple[list[Any], list[Any]]:
        """The rule's output, its floating tensors and the others, in the given mode."""
        with derivatives(mode):
            leaves = jax.tree.leaves(self.rule(*self.join(floats, rest), **self.settings))
        return [y for y in leaves if errors.is_floating(y)], [
            y for y in leaves if not errors.is_floating(y)
        ]

    @functools.cached_property
    def outputs(self) -> Any:
        """The types of the output."""
        with derivatives("autodiff"):
            return jax.eval_shape(
                lambda args: self.rule(*args, **self.settings), self.join(self.floats, self.rest)
            )

    @functools.cached_property
    def output_names(self) -> list[str]:
        """A name for each floating tensor of the output."""
        paths, _ = jax.tree_util.tree_flatten_with_path(self.outputs)
        return ["y" + jax.tree_util.keystr(p) for p, y in paths if errors.is_floating(y)]

    @functools.cached_property
    def delta(self) -> list[np.ndarray]:
        """A random cotangent of the output."""
        return [
            self.random.normal(size=y.shape)
            for y in jax.tree.leaves(self.outputs)
            if errors.is_floating(y)
        ]

    def unravel(self, points: np.ndarray) -> list[np.ndarray]:
        """Stacked arguments from stacked vectors, (points, entries)."""
        ends = np.cumsum([x.size for x in self.floats])[:-1]
        parts = np.split(points, ends, axis=1)
        return [p.reshape(-1, *x.shape) for p, x in zip(parts, self.floats, strict=True)]

    @property
    def entries(self) -> list[str]:
        """A name for each floating entry of the arguments."""
        return [
            entry(name, index)
            for name, x in zip(self.names, self.floats, strict=True)
            for index in np.ndindex(x.shape)
        ]

    @property
    def size(self) -> int:
        """The number of floating entries of the arguments."""
        return sum(x.size for x in self.floats)

    @functools.cached_property
    def hand(self) -> Callable[..., Told]:
        """`(floats, rest, delta, direction)` to value, VJP and JVP, all hand-written, compiled."""
        return quick_jit(functools.partial(_tell, self.call, "backward", "forward"))

    @functools.cached_property
    def autodiff(self) -> Callable[..., Told]:
        """The same, the definition differentiated by JAX; rules with equal definitions share it."""
        return _autodiff(_Definition(self))

    @functools.cached_property
    def at_points(self) -> Callable[..., Any]:
        """The definition's values at many points, stacked along a new leading axis."""
        return _at_points(_Definition(self))


class _Definition:
    """What `autodiff` of a case depends on: the key of a cache."""

    def __init__(self, case: Case):
        self.case = case
        settings = tuple(case.settings.items())
        self.key = (case.rule.parts.definition, settings, case.structure, case.is_floating)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Definition) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@functools.lru_cache(maxsize=64)
def _autodiff(definition: _Definition) -> Callable[..., Told]:
    return quick_jit(functools.partial(_tell, definition.case.call, "autodiff", "autodiff"))


@functools.lru_cache(maxsize=64)
def _at_points(definition: _Definition) -> Callable[..., Any]:
    def values(points: Arrays, rest: Arrays) -> Any:
        return jax.vmap(lambda floats: definition.case.call("autodiff", floats, rest)[0])(points)

    return quick_jit(values)


def _tell(
    call: Callable[..., Any], reverse: str, forward: str,
    floats: Arrays, rest: Arrays, delta: Arrays, direction: Arrays,
) -> Told:  # fmt: skip
    y, pull, integers = jax.vjp(lambda *f: call(reverse, f, rest), *floats, has_aux=True)
    _, dy, _ = jax.jvp(
        lambda *f: call(forward, f, rest), tuple(floats), tuple(direction), has_aux=True
    )
    incoming = [d.astype(a.dtype) for d, a in zip(delta, y, strict=True)]
    return Told(y, list(pull(incoming)), dy, integers)


def clipped(tensors: Arrays, dtype: Any) -> list[np.ndarray]:
    """The tensors in another dtype, what does not fit in it clipped to its largest number."""
    largest = float(jnp.finfo(dtype).max)
    return [np.asarray(np.clip(x, -largest, largest), dtype) for x in tensors]


def widened(tensors: Arrays) -> list[np.ndarray]:
    """The tensors as float64."""
    return [np.asarray(x).astype(np.float64) for x in tensors]


def worst(got: np.ndarray, want: np.ndarray, floor: float) -> tuple[float, tuple[int, ...]]:
    """The largest `|got - want| / (|want| + floor)` and where; a NaN is equal to a NaN."""
    if not want.size:
        return 0.0, ()
    with np.errstate(all="ignore"):
        error = np.abs(got - want) / (np.abs(want) + floor)
    error = np.where(np.isnan(error), np.inf, error)
    error = np.where((got == want) | (np.isnan(got) & np.isnan(want)), 0.0, error)
    where = np.unravel_index(int(np.argmax(error)), error.shape)
    return float(error[where]), tuple(int(i) for i in where)


def flattened(tensors: Arrays) -> np.ndarray:
    """All entries in one vector of float64."""
    return np.concatenate([np.zeros(0), *(x.ravel() for x in widened(tensors))])


def magnitude(x: np.ndarray) -> float:
    """The largest finite magnitude in `x`, 0 where there is none."""
    magnitudes = np.abs(x[np.isfinite(x)])
    return float(magnitudes.max(initial=0.0))


def equal(
    what: str, names: Sequence[str], got: Arrays, want: Arrays, delta: Arrays, allowed: float
) -> Iterator[Outcome]:
    """Entry by entry, `got` is `want` to `allowed`, relative to the entry.

    To an entry are added 1e-4 of its tensor's largest one and 1e-5 of delta's, for what rounding
    leaves where terms cancel: with `allowed` = 1e-10 that is 1e-14 and 1e-15 of them.
    """
    incoming = max(map(magnitude, delta), default=0.0)
    for name, g, w in zip(names, widened(got), widened(want), strict=True):
        if g.shape != w.shape:
            yield Outcome(f"{what} of `{name}` has shape {g.shape}, expected {w.shape}")
            continue
        error, where = worst(g, w, 1e-4 * magnitude(w) + 1e-5 * incoming)
        yield compared(f"{what} of {entry(name, where)}", g, w, where, error, allowed)


def compared(
    what: str, got: np.ndarray, want: np.ndarray, where: Any, error: float, allowed: float
) -> Outcome:
    """The outcome of comparing the entry at `where`."""
    found, expected = (x[where] if x.size else 0.0 for x in (got, want))
    sentence = f"{what} is {found:.10g}, expected {expected:.10g}"
    return Outcome(f"{sentence} (error {error:.1e}, allowed {allowed:.1e})", float(error), allowed)


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def entry(name: str, index: Sequence[int]) -> str:
    """An entry of a tensor in a sentence, e.g. `w` at [1, 0]."""
    return f"`{name}`" + (f" at [{', '.join(map(str, index))}]" if len(index) else "")
