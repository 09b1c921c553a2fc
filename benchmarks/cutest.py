"""The unconstrained problems of CUTEst, as the package sif2jax writes them in JAX."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from benchmarks.suite import Problem

UNKNOWNS = 1000


def problems() -> Iterator[Problem]:
    """Those of at most so many unknowns whose value and gradient at the start are finite."""
    import sif2jax  # pyright: ignore[reportMissingImports]

    for theirs in sif2jax.unconstrained_minimisation_problems:
        if theirs.num_variables() > UNKNOWNS:
            continue
        f = objective(theirs)
        value, gradient = jax.jit(jax.value_and_grad(f))(theirs.y0)
        if np.isfinite(value) and np.all(np.isfinite(gradient)):
            yield Problem(theirs.name, f, np.asarray(theirs.y0))


def objective(problem: Any) -> Callable[[jax.Array], jax.Array]:
    """Its function of the unknowns alone."""
    return lambda x: problem.objective(x, problem.args)
