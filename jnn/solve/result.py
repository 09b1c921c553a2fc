"""What a solver answers: the result, its status and the sentence of each status."""

import math
from typing import Any, NamedTuple

import jax
from jax import core

from jnn.status import Status


class SolverStatus(Status):
    """How a solver ended; the first three mean that it converged."""

    RUNNING = -1, "The solver has not finished."
    SMALL_GRADIENT = 0, "Converged: the gradient is within its tolerance."
    SMALL_CHANGE = 1, "Converged: the value changes by less than its tolerance."
    SMALL_STEP = 2, "Converged: the step is within its tolerance."
    STALLED = (
        3,
        "Stopped: no lower value can be found in this precision; the gradient is not within "
        "its tolerance.",
    )
    OUT_OF_STEPS = 4, "Stopped: the steps are used up; `max_steps` sets their number."
    NOT_FINITE = 5, "Stopped: the value or the gradient at the start is not finite."
    UNBOUNDED = 6, "Stopped: the value falls below every bound."


class Tolerance(NamedTuple):
    """When to stop; 0 asks for nothing, except of the gradient an exact 0."""

    gradient: Any = None  # The largest entry of the gradient, in size.
    value: float = 0.0  # The change of the value in one step, relative to the value.
    step: float = 0.0  # The length of one step, relative to that of the parameters.


class History(NamedTuple):
    """What was seen after each step, from the start on; NaN (or -1) after the last."""

    value: jax.Array
    gradient_norm: jax.Array
    evaluations: jax.Array


class Result(NamedTuple):
    """The best point found and how the search for it ended.

    The names of SciPy's results (`x`, `fun`, `nit`, `nfev`) are there too.
    """

    params: Any
    value: jax.Array
    gradient_norm: jax.Array  # The largest entry of the gradient, in size.
    steps: jax.Array
    evaluations: jax.Array  # Of the value, with its gradient where the solver uses one.
    status: jax.Array
    state: Any
    aux: Any = None
    history: Any = None  # A `History`, if one was asked for.

    def __str__(self) -> str:
        """The sentence and the numbers; the solver's state, which fills pages, stays out."""
        shown = ("params", "value", "gradient_norm", "steps", "evaluations")
        lines = [f"{name:<14} {getattr(self, name)}" for name in shown]
        if isinstance(self.status, core.Tracer):
            return "\n".join(lines)
        return "\n".join([f"{'message':<14} {self.message}", *lines])

    __repr__ = __str__

    @property
    def success(self) -> Any:
        """Whether a tolerance was met."""
        return (self.status >= SolverStatus.SMALL_GRADIENT) & (
            self.status <= SolverStatus.SMALL_STEP
        )

    @property
    def message(self) -> Any:
        """The sentence of the status; a list of them for a batch. Only outside `jit`."""
        return SolverStatus.said(self.status)

    @property
    def x(self) -> Any:
        """The parameters, as SciPy calls them."""
        return self.params

    @property
    def fun(self) -> jax.Array:
        """The value, as SciPy calls it."""
        return self.value

    @property
    def nit(self) -> jax.Array:
        """The number of steps, as SciPy calls it."""
        return self.steps

    @property
    def nfev(self) -> jax.Array:
        """The number of evaluations, as SciPy calls it."""
        return self.evaluations


class Progress(NamedTuple):
    """What a callback is told after each step."""

    step: jax.Array
    value: jax.Array
    gradient_norm: jax.Array
    evaluations: jax.Array
    params: Any


def print_progress(progress: Progress) -> None:
    """Prints one line; no gradient for methods that ask for none."""
    size = float(progress.gradient_norm)
    gradient = "" if math.isnan(size) else f"gradient {size:.2e}   "
    print(
        f"step {int(progress.step):5d}   value {float(progress.value):.8g}   "
        f"{gradient}evaluations {int(progress.evaluations)}"
    )


def tolerance(tol: Any, default: float) -> tuple[Tolerance, tuple[bool, bool]]:
    """The tolerances meant by `tol`, and whether those on value and step can be met.

    A number is one for the gradient; `default` is meant where that is None.
    """
    full = tol if isinstance(tol, Tolerance) else Tolerance(gradient=tol)
    full = full._replace(gradient=default if full.gradient is None else full.gradient)

    def asked(tolerance: Any) -> bool:
        return not isinstance(tolerance, int | float) or tolerance > 0

    return full, (asked(full.value), asked(full.step))
