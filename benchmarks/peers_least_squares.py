"""Least-squares solvers of others: `make(residual, tolerance)` returns `go(x0) -> Fit`.

A tolerance is relative, for parameters, value and gradient alike; 0 asks for as much as a solver
can give.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

STEPS = 500
Residual = Callable[[jax.Array], jax.Array]


class Fit(NamedTuple):
    """The parameters found, and how often residuals were asked for on the way."""

    params: Any
    evaluations: Any


Make = Callable[[Residual, float], Callable[[np.ndarray], Fit]]


def for_jax() -> dict[str, Make]:
    """Those of optimistix and jaxopt, if they are installed."""
    found: dict[str, Make] = {}
    for make in (optimistix, jaxopt):
        try:
            found |= make()
        except ImportError:
            continue
    return found


def scipy() -> dict[str, Make]:
    """MINPACK's Levenberg-Marquardt and the trust-region reflective method, with Jacobians."""
    import scipy.optimize

    def maker(method: str) -> Make:
        def make(residual: Residual, tolerance: float) -> Callable[[np.ndarray], Fit]:
            value, jacobian = jax.jit(residual), jax.jit(jax.jacfwd(residual))
            tol = max(tolerance, 3e-16)  # Below epsilon both complain.
            settings = {"method": method, "ftol": tol, "xtol": tol, "gtol": tol, "max_nfev": STEPS}

            def go(x0: np.ndarray) -> Fit:
                found = scipy.optimize.least_squares(
                    lambda x: np.asarray(value(x)), x0,
                    lambda x: np.asarray(jacobian(x)),  # pyright: ignore[reportArgumentType]
                    x_scale="jac", **settings,
                )  # fmt: skip
                return Fit(found.x, found.nfev)

            return go

        return make

    return {f"SciPy {method}": maker(method) for method in ("lm", "trf")}


def optimistix() -> dict[str, Make]:
    """Optimistix's Levenberg-Marquardt and dogleg: each step evaluates the residuals once."""
    import optimistix as theirs  # pyright: ignore[reportMissingImports]

    def maker(method: Callable) -> Make:
        def make(residual: Residual, tolerance: float) -> Callable[[np.ndarray], Fit]:
            @jax.jit
            def go(x0: jax.Array) -> Fit:
                tol = max(tolerance, float(jnp.finfo(x0.dtype).eps))
                found = theirs.least_squares(
                    lambda x, _: residual(x), method(rtol=tol, atol=tol), x0, max_steps=STEPS,
                    throw=False,
                )  # fmt: skip
                return Fit(found.value, found.stats["num_steps"])

            return go

        return make

    return {
        "optimistix LM": maker(theirs.LevenbergMarquardt),
        "optimistix Dogleg": maker(theirs.Dogleg),
    }


def jaxopt() -> dict[str, Make]:
    """Jaxopt's Levenberg-Marquardt, with the Jacobian kept and its QR, which does it most good."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jaxopt as theirs  # pyright: ignore[reportMissingImports]

    def make(residual: Residual, tolerance: float) -> Callable[[np.ndarray], Fit]:
        def go(x0: jax.Array) -> Fit:
            tol = max(tolerance, float(jnp.finfo(x0.dtype).eps))
            solver = theirs.LevenbergMarquardt(
                residual, maxiter=STEPS, stop_criterion="madsen-nielsen", xtol=tol, gtol=tol,
                solver="qr", materialize_jac=True, implicit_diff=False,
            )  # fmt: skip
            params, state = solver.run(x0)
            return Fit(params, state.iter_num + 1)

        return jax.jit(go)

    return {"jaxopt LM": make}
