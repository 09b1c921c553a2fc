"""Small solves are one kernel on a CPU: of all operations that it may hold, and of no others."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jnn
from jnn.xla.kernel import JAXLIB, OPERATIONS, TRIED, one_kernel, simple, wanted, wish
from jnn.xla.programs import equations

MARK = "xla_cpu_small_call"
pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(jax.default_backend() != "cpu", reason="a matter of XLA's CPU"),
]


@jax.custom_jvp
def cube(x):
    return x**3


cube.defjvps(lambda g, y, x: 3 * x**2 * g)


@jax.custom_vjp
def twice(x):
    return 2 * x


twice.defvjp(lambda x: (twice(x), None), lambda _, g: (2 * g,))


def everything(x):
    """A matrix with entries between 0 and 1 through each operation."""
    v, flags, k = x[0], x > 0.5, (10 * x).astype(jnp.int32)
    whole = [
        jnp.abs(x), lax.acos(x), lax.acosh(1 + x), lax.asin(x), lax.asinh(x), lax.atan(x),
        lax.atan2(x, v[None]), lax.atanh(x), lax.cbrt(x), lax.ceil(x), lax.clamp(0.2, x, 0.6),
        lax.cos(x), lax.cosh(x), lax.cumlogsumexp(x), lax.cummax(x), lax.cummin(x),
        lax.cumprod(x), lax.cumsum(x), lax.digamma(x), x / (1 + x), lax.erf(x), lax.erf_inv(x),
        lax.erfc(x), lax.exp(x), lax.exp2(x), lax.expm1(x), lax.floor(x), lax.lgamma(x), lax.log(x),
        lax.log1p(x), lax.logistic(x), lax.max(x, 0.5), lax.min(x, 0.5), -x, x**v[None],
        lax.rem(x, 0.3), lax.round(x), lax.rsqrt(x), lax.sign(x - 0.5), lax.sin(x), lax.sinh(x),
        lax.sqrt(x), lax.square(x), lax.tan(x), lax.tanh(x), x[::-1], lax.stop_gradient(x),
        lax.optimization_barrier(x), jnp.array(x, copy=True), cube(x), twice(x), lax.is_finite(x),
        jnp.tile(v, (3, 1)), jnp.stack([v, v, v]), jnp.pad(x[1:], ((0, 1), (0, 0))),
        lax.cond(x[0, 0] > 0.5, jnp.sin, jnp.cos, x), lax.scan(lambda c, r: (c + r, c), v, x)[1],
        lax.while_loop(lambda x: jnp.sum(x) < 50, lambda x: 2 * x, x), x[jnp.array([2, 0, 1])],
        lax.dynamic_update_slice(x, v[None], (k[0, 0], 0)), jax.grad(lambda x: x.sum() ** 3)(x),
        jax.grad(lambda x: jnp.sum(x[1:] * x[:-1]))(x), jnp.concatenate([x[1:], x[:1]]),
        jax.grad(lambda x: lax.cond(x[0, 0] > 0.5, jnp.sum, lambda x: jnp.sum(jnp.sin(x)), x))(x),
    ]  # fmt: skip
    part = [
        x @ v, v @ x.T, jnp.vdot(v, v), lax.argmax(x, 1, jnp.int32), lax.argmin(x, 0, jnp.int32),
        (k & 3) | (k ^ 5), ~flags, jnp.any(flags, 0), jnp.all(flags, 1), jnp.prod(x), x.max(),
        x.min(0), lax.dynamic_slice(x, (k[0, 0], 0), (1, 2)), jnp.split(x, 3)[1], lax.iota(int, 4),
        x == 0.5, x >= 0.5, x <= 0.5, x < 0.5, x != 0.5, x.T.reshape(6, 2),
        jnp.unstack(x)[1],
    ]  # fmt: skip
    return [jnp.where(flags, y.astype(x.dtype), x) for y in whole], part


def check_each_operation():
    x = jnp.linspace(0.1, 0.9, 12).reshape(3, 4)

    def loop(x):
        blank = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(everything, x))
        return lax.fori_loop(0, 3, lambda i, _: everything(x + 1e-3 * i), blank)

    program = jax.make_jaxpr(loop)(x)
    names = {e.primitive.name for e in equations(program)}
    assert OPERATIONS - {"empty2"} <= names <= OPERATIONS  # Which JAX has since 0.10.2.
    assert simple(program)
    chex.assert_trees_all_close(jax.jit(partial(one_kernel, loop))(x), jax.jit(loop)(x), rtol=1e-5)


def test_one_kernel_holds_each_operation():
    check_each_operation()


def alone(*checks, env):
    """Runs the checks of this module in a process of their own, which XLA may end."""
    calls = "; ".join(f"{check.__name__}()" for check in checks)
    names = ", ".join(check.__name__ for check in checks)
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import {names}; {calls}"],
        env=env, cwd=Path(__file__).parents[2], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_it_does_with_the_settings_of_users_as_well():
    theirs = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_FLAGS", "JAX_"))}
    alone(check_each_operation, check_constants, check_solvers, env=theirs)


def test_a_constant_operand_is_one_no_more():
    alone(check_constants, env=os.environ)


def check_constants():
    """XLA ends the process where such a kernel has an operand that is a constant of 8 kB."""
    large = np.linspace(0, 1, 20_000, dtype=np.float32)

    def far(x, d):
        return jnp.sum((x - d[:3]) ** 2)

    found = jax.jit(lambda x: jnn.minimize(far, x, args=(large,)).params)(jnp.ones(3))
    np.testing.assert_allclose(found, large[:3], atol=1e-3)
    for f in USELESS.values():
        run = partial(one_kernel, lambda x, d, f=f: f(x, d[:5]))
        one = jax.jit(lambda x, run=run: run(x, large))
        x = jnp.arange(-2.0, 3.0)
        assert f'{MARK} = "true"' in text(one, x)
        chex.assert_trees_all_close(one(x), f(x, large[:5]))


SOLVERS = {
    "lbfgs": jnn.lbfgs(), "bfgs": jnn.bfgs(), "nonlinear_cg": jnn.nonlinear_cg(),
    "steepest_descent": jnn.steepest_descent(), "powell": jnn.powell(),
    "newton_cg": jnn.newton_cg(),
}  # fmt: skip
MANY = {"newton_cg"}  # An eigendecomposition is not part of a kernel.


def check_solvers():
    """Each method in one kernel, and as ever."""
    for name, solver in SOLVERS.items():
        solve = partial(jnn.minimize, bowl, solver=solver, max_steps=40)
        assert (f'{MARK} = "true"' in text(solve, jnp.ones(3))) == (name not in MANY), name
        one = solve(jnp.ones(3))
        with wish("0"):
            many = solve(jnp.ones(3))
        assert one.status == many.status, name
        np.testing.assert_allclose(one.params, many.params, rtol=1e-4, err_msg=name)


def test_a_jaxlib_that_was_not_tried_is_not_asked(monkeypatch):
    monkeypatch.setattr("jax.device_count", lambda: 1)
    with wish(""):
        monkeypatch.setattr("jnn.xla.kernel.JAXLIB", TRIED[0])
        assert wanted()
        monkeypatch.setattr("jnn.xla.kernel.JAXLIB", "0.0.0")
        assert not wanted()
        assert f'{MARK} = "true"' not in text(partial(jnn.minimize, bowl), jnp.ones(3))
    with wish("1"):
        assert wanted()
    with wish("0"):
        assert not wanted()


def test_the_installed_one_was_tried():
    if JAXLIB not in TRIED:  # The world's release is no fault of ours.
        pytest.skip("the tests of this folder ask this jaxlib for one kernel: add it if they pass")


def bowl(x):
    return jnp.sum((x - jnp.arange(1.0, 4.0)) ** 2) + jnp.sum(x**4)


def text(f, *args):
    return jax.jit(f).lower(*args).as_text()


K = jnp.zeros((3, 1), jnp.int32)
TALL = jnp.linspace(0.0, 1.0, 4096)
REFUSED = {
    "a product of matrices": lambda x: bowl(x) + jnp.sum(jnp.outer(x, x) @ jnp.outer(x, x)),
    "a sort": lambda x: bowl(x) + jnp.sort(x)[0],
    "scattering in a batch": lambda x: bowl(jax.vmap(lambda y, i: y[i])(x[:, None], K)[:, 0]),
    "a decomposition": lambda x: bowl(x) + jnp.linalg.cholesky(jnp.eye(3) + jnp.outer(x, x))[0, 0],
    "a long sum": lambda x: bowl(x) + jnp.sum(jnp.sin(TALL * x[:1])),
    "a long product": lambda x: bowl(x) + jnp.vdot(jnp.sin(TALL * x[:1]), TALL),
    "a long maximum": lambda x: bowl(x) + jnp.max(TALL * x[:1]),
    "a large array": lambda x: bowl(x) + jnp.cos(jnp.ones(2**18 + 1))[0],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_kernel_cannot_hold_is_run_as_ever(name):
    f = REFUSED[name]
    solve = partial(jnn.minimize, f, solver=jnn.lbfgs(), max_steps=5)
    assert f'{MARK} = "true"' not in text(solve, jnp.ones(3))
    assert solve(jnp.ones(3)).value < f(jnp.ones(3))


def test_the_longest_sums_are_part_of_one_kernel():
    x = jnp.linspace(0.0, 1.0, 4095)

    def loop(x):
        return lax.fori_loop(0, 3, lambda i, y: jnp.sum(x * y) + x @ x + jnp.max(x - y), x[0])

    assert f'{MARK} = "true"' in text(partial(one_kernel, loop), x)
    np.testing.assert_allclose(jax.jit(partial(one_kernel, loop))(x), loop(x), rtol=1e-5)


@pytest.mark.parametrize("solver", [jnn.lbfgs(), jnn.bfgs(), jnn.nonlinear_cg()])
def test_a_small_solve_is_one_kernel(solver):
    solve = partial(jnn.minimize, bowl, solver=solver, tol=1e-4)
    assert f'{MARK} = "true"' in text(solve, jnp.ones(3))
    one = solve(jnp.ones(3))
    starts = jnp.stack([jnp.ones(3), -jnp.ones(3)])
    lanes = jax.vmap(solve)
    assert f'{MARK} = "true"' not in text(lanes, starts)
    np.testing.assert_allclose(lanes(starts).params[0], one.params, rtol=1e-3)
    with wish("0"):
        assert f'{MARK} = "true"' not in text(solve, jnp.ones(3))
        np.testing.assert_allclose(solve(jnp.ones(3)).params, one.params, rtol=1e-3)


# What XLA simplifies away leaves arguments without a use.
USELESS = {
    "a constant choice": lambda x, d: jnp.where(jnp.zeros(5, bool), d, x + 1),
    "a part of a whole": lambda x, d: jnp.concatenate([d, x])[5:] + d[:0].sum(),
    "no factor": lambda x, d: x + d**0,
    "branches without it": lambda x, d: x + lax.cond(x[0] > 0, lambda _: 1.0, lambda _: 2.0, d),
    "an inner call": lambda x, d: jax.jit(lambda x, d: x + 1)(x, d),
    "itself alone": lambda x, d: (d, jnp.zeros(3)),
    "the same twice": lambda x, d: lax.fori_loop(0, 3, lambda i, c: (c[1], 2 * c[0]), (x, x)),
}


@pytest.mark.parametrize("name", USELESS)
def test_an_argument_without_use(name):
    f, x, d = USELESS[name], jnp.arange(-2.0, 3.0), jnp.arange(5.0)
    one = jax.jit(partial(one_kernel, f))
    assert f'{MARK} = "true"' in text(one, x, d)
    chex.assert_trees_all_close(one(x, d), f(x, d))


def test_without_compiling():
    with jax.disable_jit():
        found = jnn.minimize(bowl, jnp.ones(3), jnn.bfgs(), max_steps=3)
    assert found.value < bowl(jnp.ones(3))


def test_a_long_program_is_not_one_kernel():
    def chain(turns):
        return jax.make_jaxpr(lambda x: [x := jnp.sin(x) for _ in range(turns)])(1.0)

    assert simple(chain(10))
    assert not simple(chain(6000))


def test_one_kernel_under_the_transformations():
    def root(a):
        return one_kernel(lambda x: lax.fori_loop(0, 20, lambda _, x: (x + a / x) / 2, x), 1.0)

    a = jnp.array([2.0, 9.0])
    np.testing.assert_allclose(jax.vmap(root)(a), a**0.5, rtol=1e-6)
    slope = jax.jvp(root, (a[1],), (jnp.ones(()),))[1]
    np.testing.assert_allclose(slope, 1 / 6, rtol=1e-6)
