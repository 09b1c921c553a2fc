"""Radial basis function networks, and their centres from data."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.layers.combinators.rows import serial
from jnn.layers.core.layer import Layer
from jnn.layers.linear import RadialParams, dense, radial
from jnn.models.study.kmeans import kmeans
from jnn.rules.convolution.connections import Connections


def rbf_network(
    units: int,
    outputs: int,
    *,
    kernel: str = "squared",
    connections: Connections | np.ndarray | None = None,
) -> Layer:
    """Radial basis functions and a linear layer of them, over a connection table (H-46..55).

    Its parameters may all be trained; but first give the units centres, by `centred`.

    Args:
      units: the number of radial units.
      outputs: the number of outputs.
      kernel: "squared" for the Gaussian, "norm" as H-54 prints it.
      connections: which units each output reads, (units, outputs) booleans; None for all.

    >>> net = jnn.models.rbf_network(8, 2)
    >>> net
    serial(radial(8, kernel='squared'), dense(2))
    """
    return serial(radial(units, kernel=kernel), dense(outputs, connections=connections))


def centred(net: Layer, params: Any, key: jax.Array, x: jax.Array) -> Any:
    """Parameters of an `rbf_network` whose centres are those that `kmeans` finds in the data.

    Each falls off so that the next centre lies at its standard deviation d: beta is 1 / (2 d^2) for
    the Gaussian, 1 / d for the other kernel. The other layers keep their parameters.

    Args:
      net: the network.
      params: its parameters.
      key: to draw the first centres of k-means.
      x: samples, (samples, n).

    >>> net, x = jnn.models.rbf_network(2, 1), jnp.array([[0.0], [0.5], [2.0], [2.5]])
    >>> params, _ = net.init(jax.random.key(0), x)
    >>> params = jnn.models.centred(net, params, jax.random.key(1), x)
    >>> jnp.sort(params[0].centres.ravel()).tolist(), params[0].beta.tolist()
    ([0.25, 2.25], [0.125, 0.125])
    """
    first = net.spec.layers[0].spec if net.spec.layers else net.spec
    if first.name != "radial":
        errors.fail("centred", "net", "a network that begins with `radial`", repr(net))
    units = first["n"]
    centres = kmeans(key, x, units).centres
    away = centres[:, None] - centres[None]
    apart = (away * away).sum(-1)
    apart = jnp.where(jnp.eye(units, dtype=bool) | (apart == 0), jnp.inf, apart).min(1)
    square = jnp.where(jnp.isfinite(apart), apart, jnp.ones_like(apart))  # One place for all.
    beta = 1 / jnp.sqrt(square) if first["kernel"] == "norm" else 1 / (2 * square)
    return (RadialParams(centres, beta), *params[1:])
