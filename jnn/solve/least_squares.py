"""`least_squares`: residuals and a start in, the best fit and a status out."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jnn import errors, tree
from jnn.solve.drive import Solver
from jnn.solve.methods.marquardt import gauss_newton, levenberg_marquardt
from jnn.solve.problem import Squares
from jnn.solve.result import Progress, Result, Tolerance, tolerance
from jnn.solve.robust import LOSSES
from jnn.solve.solution import (
    Given,
    Problem,
    checked_args,
    checked_box,
    chosen_solver,
    solution,
    step_limit,
    value_and_aux,
)

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
    if loss is not None:
        errors.choice("least_squares", "loss", loss, tuple(LOSSES))
        if not isinstance(scale, Tracer) and not scale > 0:
            errors.fail("least_squares", "scale", "above 0", scale)
    tree.floating_dtype("least_squares", x0, "x0")
    most = step_limit("least_squares", max_steps)
    chosen = chosen_solver(Squares, solver, method, METHODS, "levenberg_marquardt")
    tolerances, watched = tolerance(tol, 0.0)
    args, box = (
        checked_args("least_squares", args),
        checked_box("least_squares", chosen, bounds, x0),
    )
    room = max_steps if history else None
    problem = Problem(
        residual, read_residuals, chosen, has_aux, watched, callback, progress, room, loss
    )
    return solution(problem, Given(x0, args, box, tolerances, most, scale), implicit)


def read_residuals(out: Any, has_aux: bool, dtype: Any) -> tuple[jax.Array, Any]:
    """What a function returned as one vector of residuals, and its aux."""
    residuals, aux = value_and_aux("least_squares", "residual", "residuals", out, has_aux)
    leaves = jax.tree.leaves(residuals)
    return jnp.concatenate([jnp.ravel(jnp.asarray(leaf, dtype)) for leaf in leaves]), aux


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
