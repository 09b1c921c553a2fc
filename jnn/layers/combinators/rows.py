"""Layers of layers: one after the other, or side by side.

The parameters of a combinator are the tuple of its layers' parameters, and so is its state, except
that the state is `()` where no layer has any. Layer i runs under the scope `i.name`, by which
profiles and ledgers call it, and an error inside says which layer it was.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.layers.combinators.fusions import Together, runs
from jnn.layers.core.layer import Apply, Init, Layer, layer
from jnn.layers.core.ragged import ALL, joined
from jnn.layers.pointwise import lifted
from jnn.rules.core.rule import Rule
from jnn.types import Batch, Key, Params, State


@functools.partial(layer, reads=lifted, sees=ALL)
def serial(*layers: Layer | Rule) -> tuple[Init, Apply]:
    """The layers one after the other (H-1, X-79..82, T-20); of none, the identity.

    A rule of one argument, such as `jnn.rules.relu`, stands for its layer.

    Layer i gets the key `jax.random.fold_in(key, i)`. Neighbours that one rule computes together,
    such as `conv(8, 3), relu(), max_pool(2)` or, in training, `batch_norm(), relu(), conv(8, 3)`,
    are computed by it; see `jnn.layers.fusions`.

    >>> net = jnn.serial(jnn.dense(4), jnn.relu(), jnn.dense(2))
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> net(params, jnp.zeros((8, 3))).shape
    (8, 2)
    """
    row = checked_layers("serial", layers)
    plans = runs(row), runs(row, train=True)

    def init(key: Key, x: Batch) -> tuple[Params, State]:
        made = []
        for i, inner in enumerate(row):
            with inside("serial", i, inner):
                params, state = inner.init(jax.random.fold_in(key, i), x)
                x, _ = jax.eval_shape(inner.apply, params, state, x)
            made.append((params, state))
        return transposed(made)

    def apply(
        params: Params, state: State, x: Batch, *, key: Key | None = None, train: bool = False
    ) -> tuple[Batch, State]:
        rows, states = each("serial", row, params, state), []
        for first, count, together in plans[bool(train)]:
            if together is not None:
                x, new = _fused(together, first, rows[first : first + count], x, train)
                states += new
                continue
            inner, p, s = rows[first]
            with inside("serial", first, inner):
                x, s = inner.apply(p, s, x, key=fold_key(key, first), train=train)
            states.append(s)
        return x, packed(states)

    return init, apply


@functools.partial(layer, reads=lifted, sees=ALL)
def parallel(*layers: Layer | Rule, combine: str | None = None) -> tuple[Init, Apply]:
    """The layers side by side, each on the same input; keys as in `serial`.

    Args:
      *layers: at least one.
      combine: None for the tuple of all outputs, "sum" for their sum, "concatenate" to join them
        along the last axis.

    >>> net = jnn.parallel(jnn.identity(), jnn.dense(2), combine="concatenate")
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> net(params, jnp.zeros((8, 3))).shape
    (8, 5)
    """
    row = checked_layers("parallel", layers)
    if not row:
        errors.fail("parallel", "layers", "at least one layer", "none")
    errors.choice("parallel", "combine", combine, (None, "sum", "concatenate"))

    init, apply_all = side_by_side("parallel", row)

    def apply(
        params: Params, state: State, x: Batch, *, key: Key | None = None, train: bool = False
    ) -> tuple[Batch, State]:
        outputs, state = apply_all(params, state, x, key=key, train=train)
        if combine is None:
            return tuple(outputs), state
        return joined(lambda *ys: _combined(combine == "sum", ys), *outputs), state

    return init, apply


def side_by_side(function: str, layers: Sequence[Layer]) -> tuple[Init, Apply]:
    """The layers, each on the same input, for a combinator of that name: all their outputs."""

    def init(key: Key, x: Batch) -> tuple[Params, State]:
        made = []
        for i, inner in enumerate(layers):
            with inside(function, i, inner):
                made.append(inner.init(jax.random.fold_in(key, i), x))
        return transposed(made)

    def apply(
        params: Params, state: State, x: Batch, *, key: Key | None = None, train: bool = False
    ) -> tuple[Batch, State]:
        outputs, states = [], []
        for i, (inner, p, s) in enumerate(each(function, layers, params, state)):
            with inside(function, i, inner):
                y, s = inner.apply(p, s, x, key=fold_key(key, i), train=train)
            outputs.append(y)
            states.append(s)
        return outputs, packed(states)

    return init, apply


def each(
    function: str, layers: Sequence[Layer], params: Params, state: State
) -> list[tuple[Layer, Any, Any]]:
    """Each layer with its parameters and its state."""
    if isinstance(state, tuple) and not state:
        state = ((),) * len(layers)
    for argument, value in (("params", params), ("state", state)):
        if not isinstance(value, tuple | list) or len(value) != len(layers):
            names = ", ".join(inner.spec.name for inner in layers)
            count = len(value) if isinstance(value, tuple | list) else errors.describe(value)
            errors.fail(function, argument, f"a tuple of {len(layers)}, one for each of ({names})",
                        count, "Make both by init.")  # fmt: skip
    return list(zip(layers, params, state, strict=True))


@contextlib.contextmanager
def inside(function: str, i: int, inner: Layer) -> Iterator[None]:
    """The scope of layer i; an error that leaves it says where it was."""
    try:
        with jax.named_scope(f"{i}.{inner.spec.name}"):
            yield
    except Exception as error:
        what = inner.spec.name if inner.spec.layers else repr(inner)
        error.add_note(f"In layer {i} of {function}: {what}")
        raise


def _fused(
    together: Together, first: int, rows: list[tuple[Layer, Any, Any]], x: Any, train: bool
) -> tuple[Any, Sequence[Any]]:
    """Neighbours as one, under the name of the first; an error is that of the layer at fault."""
    _, params, states = zip(*rows, strict=True)
    try:
        with inside("serial", first, rows[0][0]):
            return together(params, states, x)
    except Exception as error:
        fault = error
    for i, (inner, p, s) in enumerate(rows, first):
        with inside("serial", i, inner):
            x, _ = inner.apply(p, s, x, train=train)
    raise fault


def checked_layers(function: str, layers: Sequence[Any]) -> Sequence[Layer]:
    """The layers, or the error of a constructor that was not called."""
    for i, inner in enumerate(layers):
        check_layer(function, f"layers[{i}]", inner)
    return layers


def check_layer(function: str, argument: str, inner: Any) -> None:
    """It is a layer."""
    if not isinstance(inner, Layer):
        remedy = "Constructors are called: jnn.relu(), not jnn.relu."
        expected = "a layer, or a rule of one argument"
        errors.fail(function, argument, expected, repr(inner), remedy, TypeError)


def fold_key(key: Key | None, i: Any) -> Key | None:
    """The key of layer i, if there is one."""
    return None if key is None else jax.random.fold_in(key, i)


def transposed(made: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    """The layers' parameters and their states, from what their inits returned."""
    return tuple(params for params, _ in made), packed([state for _, state in made])


def packed(states: list[Any]) -> Any:
    """The state of a combinator: that of its layers, or () where none has any."""
    stateless = all(isinstance(state, tuple) and not state for state in states)
    return () if stateless else tuple(states)


def _combined(summed: bool, outputs: Sequence[Any]) -> Any:
    axes = slice(None) if summed else slice(-1)
    if len({y.shape[axes] for y in outputs}) > 1:
        shapes = ", ".join(errors.describe(y) for y in outputs)
        same = "one shape" if summed else "one shape up to the last axis"
        errors.fail("parallel", "layers", f"such that all outputs have {same}", shapes)
    return sum(outputs[1:], outputs[0]) if summed else jnp.concatenate(outputs, axis=-1)
