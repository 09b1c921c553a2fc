"""Fusions: neighbours in a row that one rule computes, in less memory than one after the other.

`serial` looks its layers up here when it is made. What a network is stays as it is written: its
parameters, keys and names, and what shows its layers one by one. Only the program changes.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jnn import rules
from jnn.layers.convolution import conv, expect
from jnn.layers.core.layer import Layer, Spec, fed
from jnn.layers.pointwise import relu
from jnn.layers.pooling import max_pool
from jnn.rules.pointwise.activation import activation as chosen

Together = Callable[[Sequence[Any], Any], Any]  # (the parameters of each layer, x) -> y


class Run(NamedTuple):
    """Neighbours: from which layer on, how many, and what computes them; None for a lone one."""

    first: int
    count: int
    together: Together | None


def rectified(first: Spec, *others: Spec) -> Together | None:
    """A convolution, its rectifier and its pooling as `jnn.rules.rectified_conv`.

    None where that rule does not apply: with a table of connections, with another activation than
    relu, with windows that overlap or are padded.
    """
    activations = [chosen("conv", first["activation"] or "identity")]
    activations += [rules.relu for spec in others if spec.maker == _RELU]
    pools = [spec for spec in others if spec.maker == _MAX_POOL]
    wanted = [rules.relu] if len(activations) == 1 else [rules.identity, rules.relu]
    if activations != wanted or first["connections"] is not None or not all(map(_tiles, pools)):
        return None
    settings: dict[str, Any] = {s: first[s] for s in rules.rectified_conv.settings if s != "pool"}
    settings["pool"] = pools[0]["window"] if pools else 1

    def together(params: Sequence[Any], x: Any) -> Any:
        expect("conv", params[0])
        x = fed(x, params[0].w, first["dtype"])
        return rules.rectified_conv(x, *params[0], **settings)

    return together


_CONV, _RELU, _MAX_POOL = (net.spec.maker for net in (conv(1, 1), relu(), max_pool(1)))

# The longest that fits is taken; it may still refuse its layers' settings.
FUSIONS: dict[tuple[Any, ...], Callable[..., Together | None]] = {
    (_CONV, _RELU, _MAX_POOL): rectified,
    (_CONV, _RELU): rectified,
    (_CONV, _MAX_POOL): rectified,
}


def runs(layers: Sequence[Layer]) -> tuple[Run, ...]:
    """The layers of a row, neighbours that one rule computes as one.

    >>> layers = jnn.dense(4), jnn.conv(8, 3), jnn.relu(), jnn.max_pool(2), jnn.relu()
    >>> [(run.first, run.count) for run in jnn.layers.fusions.runs(layers)]
    [(0, 1), (1, 3), (4, 1)]
    """
    found, first = [], 0
    while first < len(layers):
        found.append(_run([inner.spec for inner in layers], first))
        first += found[-1].count
    return tuple(found)


def _run(specs: list[Spec], first: int) -> Run:
    for count in sorted({len(makers) for makers in FUSIONS}, reverse=True):
        some = specs[first : first + count]
        fuse = FUSIONS.get(tuple(spec.maker for spec in some))
        together = fuse(*some) if fuse else None
        if together:
            return Run(first, count, together)
    return Run(first, 1, None)


def _tiles(pool: Spec) -> bool:
    """Whether windows lie side by side, the first of equal pixels wins, and nothing is padded."""
    window, stride = pool["window"], pool["stride"]
    tiled = stride is None or window == stride or len({*np.ravel(window), *np.ravel(stride)}) == 1
    alone = pool["padding"] in ("valid", 0) and pool["rest"] == "drop"
    return tiled and alone and pool["ties"] == "first"
