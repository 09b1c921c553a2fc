"""Who differentiates: a context that `jit` knows of."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import jax

from jnn import errors
from jnn.value import constructor

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


@constructor
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


def current() -> str:
    """The mode that holds here."""
    return _mode.value
