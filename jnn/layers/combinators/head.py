"""A network without its last product, for a loss that makes outputs of a few samples at a time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jnn import rules
from jnn.layers.combinators.ragged import opened, ragged
from jnn.layers.combinators.rows import each, fold_key, inside, packed, serial
from jnn.layers.combinators.share import filled, share
from jnn.layers.core.layer import Layer, fed
from jnn.layers.core.ragged import array_of
from jnn.layers.linear import dense
from jnn.rules.linear.affine import affine
from jnn.rules.pointwise.activation import activation as chosen


class Head(NamedTuple):
    """An output that is not made yet, `x w + b`: what the last dense layer is given and holds."""

    x: jax.Array
    w: jax.Array
    b: jax.Array | None

    def output(self) -> jax.Array:
        """The output, whole."""
        return affine(*self)


# (params, state, x, key, train) -> (the head, the new state)
Headless = Callable[[Any, Any, Any, Any, bool], tuple[Head, Any]]


def headless(net: Layer) -> Headless | None:
    """A network up to its last layer, if that is dense without an activation; None elsewhere.

    Keys and states are those of the network.

    >>> from jnn.layers.combinators.head import headless
    >>> net = jnn.serial(jnn.dense(4), jnn.relu(), jnn.dense(2))
    >>> params, state = net.init(jax.random.key(0), jnp.ones((8, 3)))
    >>> head, _ = headless(net)(params, state, jnp.ones((8, 3)), None, False)
    >>> head.x.shape, head.w.shape, bool((head.output() == net(params, jnp.ones((8, 3)))).all())
    ((8, 4), (4, 2), True)
    """
    of, kind = net.spec, net.spec.maker
    if kind is share:
        within, ties = headless(of["inner"]), of["ties"]
        return within and (lambda params, *rest: within(filled(params, ties), *rest))
    if kind is ragged:
        alone, pad = headless(of["inner"]), of["pad"]
        return alone and (lambda p, s, x, *rest: alone(p, s, opened(x, pad), *rest))
    if kind is serial and of.layers:
        return _of_row(of.layers)
    if kind is not dense or of["connections"] is not None:
        return None
    step = chosen("dense", of["activation"] or "identity")
    return _of_dense(net) if step is rules.identity else None


def _of_dense(net: Layer) -> Headless:
    def apply(params: Any, state: Any, x: Any, key: Any, train: bool) -> tuple[Head, Any]:
        jax.eval_shape(net.apply, params, state, x)  # Which checks them.
        return Head(fed(array_of(x), params.w, net.spec["dtype"]), *params), state

    return apply


def _of_row(layers: Any) -> Headless | None:
    within, last, before = headless(layers[-1]), len(layers) - 1, serial(*layers[:-1])
    if within is None:
        return None

    def apply(params: Any, state: Any, x: Any, key: Any, train: bool) -> tuple[Head, Any]:
        rows = each("serial", layers, params, state)
        _, held, kept = zip(*rows, strict=True)
        x, states = before.apply(held[:-1], kept[:-1], x, key=key, train=train)
        inner, p, s = rows[-1]
        with inside("serial", last, inner):
            head, s = within(p, s, x, fold_key(key, last), train)
        return head, packed([*(states or [()] * last), s])

    return apply
