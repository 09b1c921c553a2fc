"""The unconstrained problems of CUTEst, as the package sif2jax writes them in JAX."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from benchmarks.suite import Problem

UNKNOWNS = 1000


def problems(unknowns: int = UNKNOWNS) -> Iterator[Problem]:
    """Those of at most so many unknowns."""
    import sif2jax  # pyright: ignore[reportMissingImports]

    for theirs in sif2jax.unconstrained_minimisation_problems:
        if theirs.num_variables() <= unknowns:
            yield Problem(theirs.name, objective(theirs), np.asarray(theirs.y0))


def objective(problem: Any) -> Callable[[jax.Array], jax.Array]:
    """Its function of the unknowns alone."""
    return lambda x: problem.objective(x, problem.args)
