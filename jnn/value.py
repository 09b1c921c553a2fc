"""What a constructor makes is a value: it is what the constructor and its settings say.

`jnn.adam(0.1)` is a record of functions, made anew at each call. Here such functions are told
apart by how they were made: equal calls of one constructor make equal functions, which `jax.jit`
takes for one, so that nothing is compiled twice. They print as the call, and they pickle as it.
"""

import functools
import importlib
import inspect
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, Self, TypeVar

from jnn import errors
from jnn.setting import comparable, held, show

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, eq=False, repr=False)
class Recipe:
    """How a thing was made: the constructor itself and every setting, defaults included.

    Settings are compared with their types, so that 1, 1.0 and True are three; arrays by their
    numbers; traced arrays, and what cannot be hashed, by identity. `repr` is the call.

    >>> recipe = jnn.dense(4, bias=False).spec
    >>> recipe, recipe["bias"], recipe == jnn.dense(n=4, bias=False).spec
    (dense(4, bias=False), False, True)

    Attributes:
      maker: the constructor; a name where there is none.
      settings: names and values, in the constructor's order.
    """

    maker: Callable[..., Any] | str
    settings: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        told = tuple((name, comparable(value)) for name, value in self.settings)
        object.__setattr__(self, "_identity", (self.maker, told))
        object.__setattr__(self, "_hash", hash((self.maker, told)))

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Recipe):
            return self is other
        mine, theirs = self.__dict__, other.__dict__
        return mine["_hash"] == theirs["_hash"] and mine["_identity"] == theirs["_identity"]

    def __hash__(self) -> int:
        return self.__dict__["_hash"]

    def __getitem__(self, setting: str) -> Any:
        return dict(self.settings)[setting]

    def __repr__(self) -> str:
        shown, skipped = [], False
        for name, value in self.settings:
            parameter = self._parameters.get(name)
            kind = getattr(parameter, "kind", None)
            if kind is inspect.Parameter.VAR_POSITIONAL:
                shown += map(show, value)
            elif kind is inspect.Parameter.VAR_KEYWORD:
                shown += [f"{k}={show(v)}" for k, v in value.items()]
            elif parameter and comparable(value) == comparable(parameter.default):
                skipped = True
            elif kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and not skipped:
                shown.append(show(value))
            else:
                shown.append(f"{name}={show(value)}")
        return f"{self.name}({', '.join(shown)})"

    def __reduce__(self) -> tuple[Any, ...]:
        for thing in (self.maker, *(value for _, value in self.settings)):
            function = thing.func if isinstance(thing, functools.partial) else thing
            if inspect.isfunction(function):
                reference(function, self.name)
        return type(self), (self.maker, self.settings)

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    @property
    def name(self) -> str:
        """The constructor's name."""
        return self.maker if isinstance(self.maker, str) else self.maker.__name__

    @property
    def layers(self) -> tuple[Any, ...]:
        """The layers inside, of a combinator such as `serial`."""
        return dict(self.settings).get("layers", ())

    def make(self) -> Any:
        """What the constructor makes of the settings."""
        if isinstance(self.maker, str):
            errors.fail(self.name, "maker", "a constructor", repr(self.maker), kind=TypeError)
        return called(self.maker, self.settings)

    @property
    def _parameters(self) -> Any:
        return {} if isinstance(self.maker, str) else inspect.signature(self.maker).parameters


class Part:
    """One of the functions that a constructor returned: a function that compares as a value.

    >>> jnn.schedules.step(1.0, 0.5, 10) == jnn.schedules.step(1.0, 0.5, every=10)
    True
    >>> jnn.adam(0.1).update
    adam(0.1).update

    Attributes:
      recipe: how it was made.
      name: its field in what was made; "" where that is a function itself.
      function: what is called.
    """

    def __init__(self, recipe: Recipe, name: str, function: Callable[..., Any]):
        inner = function.function if isinstance(function, Part) else function
        if not inspect.ismethod(inner):
            functools.update_wrapper(self, inner)
        if not name and "<" in getattr(inner, "__qualname__", "<"):
            self.__dict__["__name__"] = recipe.name
        self.recipe, self.name, self.function = recipe, name, inner

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Part):
            return False
        return self.name == other.name and self.recipe == other.recipe

    def __hash__(self) -> int:
        return hash((self.recipe, self.name))

    def __repr__(self) -> str:
        return f"{self.recipe}.{self.name}" if self.name else repr(self.recipe)

    def __reduce__(self) -> tuple[Any, ...]:
        return _part, (self.recipe, self.name)

    def __deepcopy__(self, memo: Any) -> Self:
        return self


def _part(recipe: Recipe, name: str) -> Any:
    made = recipe.make()
    made = getattr(made, name) if name else made
    return made if isinstance(made, Part) else Part(recipe, name, made)


def constructor(function: Callable[P, T]) -> Callable[P, T]:
    """A constructor of values from one that returns a function, or a named tuple of functions.

    >>> from jnn.value import constructor
    >>> @constructor
    ... def power(n):
    ...     return lambda x: x**n
    >>> power(2), power(2)(3), power(2) == power(2), power(2) == power(2.0)
    (power(2), 9, True, False)
    """
    bind = binder(function)

    @functools.wraps(function)
    def construct(*args: P.args, **kwargs: P.kwargs) -> T:
        settings = bind(*args, **kwargs)
        return parts(Recipe(construct, settings), called(function, settings))

    return construct


def parts(recipe: Recipe, made: Any) -> Any:
    """A function, or a named tuple of some, as parts of what the recipe makes."""
    if not hasattr(made, "_fields"):
        return Part(recipe, "", made)
    fields = made._asdict().items()
    return made._replace(**{n: Part(recipe, n, f) for n, f in fields if _is_function(f)})


def _is_function(field: Any) -> bool:
    return callable(field) and not isinstance(field, type)


def binder(constructor: Callable[..., Any]) -> Callable[..., tuple[tuple[str, Any], ...]]:
    """The function from a call's arguments to the settings, which nobody can change any more."""
    signature = inspect.signature(constructor)

    def bind(*args: Any, **kwargs: Any) -> tuple[tuple[str, Any], ...]:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            takes = f"It takes {', '.join(signature.parameters) or 'nothing'}."
            remedy = errors.instead(constructor, kwargs, takes)
            raise TypeError(f"{constructor.__name__}: {error}. {remedy}") from None
        bound.apply_defaults()
        return tuple((name, held(value)) for name, value in bound.arguments.items())

    return bind


def called(constructor: Callable[..., Any], settings: tuple[tuple[str, Any], ...]) -> Any:
    """What a constructor returns for settings that `binder` gave."""
    bound = inspect.BoundArguments(inspect.signature(constructor), OrderedDict(settings))
    return constructor(*bound.args, **bound.kwargs)


def recipe_of(made: Any) -> Recipe | None:
    """How a function, or a named tuple of some, was made; None where no single call made it.

    >>> from jnn.value import recipe_of
    >>> recipe_of(jnn.adam(0.1)), recipe_of(jnn.optim.Optimizer(len, max))
    (adam(0.1), None)
    """
    fields: Any = made if isinstance(made, tuple) else (made,)
    recipes = {getattr(field, "recipe", None) for field in fields if _is_function(field)}
    return recipes.pop() if len(recipes) == 1 else None


def written(made: Any) -> str:
    """The call that made a named tuple of functions; its fields where no single call did."""
    recipe = recipe_of(made)
    if recipe is not None:
        return repr(recipe)
    fields = ", ".join(f"{name}={show(field)}" for name, field in made._asdict().items())
    return f"{type(made).__name__}({fields})"


def as_value(function: Any) -> Any:
    """A `functools.partial` as a function that compares by what it holds; others stay.

    >>> from functools import partial
    >>> from jnn.value import as_value
    >>> as_value(partial(jnn.huber, delta=2.0)) == as_value(partial(jnn.huber, delta=2.0))
    True
    """
    return _settled(function) if isinstance(function, functools.partial) else function


@constructor
def _settled(function: Any) -> Any:
    return function


def reference(thing: Any, function: str) -> str:
    """The name by which `pickle` finds a function or a rule in its module, or an error.

    >>> from jnn.value import reference
    >>> reference(jnn.dense, "dense")
    'dense'
    """
    module, name = thing.__module__, thing.__qualname__
    found: Any = None
    if module != "__main__" and "<" not in name:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part, None)
    if found is not thing:
        remedy = "Put it into a module of its own, under its name, and import it from there."
        errors.fail(function, name.split(".")[-1], "importable to be pickled",
                    f"one of {module}", remedy, pickle.PicklingError)  # fmt: skip
    return name
