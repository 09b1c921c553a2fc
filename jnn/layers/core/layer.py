"""A layer: a pair of pure functions, `init` and `apply`, and the record of how it was made.

Nothing is hidden and nothing is mutated: parameters and state are pytrees that the caller holds.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors, rules
from jnn.layers.core.ragged import ARRAYS, by_place
from jnn.types import Batch, Key, Params, State
from jnn.value import Part, Recipe, binder, called

P = ParamSpec("P")

Spec = Recipe  # How a layer was made.

Init = Callable[[Key, Batch], tuple[Params, State]]


class Apply(Protocol):
    """What `Layer.apply` is."""

    def __call__(
        self, params: Params, state: State, x: Batch, *, key: Key | None = None, train: bool = False
    ) -> tuple[Batch, State]:
        """The output and the new state."""
        ...


@dataclass(frozen=True, repr=False)
class Layer:
    """A layer is a function of parameters and input, and knows how to draw its parameters.

    Close over it, or make it a static argument of a jitted function; it is no pytree. Layers that
    one constructor made with the same settings are equal, so that a program of one serves the next.

    >>> net = jnn.dense(2)
    >>> x = jnp.ones((8, 3))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, params)
    DenseParams(w=(3, 2), b=(2,))
    >>> y, state = net.apply(params, state, x, train=True)
    >>> net(params, x).shape
    (8, 2)

    Attributes:
      init: `init(key, x) -> (params, state)`. Only shape and dtype of the example `x` matter: an
        array or a `jax.ShapeDtypeStruct`.
      apply: `apply(params, state, x, *, key=None, train=False) -> (y, state)`.
      spec: how it was made, its name and settings.
    """

    init: Init
    apply: Apply
    spec: Spec = field(compare=False)

    def __call__(self, params: Params, x: Batch, state: State = ()) -> Batch:
        """The output in evaluation, without the state."""
        return self.apply(params, state, x)[0]

    def __repr__(self) -> str:
        return repr(self.spec)


def layer(
    constructor: Callable[P, tuple[Init, Apply]],
    made: Recipe | None = None,
    reads: Callable[[Any], Any] | None = None,
    sees: str = ARRAYS,
) -> Callable[P, Layer]:
    """Makes a constructor of layers from a function of settings that returns `(init, apply)`.

    >>> @jnn.layer
    ... def scale(*, start=1.0):
    ...     def init(key, x):
    ...         return jnp.full(x.shape[-1:], start, x.dtype), ()
    ...     def apply(params, state, x, *, key=None, train=False):
    ...         return x * jnp.broadcast_to(params, x.shape), state
    ...     return init, apply
    >>> net = jnn.serial(jnn.dense(3), scale(start=2.0))
    >>> net, net == jnn.serial(jnn.dense(3), scale(start=2.0))
    (serial(dense(3), scale(start=2.0)), True)

    Args:
      constructor: the function; what its layers do may depend on its settings alone.
      made: how the constructor itself was made, where it is no function of a module.
      reads: what it makes of each positional argument first, such as a layer of a rule.
      sees: "one" where its layers see each place of a sequence, (batch, time, ...), by itself;
        "all" where they know the sequences of `jnn.ragged`; "arrays" where they know none.
    """
    bind, name = binder(constructor), constructor.__name__

    @functools.wraps(constructor)
    def construct(*args: P.args, **kwargs: P.kwargs) -> Layer:
        if args and isinstance(args[0], jax.Array | np.ndarray):
            _called_as_a_function(constructor)
        given: Any = map(reads, args) if reads else args
        settings = bind(*given, **kwargs)
        init, apply = called(constructor, settings)
        spec = Spec(maker, settings)
        init = _from_example(name, by_place(name, sees, init, 1))
        apply = by_place(name, sees, apply, 2)
        return Layer(Part(spec, "init", init), Part(spec, "apply", apply), spec)

    construct.__dict__["sees"] = sees
    maker = construct if made is None else Part(made, "", construct)
    signature = inspect.signature(constructor).replace(return_annotation=Layer)
    construct.__dict__["__signature__"] = signature
    return construct


def _called_as_a_function(constructor: Callable[..., Any]) -> None:
    """Where a rule has the constructor's name, an array in the first place was meant for it."""
    name = constructor.__name__
    rule = {"dense": "affine"}.get(name, name)
    if constructor.__module__.startswith("jnn.") and rule in rules.registry:
        raise TypeError(f"{name}: jnn.{name} makes a layer, of settings; the function of arrays is "
                        f"jnn.rules.{rule}.")  # fmt: skip


def pure(function: Callable[[Any, Any], Any]) -> Apply:
    """The `apply` of a layer without state and chance, from `(params, x) -> y`."""

    def apply(
        params: Params, state: State, x: Batch, *, key: Key | None = None, train: bool = False
    ) -> tuple[Batch, State]:
        del key, train
        return function(params, x), state

    return apply


def key_of_step(function: str, key: Key | None) -> Key:
    """The key of a layer with chance, in training, where it has to have one."""
    if key is None:
        remedy = "Call net.apply(params, state, x, key=key, train=True), with a new key a step."
        errors.fail(function, "key", "a random key in training", None, remedy)
    return key


def without_parameters(key: Key, x: Batch) -> tuple[tuple[()], tuple[()]]:
    """The `init` of a layer that has neither parameters nor state."""
    del key, x
    return (), ()


def abstract(x: Any) -> Any:
    """Shape and dtype of each array in `x`, as JAX would hold it; computes nothing."""
    return jax.eval_shape(lambda x: x, x)


def fed_by(function: str, x: Batch, dtype: Any = None) -> tuple[int, Any]:
    """The number of features in the example `x`, and the dtype that the parameters take.

    That is the layer's own, where it was given one; else that of a floating example, and float32
    for integers.
    """
    if not hasattr(x, "shape") or len(x.shape) < 1:
        got = described(x)
        errors.fail(
            function, "x", "an array with its features on the last axis", got,
            "For a shape alone give jax.ShapeDtypeStruct(shape, dtype).",
        )  # fmt: skip
    if not _is_whole(x):
        errors.floating(function, x=x)
    if dtype is None:
        dtype = jnp.float32 if _is_whole(x) else x.dtype
    return x.shape[-1], jnp.dtype(dtype)


def fed(x: Batch, weights: jax.Array, dtype: Any) -> Batch:
    """The input of a layer in the dtype of its weights: integers, and all where it has a dtype."""
    own = dtype is not None and errors.is_floating(x)
    return jnp.asarray(x, weights.dtype) if own or _is_whole(x) else x


def _is_whole(x: Any) -> bool:
    kinds = (jnp.integer, jnp.bool_)
    return hasattr(x, "dtype") and any(jnp.issubdtype(x.dtype, kind) for kind in kinds)


def check_dtype(function: str, dtype: Any) -> None:
    """The setting `dtype` of a layer with parameters: None, or a floating one."""
    try:
        fits = dtype is None or jnp.issubdtype(jnp.dtype(dtype), jnp.floating)
    except TypeError:
        fits = False
    if not fits:
        expected = "a floating dtype, or None for that of the example"
        errors.fail(function, "dtype", expected, repr(dtype), "For example jnp.bfloat16.")


def described(tree: Any) -> Any:
    """`tree` with shapes and dtypes in place of its arrays."""
    return jax.tree.map(errors.describe, tree)


def _from_example(name: str, init: Init) -> Init:
    def from_example(key: Key, x: Batch) -> tuple[Params, State]:
        if not (errors.is_key(key) or getattr(key, "dtype", bool) == jnp.uint32):
            expected = "a random key, e.g. jax.random.key(0)"
            errors.fail(
                name, "key", expected, errors.describe(key), "Call init(key, x).", TypeError
            )
        return init(key, abstract(x))

    return from_example
