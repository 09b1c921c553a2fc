"""Linear systems by conjugate directions (H-148..162)."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnn import errors, tree
from jnn.arithmetic import nonzero, wide
from jnn.xla.control import fori_loop, while_loop


class LinearResult(NamedTuple):
    """The solution, the norm of its residual, and whether that is within the tolerance."""

    x: Any
    residual_norm: jax.Array
    steps: jax.Array
    success: jax.Array


def cg(
    a: Any,
    b: Any,
    x0: Any = None,
    *,
    tol: float | None = None,
    max_steps: int | None = None,
    preconditioner: Callable[[Any], Any] | None = None,
) -> LinearResult:
    """Solves `A x = b` for a symmetric positive definite `A` by conjugate gradients (H-156..161).

    Each step minimises the quadratic exactly along a direction conjugate to all before, so that n
    steps suffice in exact arithmetic. It ends when the residual is at most `tol |b|`, at a
    direction without positive curvature (A is not definite), or after `max_steps`. The solution has
    derivatives in A and b, each from another system with A.

    Args:
      a: a matrix, or a function that multiplies by one, `v -> A v` (matrix-free).
      b: the right side; any pytree if `a` is a function. With a matrix also several, one a column,
        each of which stops by itself; `jax.vmap` does the same for functions.
      x0: where to start, 0 by default.
      tol: relative to `|b|`; the default is 10 of the dtype's epsilon.
      max_steps: the most steps, 10 n by default.
      preconditioner: multiplies by an approximate inverse of A, symmetric positive definite; with
        `A = diag` the Jacobi preconditioner of §4.2 is `lambda r: r / diag`.

    >>> a = jnp.array([[3.0, 1.0], [1.0, 2.0]])
    >>> jnn.cg(a, jnp.array([1.0, -1.0])).x.round(3)
    Array([ 0.6, -0.8], dtype=float32)
    """
    if not callable(a) and jnp.ndim(b) == 2:
        each = partial(cg, a, tol=tol, max_steps=max_steps, preconditioner=preconditioner)
        return columns(each, b, x0)
    multiply, x, limit, tol = system("cg", a, b, x0, tol, max_steps)
    condition = preconditioner or (lambda v: v)

    def turn(multiply, carry):
        x, r, d, rho, steps, _ = carry
        ad = multiply(d)
        curvature = tree.dot(d, ad)
        sound = (curvature > 0) & jnp.isfinite(curvature)
        alpha = jnp.where(sound, rho / nonzero(curvature), 0)  # H-157
        x, r = tree.axpy(alpha, d, x), tree.axpy(-alpha, ad, r)  # H-158, H-159
        z = condition(r)
        following = tree.dot(r, z)
        beta = following / nonzero(rho)  # H-160
        return x, r, tree.axpy(beta, d, z), following, steps + 1, ~sound

    def solve(multiply, b):
        goal = tol * tree.norm(b)
        r = tree.axpy(-1.0, multiply(x), b)  # H-156: r = b - A x
        z = condition(r)
        start = (x, r, z, tree.dot(r, z), jnp.int32(0), jnp.bool_(False))
        found, r, _, _, steps, _ = iterate(partial(turn, multiply), start, limit, goal)
        size = tree.norm(r)
        return found, (size, steps, size <= goal)

    x, rest = lax.custom_linear_solve(multiply, b, solve, symmetric=True, has_aux=True)
    return LinearResult(x, *rest)


def system(
    function: str, a: Any, b: Any, x0: Any, tol: float | None, max_steps: int | None
) -> tuple[Callable[[Any], Any], Any, int, float]:
    """The product with A, the start, the most steps and the residual's goal over `|b|`."""
    if not callable(a):
        errors.floating(function, a=a, b=b)
        errors.rank(function, "a", a, 2)
        errors.rank(function, "b", b, 1)
        errors.shape(function, "a", a, (len(b), len(b)), "The matrix is square and fits `b`.")
    multiply = a if callable(a) else lambda v: jnp.dot(a, v, precision=tree.HIGHEST)
    x = jax.tree.map(jnp.zeros_like, b) if x0 is None else x0
    leaves = jax.tree.leaves(b)
    limit = 10 * sum(leaf.size for leaf in leaves) if max_steps is None else max_steps
    least = 10 * float(jnp.finfo(jnp.result_type(*leaves)).eps) if tol is None else tol
    return multiply, x, limit, least


def decomposed(method: Callable[..., Any], *arrays: jax.Array) -> Any:
    """A decomposition of arrays, in float32 where they have half precision: LAPACK has none."""
    dtype = jnp.result_type(*arrays)
    found = method(*(a.astype(wide(dtype)) for a in arrays))
    return jax.tree.map(lambda x: x.astype(dtype), found)


def iterate(turn: Callable[[Any], Any], start: Any, limit: int, goal: jax.Array) -> Any:
    """Turns until the residual is within its goal, the steps are used up or the recurrence breaks.

    What is carried has the residual second, and the steps and whether it broke last.
    """

    def unfinished(carry: Any) -> jax.Array:
        _, r, *_, steps, broken = carry
        return (tree.norm(r) > goal) & (steps < limit) & ~broken

    return while_loop(unfinished, turn, start)


def columns(solve: Callable[..., LinearResult], b: jax.Array, x0: Any) -> LinearResult:
    """The results for each column of `b`; the solutions are the columns of `x`."""
    found = jax.vmap(solve, in_axes=1)(b, jnp.zeros_like(b) if x0 is None else x0)
    return found._replace(x=found.x.T)


def bicgstab(
    a: Any,
    b: Any,
    x0: Any = None,
    *,
    tol: float | None = None,
    max_steps: int | None = None,
    preconditioner: Callable[[Any], Any] | None = None,
) -> LinearResult:
    """Solves `A x = b` for any square `A` by stabilised biconjugate gradients (van der Vorst).

    Where A is not symmetric, residuals are made orthogonal to those of a second sequence, that of
    the transpose, which is never formed; each step also minimises the residual along itself. Two
    products a step. It ends as `cg` does, or when its recurrences break down. It has derivatives as
    `cg`, with a function for A in forward mode only.

    Args:
      a: a matrix, or a function that multiplies by one.
      b: the right side or, with a matrix, several as columns.
      x0: where to start, 0 by default.
      tol: relative to `|b|`; the default is 10 of the dtype's epsilon.
      max_steps: the most steps, 10 n by default.
      preconditioner: multiplies by an approximate inverse of A.

    >>> a = jnp.array([[3.0, 1.0], [-1.0, 2.0]])
    >>> jnn.solve.bicgstab(a, jnp.array([1.0, 2.0])).x.round(3) + 0.0
    Array([0., 1.], dtype=float32)
    """
    if not callable(a) and jnp.ndim(b) == 2:
        each = partial(bicgstab, a, tol=tol, max_steps=max_steps, preconditioner=preconditioner)
        return columns(each, b, x0)
    multiply, x, limit, tol = system("bicgstab", a, b, x0, tol, max_steps)
    condition = preconditioner or (lambda v: v)

    def turn(multiply, first, carry):
        x, r, p, rho, steps, _ = carry
        along = condition(p)
        v = multiply(along)
        alpha = rho / nonzero(tree.dot(first, v))
        s = tree.axpy(-alpha, v, r)
        across = condition(s)
        t = multiply(across)
        omega = tree.dot(t, s) / nonzero(tree.dot(t, t))
        x = tree.axpy(omega, across, tree.axpy(alpha, along, x))
        r = tree.axpy(-omega, t, s)
        following = tree.dot(first, r)
        beta = following / nonzero(rho) * (alpha / nonzero(omega))
        p = tree.axpy(beta, tree.axpy(-omega, v, p), r)
        broken = (following == 0) | (omega == 0) | ~jnp.isfinite(following)
        return x, r, p, following, steps + 1, broken

    def solve(multiply, b):
        goal = tol * tree.norm(b)
        first = tree.axpy(-1.0, multiply(x), b)
        start = (x, first, first, tree.dot(first, first), jnp.int32(0), jnp.bool_(False))
        found, _, _, _, steps, _ = iterate(partial(turn, multiply, first), start, limit, goal)
        size = tree.norm(tree.axpy(-1.0, multiply(found), b))  # The recurrence drifts.
        return found, (size, steps, size <= 100 * goal)

    # To transpose a function it would have to be traced, and not each can be.
    transposed = None if callable(a) else solve
    x, rest = lax.custom_linear_solve(multiply, b, solve, transposed, has_aux=True)
    return LinearResult(x, *rest)


def conjugate_directions(a: jax.Array, u: jax.Array) -> jax.Array:
    """The rows of `u` made conjugate: `d_i^T A d_j = 0` for i != j (H-148, H-149).

    Gram and Schmidt's process in the inner product of the symmetric positive definite `A`:
    `d_i = u_i + sum_j beta_ij d_j` with `beta_ij = -u_i^T A d_j / d_j^T A d_j`, j < i. Hedberg's
    H-149 prints `d_i^T A d_i` below the fraction, where d_i is not yet known.

    >>> jnn.solve.conjugate_directions(jnp.array([[2.0, 1.0], [1.0, 2.0]]), jnp.eye(2)).tolist()
    [[1.0, 0.0], [-0.5, 1.0]]
    """
    errors.rank("conjugate_directions", "u", u, 2)
    n = u.shape[1]
    errors.shape("conjugate_directions", "a", a, (n, n), "`u` has one direction a row.")

    def one(i, d):
        ad = jnp.dot(d, a, precision=tree.HIGHEST)  # Rows A d_j; zero from i on.
        below = jnp.sum(d * ad, axis=1)
        above = jnp.dot(ad, u[i], precision=tree.HIGHEST)
        beta = jnp.where(below > 0, -above / nonzero(below), 0)  # H-149
        return d.at[i].set(u[i] + jnp.dot(beta, d, precision=tree.HIGHEST))  # H-148

    return fori_loop(0, len(u), one, jnp.zeros_like(u))
