"""`minimize`: a function and a start in, the best point and a status out."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jnn import errors, tree
from jnn.solve import result as r
from jnn.solve.drive import Run, Solver, drive
from jnn.solve.implicit import attach, forward_only
from jnn.solve.methods.bfgs import bfgs
from jnn.solve.methods.conjugate import nonlinear_cg
from jnn.solve.methods.lbfgs import lbfgs
from jnn.solve.methods.newton import newton_cg
from jnn.solve.methods.powell import powell
from jnn.solve.methods.steepest import steepest_descent
from jnn.solve.problem import Box, Objective, flat_box
from jnn.solve.result import Progress, Result, Tolerance
from jnn.xla.kernel import one_kernel

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
    the function is traced at most twice. A second call with the same function, solver and shapes
    compiles nothing. It works under `jit`, where it never raises, and under `vmap`, where each lane
    stops by itself.

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
    errors.positive_integer("minimize", "max_steps", max_steps)
    args = checked_args("minimize", args)
    solver = choose("minimize", solver, method, METHODS, "lbfgs")
    x, unravel = tree.ravel("minimize", x0, "x0")
    box = checked_box("minimize", solver, bounds, x0)
    tolerances, watched = r.tolerance(tol, float(jnp.finfo(x.dtype).eps) ** 0.5)
    settings = (f, solver, has_aux, watched, max_steps, callback, progress, history)
    if not implicit:
        run, params = search(*settings, x0, args, box, tolerances)
        return finish(run, params, has_aux)

    def solve(x: jax.Array) -> Run:
        return search(*settings, unravel(x), args, box, tolerances)[0]

    def slope(x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: scalar(f, unravel(x), args, has_aux)[0])(x)

    def value(x: jax.Array) -> Any:
        return scalar(f, unravel(x), args, has_aux)

    x, run = attach(slope, solve, x, box)
    best, aux = value(x)
    run = run._replace(state=run.state._replace(value=best, aux=aux))
    return finish(run, unravel(x), has_aux)


@partial(
    jax.jit,
    static_argnames=(
        "f",
        "solver",
        "has_aux",
        "watched",
        "max_steps",
        "callback",
        "progress",
        "history",
    ),
)
def search(
    f: Callable,
    solver: Solver,
    has_aux: bool,
    watched: tuple[bool, bool],
    max_steps: int,
    callback: Callable | None,
    progress: bool,
    history: bool,
    x0: Any,
    args: tuple,
    box: Box | None,
    tolerances: Tolerance,
) -> tuple[Run, Any]:
    """The compiled loop, and the parameters that it found."""
    x, unravel = tree.ravel("minimize", x0, "x0")
    objective = make_objective(f, unravel, args, has_aux, box)
    report = reporter(callback, progress, unravel)

    def go(x: jax.Array) -> Run:
        return drive(solver, objective, x, tolerances, watched, max_steps, report, history)

    run = forward_only("minimize", one_kernel(go, x))
    return run, unravel(run.state.x)


def choose(
    function: str, solver: Solver | None, method: str | None, methods: dict, default: str
) -> Solver:
    """The solver that is meant by the two arguments."""
    if solver is not None and not isinstance(solver, Solver):
        errors.fail(
            function, "solver", "a solver, such as jnn.lbfgs()", repr(solver),
            "Constructors are called, a method's name goes into `method`, optimizers into jnn.fit.",
            TypeError,
        )  # fmt: skip
    if solver is not None and method is not None:
        errors.fail(function, "method", "left out where `solver` is given", repr(method))
    if solver is not None:
        return solver
    method = default if method is None else method.lower().replace("-", "_")
    errors.choice(function, "method", method, tuple(methods))
    return methods[method]()


def checked_args(function: str, args: Any) -> tuple:
    """The further arguments as a tuple; one array would be taken apart."""
    if not isinstance(args, tuple | list):
        got = errors.describe(args)
        errors.fail(function, "args", "a tuple of arguments", got, "Write args=(a,) for one.")
    return tuple(args)


def checked_box(function: str, solver: Solver, bounds: Any, x0: Any) -> Box | None:
    """The bounds as flat vectors, if the solver heeds them."""
    if bounds is not None and not solver.bounded:
        errors.fail(
            function, "solver", "one that heeds bounds", solver.name,
            "jnn.lbfgs() and jnn.levenberg_marquardt() do.",
        )  # fmt: skip
    return flat_box(function, bounds, x0)


def reporter(callback: Any, progress: bool, unravel: Callable) -> Callable | None:
    """What is called on the host after each step, if anything is."""
    if callback is None and not progress:
        return None

    def report(told: Progress) -> None:
        if progress:
            r.show(told)
        if callback is not None:
            callback(told._replace(params=unravel(jnp.asarray(told.params))))

    return report


def scalar(f: Callable, params: Any, args: tuple, has_aux: bool) -> tuple[jax.Array, Any]:
    """The value of `f`, checked to be one, and its aux."""
    value, aux = split("minimize", "f", "a scalar", f(params, *args), has_aux)
    if jax.tree.structure(value) != jax.tree.structure(0.0) or jnp.shape(value) != ():
        errors.fail(
            "minimize", "f", "a function that returns a scalar", errors.describe(value),
            "For (scalar, aux) say has_aux=True." if isinstance(value, tuple) else "",
        )  # fmt: skip
    return value, aux


def split(function: str, argument: str, what: str, out: Any, has_aux: bool) -> tuple[Any, Any]:
    """What a function returned, and its aux."""
    if not has_aux:
        return out, ()
    if not isinstance(out, tuple) or len(out) != 2:
        expected = f"a function that returns a pair, {what} and aux"
        errors.fail(function, argument, expected, errors.describe(out))
    return out


def make_objective(
    f: Callable, unravel: Callable, args: tuple, has_aux: bool, box: Box | None
) -> Objective:
    """The value, the gradient and the Hessian's products of `f`, on vectors."""

    def flat(x: jax.Array) -> tuple[jax.Array, Any]:
        value, aux = scalar(f, unravel(x), args, has_aux)
        return jnp.asarray(value, x.dtype), aux

    # Inside `jit`, so that each is traced once however often a solver asks.
    @jax.jit
    def gradient(x: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
        (value, aux), slope = jax.value_and_grad(flat, has_aux=True)(x)
        return value, slope, aux

    @jax.jit
    def product(x: jax.Array, v: jax.Array) -> jax.Array:
        return jax.jvp(lambda x: jax.grad(flat, has_aux=True)(x)[0], (x,), (v,))[1]

    no = no_residual
    return Objective(jax.jit(flat), gradient, product, no, no, no, no, box)


def no_residual(*_: Any) -> Any:
    """Least-squares solvers ask for these, and there are none."""
    errors.fail(
        "minimize", "solver", "a solver for a value", "one for residuals", "Use least_squares."
    )


def finish(run: Run, params: Any, has_aux: bool) -> Result:
    """The result of a finished loop."""
    state = run.state
    return Result(
        params, state.value, state.size, run.steps, state.evaluations, state.status, state,
        state.aux if has_aux else None, run.history,
    )  # fmt: skip
