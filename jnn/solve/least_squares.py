"""`least_squares`: residuals and a start in, the best fit and a status out."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jnn import errors, tree
from jnn.solve import result as r
from jnn.solve.drive import Run, Solver, drive
from jnn.solve.implicit import attach, forward_only
from jnn.solve.methods.marquardt import gauss_newton, levenberg_marquardt
from jnn.solve.minimize import checked_args, checked_box, choose, finish, reporter, split
from jnn.solve.problem import Box, Objective
from jnn.solve.result import Progress, Result, Tolerance
from jnn.solve.robust import LOSSES, cost

METHODS = {
    "lm": levenberg_marquardt,
    "levenberg_marquardt": levenberg_marquardt,
    "gauss_newton": gauss_newton,
}


def least_squares(
    residual: Callable[..., Any],
    x0: Any,
    solver: Solver | None = None,
    *,
    method: str | None = None,
    loss: str | None = None,
    scale: float = 1.0,
    bounds: tuple[Any, Any] | None = None,
    tol: float | Tolerance | None = None,
    max_steps: int = 500,
    callback: Callable[[Progress], None] | None = None,
    progress: bool = False,
    has_aux: bool = False,
    args: tuple = (),
    history: bool = False,
    implicit: bool = False,
) -> Result:
    """The parameters that minimise half the sum of the squared residuals (H-104..109).

    As `minimize`, for `E = 1/2 sum r_i^2`. The number of evaluations counts residuals; the
    Jacobian is evaluated once at the start and once a successful step, by tangents where there are
    fewer parameters than residuals, else by backprop rows (H-111..115). Hand-written derivatives
    are used by both: where only the backward is at hand, tangents are its transpose.

    Args:
      residual: `residual(params, *args)` returns any pytree of residuals, or `(residuals, aux)`
        with `has_aux`; one entry a component of each sample, not one norm a sample (see
        `jnn.solve.norm_residual`).
      x0: any pytree of floating arrays of one dtype.
      solver: by default `levenberg_marquardt()`.
      method: its name instead: "lm" or "gauss_newton".
      loss: "huber", "cauchy" or "soft_l1" instead of the square, for data with outliers: each
        step's residuals are weighted anew (T's table of contents names it).
      scale: the residual from which on the loss counts one as an outlier.
      bounds: as in `minimize`.
      tol: a number is the tolerance on the largest entry of the gradient `J^T r`; `Tolerance` also
        holds those on the change of the value and on the step. By default the fit is refined to
        rounding: see the solver.
      max_steps: the most steps.
      callback: as in `minimize`.
      progress: as in `minimize`.
      has_aux: see `residual`.
      args: further arguments of `residual`.
      history: as in `minimize`.
      implicit: as in `minimize`. Prefer it in forward mode too: an SVD, and so the loop, has no
        derivative where singular values are equal.

    >>> t = jnp.arange(4.0)
    >>> fit = jnn.least_squares(lambda p: p["a"] * t + p["b"] - (2 * t + 1), {"a": 0.0, "b": 0.0})
    >>> round(fit.params["a"].item(), 4), round(fit.params["b"].item(), 4)
    (2.0, 1.0)
    """
    errors.positive_integer("least_squares", "max_steps", max_steps)
    if loss is not None:
        errors.choice("least_squares", "loss", loss, tuple(LOSSES))
        if not isinstance(scale, Tracer) and not scale > 0:
            errors.fail("least_squares", "scale", "above 0", scale)
    args = checked_args("least_squares", args)
    solver = choose("least_squares", solver, method, METHODS, "lm")
    x, unravel = tree.ravel("least_squares", x0, "x0")
    box = checked_box("least_squares", solver, bounds, x0)
    tolerances, watched = r.tolerance(tol, 0.0)
    settings = (residual, solver, has_aux, loss, watched, max_steps, callback, progress, history)
    if not implicit:
        run, params = search(*settings, x0, args, box, tolerances, scale)
        return finish(run, params, has_aux)

    def solve(x: jax.Array) -> Run:
        return search(*settings, unravel(x), args, box, tolerances, scale)[0]

    def value(x: jax.Array) -> tuple[jax.Array, Any]:
        residuals, aux = ravelled(residual, unravel(x), args, has_aux, x.dtype)
        return cost(residuals, loss, scale)[0], aux

    x, run = attach(lambda x: jax.grad(value, has_aux=True)(x)[0], solve, x, box)
    best, aux = value(x)
    run = run._replace(state=run.state._replace(value=best, aux=aux))
    return finish(run, unravel(x), has_aux)


@partial(
    jax.jit,
    static_argnames=(
        "residual", "solver", "has_aux", "loss", "watched", "max_steps", "callback", "progress",
        "history",
    ),
)  # fmt: skip
def search(
    residual: Callable,
    solver: Solver,
    has_aux: bool,
    loss: str | None,
    watched: tuple[bool, bool],
    max_steps: int,
    callback: Callable | None,
    progress: bool,
    history: bool,
    x0: Any,
    args: tuple,
    box: Box | None,
    tolerances: Tolerance,
    scale: Any,
) -> tuple[Run, Any]:
    """The compiled loop, and the parameters that it found."""
    x, unravel = tree.ravel("least_squares", x0, "x0")

    def flat(x: jax.Array) -> tuple[jax.Array, Any]:
        return ravelled(residual, unravel(x), args, has_aux, x.dtype)

    def weigh(residuals: jax.Array) -> tuple[jax.Array, jax.Array]:
        return cost(residuals, loss, scale)

    def products(x: jax.Array) -> tuple[Callable, Callable]:
        return linear_maps(lambda x: flat(x)[0], x)

    jacobian = make_jacobian(lambda x: flat(x)[0], x)
    no = no_value
    objective = Objective(
        no, no, no, jax.jit(flat), jax.jit(jacobian), products, weigh, box, loss is not None
    )
    report = reporter(callback, progress, unravel)
    run = drive(solver, objective, x, tolerances, watched, max_steps, report, history)
    run = forward_only("least_squares", run)
    return run, unravel(run.state.x)


def ravelled(
    residual: Callable, params: Any, args: tuple, has_aux: bool, dtype: Any
) -> tuple[jax.Array, Any]:
    """The residuals as one vector, and the aux."""
    out = residual(params, *args)
    residuals, aux = split("least_squares", "residual", "residuals", out, has_aux)
    leaves = jax.tree.leaves(residuals)
    return jnp.concatenate([jnp.ravel(jnp.asarray(leaf, dtype)) for leaf in leaves]), aux


def make_jacobian(flat: Callable, x: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """The Jacobian by tangents or by rows, whichever are fewer."""
    if x.size > jax.eval_shape(flat, x).shape[0]:
        return jax.jacrev(flat)
    try:
        jax.eval_shape(jax.jacfwd(flat), x)
        return jax.jacfwd(flat)
    except TypeError:  # Something in it has a backward only.
        return transposed_columns(flat)


def linear_maps(flat: Callable, x: jax.Array) -> tuple[Callable, Callable]:
    """The products with the Jacobian at x and with its transpose, from one backward."""
    residuals, pull = jax.vjp(flat, x)
    push = jax.linear_transpose(lambda u: pull(u)[0], residuals)
    return lambda v: push(v)[0], lambda u: pull(u)[0]


def transposed_columns(flat: Callable) -> Callable[[jax.Array], jax.Array]:
    """The Jacobian by tangents that are transposes of the backward."""

    def jacobian(x: jax.Array) -> jax.Array:
        push, _ = linear_maps(flat, x)
        return jax.vmap(push, out_axes=1)(jnp.eye(x.size, dtype=x.dtype))

    return jacobian


def no_value(*_: Any) -> Any:
    """Least-squares solvers ask for residuals only."""
    errors.fail(
        "least_squares", "solver", "a solver for residuals", "one for a value", "Use minimize."
    )


def norm_residual(error: jax.Array) -> jax.Array:
    """Hedberg's residual of a sample, the norm of its error, `r_i = |t_i - y_i|` (H-106).

    Its derivative divides by the norm (H-110, H-115) and is taken as zero where that is. The
    Jacobian has one row a sample only, so that Gauss-Newton on it is not the usual one and a step
    can go astray: prefer the components.

    >>> error = jnp.array([[3.0, 4.0], [0.0, 0.0]])
    >>> jnn.solve.norm_residual(error).tolist()
    [5.0, 0.0]
    >>> jax.grad(lambda e: jnn.solve.norm_residual(e).sum())(error).round(1)[1].tolist()
    [0.0, 0.0]
    """
    square = jnp.sum(error * error, axis=-1)
    there = square > 0
    return jnp.where(there, jnp.sqrt(jnp.where(there, square, 1)), 0)
