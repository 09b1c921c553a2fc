"""Cross-entropy that takes a network's last product into itself, so that logits are never whole.

Where they are few, nothing is gained, and they are made as any output is.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jnn import rules
from jnn.arithmetic import as_wide
from jnn.layers.combinators.head import Head
from jnn.rules.core.chunks import over_chunks
from jnn.rules.losses.linear_entropy import rows_at_once
from jnn.train.layout import Layout
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


def loss(head: Head, t: Any, settings: Any, layout: Layout | None, count: Any = None) -> jax.Array:
    """The sum over all entries of t by `count`, with its gradient at once; or one value an entry.

    Args:
      head: what logits are made of.
      t: class indices.
      settings: what `settings_of` found.
      layout: over which samples are divided, if any.
      count: how many entries make the mean; None for one value an entry.
    """
    summed = count is not None

    def value(head: Head, t: jax.Array) -> jax.Array:
        given = {"reduction": "sum" if summed else "none", **settings}
        return rules.linear_cross_entropy(head.x, head.w, t, head.b, **given)

    found = _by_device(value, head, t, layout, summed)
    return found / count if summed else found


def metric(function: Callable[[Any, Any], Any], head: Head, t: Any, layout: Layout | None) -> Any:
    """What a metric gives for each sample, from the logits of a few at a time."""
    most = max(1, rows_at_once(t.size, head.w) * len(t) // t.size)

    def value(head: Head, t: jax.Array) -> Any:
        return function(as_wide(head.output()), t)

    def each(head: Head, t: jax.Array) -> Any:
        return over_chunks(lambda x, t: value(head._replace(x=x), t), (head.x, t), most)

    head = lax.stop_gradient(head)
    if not jnp.ndim(jax.eval_shape(value, head, t)):  # One number, of all logits.
        return value(head, t)
    return _by_device(each, head, t, layout, False)


def _by_device(
    function: Callable[[Head, jax.Array], Any],
    head: Head,
    t: Any,
    layout: Layout | None,
    summed: bool,
) -> Any:
    """The function, of a device's own samples where they are spread over several."""
    if layout is None or not layout.batch or len(t) % layout.parts:
        return function(head, t)
    rows: Any = layout.batches.spec
    whole: Any = PartitionSpec()

    def local(head: Head, t: jax.Array) -> Any:
        found = function(head, t)
        return lax.psum(found, layout.batch) if summed else found

    return jax.shard_map(
        local, mesh=layout.mesh, in_specs=(Head(rows, whole, whole), rows),
        out_specs=whole if summed else rows, axis_names={*layout.batch},
    )(head, t)  # fmt: skip
