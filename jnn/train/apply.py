"""A trained network on data: what it says, and how good that is, a batch at a time."""

import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jnn import errors
from jnn.layers.core.layer import Layer
from jnn.train.arguments import check_run, precision_of, samples_of
from jnn.train.host.stream import Reader, stream_of
from jnn.train.plan import Plan, metrics_of
from jnn.train.program.evaluate import EVALUATED, assess
from jnn.train.program.means import Totals, added
from jnn.train.program.order import length
from jnn.train.program.precision import Precision, narrow


def predict(
    net: Layer,
    params: Any,
    x: Any,
    state: Any = (),
    *,
    batch_size: int = EVALUATED,
    precision: Precision | str | None = None,
) -> Any:
    """The network's outputs in evaluation, as NumPy arrays: a batch at a time is on the device.

    >>> net, x = jnn.dense(2), np.ones((5, 3), np.float32)
    >>> params, _ = net.init(jax.random.key(0), x)
    >>> jnn.train.predict(net, params, x, batch_size=2).shape
    (5, 2)

    Args:
      net: a layer.
      params: its parameters.
      x: inputs, an array or a tree of them, memory-mapped ones too.
      state: the layers' state.
      batch_size: samples at a time.
      precision: as in `fit`.
    """
    errors.positive_integer("predict", "batch_size", batch_size)
    leaves = jax.tree.leaves(x)
    if not leaves or not all(hasattr(leaf, "shape") and len(leaf) for leaf in leaves):
        errors.fail("predict", "x", "arrays of one sample at least", errors.describe(x))
    kind = precision_of("predict", precision)
    parts = [_outputs(net, kind, params, state, batch) for batch in _batches(x, batch_size)]
    return jax.tree.map(lambda *a: np.concatenate([np.asarray(part) for part in a]), *parts)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _outputs(net: Layer, kind: Precision | None, params: Any, state: Any, x: Any) -> Any:
    y, _ = net.apply(narrow(kind, params), state, narrow(kind, x), train=False)
    return y if kind is None else jax.tree.map(lambda a: a.astype(np.float32), y)


def evaluate(
    net: Layer,
    loss: Callable[[Any, Any], Any],
    params: Any,
    data: Any,
    state: Any = (),
    *,
    metrics: Any = (),
    batch_size: int = EVALUATED,
    precision: Precision | str | None = None,
) -> dict[str, float]:
    """The means of the loss and the metrics over data, as `fit` has them of its validation.

    >>> net, data = jnn.models.mlp([8, 2]), jnn.data.two_moons(200)
    >>> loss = jnn.softmax_cross_entropy
    >>> fit = jnn.fit(net, loss, jnn.adam(0.05), data, epochs=20, progress=None)
    >>> found = jnn.train.evaluate(net, loss, fit.params, data, metrics="accuracy")
    >>> sorted(found), found["accuracy"] > 0.8
    (['accuracy', 'loss'], True)

    Args:
      net: a layer.
      loss: as in `fit`.
      params: the parameters.
      data: inputs, targets and, if any, weights; a stream too.
      state: the layers' state.
      metrics: as in `fit`.
      batch_size: samples at a time, of arrays.
      precision: as in `fit`.
    """
    check_run("evaluate", net, loss, None, 1, batch_size, None)
    flow = stream_of("evaluate", "data", data)
    plan = Plan(net, loss, None, batch_size, metrics_of(metrics), not_finite=None,
                precision=precision_of("evaluate", precision))  # fmt: skip
    if flow:
        batches = Reader(flow, batch_size, shuffle=False).batches()
    else:
        batches = _batches(samples_of("evaluate", "data", data), batch_size)
    totals = [_assessed(plan, params, state, batch) for batch in batches]
    means = functools.reduce(operator.add, totals).means
    return {name: float(value) for name, value in means.items()}


@jax.jit
def _assessed(plan: Plan, params: Any, state: Any, batch: Any) -> Totals:
    return added(*assess(plan, params, state, batch))


def _batches(data: Any, size: int) -> Iterator[Any]:
    for begin in range(0, length(data), size):
        yield jax.tree.map(lambda a, b=begin: a[b : b + size], data)
