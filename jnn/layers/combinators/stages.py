"""A network as one row of layers."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from jnn.layers.combinators.repeat import repeat, rows_of
from jnn.layers.combinators.rows import each, serial
from jnn.layers.combinators.share import filled, share
from jnn.layers.core.layer import Layer


class Stage(NamedTuple):
    """A layer with its name, its parameters and its state."""

    name: str
    layer: Layer
    params: Any
    state: Any


def stages(net: Layer, params: Any, state: Any = (), name: str = "") -> Iterator[Stage]:
    """A network as one row of layers.

    Serial networks inside serial networks are opened, and so are layers that are repeated; the
    names are those of the scopes, but for the number of a repeated layer.
    """
    kind, of = net.spec.maker, net.spec
    if kind is share:
        yield from stages(of["inner"], filled(params, of["ties"]), state, name)
        return
    if kind is serial:
        row = each("serial", of.layers, params, state)
    elif kind is repeat:
        count = of["times"]
        parts = rows_of(params.each, count), rows_of(state, count)
        row = [(of["inner"], p, s) for p, s in zip(*parts, strict=True)]
    else:
        yield Stage(name or of.name, net, params, state)
        return
    prefix = f"{name}/" if name else ""
    for i, (inner, p, s) in enumerate(row):
        yield from stages(inner, p, s, f"{prefix}{i}.{inner.spec.name}")
