"""Full-matrix AdaGrad and RMSProp: Delmas' note that J J^T may stand where J^2 does."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from jnn import errors
from jnn.arithmetic import wide
from jnn.optim.averages import Average, exponential, mean, total
from jnn.optim.methods.descent import descend
from jnn.optim.optimizer import Optimizer, chain
from jnn.optim.rates import Number, Rate, advance, check_numbers, check_rate, in_dtype_of, zero
from jnn.types import Grads, Params, State, Updates
from jnn.value import constructor


@constructor
def whiten(average: Average, epsilon: Number = 1e-3) -> Optimizer:
    """The direction `(M^{1/2} + epsilon)^{-1} J`, where M is an average of `J J^T`.

    With `M = V diag(w) V^T` it is `V diag(1 / (sqrt(w) + epsilon)) V^T J`. The first M has rank
    one: along its zero eigenvalues epsilon is all that J is divided by, which is why it is not
    tiny. J is all parameters in one vector; n of them cost n^2 memory and n^3 time a step.
    Eigenvalues that round below zero count as zero.

    >>> direction = jnn.optim.whiten(jnn.optim.mean(), epsilon=0.0)
    >>> j = jnp.array([3.0, 4.0])
    >>> state = direction.init(j)
    >>> _, state = direction.update(jnp.array([4.0, -3.0]), state)
    >>> print(direction.update(j, state)[0].round(1))  # M is 12.5 times the identity.
    [0.8 1.1]
    """
    check_numbers("whiten", epsilon=epsilon)

    def init(params: Params) -> State:
        flat, _ = _ravel(params)
        return average.init(jnp.zeros((flat.size, flat.size), flat.dtype))

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        del params, extra
        flat, unravel = _ravel(grads)
        state = average.update(jnp.outer(flat, flat), state)
        w, v = jnp.linalg.eigh(average.value(state))
        size = jnp.sqrt(jnp.maximum(w, jnp.zeros_like(w))) + in_dtype_of(epsilon, w)
        direction = _matmul(v, _matmul(v.T, flat) / size)
        return unravel(direction), state

    return Optimizer(init, update)


class SketchState(NamedTuple):
    """The step's count, and the last gradients as columns, weighted as in the average."""

    step: jax.Array
    columns: jax.Array


@constructor
def whiten_last(rank: int, keep: Number | None, epsilon: Number = 1e-3) -> Optimizer:
    """`whiten` with the last `rank` gradients only, for many parameters.

    Then `M = C C^T` with few columns, `C = U diag(s) V^T`, where s and V come from the small matrix
    `C^T C`, and

        (M^{1/2} + epsilon)^{-1} J = U diag(1 / (s + epsilon)) U^T J

    since J is itself a column and has no part outside of U. It costs `n rank` memory and `n rank^2`
    time a step, and until the columns are full it is `whiten` exactly.

    >>> direction = jnn.optim.whiten_last(4, keep=0.9)
    >>> j = jnp.array([3.0, 4.0])
    >>> print(direction.update(j, direction.init(j))[0].round(2))
    [1.9  2.53]

    Args:
      rank: how many gradients are kept.
      keep: beta of the exponential average of `J J^T`; None for the plain mean.
      epsilon: added to the roots.
    """
    errors.positive_integer("whiten_last", "rank", rank)
    check_numbers("whiten_last", epsilon=epsilon)
    if keep is not None:
        check_numbers("whiten_last", keep=keep, below=1)

    def init(params: Params) -> State:
        flat, _ = _ravel(params)
        return SketchState(zero(), jnp.zeros((flat.size, rank), flat.dtype))

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        del params, extra
        flat, unravel = _ravel(grads)
        step = advance(state.step)
        n = step.astype(float)
        old, new = (1 - 1 / n, 1 / n) if keep is None else (keep, 1 - keep)
        past = in_dtype_of(jnp.sqrt(old), flat) * state.columns
        newest = in_dtype_of(jnp.sqrt(new), flat) * flat
        # A ring: the oldest column makes room.
        columns = lax.dynamic_update_index_in_dim(past, newest, state.step % rank, 1)
        squares, v = jnp.linalg.eigh(_matmul(columns.T, columns))
        # Roots below the rounding of the largest one are zeros, and their columns of U are noise.
        noise = squares[-1] * (rank * jnp.finfo(flat.dtype).eps)
        real = squares > noise
        s = jnp.sqrt(jnp.where(real, squares, jnp.ones_like(squares)))
        # U = C V / s, hence U^T J / (s + epsilon) and U of it, each without forming U.
        along = _matmul(v.T, _matmul(columns.T, flat)) / s
        part = jnp.where(real, along / (s + in_dtype_of(epsilon, s)) / s, jnp.zeros_like(s))
        direction = _matmul(columns, _matmul(v, part))
        return unravel(direction), SketchState(step, columns)

    return Optimizer(init, update)


@constructor
def full_adagrad(
    rate: Rate, *, average: str = "mean", epsilon: Number = 1e-3, rank: int | None = None
) -> Optimizer:
    """AdaGrad with the whole matrix: `q_{n+1} = q_n - rate (M_n^{1/2} + epsilon)^{-1} J_n` (D-9).

    M_n is the mean or the sum of all `J J^T` so far. A rotation of the parameters turns the steps
    with them, which the diagonal method's do not.

    >>> optimizer = jnn.full_adagrad(5.0, epsilon=5.0)
    >>> j = jnp.array([3.0, 4.0])
    >>> print(optimizer.update(j, optimizer.init(j))[0].round(2))
    [-1.5 -2. ]

    Args:
      rate: a number or a schedule.
      average: `"mean"` (D-9) or `"sum"` (classical); with a rank only the mean.
      epsilon: added to the roots of M's eigenvalues.
      rank: None for all of M by eigendecomposition; else how many gradients stand for it.
    """
    check_rate("full_adagrad", rate)
    check_numbers("full_adagrad", epsilon=epsilon)
    errors.choice("full_adagrad", "average", average, ("mean", "sum"))
    if rank is None:
        return chain(whiten(mean() if average == "mean" else total(), epsilon), descend(rate))
    if average == "sum":
        remedy = "A sum over the last gradients only would be neither."
        errors.fail("full_adagrad", "average", "'mean' where a rank is given", "'sum'", remedy)
    return chain(whiten_last(rank, None, epsilon), descend(rate))


@constructor
def full_rmsprop(
    rate: Rate, beta: Number = 0.9, *, epsilon: Number = 1e-3, rank: int | None = None
) -> Optimizer:
    """RMSProp with the whole matrix: `q_{n+1} = q_n - rate (M_n^{1/2} + epsilon)^{-1} J_n` (D-10).

        M_n = beta M_{n-1} + (1 - beta) J_n J_n^T

    >>> optimizer = jnn.full_rmsprop(0.1)
    >>> j = jnp.array([3.0, 4.0])
    >>> optimizer.update(j, optimizer.init(j))[0].shape
    (2,)

    Args:
      rate: a number or a schedule.
      beta: what is kept of M, in [0, 1).
      epsilon: added to the roots of M's eigenvalues.
      rank: None for all of M by eigendecomposition; else how many gradients stand for it.
    """
    check_rate("full_rmsprop", rate)
    check_numbers("full_rmsprop", beta=beta, below=1)
    check_numbers("full_rmsprop", epsilon=epsilon)
    if rank is None:
        return chain(whiten(exponential(beta), epsilon), descend(rate))
    return chain(whiten_last(rank, beta, epsilon), descend(rate))


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _ravel(tree: Any) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """All leaves as one vector of float32 at least, and the way back to their dtypes."""
    flat, unravel = ravel_pytree(jax.tree.map(lambda x: x.astype(wide(x.dtype)), tree))
    return flat, lambda v: jax.tree.map(lambda x, y: y.astype(x.dtype), tree, unravel(v))
