"""Layers that are alike, one after the other, as one traced body."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.layers.combinators.rows import check_layer, fold_key, inside
from jnn.layers.core.layer import Apply, Init, Layer, abstract, described, layer
from jnn.layers.core.ragged import ALL
from jnn.layers.pointwise import lifted
from jnn.rules.core.rule import Rule
from jnn.rules.core.sharded import by_batch, gathered
from jnn.types import Batch, Key, State


class RepeatedParams(NamedTuple):
    """Parameters of layers that are alike: of each, along a new leading axis.

    >>> params, _ = jnn.repeat(jnn.dense(3), 5).init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> jax.tree.map(jnp.shape, params.each)
    DenseParams(w=(5, 3, 3), b=(5, 3))
    """

    each: Any


@functools.partial(layer, reads=lifted, sees=ALL)
def repeat(inner: Layer | Rule, times: int, *, remat: bool = False) -> tuple[Init, Apply]:
    """So many layers like `inner`, one after the other, each with parameters of its own.

    It computes what `serial(inner, inner, ...)` does, with the same keys, and the parameters of
    that row stacked: `RepeatedParams(each)`. But the layer is traced and compiled once, in a loop,
    so that a hundred layers take no longer to compile than one. Its output must be like its input.
    A state, if it has one, is stacked too.

    An optimizer that takes an array as a whole, such as `muon` or `lamb`, sees the stack as one.

    Args:
      inner: the layer, or a rule of one argument.
      times: how many there are.
      remat: whether a layer's backward computes again what it needs of the forward. Then only the
        inputs of the layers are kept, at the price of a second forward.

    >>> net = jnn.serial(jnn.dense(8), jnn.repeat(jnn.skip(jnn.gated(16)), 3), jnn.dense(2))
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((5, 4)))
    >>> net(params, jnp.zeros((5, 4))).shape
    (5, 2)
    """
    check_layer("repeat", "inner", inner)
    errors.positive_integer("repeat", "times", times)
    if not isinstance(remat, bool):
        errors.fail("repeat", "remat", "True or False", repr(remat), kind=TypeError)
    net: Any = inner
    numbers = functools.partial(jnp.arange, times, dtype=jnp.uint32)

    def init(key: Key, x: Batch) -> tuple[RepeatedParams, State]:
        with inside("repeat", 0, net):
            like = jax.eval_shape(net.init, key, x)
            _check_alike(x, jax.eval_shape(net.apply, *like, x)[0])
            # A loop and no vmap, under which some random keys draw other numbers.
            params, state = jax.lax.map(
                lambda i: net.init(jax.random.fold_in(key, i), x), numbers()
            )
        return RepeatedParams(params), state

    def apply(
        params: RepeatedParams,
        state: State,
        x: Batch,
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Batch, State]:
        _check_stacked(params, times)

        def body(x: Any, one: Any) -> tuple[Any, Any]:
            i, p, s = one
            y, s = net.apply(gathered(p), s, by_batch(x), key=fold_key(key, i), train=train)
            _check_alike(x, y)
            return y, s

        with inside("repeat", 0, net):
            body = jax.checkpoint(body, prevent_cse=False) if remat else body
            return jax.lax.scan(body, x, (numbers(), params.each, state))

    return init, apply


def unrolled(params: Any) -> Any:
    """Parameters with those of each `repeat` as a tuple, one a layer, as `serial` has them.

    >>> params, _ = jnn.repeat(jnn.dense(3), 2).init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> jax.tree.map(jnp.shape, jnn.layers.unrolled(params))
    (DenseParams(w=(3, 3), b=(3,)), DenseParams(w=(3, 3), b=(3,)))
    """

    def opened(node: Any) -> Any:
        if not isinstance(node, RepeatedParams):
            return node
        return tuple(unrolled(p) for p in rows_of(node.each, _count(node) or 0))

    return jax.tree.map(opened, params, is_leaf=_is_repeated)


def rolled(params: Any, like: Any) -> Any:
    """The other way: parameters as `unrolled` returns them, stacked as those of `like` are.

    >>> like, _ = jnn.repeat(jnn.dense(3), 2).init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> jax.tree.map(jnp.shape, jnn.layers.rolled(jnn.layers.unrolled(like), like).each)
    DenseParams(w=(2, 3, 3), b=(2, 3))
    """

    def closed(node: Any, part: Any) -> Any:
        if not isinstance(node, RepeatedParams):
            return part
        rows = rows_of(node.each, _count(node) or 0)
        made = [rolled(p, one) for p, one in zip(part, rows, strict=True)]
        return RepeatedParams(jax.tree.map(lambda *a: jnp.stack(a), *made) if made else node.each)

    return jax.tree.map(closed, like, params, is_leaf=_is_repeated)


def gathered_but_repeated(params: Any) -> Any:
    """Parameters whole on each device; those of a `repeat` it gathers itself, a layer at a time."""
    return jax.tree.map(
        lambda node: node if _is_repeated(node) else gathered(node), params, is_leaf=_is_repeated
    )


def rows_of(stacked: Any, times: int) -> list[Any]:
    """What is stacked, one by one."""
    return [jax.tree.map(lambda a, i=i: a[i], stacked) for i in range(times)]


def _is_repeated(node: Any) -> bool:
    return isinstance(node, RepeatedParams)


def _count(params: RepeatedParams) -> int | None:
    """How many layers; None where they have no parameters."""
    return next((len(leaf) for leaf in jax.tree.leaves(params)), None)


def _check_stacked(params: Any, times: int) -> None:
    if not isinstance(params, RepeatedParams) or _count(params) not in (None, times):
        expected = f"RepeatedParams of {times} layers"
        errors.fail("repeat", "params", expected, described(params), "Make them by init.")


def _check_alike(x: Any, y: Any) -> None:
    x, y = abstract(x), abstract(y)
    if jax.tree.structure(x) != jax.tree.structure(y) or any(
        (a.shape, a.dtype) != (b.shape, b.dtype)
        for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True)
    ):
        expected = f"one whose output is like its input, {errors.describe(x)}"
        remedy = "What changes the shape stands before it: serial(dense(8), repeat(dense(8), 3))."
        errors.fail("repeat", "inner", expected, errors.describe(y), remedy)
