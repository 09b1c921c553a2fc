"""The table of a network: its layers, their outputs, and what they cost in parameters."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.floats import pulled
from jnn.layers.combinators.ragged import opened, ragged
from jnn.layers.combinators.repeat import repeat, rows_of
from jnn.layers.combinators.rows import each, parallel, serial
from jnn.layers.combinators.share import filled, share
from jnn.layers.combinators.skip import skip
from jnn.layers.core.layer import Layer, abstract
from jnn.rules.core.product import ways as ways_of
from jnn.text import bytes_text, table


class Row(NamedTuple):
    """One layer: its number, the call that makes it, what it returns, what it holds."""

    number: str
    layer: str
    output: Any
    parameters: int
    bytes: int
    ways: tuple[str, ...] = ()


class Summary(NamedTuple):
    """A table of layers; `str` prints it.

    Attributes:
      rows: a `Row(number, layer, output, parameters, bytes, ways)` for each layer, in order.
      parameters: the number of parameters of all layers.
      bytes: the memory that they take.
    """

    rows: tuple[Row, ...]
    parameters: int
    bytes: int

    def __str__(self) -> str:
        told = any(row.ways for row in self.rows)
        lines = [("", "layer", "output", *(["computed by"] * told), "parameters", "memory")]
        for row in self.rows:
            outputs = ", ".join(errors.describe(y) for y in jax.tree.leaves(row.output))
            ways = [", ".join(row.ways)] * told
            lines.append((row.number, row.layer, outputs, *ways, *_size(row)))
        lines.append(("", "total", "", *[""] * told, *_size(self)))
        return table(lines, total=True, left=3 + told)


def summary(net: Layer, x: Any, *, ways: bool = False) -> Summary:
    """The layers of `net` on inputs like `x`, with output shapes and parameter counts.

    A dense layer has m_{l-1} m_l weights (X-125) and m_l biases. Nothing is computed: the example
    may be a `jax.ShapeDtypeStruct` of any size.

    Args:
      net: the network.
      x: an example of its input.
      ways: whether to say how each layer's products are computed here, value and derivative, as far
        as there is a choice (`jnn.tune` measures it); layers in a row that are one rule do the
        same over a few samples at a time.

    >>> net = jnn.serial(jnn.dense(4), jnn.relu(), jnn.dense(2))
    >>> print(jnn.summary(net, jax.ShapeDtypeStruct((8, 3), jnp.float32)))
       layer     output        parameters  memory
    ---------------------------------------------
    0  dense(4)  float32[8,4]          16    64 B
    1  relu()    float32[8,4]           0     0 B
    2  dense(2)  float32[8,2]          10    40 B
    ---------------------------------------------
       total                           26   104 B
    """
    params, state = jax.eval_shape(lambda: net.init(jax.random.key(0), x))
    rows = tuple(_rows(net, params, params, state, abstract(x), "", ways))
    return Summary(rows, *_cost(params))


def _rows(
    net: Layer, params: Any, own: Any, state: Any, x: Any, number: str, told: bool
) -> Iterator[Row]:
    """The rows of a network; for a combinator, those of the layers inside.

    `own` are the parameters that count as the network's: of all layers that are alike, where one of
    them stands for all, and none where they are others'.
    """
    y, _ = jax.eval_shape(net.apply, params, state, x)
    of, kind, deeper = net.spec, net.spec.maker, f"{number}." * bool(number)
    if kind is share:
        full = jax.eval_shape(lambda params: filled(params, of["ties"]), params)
        yield from _rows(of["inner"], full, own, state, x, number, told)
    elif kind is ragged:
        x = jax.eval_shape(lambda x: opened(x, of["pad"]), x)
        yield from _rows(of["inner"], params, own, state, x, number, told)
    elif kind is repeat:
        first = jax.eval_shape(lambda *a: rows_of(a, 1)[0], params.each, state)
        yield from _rows(of["inner"], first[0], own.each, first[1], x, f"{deeper}0", told)
        yield Row(number, f"repeat, times={of['times']}, with all parameters", y, 0, 0)
    elif kind in (serial, parallel, skip):
        layers = of.layers or tuple(one for _, one in of.settings if isinstance(one, Layer))
        parts = zip(each(of.name, layers, params, state), own, strict=True)
        for i, ((inner, p, s), mine) in enumerate(parts):
            yield from _rows(inner, p, mine, s, x, f"{deeper}{i}", told)
            if kind is serial:
                x, _ = jax.eval_shape(inner.apply, p, s, x)
        if kind is parallel:
            yield Row(number, f"parallel, combine={of['combine']!r}", y, 0, 0)
        if kind is skip:
            yield Row(number, "skip, the sum", y, 0, 0)
    else:
        chosen = _ways(net, params, state, x) if told else ()
        yield Row(number, repr(net), y, *_cost(own), chosen)


def _ways(net: Layer, params: Any, state: Any, x: Any) -> tuple[str, ...]:
    """How a layer's products are computed, its value's and its derivative's."""

    def function(params: Any, x: Any) -> Any:
        return net.apply(params, state, x)[0]

    def both(params: Any, x: Any) -> Any:
        y = function(params, x)
        if not any(map(errors.is_floating, jax.tree.leaves((params, x)))):
            return y
        delta = [jnp.zeros_like(z) for z in jax.tree.leaves(y) if errors.is_floating(z)]
        return pulled(function, (params, x), delta)

    return tuple(f"{call.product} {name}" for call, name in ways_of(both, params, x).items())


def _cost(params: Any) -> tuple[int, int]:
    leaves = jax.tree.leaves(params)
    sizes = [math.prod(leaf.shape) for leaf in leaves]
    return sum(sizes), sum(n * leaf.dtype.itemsize for n, leaf in zip(sizes, leaves, strict=True))


def _size(of: Row | Summary) -> tuple[str, str]:
    return f"{of.parameters:,}", bytes_text(of.bytes)
