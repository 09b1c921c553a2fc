"""The ledger: what a forward saves for its backward, by hand and under autodiff.

It is read from the jaxpr of `jax.vjp`, so nothing is computed. What is listed is what JAX hands
from the forward to the backward; where both are compiled as one program, XLA may still compute a
value again rather than keep it.
"""

import inspect
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax

from jnn import errors
from jnn.floats import by_floats
from jnn.rules.core.mode import derivatives
from jnn.text import table

OUTSIDE = ""  # The layer of what enters from outside.


class Saved(NamedTuple):
    """One buffer that lives from the forward to the backward.

    Attributes:
      kind: "input", "output" or "new". Who called the function may keep the first two anyway.
      layer: the named scopes under which it was computed, e.g. "1.dense/affine"; "" for an input.
      origin: the argument, or the operation that computed it.
      shape: its shape.
      dtype: its dtype.
    """

    kind: str
    layer: str
    origin: str
    shape: tuple[int, ...]
    dtype: Any

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return math.prod(self.shape) * self.dtype.itemsize  # Keys have one too.

    def __str__(self) -> str:
        return f"{errors.describe(self)} ({self.kind}: {self.origin})"


class Ledger(NamedTuple):
    """What a function saves; `str` prints it as a table, layer by layer.

    Attributes:
      hand: the buffers saved by hand-written rules.
      autodiff: those saved where JAX differentiates the definitions.
      elements: for each layer, the number of elements of the largest array that it computes.
    """

    hand: tuple[Saved, ...]
    autodiff: tuple[Saved, ...]
    elements: dict[str, int]

    def bytes(self, who: str = "hand", *kinds: str) -> int:
        """The bytes that `who`, "hand" or "autodiff", saves; all, or those of some kinds."""
        errors.choice("bytes", "who", who, ("hand", "autodiff"))
        return sum(s.bytes for s in getattr(self, who) if not kinds or s.kind in kinds)

    def per_element(self, layer: str, who: str = "hand") -> float:
        """The bytes saved of what a layer computed, for each element of its largest array."""
        total = sum(s.bytes for s in getattr(self, who) if s.layer == layer and s.kind != "input")
        return total / max(1, self.elements.get(layer, 1))

    def __str__(self) -> str:
        head = ("saved", "by hand", "an element", "autodiff", "an element")
        computed = {s.layer for s in (*self.hand, *self.autodiff) if s.kind != "input"}
        rows: list[tuple[str, ...]] = [head]
        for layer in filter(computed.__contains__, self.elements):
            cells = [layer or "(no scope)"]
            for who in ("hand", "autodiff"):
                one = [s for s in getattr(self, who) if s.kind != "input" and s.layer == layer]
                cells += [f"{sum(s.bytes for s in one):,}", f"{self.per_element(layer, who):.3g}"]
            rows.append(tuple(cells))
        for label, kinds in (("inputs", ("input",)), ("total bytes", ())):
            by_hand, by_jax = (self.bytes(who, *kinds) for who in ("hand", "autodiff"))
            rows.append((label, f"{by_hand:,}", "", f"{by_jax:,}", ""))
        return table(rows, total=True)


def residuals(function: Callable[..., Any], *args: Any) -> Ledger:
    """What `function` saves at `args` for its backward, layer by layer.

    A buffer that is saved twice counts once. What one layer computes and the next one saves stands
    under the layer that computed it. Layers are named by `jax.named_scope`, as the rules and the
    layers of this library do.

    Args:
      function: any function of arrays; derivatives are by its floating arguments.
      *args: arrays, or `jax.ShapeDtypeStruct`s: nothing is computed.

    >>> ledger = jnn.residuals(jnn.rules.gelu, jnp.ones((8, 64)))
    >>> ledger.bytes("hand", "new"), ledger.bytes("autodiff", "new") > 0
    (0, True)
    >>> print(*ledger.hand)
    float32[8,64] (input: x)
    """
    hand, elements = _saved(function, args, "backward")
    autodiff, more = _saved(function, args, "autodiff")
    for layer, count in more.items():
        elements[layer] = max(count, elements.get(layer, 0))
    return Ledger(hand, autodiff, elements)


def _saved(
    function: Callable[..., Any], args: Any, mode: str
) -> tuple[tuple[Saved, ...], dict[str, int]]:
    leaves, structure = jax.tree.flatten(args)

    def forward(*leaves: Any) -> Any:
        f, floats = by_floats(function, structure.unflatten(leaves))
        return jax.vjp(f, *floats)

    with derivatives(mode):
        program, (y, _) = jax.make_jaxpr(forward, return_shape=True)(*leaves)
    reader = _Reader()
    inputs = [_Value(OUTSIDE, name, "input") for name in _names(function, args)]
    ends = reader.run(program.jaxpr, inputs, OUTSIDE)
    split = len(jax.tree.leaves(y))
    outputs = {id(value) for value in ends[:split]}
    found = {}
    for value, variable in zip(ends[split:], program.jaxpr.outvars[split:], strict=True):
        if value is not None:
            kind = "output" if value.kind == "new" and id(value) in outputs else value.kind
            one = Saved(kind, value.layer, value.origin, variable.aval.shape, variable.aval.dtype)
            found.setdefault(id(value), one)
    return tuple(found.values()), reader.elements


def _names(function: Callable[..., Any], args: Any) -> list[str]:
    """What to call each leaf of the arguments: `w`, or `params[0].w`."""
    try:
        names = list(inspect.signature(function).bind(*args).arguments)
    except (TypeError, ValueError):
        names = []
    if len(names) < len(args):  # There is a *args among the parameters, or no signature.
        names = [f"args[{i}]" for i in range(len(args))]
    paths, _ = jax.tree_util.tree_flatten_with_path(args)
    return [names[path[0].idx] + jax.tree_util.keystr(path[1:]) for path, _ in paths]


class _Value:
    """A buffer while a jaxpr is read; two variables that hold it are one object."""

    def __init__(self, layer: str, origin: str, kind: str = "new"):
        self.layer, self.origin, self.kind = layer, origin, kind


# Operations that call a jaxpr on their operands, one to one.
_CALLS = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2", "custom_jvp_call",
          "custom_vjp_call", "custom_vjp_call_jaxpr"}  # fmt: skip

# Operations whose result is their operand, if its size and dtype stay.
_VIEWS = {"reshape", "squeeze", "expand_dims", "broadcast_in_dim", "copy", "name", "pvary",
          "stop_gradient", "convert_element_type", "sharding_constraint"}  # fmt: skip

# Operations whose result is their operand, seen as another type.
_DISGUISES = {"random_wrap", "random_unwrap"}

# Operations that turn constants into constants, which take no memory in a compiled program.
_FOLDS = {*_VIEWS, "iota"}


class _Reader:
    """Follows buffers through a jaxpr, and notes how large the arrays of each layer are.

    None stands for a constant of the program.
    """

    def __init__(self) -> None:
        self.elements: dict[str, int] = defaultdict(int)

    def run(self, jaxpr: Any, values: Iterable[_Value | None], layer: str) -> list[_Value | None]:
        known = dict(zip(jaxpr.invars, values, strict=True))
        known |= {v: _Value(OUTSIDE, "closed over", "input") for v in jaxpr.constvars}

        def read(variable: Any) -> _Value | None:
            return None if hasattr(variable, "val") else known[variable]

        for eqn in jaxpr.eqns:
            operands = [read(v) for v in eqn.invars]
            known.update(zip(eqn.outvars, self._results(eqn, operands, layer), strict=True))
        return [read(v) for v in jaxpr.outvars]

    def _results(self, eqn: Any, operands: list[_Value | None], layer: str) -> list[_Value | None]:
        layer = _inside(layer, str(eqn.source_info.name_stack))
        body = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
        body = getattr(body, "jaxpr", body)
        kind = eqn.primitive.name
        if kind in _CALLS:
            return self.run(body, operands, layer)
        if kind in _DISGUISES:
            return operands
        if kind in _VIEWS and _same(eqn.invars[0].aval, eqn.outvars[0].aval):
            return operands[:1]
        if kind in _FOLDS and not any(operands):
            return [None]
        ends: list[_Value | None] = [None] * len(eqn.outvars)
        if kind == "scan":  # Results are stacked, but the body says in which layer they arise.
            ends = self.run(body, [_Value(layer, kind) for _ in body.invars], layer)
        results = [_Value(end.layer if end else layer, kind) for end in ends]
        for value, variable in zip(results, eqn.outvars, strict=True):
            size = math.prod(getattr(variable.aval, "shape", ()))
            self.elements[value.layer] = max(size, self.elements[value.layer])
        return list(results)


def _same(a: Any, b: Any) -> bool:
    return a.size == b.size and a.dtype == b.dtype


# A name may hold parentheses of its own.
_TRANSFORM = re.compile(r"\b(?:jvp|vmap|transpose|checkpoint)\(((?:[^()]|\([^()]*\))*)\)")


def _inside(layer: str, scopes: str) -> str:
    """The layer's name, the marks of transformations stripped: `jvp(1.dense)/affine`."""
    while scopes != (stripped := _TRANSFORM.sub(r"\1", scopes)):
        scopes = stripped
    return "/".join(filter(None, [layer, *scopes.split("/")]))
