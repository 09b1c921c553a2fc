"""Treister's residual steps as layers, T-22 and T-23."""

from typing import Any, NamedTuple

import jax

from jnn import errors, rules
from jnn.layers.initialisers import Initialiser, check, glorot_uniform, zeros
from jnn.layers.layer import Apply, Init, described, fed_by, layer, pure
from jnn.rules.core.rule import Rule
from jnn.rules.pointwise.activation import activation as chosen


class ResidualParams(NamedTuple):
    """Weights w1 and biases b under the activation, and the weights w2 of the other product."""

    w1: jax.Array
    b: jax.Array
    w2: jax.Array


@layer
def residual(
    hidden: int | None = None,
    *,
    activation: str | Rule = "tanh",
    weights: Initialiser = glorot_uniform,
    biases: Initialiser = zeros,
) -> tuple[Init, Apply]:
    """The residual step `y = x + s(x w1 + b) w2` of T-22; the output is as wide as the input.

    Args:
      hidden: the number of hidden units; None for as many as inputs.
      activation: the name of an elementwise rule, or the rule.
      weights: initialiser of w1 and w2.
      biases: initialiser of b.

    >>> net = jnn.residual(16)
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> jax.tree.map(jnp.shape, params)
    ResidualParams(w1=(3, 16), b=(16,), w2=(16, 3))
    """
    if hidden is not None:
        errors.positive_integer("residual", "hidden", hidden)
    chosen("residual", activation)
    check("residual", weights=weights, biases=biases)

    def init(key: jax.Array, x: Any) -> tuple[ResidualParams, tuple[()]]:
        n, dtype = fed_by("residual", x)
        units = hidden or n
        return _draw(key, weights, biases, (n, units), (units, n), dtype), ()

    def apply(params: ResidualParams, x: jax.Array) -> jax.Array:
        _expect("residual", params, hidden)
        return rules.residual(x, *params, activation=activation)

    return init, pure(apply)


@layer
def residual_projection(
    n: int,
    *,
    activation: str | Rule = "tanh",
    weights: Initialiser = glorot_uniform,
    biases: Initialiser = zeros,
) -> tuple[Init, Apply]:
    """The residual step `y = x w2 + s(x w1 + b)` of T-23, from any width to `n`.

    Treister gives all its parameters the size n x n, though the widths differ; they are (in, out).

    Args:
      n: the number of outputs.
      activation: the name of an elementwise rule, or the rule.
      weights: initialiser of w1 and w2.
      biases: initialiser of b.

    >>> net = jnn.residual_projection(5)
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> net(params, jnp.zeros((8, 3))).shape
    (8, 5)
    """
    errors.positive_integer("residual_projection", "n", n)
    chosen("residual_projection", activation)
    check("residual_projection", weights=weights, biases=biases)

    def init(key: jax.Array, x: Any) -> tuple[ResidualParams, tuple[()]]:
        features, dtype = fed_by("residual_projection", x)
        return _draw(key, weights, biases, (features, n), (features, n), dtype), ()

    def apply(params: ResidualParams, x: jax.Array) -> jax.Array:
        _expect("residual_projection", params, n)
        return rules.residual_projection(x, *params, activation=activation)

    return init, pure(apply)


def _draw(
    key: jax.Array,
    weights: Initialiser,
    biases: Initialiser,
    first: tuple[int, int],
    second: tuple[int, int],
    dtype: Any,
) -> ResidualParams:
    for_w1, for_b, for_w2 = jax.random.split(key, 3)
    return ResidualParams(
        weights(for_w1, first, dtype),
        biases(for_b, first[1:], dtype),
        weights(for_w2, second, dtype),
    )


def _expect(function: str, params: Any, units: int | None) -> None:
    if not isinstance(params, ResidualParams) or units not in (None, params.w1.shape[-1]):
        expected = "ResidualParams" + (f" of {units} units" if units else "")
        errors.fail(function, "params", expected, described(params), "Make them by init.")
