"""Attention as a layer, of a sequence to itself or to another."""

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
    zeros,
)
from jnn.layers.core.layer import (
    Apply,
    Init,
    check_dtype,
    described,
    fed,
    fed_by,
    key_of_step,
    layer,
)
from jnn.layers.core.ragged import ALL, Ragged, array_of, joined
from jnn.rules.linear.affine import affine
from jnn.types import Batch, Key, Params, State


class AttentionParams(NamedTuple):
    """Weights of queries, keys and values, (in, heads x size), and of the output; biases or None.

    They are apart, as in most files of trained networks, and so that keys may have fewer heads and
    another input.

    >>> net = jnn.attention(2)
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((1, 3, 4)))
    >>> params.w_k.shape, params.b_k
    ((4, 4), None)
    """

    w_q: jax.Array
    w_k: jax.Array
    w_v: jax.Array
    w_out: jax.Array
    b_q: jax.Array | None = None
    b_k: jax.Array | None = None
    b_v: jax.Array | None = None
    b_out: jax.Array | None = None


@functools.partial(layer, sees=ALL)
def attention(
    heads: int,
    *,
    causal: bool = False,
    window: int | None = None,
    key_value_heads: int | None = None,
    rotary: bool | float = False,
    dropout: float = 0.0,
    size: int | None = None,
    bias: bool = False,
    weights: Initialiser = glorot_uniform,
    biases: Initialiser = zeros,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """Attention of several heads, `attend(x w_q, x w_k, x w_v) w_out`, as wide as its input.

    The input is (batch, time, features); a pair of them, `(x, context)`, asks in x and is answered
    from the context. Memory is linear in time; see `jnn.rules.attention`.

    Args:
      heads: the number of heads.
      causal: whether no place sees a later one.
      window: with `causal`, how many places up to its own each one sees.
      key_value_heads: heads of keys and values, where they are fewer, each for as many queries.
      rotary: whether queries and keys are turned by their places; a number is the base, True is
        10000.
      dropout: the probability that a place seen is left out of an answer, in training; what is
        left is scaled. Bits are drawn where they are used, and none are stored.
      size: features of a head; None for as many as the input has, shared out among the heads.
      bias: whether the four maps have biases.
      weights: initialiser of the weights.
      biases: initialiser of the biases.
      dtype: of the parameters, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net = jnn.attention(4, causal=True, key_value_heads=2, rotary=True)
    >>> x = jnp.ones((1, 6, 16))
    >>> params, _ = net.init(jax.random.key(0), x)
    >>> params.w_q.shape, params.w_k.shape, net(params, x).shape
    ((16, 16), (16, 8), (1, 6, 16))
    """
    errors.positive_integer("attention", "heads", heads)
    fewer = heads if key_value_heads is None else key_value_heads
    errors.positive_integer("attention", "key_value_heads", fewer)
    if heads % fewer:
        errors.fail("attention", "key_value_heads", f"a divisor of {heads} heads", fewer)
    if window is not None:
        errors.positive_integer("attention", "window", window)
        if not causal:
            errors.fail("attention", "window", "None where `causal` is False", window,
                        "Add causal=True.")  # fmt: skip
    if not isinstance(rotary, bool):
        errors.number("attention", "rotary", rotary, low=1)
    errors.number("attention", "dropout", dropout, low=0, high=1)
    if size is not None:
        errors.positive_integer("attention", "size", size)
    check_initialisers("attention", weights=weights, biases=biases)
    check_dtype("attention", dtype)

    def init(key: Key, x: Batch) -> tuple[AttentionParams, tuple[()]]:
        x, context = map(array_of, _pair(x))
        (n, taken), (m, _) = fed_by("attention", x, dtype), fed_by("attention", context, dtype)
        if size is None and n % heads:
            errors.fail("attention", "heads", f"a divisor of {n} features", heads,
                        "Or say how many features a head has: size=...")  # fmt: skip
        each = size or n // heads
        shapes = (n, heads * each), (m, fewer * each), (m, fewer * each), (heads * each, n)
        of_weights, of_biases = map(jax.random.split, jax.random.split(key), (4, 4))
        w = [weights(k, shape, taken) for k, shape in zip(of_weights, shapes, strict=True)]
        if not bias:
            return AttentionParams(*w), ()
        b = [biases(k, shape[1:], taken) for k, shape in zip(of_biases, shapes, strict=True)]
        return AttentionParams(*w, *b), ()

    def apply(
        params: Params, state: State, x: Any, *, key: Key | None = None, train: bool = False
    ) -> tuple[Batch, State]:
        x, context = _pair(x)
        both = array_of(x), array_of(context)
        q, k, v = asked(params, *both, heads, key_value_heads, rotary, dtype)
        mask = context.mask[:, None, None, :] if isinstance(context, Ragged) else None
        rate = dropout if train else 0.0
        drawn = key_of_step("attention", key) if rate else None
        y = rules.attention(q, k, v, mask, drawn, causal=causal, window=window, rate=rate)
        return joined(lambda _: answered(params, y), x), state

    return init, apply


def asked(
    params: Any, x: Any, context: Any, heads: int, key_value_heads: int | None,
    rotary: bool | float, dtype: Any, first: Any = 0,
) -> tuple[jax.Array, ...]:  # fmt: skip
    """Queries of x, keys and values of the context, whose places begin at `first`."""
    if not isinstance(params, AttentionParams) or params.w_q.shape[-1] % heads:
        expected = f"AttentionParams of {heads} heads"
        errors.fail("attention", "params", expected, described(params), "Make them by init.")
    x, context = (fed(each, params.w_q, dtype) for each in (x, context))
    fewer = heads if key_value_heads is None else key_value_heads
    q = _heads(affine(x, params.w_q, params.b_q), heads)
    k = _heads(affine(context, params.w_k, params.b_k), fewer)
    v = _heads(affine(context, params.w_v, params.b_v), fewer)
    if rotary is not False:
        base = 10000.0 if rotary is True else float(rotary)
        q, k = (rules.rotary(a, first + jnp.arange(a.shape[1]), base=base) for a in (q, k))
    return q, k, v


def answered(params: AttentionParams, y: jax.Array) -> jax.Array:
    """What the heads found, as the layer's output."""
    return affine(y.reshape(*y.shape[:2], -1), params.w_out, params.b_out)


def _pair(x: Any) -> tuple[Any, Any]:
    """The sequence that asks and the one that answers."""
    x, context = x if isinstance(x, tuple | list) and len(x) == 2 else (x, x)
    for each in (x, context):
        if len(getattr(array_of(each), "shape", ())) != 3:
            errors.fail("attention", "x", "(batch, time, features), or a pair of such",
                        described(each))  # fmt: skip
    return x, context


def _heads(x: jax.Array, heads: int) -> jax.Array:
    return x.reshape(*x.shape[:2], heads, x.shape[2] // heads)
