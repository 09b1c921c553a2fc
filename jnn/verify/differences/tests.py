"""Treister's tests of §4.3 for any function with its derivative: gradient, Jacobian, transpose.

What decides is not the fit of an order but the slopes themselves, measured to about 12 digits
(`slopes`): every entry where there are few, signed sums of all of them where there are many. The
two columns of T-38 and T-39 show the result in the documents' way.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jnn import errors
from jnn.rules.core.mode import autodiff
from jnn.verify.differences.entries import Derivative, Finding, check_entries
from jnn.verify.differences.reports import DifferenceReport, TransposeReport
from jnn.verify.differences.slopes import EPS, NOISE_STEPS, round_off
from jnn.verify.differences.sums import Sums, lengths, locate, unit_entry
from jnn.verify.differences.vectors import FlatFunction, float64

MOST_INPUTS, MOST_ENTRIES = 4096, 2**20  # More are not checked one by one unless asked for.
Directions = int | Sequence[Any]


def gradient_test(
    f: Callable[..., Any],
    x: Any,
    *,
    gradient: Callable[..., Any] | None = None,
    args: tuple[Any, ...] = (),
    directions: Directions = 5,
    eps: float = 0.1,
    halvings: int = 20,
    elementwise: bool | None = None,
    seed: int = 0,
) -> DifferenceReport:
    """Whether a gradient is right, by differences of the function (T-38, T-39, Treister §4.3).

    Everything runs in float64, whatever the global setting. Up to 4096 entries of x are checked one
    by one, against central differences that are extrapolated until their error is known to be
    small. An entry wrong by a millionth of the largest is found, and named, every time; usually one
    wrong by 1e-11. With more entries, sums of all of them with random signs and sizes between 1 and
    2 are checked. One wrong entry then changes each sum by at least its error, so it is found
    whenever that is above the round-off; several would have to cancel in every direction. A wrong
    sum is halved until one entry is left to blame.

    Args:
      f: a function of a pytree, with a scalar as its value, that JAX can trace and `vmap`.
      x: where; its floating leaves move, integers and booleans stay.
      gradient: `gradient(x, *args)`, a tree like x. The default is what JAX would use: `jax.grad`,
        through the hand-written rules or as `jnn.derivatives` says.
      args: further arguments of f, held fixed; they are cast to float64 too.
      directions: how many random directions, or a list of trees like x.
      eps: the first step of the two columns.
      halvings: how many times it is halved.
      elementwise: whether to check entry by entry; by default where there are few.
      seed: of the random directions.

    >>> report = jnn.verify.gradient_test(lambda x: jnn.rules.tanh(x).sum(), jnp.array([0.3, 0.7]))
    >>> report.ok, report.corrected_orders.round(1).tolist()
    (True, [2.0, 2.0, 2.0, 2.0, 2.0])
    >>> wrong = jnn.verify.gradient_test(jnp.sin, 1.0, gradient=jnp.sin)
    >>> print(wrong.wrong[0])
    d f(x) / d x is given as 0.8414709848, measured as 0.5403023059 (± ...)
    """
    with float64():
        function = FlatFunction("gradient_test", f, x, args)
        if not hasattr(function.y, "shape") or function.y.shape or function.m != 1:
            got, remedy = errors.describe(function.y), "For others there is jacobian_test."
            errors.fail("gradient_test", "f", "a function with a real scalar value", got, remedy)
        # With one output, u is 1 throughout.
        vjp = None if gradient is None else lambda x, u, *args: gradient(x, *args)
        derivative = Derivative(function.pull(vjp))
        return _run(function, derivative, directions, eps, halvings, elementwise, seed)


def jacobian_test(
    f: Callable[..., Any],
    x: Any,
    *,
    jvp: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    args: tuple[Any, ...] = (),
    directions: Directions = 5,
    eps: float = 0.1,
    halvings: int = 20,
    elementwise: bool | None = None,
    seed: int = 0,
) -> DifferenceReport:
    """Whether the derivative of a function of many outputs is right (Treister's Jacobian test).

    As `gradient_test`, for each output; the two columns are of `u^T f(x)` with a random u for each
    direction. Jacobians of up to 4096 columns and a million entries are checked entry by entry.

    Args:
      f: a function of a pytree whose value is a pytree.
      x: where; its floating leaves move, integers and booleans stay.
      jvp: `jvp(x, v, *args)`, the derivative times a tree like x.
      vjp: `vjp(x, u, *args)`, its transpose times a tree like f's value. Without either it is what
        JAX would use, `jax.vjp`: hand-written VJPs, or hand-written tangents transposed under
        `jnn.derivatives("forward")`.
      args: as the others, see `gradient_test`.
      directions: likewise.
      eps: likewise.
      halvings: likewise.
      elementwise: likewise.
      seed: likewise.

    >>> w = jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    >>> jnn.verify.jacobian_test(jnn.rules.affine, jnp.ones((1, 2)), args=(w,)).verdict
    'right'
    >>> forgot = lambda x, v, w: v @ w[:, ::-1]
    >>> print(jnn.verify.jacobian_test(jnn.rules.affine, jnp.ones(2), args=(w,), jvp=forgot).reason)
    4 of 6 entries are wrong.
    """
    if jvp is not None and vjp is not None:
        errors.fail("jacobian_test", "vjp", "None where `jvp` is given", "both", "Test each alone.")
    with float64():
        function = FlatFunction("jacobian_test", f, x, args)
        pushes = jvp is not None
        derivative = Derivative(function.push(jvp) if pushes else function.pull(vjp), pushes)
        return _run(function, derivative, directions, eps, halvings, elementwise, seed)


def transpose_test(
    f: Callable[..., Any],
    x: Any,
    *,
    jvp: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    args: tuple[Any, ...] = (),
    directions: Directions = 5,
    seed: int = 0,
) -> TransposeReport:
    """Whether `u^T (J v) = v^T (J^T u)`: that a VJP is the transpose of a JVP (Treister §4.3).

    Treister asks for a difference below the machine's epsilon; correct code gives 6e-14 where the
    vectors are long. The difference is to be measured against `|u| |J v|`, and so it is here; what
    it may be, 2e-13, does not depend on the size of x.

    Args:
      f: a function of a pytree whose value is a pytree.
      x: where; its floating leaves move, integers and booleans stay.
      jvp: `jvp(x, v, *args)`. The default is JAX's own under `jnn.autodiff`: independent of the
        hand-written VJP, which transposed would agree with itself by construction.
      vjp: `vjp(x, u, *args)`. The default is what JAX would use, through the hand-written rules.
      args: further arguments of f, held fixed.
      directions: how many random pairs u, v, or a list of trees v like x.
      seed: of the random numbers.

    >>> jnn.verify.transpose_test(jnn.rules.softplus, jnp.array([-1.0, 2.0])).ok
    True
    """
    with float64():
        function = FlatFunction("transpose_test", f, x, args)
        pull, push = function.pull(vjp), function.push(jvp or _jvp(f))
        us, vs = _pairs(function, directions, seed)
        tolerance = 1024 * EPS

        def sides(us: np.ndarray, vs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            pushed, pulled = push(vs), pull(us)
            with np.errstate(invalid="ignore", over="ignore"):
                scale = np.maximum(lengths(us) * lengths(pushed), lengths(vs) * lengths(pulled))
                forward, backward = np.sum(us * pushed, axis=1), np.sum(vs * pulled, axis=1)
                error = np.abs(forward - backward) / np.where(scale == 0, 1, scale)
            return forward, backward, np.where(np.isnan(error), np.inf, error)

        forward, backward, error = sides(us, vs)
        bad = int(np.argmax(error))
        if error[bad] <= tolerance:
            reason = f"The two sides agree to {error[bad]:.1g} of |u| |J v|, relative."
            return TransposeReport("right", reason, (), forward, backward, error, tolerance)
        if not np.all(np.isfinite(function.centre)):
            reason = _not_finite(function)
            return TransposeReport("inconclusive", reason, (), forward, backward, error, tolerance)

        def apart(us: np.ndarray, vs: np.ndarray) -> np.ndarray:
            forward, backward, _ = sides(us, vs)
            return np.abs(forward - backward)

        u, v = locate(apart, us[bad], vs[bad])
        (by_jvp,), (by_vjp,), _ = sides(u, v)
        blamed = unit_entry(function, u, v, by_vjp, by_jvp, tolerance * abs(by_jvp))
        reason = (
            f"The two sides differ by {error[bad]:.1g} of |u| |J v|, relative. In the entry below "
            "J^T u is taken as given, J v as measured."
        )
        return TransposeReport("wrong", reason, (blamed,), forward, backward, error, tolerance)


def _jvp(f: Callable[..., Any]) -> Callable[..., Any]:
    """JAX's own JVP in x, from the definitions of the rules."""
    definition = autodiff(f)

    def jvp(x: Any, v: Any, *args: Any) -> Any:
        try:
            return jax.jvp(lambda x: definition(x, *args), (x,), (v,))[1]
        except TypeError as error:
            if "forward-mode" in str(error):
                error.add_note(
                    "transpose_test: f has a custom_vjp that is not a rule of jnn. Give the JVP of "
                    "its definition as `jvp`, or use jacobian_test."
                )
            raise

    return jvp


def _run(
    function: FlatFunction,
    derivative: Derivative,
    directions: Directions,
    eps: float,
    halvings: int,
    elementwise: bool | None,
    seed: int,
) -> DifferenceReport:
    errors.number(function.test, "eps", eps, low=EPS)
    errors.positive_integer(function.test, "halvings", halvings)
    steps = eps * 0.5 ** np.arange(halvings + 1)
    us, ds = _pairs(function, directions, seed)

    def report(finding: Finding, first: Any, corrected: Any, floor: Any) -> DifferenceReport:
        first_orders, corrected_orders = (
            np.array([_order(steps, row, least) for row, least in zip(rows, floor, strict=True)])
            for rows in (first, corrected)
        )
        return DifferenceReport(function.test, *finding, steps, first, corrected,
                                first_orders, corrected_orders, floor)  # fmt: skip

    nothing = np.zeros((0, len(steps))), np.zeros((0, len(steps))), np.zeros(0)
    if not function.n * function.m:
        return report(Finding("right", "There is no entry to check."), *nothing)
    if not np.all(np.isfinite(function.centre)):
        return report(Finding("inconclusive", _not_finite(function)), *nothing)

    points = function.x + steps[:, None, None] * ds
    values = function.rows(points.reshape(-1, function.n)).reshape(*points.shape[:2], -1)
    given, _ = derivative.form(us, ds)
    with np.errstate(invalid="ignore", over="ignore"):
        moved = np.sum((values - function.centre) * us, axis=-1).T
        first, corrected = np.abs(moved), np.abs(moved - np.multiply.outer(given, steps))

    # Directions of the user's choice may leave entries out; what decides must not.
    signs = (us, ds) if isinstance(directions, int) else _pairs(function, 5, seed)
    series = function.rows(function.x + NOISE_STEPS[:, None] * signs[1][0])
    noise = round_off(series, function.eps)
    sums = Sums(function, derivative, *signs, noise)
    if elementwise is None:
        elementwise = function.n <= MOST_INPUTS and function.n * function.m <= MOST_ENTRIES
    finding = check_entries(function, derivative, noise) if elementwise else sums.check()
    if elementwise and finding.verdict == "right" and (sums.wrong | sums.slopes.kink).any():
        reason = f"{finding.reason} Yet along random directions they do not add up: f has partial "
        finding = Finding("inconclusive", f"{reason}derivatives at x, but no derivative.")
    return report(finding, first, corrected, 20 * lengths(us * noise))


def _pairs(
    function: FlatFunction, directions: Directions, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors u and d of random signs and of sizes between 1 and 2; or d as the user has it."""
    random = np.random.default_rng(seed)

    def draw(count: int, size: int) -> np.ndarray:
        return random.choice([-1.0, 1.0], (count, size)) * random.uniform(1, 2, (count, size))

    if isinstance(directions, Sequence):
        vectors = [function.inputs.ravel(d, function.test, "directions") for d in directions]
        ds = np.array(vectors).reshape(-1, function.n)
    else:
        errors.positive_integer(function.test, "directions", directions)
        ds = draw(directions, function.n)
    us = draw(len(ds), function.m) if function.m > 1 else np.ones((len(ds), function.m))
    return us, ds


def _order(steps: np.ndarray, column: np.ndarray, floor: float) -> float:
    """The fitted power of eps, over at most eight steps before round-off is reached."""
    over = np.isfinite(column) & (column > floor)
    start = int(np.argmax(over))
    end = start + int(np.argmin(np.append(over[start:], False)))
    used = slice(max(start, end - 8), end)
    if end - start < 3:
        return np.nan
    return float(np.polyfit(np.log(steps[used]), np.log(column[used]), 1)[0])


def _not_finite(function: FlatFunction) -> str:
    place = int(np.flatnonzero(~np.isfinite(function.centre))[0])
    return f"{function.outputs.entry(place)} is {function.centre[place]}: f must be finite at x."
