"""The table of a network: its layers, their outputs, and what they cost in parameters."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from jnn import errors
from jnn.layers.combinators import each
from jnn.layers.layer import Layer, abstract
from jnn.text import bytes_text, table


class Row(NamedTuple):
    """One layer: its number, the call that makes it, what it returns, what it holds."""

    number: str
    layer: str
    output: Any
    parameters: int
    bytes: int


class Summary(NamedTuple):
    """A table of layers; `str` prints it.

    Attributes:
      rows: a `Row(number, layer, output, parameters, bytes)` for each layer, in order.
      parameters: the number of parameters of all layers.
      bytes: the memory that they take.
    """

    rows: tuple[Row, ...]
    parameters: int
    bytes: int

    def __str__(self) -> str:
        lines = [("", "layer", "output", "parameters", "memory")]
        for row in self.rows:
            outputs = ", ".join(errors.describe(y) for y in jax.tree.leaves(row.output))
            lines.append((row.number, row.layer, outputs, *_size(row)))
        lines.append(("", "total", "", *_size(self)))
        return table(lines, total=True, left=3)


def summary(net: Layer, x: Any) -> Summary:
    """The layers of `net` on inputs like `x`, with output shapes and parameter counts.

    A dense layer has m_{l-1} m_l weights (X-125) and m_l biases. Nothing is computed: the example
    may be a `jax.ShapeDtypeStruct` of any size.

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
    rows = tuple(_rows(net, params, state, abstract(x), ""))
    return Summary(rows, *_cost(params))


def _rows(net: Layer, params: Any, state: Any, x: Any, number: str) -> Iterator[Row]:
    """The rows of a network; for a combinator, those of the layers inside."""
    y, _ = jax.eval_shape(net.apply, params, state, x)
    kind = net.spec.name
    if kind not in ("serial", "parallel"):
        yield Row(number, repr(net), y, *_cost(params))
        return
    prefix = f"{number}." if number else ""
    for i, (inner, p, s) in enumerate(each(kind, net.spec.layers, params, state)):
        yield from _rows(inner, p, s, x, f"{prefix}{i}")
        if kind == "serial":
            x, _ = jax.eval_shape(inner.apply, p, s, x)
    if kind == "parallel":
        yield Row(number, f"parallel, combine={net.spec['combine']!r}", y, 0, 0)


def _cost(params: Any) -> tuple[int, int]:
    leaves = jax.tree.leaves(params)
    sizes = [math.prod(leaf.shape) for leaf in leaves]
    return sum(sizes), sum(n * leaf.dtype.itemsize for n, leaf in zip(sizes, leaves, strict=True))


def _size(of: Row | Summary) -> tuple[str, str]:
    return f"{of.parameters:,}", bytes_text(of.bytes)
