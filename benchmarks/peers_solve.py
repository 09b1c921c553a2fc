"""Solvers of others, called as `run(f, x, index)`."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

STEPS = 1500


def minimisers() -> dict[str, Callable]:
    """SciPy's gradient methods, with tolerances that nothing meets."""
    return {f"SciPy {method}": scipy(method) for method in ("L-BFGS-B", "CG", "BFGS")}


def scipy(method: str) -> Callable:
    """One of SciPy's gradient methods."""
    import scipy.optimize

    settings = {"maxiter": STEPS, "gtol": 0.0}
    settings |= {"ftol": 0.0, "maxfun": 15000} if method == "L-BFGS-B" else {}
    compiled: dict[Any, Callable] = {}

    def run(f: Callable, x: jax.Array, index: jax.Array) -> Any:
        both = compiled.setdefault(f, jax.jit(jax.value_and_grad(f)))

        def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = both(jnp.asarray(x), index)
            return float(value), np.asarray(slope)

        start = np.asarray(x)
        return scipy_minimize(fun, start, jac=True, method=method, options=settings).x

    scipy_minimize = scipy.optimize.minimize
    return run


def lbfgs() -> dict[str, Callable]:
    """The quasi-Newton methods of optax, jaxopt and optimistix, if they are installed."""
    found: dict[str, Callable] = {}
    for name, make in {"optax": optax, "jaxopt": jaxopt, "optimistix": optimistix}.items():
        try:
            found[name] = make()
        except ImportError:
            continue
    return found


def optax() -> Callable:
    """L-BFGS with optax's zoom search."""
    import optax as theirs  # pyright: ignore[reportMissingImports]

    solver = theirs.lbfgs()

    def loop(f: Callable, x: jax.Array, index: jax.Array) -> jax.Array:
        def value(x: jax.Array) -> jax.Array:
            return f(x, index)

        both = theirs.value_and_grad_from_state(value)

        def turn(carry: Any) -> Any:
            x, state, _, i = carry
            v, g = both(x, state=state)
            g = jnp.asarray(g)
            updates, state = solver.update(g, state, x, value=v, grad=g, value_fn=value)
            return theirs.apply_updates(x, updates), state, jnp.max(jnp.abs(g)), i + 1

        start = (x, solver.init(x), jnp.asarray(jnp.inf, x.dtype), 0)
        limit = jnp.finfo(x.dtype).eps ** 0.5 if x.dtype == jnp.float32 else 0.0
        go = lambda c: (c[2] > limit) & (c[3] < 300)  # noqa: E731
        return jax.lax.while_loop(go, turn, start)[0]

    return loop


def jaxopt() -> Callable:
    """Jaxopt's L-BFGS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jaxopt as theirs  # pyright: ignore[reportMissingImports]

    def run(f: Callable, x: jax.Array, index: jax.Array) -> Any:
        tol = float(jnp.finfo(x.dtype).eps) ** 0.5 if x.dtype == jnp.float32 else 0.0
        return theirs.LBFGS(f, maxiter=300, tol=tol).run(x, index).params

    return run


def optimistix() -> Callable:
    """Optimistix's BFGS, which has no limited memory."""
    import optimistix as theirs  # pyright: ignore[reportMissingImports]

    def run(f: Callable, x: jax.Array, index: jax.Array) -> Any:
        tol = float(jnp.finfo(x.dtype).eps) ** 0.5 if x.dtype == jnp.float32 else 1e-14
        solver = theirs.BFGS(rtol=tol, atol=tol)
        return theirs.minimise(f, solver, x, args=index, max_steps=300, throw=False).value

    return run
