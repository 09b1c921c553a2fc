"""Which products a function calls, found by tracing: nothing is computed."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jnn.errors import is_floating
from jnn.floats import cotangent, pulled
from jnn.rules.core.product import Call, Product, choices


class _Recorder:
    """Writes down each call once, and chooses nothing. Hashed by identity: no cache knows it."""

    def __init__(self) -> None:
        self.calls: dict[Call, None] = {}

    def choose(self, product: Product, call: Call) -> None:
        del product
        self.calls[call] = None


def recorded(function: Callable[..., Any], *args: Any, gradient: bool = True) -> tuple[Call, ...]:
    """The calls of products by `function` at `args`, each once, in the order of tracing.

    Args:
      function: any function of arrays.
      *args: its arguments, or `jax.ShapeDtypeStruct`s in their place.
      gradient: whether the calls of its derivative by all floating arguments count too.

    >>> recorded(jnn.rules.tanh, jnp.ones(3))  # It has no product.
    ()
    """
    args = jax.tree.map(lambda x: x if hasattr(x, "dtype") else jnp.asarray(x), args)
    recorder = _Recorder()
    with choices(recorder):
        outputs = jax.eval_shape(lambda args: function(*args), args)
        if gradient and all(any(map(is_floating, jax.tree.leaves(t))) for t in (args, outputs)):
            try:
                jax.eval_shape(lambda *a: pulled(function, *a), args, cotangent(outputs))
            except Exception as error:
                error.add_note(
                    "This was the derivative. A function that need not be differentiated, such as "
                    "a training step, is tuned with gradient=False."
                )
                raise
    return tuple(recorder.calls)
