"""`minimize`: a function and a start in, the best point and a status out."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jnn import errors, tree
from jnn.solve.drive import Solver
from jnn.solve.methods.bfgs import bfgs
from jnn.solve.methods.conjugate import nonlinear_cg
from jnn.solve.methods.lbfgs import lbfgs
from jnn.solve.methods.newton import newton_cg
from jnn.solve.methods.powell import powell
from jnn.solve.methods.steepest import steepest_descent
from jnn.solve.problem import Smooth
from jnn.solve.result import Progress, Result, Tolerance, tolerance
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
    "lbfgs": lbfgs,
    "l_bfgs_b": lbfgs,
    "bfgs": bfgs,
    "cg": nonlinear_cg,
    "nonlinear_cg": nonlinear_cg,
    "newton_cg": newton_cg,
    "powell": powell,
    "steepest_descent": steepest_descent,
}


def minimize(
    f: Callable[..., Any],
    x0: Any,
    solver: Solver | None = None,
    *,
    method: str | None = None,
    bounds: tuple[Any, Any] | None = None,
    tol: float | Tolerance | None = None,
    max_steps: int = 1000,
    callback: Callable[[Progress], None] | None = None,
    progress: bool = False,
    has_aux: bool = False,
    args: tuple = (),
    history: bool = False,
    implicit: bool = False,
) -> Result:
    """The minimum of `f` near `x0`.

    The parameters are ravelled once into a vector; the whole search is one compiled loop, in which
    the function is traced at most twice. A second call with the same function, an equal solver and
    equal shapes compiles nothing. It works under `jit`, where it never raises, and under `vmap`,
    where each lane stops by itself.

    Args:
      f: `f(params, *args)` returns a scalar, or `(scalar, aux)` with `has_aux`. It must be the
        same function at every call: no fresh randomness, no new batch.
      x0: any pytree of floating arrays of one dtype.
      solver: the method, by default `lbfgs()`.
      method: its name instead, as in SciPy: "lbfgs", "bfgs", "cg", "newton_cg", "powell",
        "steepest_descent".
      bounds: `(low, high)`, each a number or a tree like `x0`; for solvers that heed them, such as
        `lbfgs`. The gradient is then the projected one wherever its size counts.
      tol: a number is the tolerance on the largest entry of the gradient; `Tolerance` also holds
        those on the change of the value and on the step. The default is the root of epsilon.
      max_steps: the most steps.
      callback: is told a `Progress` after each step.
      progress: prints one line a step.
      has_aux: see `f`; the `aux` of the best point is returned.
      args: further arguments of `f`.
      history: whether to keep value, gradient norm and evaluations after each step.
      implicit: whether the solution may be differentiated, in what `f` closes over and in `args`:
        by the implicit function theorem, at the cost of a linear system instead of the loop.
        Without it only forward mode (`jvp`, `jacfwd`) can, through every step of the loop.

    >>> rosenbrock = lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    >>> found = jnn.minimize(rosenbrock, jnp.array([-1.2, 1.0]), jnn.lbfgs())
    >>> bool(jnp.allclose(found.params, 1, atol=1e-2)), bool(found.value < 1e-5)
    (True, True)
    """
    dtype, most = tree.floating_dtype("minimize", x0, "x0"), step_limit("minimize", max_steps)
    chosen = chosen_solver(Smooth, solver, method, METHODS, "lbfgs")
    tolerances, watched = tolerance(tol, float(jnp.finfo(dtype).eps) ** 0.5)
    args, box = checked_args("minimize", args), checked_box("minimize", chosen, bounds, x0)
    room = max_steps if history else None
    problem = Problem(f, read_value, chosen, has_aux, watched, callback, progress, room)
    return solution(problem, Given(x0, args, box, tolerances, most), implicit)


def read_value(out: Any, has_aux: bool, dtype: Any) -> tuple[jax.Array, Any]:
    """What a function returned as a value, checked to be one, and its aux."""
    value, aux = value_and_aux("minimize", "f", "a scalar", out, has_aux)
    if jax.tree.structure(value) != jax.tree.structure(0.0) or jnp.shape(value) != ():
        errors.fail(
            "minimize", "f", "a function that returns a scalar", errors.describe(value),
            "For (scalar, aux) say has_aux=True." if isinstance(value, tuple) else "",
        )  # fmt: skip
    return jnp.asarray(value, dtype), aux
