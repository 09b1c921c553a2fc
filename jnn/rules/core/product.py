"""How an operation is computed, a choice apart from what it is.

A rule's forward and each part of its backward may be computed in several ways. Such a part is a
`Product`: a pure function of arrays with named implementations, of which the context or a default
picks one for each call. The three products of a convolution are its value, the cotangent of its
input and that of its filter.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from jnn import errors
from jnn.xla.platform import for_each, platforms

Function = Callable[..., Any]


class Call(NamedTuple):
    """What a choice may depend on: hashable."""

    product: str
    arrays: tuple[tuple[tuple[int, ...], str], ...]  # Shape and dtype of each.
    setting: Any  # The record behind the arrays: a convolution's geometry; or None.
    platform: str  # What the program is for, one.

    def shape(self, i: int) -> tuple[int, ...]:
        """The shape of the i-th array."""
        return self.arrays[i][0]


class Chooser(Protocol):
    """What a context may hold: a name for a call, or None for the default. Must be hashable."""

    def choose(self, product: "Product", call: Call) -> str | None: ...


class Defaults:
    """Chooses nothing: each product's own default serves."""

    def choose(self, product: "Product", call: Call) -> str | None:
        """None, whatever the call."""
        del product, call


# A user context is part of jit's cache key: one jitted function is compiled once for each table.
choices: Any = jax.make_user_context(Defaults())


class References:
    """Chooses the reference of each product."""

    def choose(self, product: "Product", call: Call) -> str:
        """Its name, whatever the call."""
        del call
        return product.reference


_REFERENCES = References()


def by_reference() -> Any:
    """Within this context every product runs as its reference: a convolution as XLA has it.

    No transform rounds differently then, and no choice depends on the shape or on the machine.

    >>> with jnn.rules.by_reference():
    ...     jnn.rules.conv(jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4))).shape
    (2, 6, 6, 4)
    """
    return choices(_REFERENCES)


class _Noting:
    """Chooses as another does, and notes what; hashed by identity, so that no cache knows it."""

    def __init__(self, inner: Chooser):
        self.inner, self.found = inner, {}

    def choose(self, product: "Product", call: Call) -> str:
        name = self.inner.choose(product, call) or product.default(call)
        self.found[call] = name
        return name


def ways(function: Callable[..., Any], *args: Any) -> dict[Call, str]:
    """Each call of a product by `function`, in order, and what would compute it here.

    >>> def conv(x, w):
    ...     return jnn.rules.conv(x, w, padding=1)
    >>> x, w = jnp.ones((64, 16, 16, 32)), jnp.ones((3, 3, 32, 32))
    >>> [f"{call.product} {name}" for call, name in ways(conv, x, w).items()]
    ['conv.value overrun']
    """
    noting = _Noting(choices.value)
    with choices(noting):
        jax.eval_shape(lambda *args: function(*args), *args)
    return noting.found


class Implementation(NamedTuple):
    """One way to compute a product, and whether it can compute a given call."""

    function: Function
    suits: Callable[[Call], bool]


class Product:
    """A function of arrays that can be computed in several ways.

    Args:
      name: e.g. "conv.filter", unique in `products`.
      default: `call -> name`, what runs where nothing else is chosen.
      draw: `(random, call) -> arrays`, something to try the product on, if normal numbers, and
        integers of 0 and 1, are not what it takes.
      tried: from an implementation to the function that `jnn.tune` runs and compares in its place,
        where implementations differ in what they return.
    """

    def __init__(
        self,
        name: str,
        default: Callable[[Call], str],
        draw: Callable[[np.random.Generator, Call], tuple[Any, ...]] | None = None,
        tried: Callable[[Function], Function] = lambda function: function,
    ):
        self.name, self.default, self.draw, self.tried = name, default, draw, tried
        self.implementations: dict[str, Implementation] = {}
        products[name] = self

    def __repr__(self) -> str:
        return f"<product {self.name}: {', '.join(self.implementations)}>"

    def implementation(
        self, name: str, suits: Callable[[Call], bool] = lambda call: True
    ) -> Callable[[Function], Function]:
        """Adds an implementation, a function of the product's arrays and, if any, its setting.

        The first one added is the reference: it must suit every call, and `jnn.tune` holds the
        others to it.
        """

        def add(function: Function) -> Function:
            self.implementations[name] = Implementation(function, suits)
            return function

        return add

    @property
    def reference(self) -> str:
        """The name of the implementation that the others are held to."""
        return next(iter(self.implementations))

    def call(self, *arrays: jax.Array, setting: Hashable = None) -> Call:
        """The record of a call."""
        types = tuple((tuple(x.shape), str(x.dtype)) for x in arrays)
        return Call(self.name, types, setting, platforms()[0])

    def candidates(self, call: Call) -> tuple[str, ...]:
        """The names of those that can compute the call."""
        return tuple(name for name, each in self.implementations.items() if each.suits(call))

    def compute(self, name: str, *arrays: jax.Array, setting: Hashable = None) -> Any:
        """The product by that implementation, whatever is chosen."""
        behind = () if setting is None else (setting,)
        return self.implementations[name].function(*arrays, *behind)

    def __call__(self, *arrays: jax.Array, setting: Hashable = None) -> Any:
        return for_each(partial(self._chosen, setting), *arrays)

    def _chosen(self, setting: Hashable, *arrays: jax.Array) -> Any:
        call = self.call(*arrays, setting=setting)
        name = choices.value.choose(self, call) or self.default(call)
        errors.choice(self.name, "implementation", name, self.implementations)
        if not self.implementations[name].suits(call):
            errors.choice(self.name, "implementation", name, self.candidates(call))
        return self.compute(name, *arrays, setting=setting)


# Every product by its name.
products: dict[str, Product] = {}
