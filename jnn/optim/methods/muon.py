"""Muon: steps of which every singular value is about one, by Newton and Schulz's iteration."""

from typing import Any

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.arithmetic import wide
from jnn.optim.methods.adaptive import adamw
from jnn.optim.methods.descent import descend, pulling
from jnn.optim.methods.momentum import trace
from jnn.optim.optimizer import Optimizer, chain, stateless
from jnn.optim.rates import Number, Rate, check_numbers, check_rate, in_dtype_of
from jnn.optim.selection import Where, matching, only
from jnn.value import constructor

# p(s) = a s + b s^3 + c s^5, chosen to lift small singular values fast rather than to converge.
_QUINTIC = (3.4445, -4.7750, 2.0315)


@constructor
def orthogonalise(steps: int = 5) -> Optimizer:
    """A transform that brings the singular values of each matrix near to one, without an SVD.

    Of all matrices of spectral norm 1, the one with the largest inner product with `G = U S V^T` is
    `U V^T`, since `<G, O> = tr(S U^T O V)` and no entry of `U^T O V` exceeds 1. It is the steepest
    step in that norm. An odd polynomial acts on the singular values alone,
    `X (X^T X)^k = U S^{2k+1} V^T`; so, from `X = G / |G|`, each turn of

        A = X X^T        X <- a X + (b A + c A^2) X

    maps every singular value s to `p(s) = a s + b s^3 + c s^5`. With (3.4445, -4.7750, 2.0315) five
    turns lift any s above 0.003 or so into (0.68, 1.21), and keep it there: near enough to one.

    An array of more than two axes counts as a matrix of its last axis by all the others (filters
    are height, width, in, out). Half precisions are computed in float32.

    >>> nearly = jnn.optim.orthogonalise()
    >>> g = jnp.array([[3.0, 1.0], [1.0, 2.0], [0.0, 1.0]])
    >>> u, _ = nearly.update(g, nearly.init(g))
    >>> s = jnp.linalg.svd(u, compute_uv=False)
    >>> bool((s > 0.68).all() & (s < 1.21).all())
    True

    Args:
      steps: turns of the iteration.
    """
    errors.positive_integer("orthogonalise", "steps", steps)
    a, b, c = _QUINTIC

    def polar(g: jax.Array) -> jax.Array:
        if g.ndim < 2:
            remedy = "Choose the matrices by jnn.optim.only."
            errors.fail("orthogonalise", "grads", "matrices", errors.describe(g), remedy)
        x = g.reshape(-1, g.shape[-1]).astype(wide(g.dtype))
        tall = x.shape[0] > x.shape[1]
        x = x.T if tall else x  # So that X X^T is the smaller of the two products.
        norm = jnp.sqrt(jnp.sum(jnp.square(x)))
        x = x / jnp.where(norm > 0, norm, jnp.ones_like(norm))

        def turn(_: Any, x: jax.Array) -> jax.Array:
            gram = jnp.matmul(x, x.T)
            return a * x + jnp.matmul(b * gram + c * jnp.matmul(gram, gram), x)

        x = jax.lax.fori_loop(0, steps, turn, x)
        return (x.T if tall else x).reshape(g.shape).astype(g.dtype)

    return stateless(lambda grads, _: jax.tree.map(polar, grads))


def _is_matrix(path: str, leaf: Any) -> bool:
    del path
    return leaf.ndim >= 2


@constructor
def muon(
    rate: Rate = 0.02,
    beta: Number = 0.95,
    *,
    steps: int = 5,
    decay: Number = 0.0,
    where: Where = _is_matrix,
    other: Any = None,
) -> Optimizer:
    """Muon: momentum, made orthogonal, for matrices; another method for the rest.

        t_n = beta t_{n-1} + J_n      u_n = J_n + beta t_n
        w_{n+1} = w_n - rate (sqrt(max(1, out / in)) orthogonal(u_n) + decay w_n)

    The root makes the step's effect on the root mean square of the outputs alike for all shapes.

    >>> optimizer = jnn.muon(0.1)
    >>> params = {"w": jnp.eye(2), "b": jnp.ones(2)}
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> jax.tree.map(jnp.shape, updates)
    {'b': (2,), 'w': (2, 2)}

    Args:
      rate: a number or a schedule, of the size of the spectral norm of a step.
      beta: what is kept of the trace, in [0, 1).
      steps: turns of Newton and Schulz's iteration, see `jnn.optim.orthogonalise`.
      decay: the strength of the decoupled pull to the origin.
      where: which parameters are matrices, as in `only`; all of two axes and more by default. First
        and last layers are often left out.
      other: the optimizer of the others; `adamw` at a rate of 3e-4 by default.
    """
    check_rate("muon", rate)
    check_numbers("muon", beta=beta, below=1)
    check_numbers("muon", decay=decay)

    def widen(u: jax.Array) -> jax.Array:
        rows, columns = u.size // max(u.shape[-1], 1), u.shape[-1]
        return in_dtype_of(max(1.0, columns / max(rows, 1)) ** 0.5, u) * u

    matrices = chain(
        trace(beta, ahead=True),
        orthogonalise(steps),
        stateless(lambda grads, _: jax.tree.map(widen, grads)),
        *pulling(decay, None),
        descend(rate),
    )
    rest = adamw(3e-4, decay=0.0) if other is None else other
    chosen = matching(where)
    return chain(only(where, matrices), only(lambda path, x: not chosen(path, x), rest))
