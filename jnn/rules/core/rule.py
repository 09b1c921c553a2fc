"""A rule: one operation told four times.

The four parts of a rule are functions of plain `jnp` and `lax`:

    definition(*args, **settings)             -> value
    forward(*args, **settings)                -> value, saved
    backward(saved, delta, **settings)        -> one cotangent an argument
    tangent(primals, tangents, **settings)    -> value, tangent

The definition is the specification: `jnn.verify.check` holds the other three to it. Keyword-only
parameters of the definition are the rule's settings: constants of the program, hashable.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, Self, TypeVar

import jax
import numpy as np

from jnn import errors
from jnn.errors import RuleError
from jnn.rules.core import mode
from jnn.rules.core.custom import as_arrays, by_autodiff, by_backward, by_forward
from jnn.value import reference

R = TypeVar("R")

_BY = {"autodiff": by_autodiff, "backward": by_backward, "forward": by_forward}


class Parts(NamedTuple):
    """The four tellings of one operation, as plain functions; None where one is not written."""

    definition: Any
    forward: Any = None
    backward: Any = None
    tangent: Any = None


class Example:
    """Arguments and settings to try a rule on.

    Floating arrays are float64; whoever uses the example casts them.

    >>> jnn.rules.Example(np.ones((4, 3)), slope=0.1)
    Example('float64[4,3]',) {'slope': 0.1}
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
        # Of a loss of (y, t): how many halves of the square of each y - t it sums, if it does.
        self.squares: float | None = None
        # Which outputs are statistics, in the dtype in which half precisions are summed.
        self.wide_outputs: tuple[int, ...] = ()
        self.value_again = False  # Whether the backward computes the value once more, on purpose.
        self.examples: tuple[ExampleMaker, ...] = ()
        self.extremes: tuple[ExampleMaker, ...] = ()
        self.kinks: tuple[ExampleMaker, ...] = ()
        self._checker: Callable[..., Any] | None = None
        self._callables: dict[Any, Callable[..., Any]] = {}
        annotated = inspect.signature(definition)
        parameters = [p.replace(annotation=p.empty) for p in annotated.parameters.values()]
        self._signature = inspect.Signature(parameters)
        kinds = {p.kind for p in parameters}
        if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
            raise RuleError(f"rule '{self.name}': the definition must name its parameters, got "
                            f"{self._signature}. Pass a tuple instead of *args.")  # fmt: skip
        self.arguments = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)
        self.settings = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)

    def __repr__(self) -> str:
        told = ", ".join(part for part, f in self.parts._asdict().items() if f is not None)
        return f"<rule {self.name}{self._signature}: {told}>"

    def __reduce__(self) -> str:
        return reference(self, self.name)

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
        args, settings = self.bind(*args, **kwargs)
        function = self._callable(mode.current(), settings)
        with jax.named_scope(self.name):
            return function(*args)

    def bind(self, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the parts are given for a call: arrays, and settings as the check leaves them."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            remedy = errors.instead(self.parts.definition, kwargs, "")
            raise TypeError(f"{self.name}{self._signature}: {error}. {remedy}".rstrip()) from None
        bound.apply_defaults()
        arguments = {name: as_arrays(bound.arguments[name]) for name in self.arguments}
        settings = dict(bound.kwargs)
        if self._checker is not None:
            settings |= self._checker(*arguments.values(), **settings) or {}
        return tuple(arguments.values()), settings

    def _callable(self, who: str, settings: dict[str, Any]) -> Callable[..., Any]:
        """The function that JAX sees, one object for each mode and choice of settings."""
        key = (who, *((name, type(value), value) for name, value in settings.items()))
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
            known = self._callables.setdefault(key, _BY[who](self, settings))
        return known


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
