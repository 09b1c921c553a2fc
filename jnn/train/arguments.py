"""Checks of what `fit` and `fit_many` are given."""

from typing import Any

import jax
import numpy as np

from jnn import errors
from jnn.optim.averages import Average, unbiased
from jnn.optim.spans import open_ended, spanning
from jnn.solve.drive import Solver
from jnn.solve.problem import Squares
from jnn.train.program.precision import Precision, mixed

USUAL = 32  # Samples a batch.


def check_run(
    function: str, net: Any, loss: Any, epochs: Any, steps: Any, batch_size: Any, not_finite: Any
) -> None:
    """The settings that have only a few right values."""
    if not callable(getattr(net, "apply", None)) or not callable(getattr(net, "init", None)):
        errors.fail(function, "net", "a layer", errors.describe(net), kind=TypeError)
    if not callable(loss):
        expected = "a function of (prediction, target)"
        errors.fail(function, "loss", expected, errors.describe(loss), kind=TypeError)
    if (epochs is None) == (steps is None):
        errors.fail(function, "epochs", "given, or `steps`, one of the two", (epochs, steps))
    count = ("epochs", epochs) if steps is None else ("steps", steps)
    errors.positive_integer(function, *count)
    if batch_size is not None:
        errors.positive_integer(function, "batch_size", batch_size)
    errors.choice(function, "not_finite", not_finite, ("stop", "skip", None))


def samples_of(function: str, argument: str, data: Any, part: bool = False) -> tuple[Any, ...]:
    """Inputs, targets and, if given, weights, with the same number of samples everywhere.

    A `part` of the data, such as a batch, may weigh nothing.
    """
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        expected = "a pair (inputs, targets), or (inputs, targets, weights)"
        errors.fail(function, argument, expected, errors.describe(data))
    leaves = jax.tree.leaves(tuple(data))
    for leaf in leaves:
        if not hasattr(leaf, "dtype") or getattr(leaf.dtype, "kind", "") in tuple("OSU"):
            got = errors.describe(leaf)
            remedy = "Lists are made arrays by np.asarray; classes are numbered from 0."
            errors.fail(function, argument, "arrays of numbers", got, remedy, TypeError)
        if not isinstance(leaf, np.memmap):  # Which is read a batch at a time.
            errors.unwrapped(function, argument, leaf)
    sizes = {np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in leaves}
    if len(sizes) != 1 or 0 in sizes:
        expected = "arrays with the same number of samples, at least one"
        errors.fail(function, argument, expected, errors.describe(tuple(data)))
    if len(data) == 3:
        _check_weights(function, argument, data[1], data[2], part)
    return tuple(data)


def _check_weights(function: str, argument: str, t: Any, weights: Any, part: bool) -> None:
    """One number a sample or a token, at least 0, and not all of them 0."""
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(t)]
    shape = np.shape(weights)
    if not hasattr(weights, "dtype") or all(s[: len(shape)] != shape for s in shapes):
        expected = f"(inputs, targets, weights) with weights of shape {shapes[0][:1]}"
        expected += f" or of the first axes of the targets, {shapes[0]}"
        errors.fail(function, argument, expected, errors.describe(weights))
    if isinstance(weights, np.memmap):
        return  # It is not read before its time.
    numbers = np.asarray(weights, np.float32)
    if not np.isfinite(numbers).all() or (numbers < 0).any() or not (part or numbers.any()):
        expected = "(inputs, targets, weights) with weights of at least 0, some above"
        got = "weights that are all 0" if not numbers.any() else f"{numbers.min():g} among them"
        remedy = "They say how much of the mean a sample or a token is; 0 leaves it out."
        errors.fail(function, argument, expected, got, remedy)


def batch_of(batch_size: int | None, optimizer: Any, n: int) -> int:
    """The samples of a step: by default 32, and all of them for a solver."""
    if batch_size is None:
        batch_size = n if isinstance(optimizer, Solver) else USUAL
    return min(batch_size, n)


def check_solver(optimizer: Any, loss: Any, **others: Any) -> None:
    """What a solver cannot have: it needs the same function at every evaluation, of its kind."""
    if isinstance(optimizer, Solver):
        if optimizer.solves is Squares and getattr(loss, "squares", None) is None:
            errors.fail(
                "fit", "loss", f"squared_error or half_squared_error for {optimizer.name}",
                errors.describe(loss), "Other losses are for solvers such as jnn.lbfgs().",
            )  # fmt: skip
        if optimizer.solves is Squares and others.pop("penalty", None) is not None:
            expected = f"left out for a solver of squares, {optimizer.name}"
            errors.fail("fit", "penalty", expected, "a penalty")
        others.pop("penalty", None)
        for argument, value in others.items():
            if value is not None:
                expected = f"left out for a solver, {optimizer.name}"
                errors.fail("fit", argument, expected, errors.describe(value))


def precision_of(function: str, precision: Any) -> Precision | None:
    """The precision of a run; a word is that of `mixed`."""
    if isinstance(precision, str):
        return mixed(precision)
    if precision is not None and not isinstance(precision, Precision):
        got, remedy = errors.describe(precision), "Make it by jnn.train.mixed."
        errors.fail(function, "precision", "a word or a Precision", got, remedy, TypeError)
    return precision


def average_of(function: str, average: Any) -> Average | None:
    """The average of the parameters; a number is what an exponential one keeps of the past."""
    if average is None or isinstance(average, Average):
        return average
    errors.number(function, "average", average, low=0, high=1 - 1e-9)
    return unbiased(float(average))


def lasting(function: str, optimizer: Any, steps: int | None) -> Any:
    """The optimizer, with schedules that last as long as the run."""
    if not open_ended(optimizer):
        return optimizer
    if steps is None:
        expected = "one whose schedules have their `steps`"
        remedy = "The steps of an epoch are known where it has Stream(..., length=...)."
        errors.fail(
            function, "optimizer", expected, f"{optimizer!r} and data of unknown length", remedy
        )
    return spanning(optimizer, steps)


def key_of(key: Any) -> jax.Array:
    """A random key, made of an integer where one is given."""
    return jax.random.key(key) if isinstance(key, int) else key
