"""The affine map `x w + b`: the documents' dense layer before its activation.

The documents write columns, `z = W x + b` with W of shape (out, in) (D-17..18, H-13..19, X-83).
Here samples are rows and the batch axes lead, so their W is our `w` transposed: (in, out).
"""

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.arithmetic import contract, outer_sum
from jnn.rules.core.rule import Example, rule
from jnn.rules.core.sharded import by_device, divides_parameters


@rule
def affine(x: jax.Array, w: jax.Array, b: jax.Array | None = None) -> jax.Array:
    """The affine map `z = x w + b` of D-17, H-13 and X-83, over any number of batch axes.

    Its derivative (D-29, H-14..19, T-36..37, Treister §4.1.2), with the sums over the batch:

        dx = delta w^T        dw = sum x^T delta        db = sum delta

    Saves: x, w. Both are inputs, which the caller keeps alive anyway; nothing is added to them.

    Args:
      x: inputs, (..., in).
      w: weights, (in, out).
      b: biases, (out,), or None for a linear map.

    >>> x, w, b = jnp.ones((8, 3)), jnp.full((3, 2), 0.5), jnp.zeros(2)
    >>> jnn.rules.affine(x, w, b).shape
    (8, 2)
    >>> jax.grad(lambda w: jnn.rules.affine(x, w, b).sum())(w)[0].tolist()
    [8.0, 8.0]
    """
    z = contract(x, w)  # D-17: z_i = sum_j W_ij x_j + b_i
    return z if b is None else z + jnp.broadcast_to(b, z.shape)


@affine.forward
def affine_forward(x, w, b):
    z = contract(x, w)
    return z if b is None else z + jnp.broadcast_to(b, z.shape), (x, w)


@affine.backward
def affine_backward(saved, delta):
    x, w = saved
    dx = contract(delta, w.T)  # H-14: dx_j = sum_i delta_i W_ij

    def sums(x, delta):
        dw = outer_sum(x, delta)  # H-18, T-37: dW = delta x^T, summed over the batch
        db = delta.sum(range(delta.ndim - 1))  # H-19: db = delta, summed over the batch
        return (), (dw, db)

    # Else XLA does as well.
    apart = divides_parameters() and x.ndim > 1
    return dx, *(by_device(sums, (x, delta)) if apart else sums(x, delta))[1]


@affine.tangent
def affine_tangent(primals, tangents):
    (x, w, b), (dx, dw, db) = primals, tangents
    z, _ = affine_forward(x, w, b)
    dz = contract(dx, w) + contract(x, dw)  # T-24, T-36: the product rule
    return z, dz if b is None else dz + jnp.broadcast_to(db, z.shape)


@affine.check
def affine_check(x, w, b):
    errors.floating("affine", x=x, w=w, **({} if b is None else {"b": b}))
    errors.rank("affine", "w", w, 2)
    features = x.shape[-1] if x.ndim else None
    if features != w.shape[0]:
        errors.fail(
            "affine", "x", f"of shape (..., {w.shape[0]}) to fit `w` {errors.describe(w)}",
            errors.describe(x), "Weights are (in, out), and samples are rows.",
        )  # fmt: skip
    if b is not None:
        errors.shape("affine", "b", b, w.shape[1:], "One bias an output.")


@affine.example
def affine_example(random: np.random.Generator) -> Example:
    *batch, n, m = random.integers(1, 5, random.integers(2, 5))
    x, w, b = random.normal(size=(*batch, n)), random.normal(size=(n, m)), random.normal(size=m)
    return Example(x, w, b)


@affine.example
def affine_example_linear(random: np.random.Generator) -> Example:
    return Example(random.normal(size=(3, 4)), random.normal(size=(4, 2)))


@affine.extreme
def affine_extreme(random: np.random.Generator) -> Example:
    return Example(1e4 * random.normal(size=(3, 4)), np.zeros((4, 2)), 1e4 * random.normal(size=2))
