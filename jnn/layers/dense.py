"""The dense layer: an affine map and an activation, in either order."""

from typing import Any, NamedTuple

import jax

from jnn import errors
from jnn.layers.initialisers import Initialiser, check, glorot_uniform, zeros
from jnn.layers.layer import Apply, Init, described, fed_by, layer, pure
from jnn.rules.activation import activation as chosen
from jnn.rules.affine import affine
from jnn.rules.rule import Rule


class DenseParams(NamedTuple):
    """Weights w (in, out) and biases b (out,), or None for a layer without."""

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

    >>> net = jnn.dense(4, activation="tanh")
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> net(params, jnp.zeros((8, 3))).shape
    (8, 4)
    """
    errors.positive_integer("dense", "n", n)
    errors.choice("dense", "order", order, ("after", "before"))
    check("dense", weights=weights, biases=biases)
    step = chosen("dense", "identity" if activation is None else activation)

    def init(key: jax.Array, x: Any) -> tuple[DenseParams, tuple[()]]:
        features, dtype = fed_by("dense", x)
        for_weights, for_biases = jax.random.split(key)
        w = weights(for_weights, (features, n), dtype)
        return DenseParams(w, biases(for_biases, (n,), dtype) if bias else None), ()

    def apply(params: DenseParams, x: jax.Array) -> jax.Array:
        if not isinstance(params, DenseParams) or params.w.shape[1:] != (n,):
            expected = f"DenseParams of {n} units"
            errors.fail("dense", "params", expected, described(params), "Make them by init.")
        if order == "before":
            return affine(step(x), params.w, params.b)
        return step(affine(x, params.w, params.b))

    return init, pure(apply)
