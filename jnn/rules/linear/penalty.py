"""L2 regularisation: half the squared distance of parameters from a centre."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.arithmetic import wide
from jnn.rules.core.rule import Example, rule


@rule
def l2(params: Any, centre: Any = None, *, biases: bool = True) -> jax.Array:
    """The penalty `|q - c|^2 / 2` of parameters q, over all their arrays (D-3, D-4, X-62..63).

    With the cotangent v, `dq = v (q - c)` and `dc = -dq`. The factor lambda is the caller's:
    `loss + 1e-4 * jnn.l2(params)` adds lambda (q - c) to the gradient. X-63 and D-4 shrink biases
    too.

    Saves: params, centre.

    Args:
      params: arrays, in any structure.
      centre: the same structure, or None for 0.
      biases: False leaves out arrays with fewer than two axes: biases, scales, single numbers.

    >>> params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
    >>> jnn.l2(params).item(), jnn.l2(params, biases=False).item()
    (3.0, 2.0)
    >>> jax.grad(jnn.l2)(params)["b"].tolist()
    [1.0, 1.0]
    """
    dtype = _dtype(params)
    squares = [jnp.square(d).sum() for d in jax.tree.leaves(_distance(params, centre, biases))]
    return (sum(squares, jnp.zeros((), wide(dtype))) / 2).astype(dtype)


@l2.forward
def l2_forward(params, centre, *, biases):
    return l2.parts.definition(params, centre, biases=biases), (params, centre)


@l2.backward
def l2_backward(saved, delta, *, biases):
    params, centre = saved
    distance = _distance(params, centre, biases)
    dq = jax.tree.map(lambda d: delta.astype(d.dtype) * d, distance)  # lambda theta
    return dq, None if centre is None else jax.tree.map(jnp.negative, dq)


@l2.tangent
def l2_tangent(primals, tangents, *, biases):
    (params, centre), (dq, dc) = primals, tangents
    y = l2.parts.definition(params, centre, biases=biases)
    moved = _distance(dq, dc, biases)
    products = jax.tree.map(lambda d, v: (d * v).sum(), _distance(params, centre, biases), moved)
    return y, sum(jax.tree.leaves(products))


def _distance(params: Any, centre: Any, biases: bool) -> Any:
    """What q - c is in each array, all in one dtype; None for what is left out."""
    dtype = wide(_dtype(params))

    def distance(q, c=None):
        if q.ndim < 2 and not biases:
            return None
        return q.astype(dtype) if c is None else q.astype(dtype) - c.astype(dtype)

    return jax.tree.map(distance, params, *(() if centre is None else (centre,)))


def _dtype(params: Any) -> Any:
    """The arrays' dtype; where they differ, the widest of those in which they are summed."""
    dtypes = {q.dtype for q in jax.tree.leaves(params)}
    if len(dtypes) == 1:
        return dtypes.pop()
    return max(map(wide, dtypes), key=lambda d: jnp.dtype(d).itemsize, default=jnp.float32)


@l2.check
def l2_check(params, centre, *, biases):
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    for path, q in leaves:
        name = f"params{jax.tree_util.keystr(path)}"
        errors.floating("l2", **{name: q})
    if centre is None:
        return
    if jax.tree.structure(centre) != structure:
        got = jax.tree.structure(centre)
        errors.fail("l2", "centre", f"of the structure of `params`, {structure}", got)
    for (path, q), c in zip(leaves, jax.tree.leaves(centre), strict=True):
        name = f"centre{jax.tree_util.keystr(path)}"
        errors.floating("l2", **{name: c})
        errors.shape("l2", name, c, q.shape)


@l2.example
def l2_example(random: np.random.Generator) -> Example:
    return Example({"w": random.normal(size=(3, 4)), "b": random.normal(size=4)})


@l2.example
def l2_example_centre(random: np.random.Generator) -> Example:
    shape = random.integers(1, 5, 2)
    params, centre = ([random.normal(size=shape), random.normal(size=3)] for _ in range(2))
    return Example(params, centre, biases=False)


@l2.extreme
def l2_extreme(random: np.random.Generator) -> Example:
    return Example((1e4 * random.normal(size=(3, 4)), np.zeros(0)))
