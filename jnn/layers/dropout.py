"""Dropout as a layer: chance in training, nothing in evaluation."""

import functools

from jnn import errors, rules
from jnn.layers.core.layer import Apply, Init, key_of_step, layer, without_parameters
from jnn.layers.core.ragged import ONE
from jnn.types import Batch, Key, Params, State


@functools.partial(layer, sees=ONE)
def dropout(rate: float) -> tuple[Init, Apply]:
    """In training each number is left out with probability `rate`; in evaluation y is x.

    What is kept is divided by `1 - rate`, so that evaluation is the expectation of training. See
    `jnn.rules.dropout`, the rule.

    Args:
      rate: the probability of being left out, between 0 and 1.

    >>> net = jnn.serial(jnn.dense(8, activation="relu"), jnn.dropout(0.5), jnn.dense(2))
    >>> x = jnp.ones((4, 3))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> y, state = net.apply(params, state, x, key=jax.random.key(1), train=True)
    >>> net(params, x).shape
    (4, 2)
    """
    errors.number("dropout", "rate", rate, low=0, high=1)

    def apply(
        params: Params, state: State, x: Batch, *, key: Key | None = None, train: bool = False
    ) -> tuple[Batch, State]:
        if not train:
            return x, state
        return rules.dropout(x, key_of_step("dropout", key), rate=rate), state

    return without_parameters, apply
