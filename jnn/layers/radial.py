"""Radial basis functions as a layer."""

from typing import Any, NamedTuple

import jax

from jnn import errors, rules
from jnn.layers.initialisers import Initialiser, check, constant, normal
from jnn.layers.layer import Apply, Init, described, fed_by, layer, pure

_ABOUT_ZERO, _ONE = normal(1.0), constant(1.0)


class RadialParams(NamedTuple):
    """Centres (units, n) and, of each, how fast it falls off, beta (units,)."""

    centres: jax.Array
    beta: jax.Array


@layer
def radial(
    n: int,
    *,
    kernel: str = "norm",
    centres: Initialiser = _ABOUT_ZERO,
    beta: Initialiser = _ONE,
) -> tuple[Init, Apply]:
    """A layer of `n` radial basis functions over the last axis (H-46..54).

    Centres are better drawn from data: see `jnn.models.kmeans` and `jnn.models.rbf_network`.

    Args:
      n: the number of units.
      kernel: "norm" for `exp(-beta |x - c|)`, as H-54 prints it, "squared" for the Gaussian.
      centres: initialiser of the centres.
      beta: initialiser of beta; one that is not negative.

    >>> net = jnn.radial(4, kernel="squared")
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> jax.tree.map(jnp.shape, params), net(params, jnp.zeros((8, 3))).shape
    (RadialParams(centres=(4, 3), beta=(4,)), (8, 4))
    """
    errors.positive_integer("radial", "n", n)
    errors.choice("radial", "kernel", kernel, ("norm", "squared"))
    check("radial", centres=centres, beta=beta)

    def init(key: jax.Array, x: Any) -> tuple[RadialParams, tuple[()]]:
        features, dtype = fed_by("radial", x)
        for_centres, for_beta = jax.random.split(key)
        return RadialParams(
            centres(for_centres, (n, features), dtype), beta(for_beta, (n,), dtype)
        ), ()

    def apply(params: RadialParams, x: jax.Array) -> jax.Array:
        if not isinstance(params, RadialParams):
            errors.fail("radial", "params", "RadialParams", described(params), "Make them by init.")
        return rules.radial(x, *params, kernel=kernel)

    return init, pure(apply)
