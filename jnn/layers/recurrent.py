"""Layers that read sequences, (batch, time, features): LSTM, GRU, and the last output."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jnn import errors, rules
from jnn.layers.core.initialisers import (
    Initialiser,
    check_initialisers,
    glorot_uniform,
    orthogonal,
    zeros,
)
from jnn.layers.core.layer import (
    Apply,
    Init,
    check_dtype,
    described,
    fed,
    fed_by,
    layer,
    pure,
    without_parameters,
)
from jnn.layers.core.ragged import ALL, Ragged, array_of, end_of, in_front
from jnn.types import Batch, Key, Params

_ORTHOGONAL = orthogonal()


class LSTMParams(NamedTuple):
    """Weights w (features, 4 size) and r (size, 4 size), and biases b (4 size,), gate by gate.

    PyTorch's `weight_ih` and `weight_hh` transposed, and the sum of its biases.
    """

    w: jax.Array
    r: jax.Array
    b: jax.Array


class GRUParams(NamedTuple):
    """Weights w (features, 3 size) and r (size, 3 size), biases b and recurrent biases c.

    PyTorch's `weight_ih` and `weight_hh` transposed, `bias_ih` and `bias_hh`.
    """

    w: jax.Array
    r: jax.Array
    b: jax.Array
    c: jax.Array


@functools.partial(layer, sees=ALL)
def lstm(
    size: int,
    *,
    reverse: bool = False,
    keep: int | None = None,
    weights: Initialiser = glorot_uniform,
    recurrent: Initialiser = _ORTHOGONAL,
    biases: Initialiser = zeros,
    forget: float = 1.0,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """Long short-term memory of `size` units, from zeros: (batch, time, features) to (..., size).

    Parameters are `LSTMParams(w, r, b)`. Matrices are drawn gate by gate. At first the forget gate
    is open, by a bias of `forget`, so that a gradient comes back through many steps; PyTorch draws
    all parameters uniformly within one over the root of the size. To start from another state, or
    to have the last one, call the rule: `jnn.rules.lstm(x, *params, h0, c0)`.

    Args:
      size: the number of units.
      reverse: whether to read from the end of the time. The output is in the order of the input.
      keep: every how many steps the state is kept for the backward; None for what is fast.
      weights: initialiser of w.
      recurrent: initialiser of r.
      biases: initialiser of b.
      forget: what is added to the first biases of the forget gate.
      dtype: of the parameters, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net = jnn.serial(jnn.lstm(16), jnn.last(), jnn.dense(2))
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 20, 3)))
    >>> jax.tree.map(jnp.shape, params[0]), net(params, jnp.zeros((8, 20, 3))).shape
    (LSTMParams(w=(3, 64), r=(16, 64), b=(64,)), (8, 2))
    """
    _check("lstm", size, reverse, keep, dtype, weights, recurrent, biases)
    errors.number("lstm", "forget", forget, low=-float("inf"))

    def init(key: Key, x: Batch) -> tuple[LSTMParams, tuple[()]]:
        features, taken = _sequences("lstm", x, dtype)
        w, r, b = jax.random.split(key, 3)
        b = biases(b, (4 * size,), taken)
        return LSTMParams(
            _by_gate(w, weights, 4, (features, size), taken),
            _by_gate(r, recurrent, 4, (size, size), taken),
            b + jnp.repeat(jnp.array([0, forget, 0, 0], b.dtype), size),
        ), ()

    def apply(params: LSTMParams, x: Any) -> Any:
        _expect("lstm", params, LSTMParams, size)
        return _read(rules.lstm, params, x, reverse, keep, dtype)

    return init, pure(apply)


@functools.partial(layer, sees=ALL)
def gru(
    size: int,
    *,
    reverse: bool = False,
    keep: int | None = None,
    weights: Initialiser = glorot_uniform,
    recurrent: Initialiser = _ORTHOGONAL,
    biases: Initialiser = zeros,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """Gated recurrent unit of `size` units, from zeros: (batch, time, features) to (..., size).

    Parameters are `GRUParams(w, r, b, c)`. Matrices are drawn gate by gate. To start from another
    state, or to have the last one, call the rule: `jnn.rules.gru(x, *params, h0)`.

    Args:
      size: the number of units.
      reverse: whether to read from the end of the time. The output is in the order of the input.
      keep: every how many steps the state is kept for the backward; None for what is fast.
      weights: initialiser of w.
      recurrent: initialiser of r.
      biases: initialiser of b and c.
      dtype: of the parameters, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net = jnn.serial(jnn.gru(16, reverse=True), jnn.last(reverse=True))
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 20, 3)))
    >>> jax.tree.map(jnp.shape, params[0]), net(params, jnp.zeros((8, 20, 3))).shape
    (GRUParams(w=(3, 48), r=(16, 48), b=(48,), c=(48,)), (8, 16))
    """
    _check("gru", size, reverse, keep, dtype, weights, recurrent, biases)

    def init(key: Key, x: Batch) -> tuple[GRUParams, tuple[()]]:
        features, taken = _sequences("gru", x, dtype)
        w, r, b, c = jax.random.split(key, 4)
        return GRUParams(
            _by_gate(w, weights, 3, (features, size), taken),
            _by_gate(r, recurrent, 3, (size, size), taken),
            biases(b, (3 * size,), taken),
            biases(c, (3 * size,), taken),
        ), ()

    def apply(params: GRUParams, x: Any) -> Any:
        _expect("gru", params, GRUParams, size)
        return _read(rules.gru, params, x, reverse, keep, dtype)

    return init, pure(apply)


@functools.partial(layer, sees=ALL)
def last(*, reverse: bool = False) -> tuple[Init, Apply]:
    """The output at the last time: (batch, time, ...) to (batch, ...).

    It is that at the first time with `reverse`, where a layer in reverse has read everything. The
    mean over time is `jnn.global_mean_pool()`.

    >>> jnn.last()((), jnp.arange(6.0).reshape(1, 3, 2)).tolist()
    [[4.0, 5.0]]
    """
    errors.choice("last", "reverse", reverse, (False, True))

    def apply(params: Params, x: Any) -> jax.Array:
        if isinstance(x, Ragged):
            return end_of(x, reverse=reverse)
        if x.ndim < 2 or not x.shape[1]:
            errors.fail("last", "x", "(batch, time, ...) of one time at least", errors.describe(x))
        return x[:, 0 if reverse else -1]

    return without_parameters, pure(apply)


def _check(
    function: str, size: int, reverse: bool, keep: int | None, dtype: Any, *drawn: Initialiser
) -> None:
    errors.positive_integer(function, "size", size)
    errors.choice(function, "reverse", reverse, (False, True))
    if keep is not None:
        errors.positive_integer(function, "keep", keep)
    names = ("weights", "recurrent", "biases")
    check_initialisers(function, **dict(zip(names, drawn, strict=True)))
    check_dtype(function, dtype)


def _read(rule: Any, params: Any, x: Any, reverse: bool, keep: int | None, dtype: Any) -> Any:
    """All outputs; of sequences of different lengths as each has them alone."""

    def outputs(x: jax.Array, reverse: bool) -> jax.Array:
        return rule(fed(x, params.w, dtype), *params, reverse=reverse, keep=keep)[0]

    if isinstance(x, Ragged):
        return in_front(x, lambda a: outputs(a, False), reverse=reverse)
    return outputs(x, reverse)


def _expect(function: str, params: Any, kind: type, size: int) -> None:
    if not isinstance(params, kind) or len(params.r) != size:
        expected = f"{kind.__name__} of {size} units"
        errors.fail(function, "params", expected, described(params), "Make them by init.")


def _sequences(function: str, x: Batch, dtype: Any) -> tuple[int, Any]:
    """The features and the dtype that an example gives, which is (batch, time, features)."""
    x = array_of(x)
    features, taken = fed_by(function, x, dtype)
    errors.rank(function, "x", x, 3)
    return features, taken


def _by_gate(key: Key, draw: Initialiser, gates: int, shape: tuple[int, int], dtype: Any) -> Any:
    """A matrix for each gate, side by side, each drawn for itself: its fans are those of a gate."""
    return jnp.concatenate([draw(k, shape, dtype) for k in jax.random.split(key, gates)], 1)
