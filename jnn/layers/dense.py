"""The dense layer: an affine map and an activation, in either order."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.layers.initialisers import Initialiser, check, glorot_uniform, zeros
from jnn.layers.layer import Apply, Init, described, fed_by, layer, pure
from jnn.rules.convolution.connections import Connections, canonical
from jnn.rules.core.rule import Rule
from jnn.rules.linear.affine import affine
from jnn.rules.pointwise.activation import activation as chosen


class DenseParams(NamedTuple):
    """Weights w (in, out) and biases b (out,), or None for a layer without.

    >>> params = jnn.layers.DenseParams(2 * jnp.eye(3), None)
    >>> jnn.dense(3)(params, jnp.arange(3.0)).tolist()
    [0.0, 2.0, 4.0]
    """

    w: jax.Array
    b: jax.Array | None


@layer
def dense(
    n: int,
    *,
    activation: str | Rule | None = None,
    bias: bool = True,
    order: str = "after",
    weights: Initialiser = glorot_uniform,
    biases: Initialiser = zeros,
    connections: Connections | np.ndarray | None = None,
) -> tuple[Init, Apply]:
    """A layer of `n` units over the last axis of its input: `y = s(x w + b)`.

    That is D-17..18, H-13, X-83 and T-21. Borasi (B-2) activates first, `y = s(x) w + b`: that is
    `order="before"`. Parameters are `DenseParams(w, b)` in the dtype of the example.

    Args:
      n: the number of outputs.
      activation: the name of an elementwise rule, or the rule; None for a linear layer.
      bias: whether there are biases.
      order: "after" to activate after the affine map, "before" to activate its input.
      weights: initialiser of the weights.
      biases: initialiser of the biases.
      connections: a table of booleans, (in, n); weights outside it count nothing, and have no
        gradient (H-46, H-55: sums over D_i). None for all.

    >>> net = jnn.dense(4, activation="tanh")
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> net(params, jnp.zeros((8, 3))).shape
    (8, 4)
    """
    errors.positive_integer("dense", "n", n)
    errors.choice("dense", "order", order, ("after", "before"))
    check("dense", weights=weights, biases=biases)
    step = chosen("dense", "identity" if activation is None else activation)
    if connections is not None:
        connections = Connections(connections)
        if connections.table.shape[1] != n:
            errors.fail("dense", "connections", f"a table to {n} units", repr(connections))

    def init(key: jax.Array, x: Any) -> tuple[DenseParams, tuple[()]]:
        features, dtype = fed_by("dense", x)
        canonical("dense", connections, features)
        for_weights, for_biases = jax.random.split(key)
        w = weights(for_weights, (features, n), dtype)
        return DenseParams(w, biases(for_biases, (n,), dtype) if bias else None), ()

    def apply(params: DenseParams, x: jax.Array) -> jax.Array:
        if not isinstance(params, DenseParams) or params.w.shape[1:] != (n,):
            expected = f"DenseParams of {n} units"
            errors.fail("dense", "params", expected, described(params), "Make them by init.")
        w, b = params
        if connections is not None:
            w = w * jnp.asarray(connections.table, w.dtype)
        return affine(step(x), w, b) if order == "before" else step(affine(x, w, b))

    return init, pure(apply)
