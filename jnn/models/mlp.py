"""Multilayer perceptrons, and the parts of a network."""

from collections.abc import Sequence
from typing import Any

from jnn import errors
from jnn.layers.combinators.rows import each, serial
from jnn.layers.core.initialisers import Initialiser, glorot_uniform, zeros
from jnn.layers.core.layer import Layer
from jnn.layers.dropout import dropout as drop
from jnn.layers.linear import dense
from jnn.models.norms import ROWS, Norm, norm_layers
from jnn.rules.core.rule import Rule
from jnn.rules.pointwise.activation import activation as chosen

Activation = str | Rule


def mlp(
    sizes: Sequence[int],
    *,
    activation: Activation | Sequence[Activation] = "tanh",
    output: Activation = "identity",
    order: str = "after",
    weights: Initialiser = glorot_uniform,
    biases: Initialiser = zeros,
    norm: Norm = None,
    dropout: float = 0.0,
) -> Layer:
    """Dense layers in a row, in either convention of the documents.

    `order="after"` activates after the affine map, `x^l = s(x^{l-1} w^l + b^l)` (D-17, H-13,
    X-115..118, T-21), the last layer by `output`. `order="before"` activates what comes in,
    `x^l = s(x^{l-1}) w^l + b^l` (B-2, B-19): the input of the network is activated too, and its
    output is affine. (Borasi's formula after B-2 starts from `w f + b`, without the activation of f
    that B-2 itself asks for; the definition is what holds, and what we do.)

    Both have the same parameters, a `DenseParams(w, b)` for each layer.

    Args:
      sizes: the number of units of each layer, the input's excluded: `init` reads that one from
        the example. The last is the output's.
      activation: the name of an elementwise rule, or the rule; or a sequence of them, one for each
        layer that is activated.
      output: the activation of the last layer, for `order="after"`.
      order: "after" or "before".
      weights: initialiser of the weights.
      biases: initialiser of the biases.
      norm: "batch", "layer", "rms" or a layer, between each hidden layer and its activation; None
        for none.
      dropout: the rate of dropout behind each hidden layer.

    >>> jnn.models.mlp([16, 2])
    serial(dense(16, activation='tanh'), dense(2))
    >>> net = jnn.models.mlp([16, 2], order="before")
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> net(params, jnp.zeros((8, 3))).shape
    (8, 2)
    """
    errors.choice("mlp", "order", order, ("after", "before"))
    if not len(sizes):
        errors.fail("mlp", "sizes", "the number of units of at least one layer", repr(sizes))
    if order == "before" and output != "identity":
        remedy = "This order ends with an affine map: put a layer behind it by jnn.serial."
        errors.fail("mlp", "output", "'identity' with order='before'", repr(output), remedy)
    activated = len(sizes) - (order == "after")
    if isinstance(activation, str | Rule):
        activation = [activation] * activated
    elif len(activation) != activated:
        expected = f"one activation, or one for each of {activated} activated layers"
        errors.fail("mlp", "activation", expected, repr(activation))
    choices = [*activation, output] if order == "after" else activation
    if order == "before" and (norm or dropout):
        got = f"norm={norm!r}, dropout={dropout}"
        errors.fail("mlp", "order", "'after' where there are norms or dropout", f"'before', {got}")

    def made(n: int, choice: Any) -> Layer:
        activation = None if choice == "identity" else choice
        return dense(n, activation=activation, order=order, weights=weights, biases=biases)

    rows = list(zip(sizes, choices, strict=True))
    *hidden, last = (made(*row) for row in rows)
    if not norm and not dropout:
        return serial(*hidden, last)
    layers: list[Any] = []
    for n, choice in rows[:-1]:
        affine = made(n, "identity" if norm else choice)
        norms = norm_layers("mlp", norm, n, ROWS)
        layers += [affine, *norms, *([chosen("mlp", choice)] if norms else [])]
        layers += [drop(dropout)] if dropout else []
    return serial(*layers, last)


def part(net: Layer, params: Any, start: int, stop: int | None = None) -> tuple[Layer, Any]:
    """The partial network F^{stop,start} of B-3..6, and its parameters: from x^start to x^stop.

    Numbers count layers, x^0 being the input, so that F^{L,0} is the whole network and
    F^{L,l} o F^{l,0} = F^{L,0} (B-7..8). It composes layers start + 1 to stop; F^{l+h+1,l} as
    printed leaves the last of them out.

    >>> net = jnn.models.mlp([16, 8, 2])
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((5, 3)))
    >>> first, first_params = jnn.models.part(net, params, 0, 2)
    >>> first(first_params, jnp.zeros((5, 3))).shape
    (5, 8)

    Args:
      net: a serial network.
      params: its parameters.
      start: the number of layers to leave out at the beginning.
      stop: the number of the last layer to take; None for the network's last.
    """
    if net.spec.name != "serial":
        errors.fail("part", "net", "a serial network", repr(net))
    count = len(net.spec.layers)
    stop = count if stop is None else stop
    if not 0 <= start <= stop <= count:
        expected = f"such that 0 <= start <= stop <= {count}"
        errors.fail("part", "start, stop", expected, f"{start}, {stop}")
    each("part", net.spec.layers, params, ())
    return serial(*net.spec.layers[start:stop]), tuple(params[start:stop])
