"""Cross-entropy that takes a network's last product into itself, so that logits are never whole.

Where they are few, nothing is gained, and they are made as any output is.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnn import rules
from jnn.arithmetic import as_wide
from jnn.layers.combinators.head import Head
from jnn.rules.core.chunks import over_chunks
from jnn.rules.losses.linear_entropy import rows_at_once
from jnn.value import recipe_of


def settings_of(loss: Any) -> dict[str, Any] | None:
    """What `softmax_cross_entropy` is given, if the loss is that rule, or a partial of it.

    >>> from functools import partial
    >>> from jnn.train.program.entropy import settings_of
    >>> loss = partial(jnn.softmax_cross_entropy, ignore=0)
    >>> settings_of(loss), settings_of(jnn.softmax_cross_entropy), settings_of(jnn.huber)
    ({'ignore': 0}, {}, None)
    """
    recipe = recipe_of(loss)  # As `Plan` holds a partial.
    inner = loss if recipe is None else dict(recipe.settings).get("function")
    if inner is rules.softmax_cross_entropy:
        return {}
    if isinstance(inner, functools.partial) and inner.func is rules.softmax_cross_entropy:
        return None if inner.args else dict(inner.keywords)
    return None


def fits(head: Head, t: Any) -> bool:
    """Whether targets are class indices, and logits more than are made at once."""
    if jnp.shape(t) != head.x.shape[:-1] or not jnp.issubdtype(t.dtype, jnp.integer):
        return False
    return t.size > rows_at_once(t.size, head.w)


def loss(head: Head, t: Any, settings: Any, count: Any, weights: Any = None) -> jax.Array:
    """The sum over all entries of t by `count`, whose gradient is made along with it.

    Args:
      head: what logits are made of.
      t: class indices.
      settings: what `settings_of` found.
      count: how many entries make the mean, or what they weigh.
      weights: of the entries, if they have some.
    """
    given = {"reduction": "sum", "sample_weights": weights, **settings}
    return rules.linear_cross_entropy(head.x, head.w, t, head.b, **given) / count


def metric(function: Callable[[Any, Any], Any], head: Head, t: Any) -> Any:
    """What a metric gives for each sample, from the logits of a few at a time."""
    most = max(1, rows_at_once(t.size, head.w) * len(t) // t.size)

    def value(head: Head, t: jax.Array) -> Any:
        return function(as_wide(head.output()), t)

    head = lax.stop_gradient(head)
    if not jnp.ndim(jax.eval_shape(value, head, t)):  # One number, of all logits.
        return value(head, t)
    return over_chunks(lambda x, t: value(head._replace(x=x), t), (head.x, t), most)
