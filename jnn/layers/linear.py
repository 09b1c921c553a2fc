"""Layers that multiply by matrices: dense, Treister's residual steps, and radial units."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jnn import errors, rules
from jnn.layers.core.initialisers import (
    Initialiser,
    check_initialisers,
    constant,
    glorot_uniform,
    normal,
    zeros,
)
from jnn.layers.core.layer import (
    Apply,
    Init,
    check_dtype,
    described,
    fed,
    fed_by,
    layer,
    pure,
)
from jnn.layers.core.ragged import ONE
from jnn.rules.convolution.connections import Connections, canonical
from jnn.rules.core.rule import Rule
from jnn.rules.linear.affine import affine
from jnn.rules.linear.radial import KERNELS
from jnn.rules.pointwise.activation import activation as chosen
from jnn.types import Batch, Key


class DenseParams(NamedTuple):
    """Weights w (in, out) and biases b (out,), or None for a layer without.

    >>> params = jnn.layers.DenseParams(2 * jnp.eye(3), None)
    >>> jnn.dense(3)(params, jnp.arange(3.0)).tolist()
    [0.0, 2.0, 4.0]
    """

    w: jax.Array
    b: jax.Array | None


@functools.partial(layer, sees=ONE)
def dense(
    n: int,
    *,
    activation: str | Rule | None = None,
    bias: bool = True,
    order: str = "after",
    weights: Initialiser = glorot_uniform,
    biases: Initialiser = zeros,
    connections: Connections | np.ndarray | None = None,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """A layer of `n` units over the last axis of its input: `y = s(x w + b)`.

    That is D-17..18, H-13, X-83 and T-21. Borasi (B-2) activates first, `y = s(x) w + b`: that is
    `order="before"`. Parameters are `DenseParams(w, b)`.

    Args:
      n: the number of outputs.
      activation: the name of an elementwise rule, or the rule; None for a linear layer.
      bias: whether there are biases.
      order: "after" to activate after the affine map, "before" to activate its input.
      weights: initialiser of the weights.
      biases: initialiser of the biases.
      connections: a table of booleans, (in, n); weights outside it count nothing, and have no
        gradient (H-46, H-55: sums over D_i). None for all.
      dtype: of the parameters, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net = jnn.dense(4, activation="tanh")
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> net(params, jnp.zeros((8, 3))).shape
    (8, 4)
    """
    errors.positive_integer("dense", "n", n)
    errors.choice("dense", "order", order, ("after", "before"))
    check_initialisers("dense", weights=weights, biases=biases)
    check_dtype("dense", dtype)
    step = chosen("dense", "identity" if activation is None else activation)
    if connections is not None:
        connections = Connections(connections)
        if connections.table.shape[1] != n:
            errors.fail("dense", "connections", f"a table to {n} units", repr(connections))

    def init(key: Key, x: Batch) -> tuple[DenseParams, tuple[()]]:
        features, taken = fed_by("dense", x, dtype)
        canonical("dense", connections, features)
        for_weights, for_biases = jax.random.split(key)
        w = weights(for_weights, (features, n), taken)
        return DenseParams(w, biases(for_biases, (n,), taken) if bias else None), ()

    def apply(params: DenseParams, x: jax.Array) -> jax.Array:
        if not isinstance(params, DenseParams) or params.w.shape[1:] != (n,):
            expected = f"DenseParams of {n} units"
            errors.fail("dense", "params", expected, described(params), "Make them by init.")
        w, b = params
        x = fed(x, w, dtype)
        if connections is not None:
            w = w * jnp.asarray(connections.table, w.dtype)
        return affine(step(x), w, b) if order == "before" else step(affine(x, w, b))

    return init, pure(apply)


class ResidualParams(NamedTuple):
    """Weights w1 and biases b under the activation, and the weights w2 of the other product."""

    w1: jax.Array
    b: jax.Array
    w2: jax.Array


@functools.partial(layer, sees=ONE)
def residual(
    hidden: int | None = None,
    *,
    activation: str | Rule = "tanh",
    weights: Initialiser = glorot_uniform,
    biases: Initialiser = zeros,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """The residual step `y = x + s(x w1 + b) w2` of T-22; the output is as wide as the input.

    Args:
      hidden: the number of hidden units; None for as many as inputs.
      activation: the name of an elementwise rule, or the rule.
      weights: initialiser of w1 and w2.
      biases: initialiser of b.
      dtype: of the parameters, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net = jnn.residual(16)
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> jax.tree.map(jnp.shape, params)
    ResidualParams(w1=(3, 16), b=(16,), w2=(16, 3))
    """
    if hidden is not None:
        errors.positive_integer("residual", "hidden", hidden)
    chosen("residual", activation)
    check_initialisers("residual", weights=weights, biases=biases)
    check_dtype("residual", dtype)

    def init(key: Key, x: Batch) -> tuple[ResidualParams, tuple[()]]:
        n, taken = fed_by("residual", x, dtype)
        units = hidden or n
        return _drawn_residual(key, weights, biases, (n, units), (units, n), taken), ()

    def apply(params: ResidualParams, x: jax.Array) -> jax.Array:
        _expect_residual("residual", params, hidden)
        return rules.residual(fed(x, params.w1, dtype), *params, activation=activation)

    return init, pure(apply)


@functools.partial(layer, sees=ONE)
def residual_projection(
    n: int,
    *,
    activation: str | Rule = "tanh",
    weights: Initialiser = glorot_uniform,
    biases: Initialiser = zeros,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """The residual step `y = x w2 + s(x w1 + b)` of T-23, from any width to `n`.

    Treister gives all its parameters the size n x n, though the widths differ; they are (in, out).

    Args:
      n: the number of outputs.
      activation: the name of an elementwise rule, or the rule.
      weights: initialiser of w1 and w2.
      biases: initialiser of b.
      dtype: of the parameters, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net = jnn.residual_projection(5)
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> net(params, jnp.zeros((8, 3))).shape
    (8, 5)
    """
    errors.positive_integer("residual_projection", "n", n)
    chosen("residual_projection", activation)
    check_initialisers("residual_projection", weights=weights, biases=biases)
    check_dtype("residual_projection", dtype)

    def init(key: Key, x: Batch) -> tuple[ResidualParams, tuple[()]]:
        features, taken = fed_by("residual_projection", x, dtype)
        return _drawn_residual(key, weights, biases, (features, n), (features, n), taken), ()

    def apply(params: ResidualParams, x: jax.Array) -> jax.Array:
        _expect_residual("residual_projection", params, n)
        x = fed(x, params.w1, dtype)
        return rules.residual_projection(x, *params, activation=activation)

    return init, pure(apply)


def _drawn_residual(
    key: Key,
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


def _expect_residual(function: str, params: Any, units: int | None) -> None:
    if not isinstance(params, ResidualParams) or units not in (None, params.w1.shape[-1]):
        expected = "ResidualParams" + (f" of {units} units" if units else "")
        errors.fail(function, "params", expected, described(params), "Make them by init.")


_ABOUT_ZERO, _ONE = normal(1.0), constant(1.0)


class RadialParams(NamedTuple):
    """Centres (units, n) and, of each, how fast it falls off, beta (units,)."""

    centres: jax.Array
    beta: jax.Array


@functools.partial(layer, sees=ONE)
def radial(
    n: int,
    *,
    kernel: str = "norm",
    centres: Initialiser = _ABOUT_ZERO,
    beta: Initialiser = _ONE,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """A layer of `n` radial basis functions over the last axis (H-46..54).

    Centres are better drawn from data: see `jnn.models.kmeans` and `jnn.models.rbf_network`.

    Args:
      n: the number of units.
      kernel: "norm" for `exp(-beta |x - c|)`, as H-54 prints it, "squared" for the Gaussian.
      centres: initialiser of the centres.
      beta: initialiser of beta; one that is not negative.
      dtype: of the parameters, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net = jnn.radial(4, kernel="squared")
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> jax.tree.map(jnp.shape, params), net(params, jnp.zeros((8, 3))).shape
    (RadialParams(centres=(4, 3), beta=(4,)), (8, 4))
    """
    errors.positive_integer("radial", "n", n)
    errors.choice("radial", "kernel", kernel, KERNELS)
    check_initialisers("radial", centres=centres, beta=beta)
    check_dtype("radial", dtype)

    def init(key: Key, x: Batch) -> tuple[RadialParams, tuple[()]]:
        features, taken = fed_by("radial", x, dtype)
        for_centres, for_beta = jax.random.split(key)
        return RadialParams(
            centres(for_centres, (n, features), taken), beta(for_beta, (n,), taken)
        ), ()

    def apply(params: RadialParams, x: jax.Array) -> jax.Array:
        if not isinstance(params, RadialParams):
            errors.fail("radial", "params", "RadialParams", described(params), "Make them by init.")
        return rules.radial(fed(x, params.centres, dtype), *params, kernel=kernel)

    return init, pure(apply)
