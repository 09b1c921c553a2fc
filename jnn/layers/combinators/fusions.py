"""Fusions: neighbours in a row that one rule computes, in less memory than one after the other.

`serial` looks its layers up here when it is made. What a network is stays as it is written: its
parameters, keys and names, and what shows its layers one by one. Only the program changes.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jnn import rules
from jnn.layers.convolution import conv, expect
from jnn.layers.core.layer import Layer, Spec, fed
from jnn.layers.normal import batch_norm, followed, normal_input
from jnn.layers.pointwise import relu
from jnn.layers.pooling import max_pool
from jnn.rules.pointwise.activation import activation as chosen

# (the parameters of each layer, their states, x) -> (y, the new states)
Together = Callable[[Sequence[Any], Sequence[Any], Any], tuple[Any, Sequence[Any]]]


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

    def together(params: Sequence[Any], states: Sequence[Any], x: Any) -> Any:
        expect("conv", params[0])
        x = fed(x, params[0].w, first["dtype"])
        return rules.rectified_conv(x, *params[0], **settings), states

    return together


def normalised(norm: Spec, _: Spec, behind: Spec) -> Together | None:
    """Batch normalisation, rectifier and convolution, in training, as `jnn.rules.norm_relu_conv`.

    None where that rule does not apply: with a table of connections, with two dtypes.
    """
    if behind["connections"] is not None or norm["dtype"] != behind["dtype"]:
        return None
    step = chosen("conv", behind["activation"] or "identity")
    settings = {name: norm[name] for name in ("epsilon", "axis_name")}
    settings |= {s: behind[s] for s in rules.norm_relu_conv.settings if s not in settings}

    def together(params: Sequence[Any], states: Sequence[Any], x: Any) -> Any:
        expect("conv", params[2])
        x = normal_input("batch_norm", params[0], states[0], x, norm["dtype"])
        y, *found = rules.norm_relu_conv(x, *params[0], *params[2], **settings)
        new = followed(states[0], found, x, norm["beta"], norm["axis_name"])
        return step(y), (new, *states[1:])

    return together


def remade(first: Spec, norm: Spec) -> Together | None:
    """A convolution and batch normalisation, in training, as `jnn.rules.conv_norm`.

    It computes the convolution twice. So that rule is taken where a number takes few
    multiplications, by a first layer or the projection of a narrow one; else both are.

    None where that rule does not apply: with a table of connections, an activation, two dtypes.
    """
    active = chosen("conv", first["activation"] or "identity") is not rules.identity
    if active or first["connections"] is not None or first["dtype"] != norm["dtype"]:
        return None
    of_norm = {name: norm[name] for name in ("epsilon", "axis_name")}
    of_conv = {s: first[s] for s in rules.conv_norm.settings if s not in of_norm}

    def together(params: Sequence[Any], states: Sequence[Any], x: Any) -> Any:
        expect("conv", params[0])
        x = fed(x, params[0].w, first["dtype"])
        if math.prod(params[0].w.shape[:-1]) <= FEW:
            normal_input("batch_norm", params[1], states[1], x, norm["dtype"])
            y, *found = rules.conv_norm(x, *params[0], *params[1], **of_norm, **of_conv)
        else:
            z = rules.conv(x, *params[0], **of_conv)
            z = normal_input("batch_norm", params[1], states[1], z, norm["dtype"])
            y, *found = rules.batch_norm(z, *params[1], **of_norm)
        new = followed(states[1], found, y, norm["beta"], norm["axis_name"])
        return y, (states[0], new)

    return together


# Multiplications a number: those of 3 x 3 pixels of three maps, or of one pixel of 64. ResNet-18's
# two such convolutions take a hundredth of its step, and their values a tenth of its temporaries.
FEW = 64

_CONV, _RELU, _MAX_POOL, _BATCH_NORM = (
    net.spec.maker for net in (conv(1, 1), relu(), max_pool(1), batch_norm())
)

# The longest that fits is taken, not where a longer one begins inside it; it may still refuse its
# layers' settings.
FUSIONS: dict[tuple[Any, ...], Callable[..., Together | None]] = {
    (_CONV, _RELU, _MAX_POOL): rectified,
    (_CONV, _RELU): rectified,
    (_CONV, _MAX_POOL): rectified,
}

# In training too: batch normalisation is another function in evaluation.
IN_TRAINING: dict[tuple[Any, ...], Callable[..., Together | None]] = {
    (_BATCH_NORM, _RELU, _CONV): normalised,
    (_CONV, _BATCH_NORM): remade,
}


def runs(layers: Sequence[Layer], train: bool = False) -> tuple[Run, ...]:
    """The layers of a row, neighbours that one rule computes as one, in training or evaluation.

    >>> layers = jnn.dense(4), jnn.conv(8, 3), jnn.relu(), jnn.max_pool(2), jnn.relu()
    >>> [(run.first, run.count) for run in jnn.layers.fusions.runs(layers)]
    [(0, 1), (1, 3), (4, 1)]
    """
    table = FUSIONS | IN_TRAINING if train else FUSIONS
    found, first = [], 0
    while first < len(layers):
        found.append(_run([inner.spec for inner in layers], first, table))
        first += found[-1].count
    return tuple(found)


def _run(specs: list[Spec], first: int, table: dict[tuple[Any, ...], Any]) -> Run:
    run = _longest(specs, first, table)
    inside = (_longest(specs, i, table).count for i in range(first + 1, first + run.count))
    return Run(first, 1, None) if max(inside, default=0) > run.count else run


def _longest(specs: list[Spec], first: int, table: dict[tuple[Any, ...], Any]) -> Run:
    """The longest fusion that begins there."""
    for count in sorted({len(makers) for makers in table}, reverse=True):
        some = specs[first : first + count]
        fuse = table.get(tuple(spec.maker for spec in some))
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
