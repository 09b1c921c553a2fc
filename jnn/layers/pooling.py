"""Pooling and sub-sampling as layers."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jnn import errors, rules
from jnn.layers.core.initialisers import Initialiser, check_initialisers, glorot_uniform, zeros
from jnn.layers.core.layer import (
    Apply,
    Init,
    check_dtype,
    described,
    fed,
    fed_by,
    layer,
    pure,
    without_parameters,
)
from jnn.layers.core.ragged import ALL, Ragged, kept, mean_of
from jnn.rules.convolution.connections import Connections, canonical
from jnn.rules.convolution.geometry import RESTS, per_axis
from jnn.rules.core.rule import Rule
from jnn.rules.pointwise.activation import activation as chosen
from jnn.rules.pooling.max import TIES
from jnn.types import Batch, Key, Padding, Params, Setting


@layer
def max_pool(
    window: Setting,
    *,
    stride: Setting | None = None,
    padding: Padding = "valid",
    rest: str = "drop",
    ties: str = "first",
) -> tuple[Init, Apply]:
    """The largest pixel of each window (H-98, X-141); settings as in `jnn.rules.max_pool`.

    >>> jnn.max_pool(2)((), jnp.zeros((8, 28, 28, 6))).shape
    (8, 14, 14, 6)
    """
    errors.choice("max_pool", "ties", ties, TIES)
    errors.choice("max_pool", "rest", rest, RESTS)
    return without_parameters, pure(
        lambda params, x: rules.max_pool(
            x, window=window, stride=stride, padding=padding, rest=rest, ties=ties
        )
    )


@layer
def mean_pool(
    window: Setting,
    *,
    stride: Setting | None = None,
    padding: Padding = "valid",
    rest: str = "drop",
    count_padding: bool = False,
) -> tuple[Init, Apply]:
    """The mean of each window; settings as in `jnn.rules.mean_pool`.

    >>> jnn.mean_pool(2)((), jnp.zeros((8, 28, 28, 6))).shape
    (8, 14, 14, 6)
    """
    errors.choice("mean_pool", "rest", rest, RESTS)
    return without_parameters, pure(
        lambda params, x: rules.mean_pool(
            x,
            window=window,
            stride=stride,
            padding=padding,
            rest=rest,
            count_padding=count_padding,
        )
    )


@layer
def adaptive_max_pool(size: Setting) -> tuple[Init, Apply]:
    """The largest pixel of each of `size` windows along each axis; see the rule of that name.

    >>> jnn.adaptive_max_pool(7)((), jnp.zeros((8, 30, 20, 6))).shape
    (8, 7, 7, 6)
    """
    return without_parameters, pure(lambda params, x: rules.adaptive_max_pool(x, size=size))


@layer
def adaptive_mean_pool(size: Setting) -> tuple[Init, Apply]:
    """The mean of each of `size` windows along each axis; see the rule of that name.

    >>> jnn.adaptive_mean_pool((7, 5))((), jnp.zeros((8, 30, 20, 6))).shape
    (8, 7, 5, 6)
    """
    return without_parameters, pure(lambda params, x: rules.adaptive_mean_pool(x, size=size))


@functools.partial(layer, sees=ALL)
def global_max_pool() -> tuple[Init, Apply]:
    """The largest pixel of each map, (N, *size, C) to (N, C).

    >>> jnn.global_max_pool()((), jnp.zeros((8, 7, 7, 6))).shape
    (8, 6)
    """

    def apply(params: Params, x: Any) -> jax.Array:
        if not isinstance(x, Ragged):
            return _whole(rules.max_pool, x)
        y = _whole(rules.max_pool, kept(x, -math.inf))
        return jnp.where(x.mask.any(1)[:, None], y, jnp.zeros_like(y))

    return without_parameters, pure(apply)


@functools.partial(layer, sees=ALL)
def global_mean_pool() -> tuple[Init, Apply]:
    """The mean of each map, (N, *size, C) to (N, C).

    >>> jnn.global_mean_pool()((), jnp.zeros((8, 7, 7, 6))).shape
    (8, 6)
    """
    mean = functools.partial(_whole, rules.mean_pool)
    return without_parameters, pure(
        lambda params, x: mean_of(x, mean) if isinstance(x, Ragged) else mean(x)
    )


def _whole(pool: Rule, x: jax.Array) -> jax.Array:
    return pool(x, window=x.shape[1:-1]).reshape(x.shape[0], x.shape[-1])


@layer
def subsample(factor: Setting) -> tuple[Init, Apply]:
    """Every K-th pixel along each axis (H-101).

    >>> jnn.subsample(2)((), jnp.zeros((8, 7, 7, 6))).shape
    (8, 4, 4, 6)
    """
    return without_parameters, pure(lambda params, x: rules.subsample(x, factor=factor))


class SubsampleParams(NamedTuple):
    """Weights alpha, (in, out) or (out,), and biases b (out,), or None for a layer without."""

    alpha: jax.Array
    b: jax.Array | None


@layer
def weighted_subsample(
    factor: Setting,
    n: int | None = None,
    *,
    connections: Connections | np.ndarray | None = None,
    rest: str = "drop",
    activation: str | Rule | None = None,
    bias: bool = True,
    weights: Initialiser | None = None,
    biases: Initialiser = zeros,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """Weighted sums of blocks of K pixels an axis (H-86, H-87); see the rule of that name.

    Args:
      factor: K, one number or one an axis.
      n: the number of output maps for cross weights, (in, n); None for one weight a map.
      connections: a table of booleans, (input maps, output maps); None for all with cross weights,
        one to one with single weights.
      rest: of pixels behind the last whole block, "drop" or "error".
      activation: the name of an elementwise rule, or the rule; None for none.
      bias: whether there are biases.
      weights: initialiser of alpha. None makes single weights those of a mean over all that is
        summed, and cross weights `glorot_uniform` over the pixels of a block.
      biases: initialiser of the biases.
      dtype: of the parameters, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net = jnn.weighted_subsample(2, activation="tanh")
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 28, 28, 6)))
    >>> jax.tree.map(jnp.shape, params), net(params, jnp.zeros((8, 28, 28, 6))).shape
    (SubsampleParams(alpha=(6,), b=(6,)), (8, 14, 14, 6))
    """
    name = "weighted_subsample"
    if n is not None:
        errors.positive_integer(name, "n", n)
    check_initialisers(name, biases=biases, **({} if weights is None else {"weights": weights}))
    errors.choice(name, "rest", rest, RESTS)
    check_dtype(name, dtype)
    step = chosen(name, "identity" if activation is None else activation)

    def init(key: Key, x: Batch) -> tuple[SubsampleParams, tuple[()]]:
        maps, taken = fed_by(name, x, dtype)
        pixels = math.prod(per_axis(name, "factor", factor, len(x.shape) - 2))
        table = canonical(name, connections, maps)
        outputs = n or (maps if table is None else table.table.shape[1])
        for_weights, for_biases = jax.random.split(key)
        if n is not None:
            alpha = (weights or glorot_uniform)(for_weights, (maps, n), taken)
            alpha = alpha if weights else alpha / pixels
        elif weights is not None:
            alpha = weights(for_weights, (outputs,), taken)
        else:
            read = np.ones(outputs) if table is None else table.table.sum(0)
            alpha = jnp.asarray(1 / (pixels * read), taken)
        return SubsampleParams(alpha, biases(for_biases, (outputs,), taken) if bias else None), ()

    def apply(params: SubsampleParams, x: jax.Array) -> jax.Array:
        if not isinstance(params, SubsampleParams):
            errors.fail(name, "params", "SubsampleParams", described(params), "Make them by init.")
        x = fed(x, params.alpha, dtype)
        settings: Any = {"factor": factor, "connections": connections, "rest": rest}
        return step(rules.weighted_subsample(x, *params, **settings))

    return init, pure(apply)
