"""From a problem to its solution: one record of what a search depends on, and one program."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jnn import errors, tree
from jnn.solve.drive import Run, Solver, check_kind, drive
from jnn.solve.implicit import attach, forward_only
from jnn.solve.problem import Box, Smooth, Squares, flat_box
from jnn.solve.result import Progress, Result, Tolerance, print_progress
from jnn.xla.kernel import one_kernel
from jnn.xla.memory import forget_programs


@dataclass(frozen=True)
class Problem:
    """What is solved and how: all that the program of a search depends on, shapes aside.

    It is hashable and goes into `jit` as a static argument, so that a second search with the same
    function and an equal solver compiles nothing.

    Attributes:
      f: the user's function, `f(params, *args)`.
      read: `read(out, has_aux, dtype)`, what `f` returned as a value or a vector, and the aux.
      watched: which of the tolerances on value and step there are.
      room: for how many steps there is a history, if for any.
      loss: of residuals, one of `solve.robust`.
    """

    f: Callable[..., Any]
    read: Callable[..., tuple[jax.Array, Any]]
    solver: Solver
    has_aux: bool
    watched: tuple[bool, bool]
    callback: Callable[[Progress], None] | None
    progress: bool
    room: int | None
    loss: str | None = None

    @property
    def function(self) -> str:
        """The public function that solves it, for messages."""
        return self.solver.solves.driver

    def objective(self, given: "Given", unravel: Callable) -> Any:
        """What the solver asks."""

        def flat(x: jax.Array) -> tuple[jax.Array, Any]:
            return self.read(self.f(unravel(x), *given.args), self.has_aux, x.dtype)

        if self.solver.solves is Smooth:
            return Smooth.of(flat, given.box)
        return Squares.of(flat, given.box, self.loss, given.scale)


class Given(NamedTuple):
    """The numbers of a search; others of the same shapes compile nothing."""

    x0: Any
    args: tuple
    box: Box | None
    tolerances: Tolerance
    max_steps: Any
    scale: Any = 1.0


def solution(problem: Problem, given: Given, implicit: bool) -> Result:
    """The best point; with derivatives by the implicit function theorem, if asked for."""
    forget_programs()
    if not implicit:
        run, params = compiled_search(problem, given)
        return finished(problem, run, params)
    # What `f` closes over becomes arguments: the solution has derivatives in it, the loop none.
    example = jax.tree.map(as_array, (given.x0, *given.args))
    f, hoisted = jax.closure_convert(problem.f, *example)
    if hoisted:
        problem = dataclasses.replace(problem, f=f)
        given = given._replace(args=(*given.args, *hoisted))
    return finished(problem, *compiled_implicit(problem, given))


def as_array(x: Any) -> jax.Array:
    """An array as it is, of numbers one."""
    return x if isinstance(x, jax.Array) else jnp.asarray(x)


@partial(jax.jit, static_argnames="problem")
def compiled_implicit(problem: Problem, given: Given) -> tuple[Run, Any]:
    """As `compiled_search`, with derivatives of solution, value and aux in the arguments."""
    _, unravel = tree.ravel(problem.function, given.x0, "x0")
    run, _ = compiled_search(problem, lax.stop_gradient(given))
    objective = problem.objective(given, unravel)
    x = attach(lambda x: jax.grad(objective.value, has_aux=True)(x)[0], run.state.x, given.box)
    value, aux = objective.value(x)
    return run._replace(state=run.state._replace(value=value, aux=aux)), unravel(x)


@partial(jax.jit, static_argnames="problem")
def compiled_search(problem: Problem, given: Given) -> tuple[Run, Any]:
    """The compiled loop, and the parameters that it found, laid out as the start is.

    A vector of all parameters has no layout of its own: on a mesh with explicit axes the program is
    for XLA's partitioner to lay out.
    """
    run: Any = partial(search, problem)
    mesh = next(
        filter(is_explicit, (jax.typeof(x).sharding.mesh for x in jax.tree.leaves(given))), None
    )
    if mesh is not None:
        everywhere = NamedSharding(mesh, PartitionSpec())
        like_start = jax.tree.map(
            lambda x: NamedSharding(mesh, jax.typeof(x).sharding.spec), given.x0
        )
        run = jax.sharding.auto_axes(run, out_sharding=(everywhere, like_start))
    return run(given)


def is_explicit(mesh: Any) -> bool:
    """Whether layouts along an axis of a mesh are part of types."""
    return AxisType.Explicit in mesh.axis_types


def search(problem: Problem, given: Given) -> tuple[Run, Any]:
    """What is compiled."""
    x, unravel = tree.ravel(problem.function, given.x0, "x0")
    solver, objective = problem.solver, problem.objective(given, unravel)
    told = reporter(problem, unravel)

    def go(x: jax.Array) -> Run:
        return drive(
            solver, objective, x, given.tolerances, problem.watched, given.max_steps, told,
            problem.room,
        )  # fmt: skip

    run = one_kernel(go, x) if solver.solves is Smooth else go(x)
    run = forward_only(problem.function, run)
    return run, unravel(run.state.x)


def reporter(problem: Problem, unravel: Callable) -> Callable[[Progress], None] | None:
    """What is called on the host after each step, if anything is."""
    if problem.callback is None and not problem.progress:
        return None

    def report(told: Progress) -> None:
        if problem.progress:
            print_progress(told)
        if problem.callback is not None:
            problem.callback(told._replace(params=unravel(jnp.asarray(told.params))))

    return report


def finished(problem: Problem, run: Run, params: Any) -> Result:
    """What a finished loop found."""
    state = run.state
    return Result(
        params, state.value, state.size, run.steps, state.evaluations, state.status, state,
        state.aux if problem.has_aux else None, run.history,
    )  # fmt: skip


def chosen_solver(
    kind: type, solver: Solver | None, method: str | None, methods: dict, default: str
) -> Solver:
    """The solver that is meant by the two arguments, which solves problems of that kind."""
    function = kind.driver
    if solver is not None and not isinstance(solver, Solver):
        errors.fail(
            function, "solver", f"a solver, such as jnn.{default}()", repr(solver),
            "Constructors are called, a method's name goes into `method`, optimizers into jnn.fit.",
            TypeError,
        )  # fmt: skip
    if solver is not None and method is not None:
        errors.fail(function, "method", "left out where `solver` is given", repr(method))
    if solver is not None:
        check_kind(function, "solver", solver, kind)
        return solver
    method = default if method is None else method.lower().replace("-", "_")
    errors.choice(function, "method", method, tuple(methods))
    return methods[method]()


def step_limit(function: str, max_steps: int) -> Any:
    """The most steps as a number of the program."""
    errors.positive_integer(function, "max_steps", max_steps)
    return np.int32(min(max_steps, np.iinfo(np.int32).max))


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


def value_and_aux(
    function: str, argument: str, what: str, out: Any, has_aux: bool
) -> tuple[Any, Any]:
    """What a function returned, and its aux."""
    if not has_aux:
        return out, ()
    if not isinstance(out, tuple) or len(out) != 2:
        expected = f"a function that returns a pair, {what} and aux"
        errors.fail(function, argument, expected, errors.describe(out))
    return out
