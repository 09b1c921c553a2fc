"""A rule: one operation told four times; and the context that says who differentiates it.

The four parts of a rule are functions of plain `jnp` and `lax`:

    definition(*args, **settings)             -> value
    forward(*args, **settings)                -> value, saved
    backward(saved, delta, **settings)        -> one cotangent an argument
    tangent(primals, tangents, **settings)    -> value, tangent

The definition is the specification: `jnn.verify.check` holds the other three to it. Keyword-only
parameters of the definition are the rule's settings: constants of the program, hashable.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, ParamSpec, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors

P = ParamSpec("P")
R = TypeVar("R")

MODES = ("backward", "forward", "autodiff")

# A user context is part of jit's cache key: one jitted function is compiled once for each mode.
_mode = jax.make_user_context("backward")


@contextlib.contextmanager
def derivatives(mode: str) -> Iterator[None]:
    """Within this context, rules are differentiated in the given way.

    "backward" (the default) applies hand-written VJPs, for `grad`, `vjp` and `jacrev`; "forward"
    applies hand-written JVPs, for `jvp`, `jacfwd` and `linearize` as well; "autodiff" leaves each
    rule's definition to JAX. The context also works as a decorator.

    >>> with derivatives("forward"):
    ...     jax.jvp(jnn.rules.tanh, (0.0,), (1.0,))[1].item()
    1.0
    """
    errors.choice("derivatives", "mode", mode, MODES)
    with _mode(mode):
        yield


def autodiff(function: Callable[P, R]) -> Callable[P, R]:
    """`function` with every rule in it differentiated by JAX from its definition.

    >>> jax.grad(autodiff(jnn.rules.tanh))(0.0).item()
    1.0
    """

    @functools.wraps(function)
    def under_autodiff(*args: P.args, **kwargs: P.kwargs) -> R:
        with _mode("autodiff"):
            return function(*args, **kwargs)

    return under_autodiff


class RuleError(TypeError):
    """A part of a rule is missing or does not fit the others."""


class Parts(NamedTuple):
    """The four tellings of one operation, as plain functions; None where one is not written."""

    definition: Any
    forward: Any = None
    backward: Any = None
    tangent: Any = None


class Example:
    """Arguments and settings to try a rule on, e.g. `Example(x, w, slope=0.1)`.

    Floating arrays are float64; whoever uses the example casts them.
    """

    def __init__(self, *args: Any, **settings: Any):
        self.args = args
        self.settings = settings

    def __repr__(self) -> str:
        args = jax.tree.map(errors.describe, self.args)
        return f"Example{args} {self.settings or ''}".rstrip()


ExampleMaker = Callable[[np.random.Generator], Example]


class Rule:
    """An operation with hand-written derivatives; made by `jnn.rule`, see there."""

    def __init__(self, definition: Callable[..., Any]):
        functools.update_wrapper(self, definition)
        self.name = definition.__name__
        self.parts = Parts(definition)
        self.elementwise = False
        self.examples: tuple[ExampleMaker, ...] = ()
        self.extremes: tuple[ExampleMaker, ...] = ()
        self.kinks: tuple[ExampleMaker, ...] = ()
        self._checker: Callable[..., Any] | None = None
        self._callables: dict[Any, Callable[..., Any]] = {}
        self._signature = inspect.signature(definition)
        parameters = self._signature.parameters.values()
        kinds = {p.kind for p in parameters}
        if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
            raise RuleError(f"rule '{self.name}': the definition must name its parameters, got "
                            f"{self._signature}. Pass a tuple instead of *args.")  # fmt: skip
        self.arguments = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)
        self.settings = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)

    def __repr__(self) -> str:
        told = ", ".join(part for part, f in self.parts._asdict().items() if f is not None)
        return f"<rule {self.name}{self._signature}: {told}>"

    # What makes a rule: each of these is a decorator that returns its function unchanged.

    def forward(self, function: Callable[..., R]) -> Callable[..., R]:
        """Sets the forward: same parameters as the definition, returns `(value, saved)`."""
        return self._set("forward", function, self.arguments)

    def backward(self, function: Callable[..., R]) -> Callable[..., R]:
        """Sets the backward: `(saved, delta, **settings)` to one cotangent an argument.

        An integer or absent argument takes None.
        """
        return self._set("backward", function, ("saved", "delta"))

    def tangent(self, function: Callable[..., R]) -> Callable[..., R]:
        """Sets the tangent: `(primals, tangents, **settings)` to `(value, tangent)`."""
        return self._set("tangent", function, ("primals", "tangents"))

    def check(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Sets the check that sees each call first, with the definition's parameters.

        It raises on bad input, and may return a dictionary of settings in a canonical form.
        """
        self._checker = function
        return function

    def example(self, function: ExampleMaker) -> ExampleMaker:
        """Adds a maker of ordinary arguments, `random -> Example`, shapes drawn at random."""
        self.examples += (function,)
        return function

    def extreme(self, function: ExampleMaker) -> ExampleMaker:
        """Adds a maker of arguments at which values must stay finite and right."""
        self.extremes += (function,)
        return function

    def kink(self, function: ExampleMaker) -> ExampleMaker:
        """Adds a maker of arguments at which the derivative jumps."""
        self.kinks += (function,)
        return function

    def replace(self, **parts: Callable[..., Any] | None) -> Self:
        """A copy of the rule with other parts, e.g. `affine.replace(backward=mine)`."""
        copy = type(self)(self.parts.definition)
        copy.__dict__ |= {**self.__dict__, "_callables": {}, "parts": self.parts._replace(**parts)}
        return copy

    def _set(self, part: str, function: Callable[..., R], expected: tuple[str, ...]) -> Any:
        signature = inspect.signature(function)
        try:  # Arguments go by position, so they may have names of their own; settings by name.
            signature.bind(*expected, **dict.fromkeys(self.settings))
        except TypeError:
            wanted = [*expected, *(["*"] if self.settings else []), *self.settings]
            raise RuleError(
                f"rule '{self.name}': {part} must take ({', '.join(wanted)}), got {signature}."
            ) from None
        self.parts = self.parts._replace(**{part: function})
        self._callables = {}
        return function

    # What a call does.

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args, settings = self._bind(args, kwargs)
        function = self._callable(_mode.value, settings)
        with jax.named_scope(self.name):
            return function(*args)

    def _bind(self, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments as arrays and settings as constants, checked."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}{self._signature}: {error}.") from None
        bound.apply_defaults()
        arguments = {name: _as_arrays(bound.arguments[name]) for name in self.arguments}
        settings = dict(bound.kwargs)
        if self._checker is not None:
            settings |= self._checker(*arguments.values(), **settings) or {}
        return tuple(arguments.values()), settings

    def _callable(self, mode: str, settings: dict[str, Any]) -> Callable[..., Any]:
        """The function that JAX sees, one object for each mode and choice of settings."""
        key = (mode, *((name, type(value), value) for name, value in settings.items()))
        try:
            known = self._callables.get(key)
        except TypeError:
            for name, value in settings.items():
                if getattr(value, "__hash__", None) is None or isinstance(value, jax.Array):
                    errors.fail(self.name, name, "a hashable constant", errors.describe(value),
                                "To differentiate with respect to it, or to trace it, make it a "
                                "positional argument of the rule.", TypeError)  # fmt: skip
            raise
        if known is None:
            known = self._callables.setdefault(key, getattr(self, f"_by_{mode}")(settings))
        return known

    def _by_autodiff(self, settings: dict[str, Any]) -> Callable[..., Any]:
        return functools.partial(self.parts.definition, **settings)

    def _by_forward(self, settings: dict[str, Any]) -> Callable[..., Any]:
        tangent = self.parts.tangent
        if tangent is None:
            return self._by_autodiff(settings)

        def value(*args: Any) -> Any:
            return self._part("forward")(*args, **settings)[0]

        def value_and_tangent(primals: Any, tangents: Any) -> Any:
            y, dy = _apply_tangent(tangent, primals, tangents, settings)
            return y, jax.tree.map(_tangent_like, dy, y)

        rule = jax.custom_jvp(_named(value, self.name))
        rule.defjvp(value_and_tangent, symbolic_zeros=True)
        return rule

    def _by_backward(self, settings: dict[str, Any]) -> Callable[..., Any]:
        forward, backward = self._part("forward"), self._part("backward")

        def value(*args: Any) -> Any:
            return _pair(self.name, forward(*args, **settings))[0]

        def value_and_saved(*args: Any) -> Any:
            y, saved = _pair(self.name, forward(*args, **settings))
            return y, (saved, _Types(jax.tree.map(jax.typeof, args)))

        def cotangents(residuals: Any, delta: Any) -> Any:
            saved, types = residuals
            with_settings = functools.partial(backward, **settings)
            return _as_sharded(
                lambda saved, delta: self._fit(with_settings(saved, delta), types.tree), types.tree
            )(saved, delta)

        rule = jax.custom_vjp(_named(value, self.name))
        rule.defvjp(value_and_saved, cotangents)

        def call(*args: Any) -> Any:
            try:
                return rule(*args)  # If jvp led here: `with jnn.derivatives("forward")` allows it.
            except TypeError as error:
                if "forward-mode" in str(error):
                    error.add_note(
                        f"rule '{self.name}' is differentiated backwards here. For jvp, jacfwd "
                        'and linearize call it under jnn.derivatives("forward") (hand-written '
                        'tangents) or jnn.derivatives("autodiff").'
                    )
                raise

        return call

    def _part(self, part: str) -> Callable[..., Any]:
        function = getattr(self.parts, part)
        if function is None:
            raise RuleError(
                f"rule '{self.name}' has no {part}: write one under @{self.name}.{part}, or call "
                'it under jnn.derivatives("autodiff").'
            )
        return function

    def _fit(self, cotangents: Any, types: tuple[Any, ...]) -> tuple[Any, ...]:
        """Cotangents in the form that JAX asks for; whatever does not fit is named."""
        if not isinstance(cotangents, tuple) or len(cotangents) != len(types):
            count = len(cotangents) if isinstance(cotangents, tuple) else type(cotangents).__name__
            raise RuleError(
                f"rule '{self.name}': backward must return a tuple of {len(types)} cotangents, "
                f"one for each of ({', '.join(self.arguments)}), got {count}."
            )
        return tuple(
            self._fit_argument(name, cotangent, kind)
            for name, cotangent, kind in zip(self.arguments, cotangents, types, strict=True)
        )

    def _fit_argument(self, argument: str, cotangent: Any, types: Any) -> Any:
        if cotangent is None or not jax.tree.leaves(types):
            return None

        def fit(t: Any, d: Any) -> Any:
            if d is None or not jnp.issubdtype(t.dtype, jnp.inexact):
                return None
            if jnp.shape(d) != t.shape:
                raise RuleError(
                    f"rule '{self.name}': backward returned {errors.describe(d)} as the cotangent "
                    f"of `{argument}`, which is {errors.describe(t)}."
                )
            return _vary_like(jnp.asarray(d, t.dtype), t)

        try:
            return jax.tree.map(fit, types, cotangent)
        except ValueError as error:
            raise RuleError(
                f"rule '{self.name}': the cotangent of `{argument}` must have its structure "
                f"{jax.tree.structure(types)}, got {jax.tree.structure(cotangent)}."
            ) from error


def rule(definition: Callable[..., Any]) -> Rule:
    """Makes a rule from its definition; the other parts are added by its decorators.

    Positional parameters are arguments (arrays, pytrees, or None), keyword-only ones settings.

    >>> @jnn.rule
    ... def cube(x):
    ...     return x**3
    >>> @cube.forward
    ... def cube_forward(x):
    ...     return x**3, x
    >>> @cube.backward
    ... def cube_backward(x, delta):
    ...     return (3 * x**2 * delta,)
    >>> jax.grad(cube)(2.0).item()
    12.0
    """
    return Rule(definition)


@jax.tree_util.register_static
class _Types:
    """The types of a rule's arguments, which travel beside the saved values at no cost."""

    def __init__(self, tree: Any):
        self.tree = tree
        leaves, structure = jax.tree.flatten(tree)
        self._key = (tuple(leaves), structure)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Types) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def _as_arrays(tree: Any) -> Any:
    """NumPy arrays and Python numbers as JAX arrays, weak types kept."""
    return jax.tree.map(lambda x: x if isinstance(x, jax.Array) else jnp.asarray(x), tree)


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = name
    return function


def _pair(name: str, result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise RuleError(
            f"rule '{name}': forward must return a pair (value, saved), got "
            f"{jax.tree.map(errors.describe, result)}."
        )
    return result


def _apply_tangent(tangent: Any, primals: Any, tangents: Any, settings: dict[str, Any]) -> Any:
    """Value and tangent; the terms of arguments that do not move are not computed.

    The tangent is linear in `tangents`, so it is its own JVP; and JAX's JVP of it in the moving
    arguments alone drops the products with the zeros of the others.
    """
    leaves, structure = jax.tree.flatten(tangents)
    still = [isinstance(leaf, jax.custom_derivatives.SymbolicZero) for leaf in leaves]
    moving = tuple(leaf for leaf, zero in zip(leaves, still, strict=True) if not zero)

    def linear(*moving: Any) -> Any:
        rest = iter(moving)
        full = [
            _zeros(leaf) if zero else next(rest) for leaf, zero in zip(leaves, still, strict=True)
        ]
        y, dy = tangent(primals, structure.unflatten(full), **settings)
        return dy, y

    if not any(still):
        return linear(*moving)[::-1]
    _, dy, y = jax.jvp(linear, moving, moving, has_aux=True)
    return y, dy


def _zeros(like: Any) -> Any:
    zeros = np.zeros if like.dtype == jax.dtypes.float0 else jnp.zeros
    return zeros(like.shape, like.dtype)


def _tangent_like(dy: Any, y: Any) -> Any:
    return jnp.asarray(dy, y.dtype) if jnp.issubdtype(y.dtype, jnp.inexact) else dy


def _vary_like(cotangent: jax.Array, like: Any) -> jax.Array:
    """Inside `shard_map`: an argument that all devices share gets the sum of their cotangents."""
    ours, theirs = _varying(jax.typeof(cotangent)), _varying(like)
    if summed := ours - theirs:
        cotangent = jax.lax.psum(cotangent, tuple(sorted(summed)))
    if spread := theirs - ours:
        cotangent = jax.lax.pcast(cotangent, tuple(sorted(spread)), to="varying")
    return cotangent


def _as_sharded(function: Callable[..., Any], types: Any) -> Callable[..., Any]:
    """On a mesh with explicit axes, cotangents are laid out as their arguments are."""
    shardings = jax.tree.map(lambda t: t.sharding, types)
    axis_types = {kind for s in jax.tree.leaves(shardings) for kind in s.mesh.axis_types}
    if jax.sharding.AxisType.Explicit not in axis_types:
        return function
    return jax.sharding.auto_axes(function, out_sharding=shardings)


def _varying(t: Any) -> frozenset[Any]:
    return t.manual_axis_type.varying
