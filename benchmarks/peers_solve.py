"""Solvers of others for a value with its gradient: `make(f, steps)` returns `go(x, args) -> x`.

`f(x, args)` is the function. None stops before a gradient of zero, or, where it looks at the change
of value and parameters instead (optimistix), before that vanishes; `steps` are the most.
"""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Go = Callable[[jax.Array, Any], Any]
Make = Callable[[Callable, int], Go]


def all_peers() -> dict[str, Make]:
    """Every solver of the libraries that are installed."""
    return scipy_solvers() | of_jax()


def of_jax() -> dict[str, Make]:
    """Those of optax, optimistix and jaxopt, if they are installed."""
    found: dict[str, Make] = {}
    for make in (optax, optimistix, jaxopt):
        try:
            found |= make()
        except ImportError:
            continue
    return found


def scipy_solvers() -> dict[str, Make]:
    """SciPy's gradient methods and its Newton-Krylov trust region."""
    methods = ("L-BFGS-B", "CG", "BFGS", "trust-krylov")
    return {f"SciPy {method}": scipy(method) for method in methods}


def scipy(method: str) -> Make:
    """One of SciPy's methods, which calls compiled values, gradients and products."""
    import scipy.optimize

    def make(f: Callable, steps: int) -> Go:
        # The trust region asks for a gradient below its tolerance, the others for none above it.
        settings = {"maxiter": steps, "gtol": 1e-300 if method == "trust-krylov" else 0.0}
        settings |= {"ftol": 0.0, "maxfun": 15000} if method == "L-BFGS-B" else {}
        both = jax.jit(jax.value_and_grad(f))
        slope = jax.grad(f)
        product = jax.jit(lambda x, v, args: jax.jvp(lambda x: slope(x, args), (x,), (v,))[1])

        def go(x: jax.Array, args: Any) -> np.ndarray:
            def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
                value, gradient = both(x, args)
                return float(value), np.asarray(gradient)

            second = {"hessp": lambda x, v: np.asarray(product(x, v, args))}
            more = second if method == "trust-krylov" else {}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return scipy.optimize.minimize(
                    fun, np.asarray(x), jac=True, method=method, options=settings, **more
                ).x

        return go

    return make


def optax() -> dict[str, Make]:
    """L-BFGS with optax's zoom search."""
    import optax as theirs  # pyright: ignore[reportMissingImports]

    solver = theirs.lbfgs()

    def make(f: Callable, steps: int) -> Go:
        def go(x: jax.Array, args: Any) -> jax.Array:
            def value(x: jax.Array) -> jax.Array:
                return f(x, args)

            both = theirs.value_and_grad_from_state(value)

            def turn(carry: Any) -> Any:
                x, state, _, i = carry
                v, g = both(x, state=state)
                g = jnp.asarray(g)
                updates, state = solver.update(g, state, x, value=v, grad=g, value_fn=value)
                return theirs.apply_updates(x, updates), state, jnp.max(jnp.abs(g)), i + 1

            start = (x, solver.init(x), jnp.asarray(jnp.inf, x.dtype), 0)
            limit = least(x.dtype)
            return jax.lax.while_loop(lambda c: (c[2] > limit) & (c[3] < steps), turn, start)[0]

        return jax.jit(go)

    return {"optax L-BFGS": make}


def jaxopt() -> dict[str, Make]:
    """Jaxopt's L-BFGS and conjugate gradients."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jaxopt as theirs  # pyright: ignore[reportMissingImports]

    def maker(method: Callable) -> Make:
        def make(f: Callable, steps: int) -> Go:
            def go(x: jax.Array, args: Any) -> Any:
                solver = method(f, maxiter=steps, tol=least(x.dtype), implicit_diff=False)
                return solver.run(x, args).params

            return jax.jit(go)

        return make

    return {
        "jaxopt L-BFGS": maker(theirs.LBFGS),
        "jaxopt NonlinearCG": maker(theirs.NonlinearCG),
    }


def optimistix() -> dict[str, Make]:
    """Optimistix's L-BFGS, BFGS and conjugate gradients."""
    import optimistix as theirs  # pyright: ignore[reportMissingImports]

    def maker(method: Callable) -> Make:
        def make(f: Callable, steps: int) -> Go:
            def go(x: jax.Array, args: Any) -> Any:
                tol = max(least(x.dtype), 1e-14)
                solver = method(rtol=tol, atol=tol)
                return theirs.minimise(f, solver, x, args=args, max_steps=steps, throw=False).value

            return jax.jit(go)

        return make

    return {
        "optimistix L-BFGS": maker(theirs.LBFGS),
        "optimistix BFGS": maker(theirs.BFGS),
        "optimistix NonlinearCG": maker(theirs.NonlinearCG),
    }


def least(dtype: Any) -> float:
    """The gradient to stop at: none, but in float32 what noise allows."""
    return float(jnp.finfo(dtype).eps) ** 0.5 if dtype == jnp.float32 else 0.0
