"""The deltas of a network, layer by layer: backpropagation to look at."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jax

from jnn.layers.combinators.stages import stages
from jnn.layers.core.layer import Layer
from jnn.rules.losses.regression import half_squared_error


def deltas(
    net: Layer,
    params: Any,
    x: Any,
    y: Any,
    *,
    loss: Callable[[Any, Any], jax.Array] = half_squared_error,
    state: Any = (),
) -> OrderedDict[str, Any]:
    """The derivative of the loss in every layer's output, from the input to the last layer.

    Each comes from the next by that layer's own backward, delta^l = (dx^{l+1}/dx^l)^T delta^{l+1}
    (H-7..8, X-119..122, T-30). Row i belongs to sample i: the loss is summed over samples, not
    averaged. Under "input" stands the derivative in the data, X-114.

    The delta of the documents is that of the sum under an activation, dE/dz. Where the activation
    is a layer of its own, as in `serial(dense(4), tanh())`, that is the delta of the dense layer.

    Args:
      net: a network; serial ones are opened, however deep.
      params: its parameters.
      x: inputs.
      y: targets.
      loss: a function of (prediction, target) with one value a sample.
      state: its state, in evaluation.

    >>> net = jnn.serial(jnn.dense(4), jnn.tanh(), jnn.dense(2))
    >>> x, y = jnp.ones((8, 3)), jnp.zeros((8, 2))
    >>> params, _ = net.init(jax.random.key(0), x)
    >>> {name: delta.shape for name, delta in jnn.deltas(net, params, x, y).items()}
    {'input': (8, 3), '0.dense': (8, 4), '1.tanh': (8, 4), '2.dense': (8, 2)}
    """
    names, backwards = ["input"], []
    for name, layer, p, s in stages(net, params, state):
        x, backward, _ = jax.vjp(_apply(layer, p, s), x, has_aux=True)
        names.append(name)
        backwards.append(backward)
    delta = jax.grad(lambda prediction: loss(prediction, y).sum())(x)
    found = [delta]
    for backward in reversed(backwards):
        (delta,) = backward(delta)
        found.append(delta)
    return OrderedDict(zip(names, reversed(found), strict=True))  # jit sorts a plain dict.


def _apply(layer: Layer, params: Any, state: Any) -> Callable[[Any], tuple[Any, Any]]:
    return lambda x: layer.apply(params, state, x)
