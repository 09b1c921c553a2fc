"""A layer and a way around it."""

import functools
from typing import Any

import jax.numpy as jnp

from jnn import errors
from jnn.layers.combinators.rows import check_layer, side_by_side
from jnn.layers.core.layer import Apply, Init, Layer, layer
from jnn.layers.core.ragged import ALL, array_of, joined
from jnn.layers.pointwise import lifted
from jnn.rules.core.rule import Rule
from jnn.types import Batch, Key, Params, State


@functools.partial(layer, reads=lifted, sees=ALL)
def skip(inner: Layer | Rule, *, project: Layer | None = None) -> tuple[Init, Apply]:
    """What a layer makes of its input, added to the input: `y = x + f(x)`.

    A block with its normalisation in front is `skip(serial(norm, block))`, one with it behind
    `serial(skip(block), norm)`. The parameters are a tuple of the layer's, and of the projection's
    if there is one; the keys are `jax.random.fold_in(key, 0)` and `fold_in(key, 1)`.

    Args:
      inner: the layer, or a rule of one argument.
      project: another layer, for x, where the layer changes the shape: `y = project(x) + f(x)`.

    >>> net = jnn.skip(jnn.serial(jnn.dense(8), jnn.relu(), jnn.dense(3)))
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((5, 3)))
    >>> net(params, jnp.zeros((5, 3))).shape
    (5, 3)
    >>> net = jnn.skip(jnn.conv(8, 3, stride=2, padding=1), project=jnn.conv(8, 1, stride=2))
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((5, 7, 7, 3)))
    >>> net(params, jnp.zeros((5, 7, 7, 3))).shape
    (5, 4, 4, 8)
    """
    check_layer("skip", "inner", inner)
    if project is not None:
        check_layer("skip", "project", project)
    both: Any = (inner,) if project is None else (inner, project)

    init, apply_all = side_by_side("skip", both)

    def apply(
        params: Params, state: State, x: Batch, *, key: Key | None = None, train: bool = False
    ) -> tuple[Batch, State]:
        outputs, state = apply_all(params, state, x, key=key, train=train)
        around = x if project is None else outputs[1]
        return joined(lambda y, a: _sum(y, a, array_of(x)), outputs[0], around), state

    return init, apply


def _sum(y: Any, around: Any, x: Any) -> Any:
    if (jnp.shape(y), jnp.result_type(y)) != (jnp.shape(around), jnp.result_type(around)):
        expected = f"one that returns {errors.describe(around)}, as what it is added to"
        errors.fail("skip", "inner", expected, errors.describe(y), _remedy(jnp.shape(y), x))
    return around + y


def _remedy(wanted: tuple[int, ...], x: Any) -> str:
    """The projection that would do."""
    if jnp.shape(x) == wanted or jnp.ndim(x) != len(wanted) or not wanted:
        return ""
    n, sizes = wanted[-1], set(zip(jnp.shape(x)[1:-1], wanted[1:-1], strict=True))
    strides = {-(-a // b) for a, b in sizes if b}
    if all(a == b for a, b in sizes):
        return f"A projection makes x as wide: skip(..., project=jnn.dense({n}))."
    stride = strides.pop() if len(strides) == 1 else "..."
    return f"A projection gives x that shape: skip(..., project=jnn.conv({n}, 1, stride={stride}))."
