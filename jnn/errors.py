"""Checks on shapes, dtypes and settings, with one wording for every message.

A message says which function and which argument, what was expected, what came, and what to do.
All of them run on static information, so that bad input raises when a function is traced.
"""

from collections.abc import Callable, Collection
from typing import Any, NoReturn, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

F = TypeVar("F", bound=Callable[..., Any])

LONGEST = 1000  # Characters in which a tree is described.


class RuleError(TypeError):
    """A part of a rule is missing or does not fit the others."""


def fail(
    function: str,
    argument: str,
    expected: str,
    got: object,
    remedy: str = "",
    kind: type[Exception] = ValueError,
) -> NoReturn:
    """Raises `kind` with the library's one wording.

    >>> fail("dense", "features", "a positive integer", -3)
    Traceback (most recent call last):
    ...
    ValueError: dense: `features` must be a positive integer, got -3.
    """
    sentence = f"{function}: `{argument}` must be {expected}, got {got}."
    raise kind(f"{sentence} {remedy}".strip())


def gone(**sentences: str) -> Callable[[F], F]:
    """Marks a constructor with settings that it took once, and what to write instead of each.

    >>> @jnn.layer
    ... @gone(slope="Write leaky_relu(slope=...).")
    ... def hinge():
    ...     return jnn.layers.core.layer.without_parameters, None
    >>> hinge(slope=0.1)
    Traceback (most recent call last):
    ...
    TypeError: hinge: got an unexpected keyword argument 'slope'. Write leaky_relu(slope=...).
    """

    def mark(constructor: F) -> F:
        constructor.__dict__["gone"] = sentences
        return constructor

    return mark


def renamed(module: str, **names: str) -> Callable[[str], NoReturn]:
    """A module's `__getattr__`, which says what each old name is called now.

    >>> from jnn.errors import renamed
    >>> renamed("jnn.tree", largest="largest_entry")("largest")
    Traceback (most recent call last):
    ...
    AttributeError: jnn.tree.largest is now jnn.tree.largest_entry.
    """

    def look(name: str) -> NoReturn:
        if name in names:
            raise AttributeError(f"{module}.{name} is now {module}.{names[name]}.")
        raise AttributeError(f"module '{module}' has no attribute '{name}'")

    return look


def instead(constructor: Callable[..., Any], given: Collection[str], otherwise: str) -> str:
    """What to write instead of the settings `given`, where one of them is gone."""
    sentences = constructor.__dict__.get("gone", {})
    return next((sentences[name] for name in given if name in sentences), otherwise)


def describe(x: Any) -> str:
    """The shape and dtype of an array in JAX's short form, e.g. `float32[8,3]`."""
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        extended = jnp.issubdtype(x.dtype, jax.dtypes.extended)  # Random keys are no numbers.
        name = str(x.dtype) if extended else jnp.dtype(x.dtype).name
        return f"{name}[{','.join(map(str, x.shape))}]"
    if isinstance(x, tuple | list | dict):
        text = str(jax.tree.map(describe, x)).replace("'", "")
        return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    return f"{type(x).__name__} {x!r}"


def is_floating(x: Any) -> bool:
    """Whether `x` has a real floating dtype, half precisions included."""
    number = isinstance(x, float) or hasattr(x, "dtype")
    return number and jnp.issubdtype(jnp.result_type(x), jnp.floating)


def is_key(x: Any) -> bool:
    """Whether `x` is a random key, or an array of some, of the kind that `jax.random.key` makes."""
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def floating(function: str, **arrays: Any) -> None:
    """Each array is floating, and all that are not weakly typed share one dtype."""
    first: tuple[str, Any] | None = None
    for argument, x in arrays.items():
        if not is_floating(x):
            remedy = f"Cast it, e.g. {argument}.astype(jnp.float32)."
            if not hasattr(x, "dtype"):
                remedy = f"Make it one, e.g. by jnp.asarray({argument})."
            fail(function, argument, "a floating array", describe(x), remedy, TypeError)
        if jax.typeof(x).weak_type:
            continue
        if first is None:
            first = argument, x
        elif jnp.result_type(x) != jnp.result_type(first[1]):
            fail(
                function,
                argument,
                f"of the dtype of `{first[0]}`, {jnp.result_type(first[1]).name}",
                describe(x),
                "Mixed precisions are not promoted silently: cast one of the two with .astype.",
                TypeError,
            )


def unwrapped(function: str, argument: str, x: Any) -> None:
    """No integer of a NumPy array changes where JAX holds it in fewer bits."""
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "iu" or not x.size:
        return
    held = jax.dtypes.canonicalize_dtype(x.dtype)
    limits = np.iinfo(held)
    if held.itemsize < x.itemsize and (x.min() < limits.min or x.max() > limits.max):
        place = np.argwhere((x < limits.min) | (x > limits.max))[0]
        got = f"{x[tuple(place)]} at {', '.join(map(str, place))}"
        remedy = "Number classes and tokens from 0; jax_enable_x64 lets JAX hold wider integers."
        fail(function, argument, f"integers that {held} can hold", got, remedy)


def rank(function: str, argument: str, x: Any, *allowed: int) -> None:
    """`x` has one of the allowed numbers of axes."""
    if jnp.ndim(x) not in allowed:
        expected = " or ".join(str(n) for n in allowed)
        fail(function, argument, f"an array of rank {expected}", describe(x))


def shape(
    function: str, argument: str, x: Any, expected: tuple[int, ...], remedy: str = ""
) -> None:
    """`x` has exactly the expected shape."""
    if jnp.shape(x) != expected:
        fail(function, argument, f"of shape {expected}", describe(x), remedy)


def choice(function: str, argument: str, value: Any, options: Collection[Any]) -> None:
    """`value` is one of the options."""
    if value not in options:
        listed = ", ".join(repr(option) for option in options)
        fail(function, argument, f"one of {listed}", repr(value))


def positive_integer(function: str, argument: str, value: Any) -> None:
    """`value` is a Python or NumPy integer above zero."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        fail(function, argument, "a positive integer", repr(value))


def number(
    function: str, argument: str, value: Any, low: float, high: float = float("inf")
) -> None:
    """`value` is a constant between `low` and `high`, both included."""
    if not (isinstance(value, int | float) or (jnp.ndim(value) == 0 and hasattr(value, "item"))):
        fail(function, argument, "a number", repr(value), kind=TypeError)
    if isinstance(value, Tracer):
        remedy = "It is compiled in: close over it, or let `jit` take it for static."
        fail(function, argument, "a constant", describe(value), remedy, TypeError)
    if not low <= value <= high:
        fail(function, argument, f"between {low:g} and {high:g}", repr(value))
