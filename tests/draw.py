"""Parameters of a network from NumPy: nothing to compile, where `init` is not what is tested."""

from typing import Any

import jax
import numpy as np

import jnn


def parameters(net: jnn.Layer, x: Any) -> Any:
    """Normal numbers in the structure, shapes and dtypes that `init` gives."""
    random = np.random.default_rng(2)
    params, _ = jax.eval_shape(net.init, jax.random.key(0), x)
    return jax.tree.map(lambda p: random.normal(size=p.shape).astype(p.dtype), params)
