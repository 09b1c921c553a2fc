"""A scatter as a loop over its rows gives the same numbers, whatever it writes and wherever."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import core, lax

import jnn
from jnn.xla.kernel import wish
from jnn.xla.programs import equations
from jnn.xla.rows import row_by_row
from tests.xla.test_kernel import MARK, cube, text, twice

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(jax.default_backend() != "cpu", reason="for XLA's CPU"),
]
KINDS = ("set", "add", "subtract", "multiply", "min", "max")
PLACES = {
    "rows": np.s_[jnp.array([3, 0])],
    "one row": np.s_[jnp.array([1])],
    "the same row again": np.s_[jnp.array([2, 0, 2, 2])],
    "a table of rows": np.s_[jnp.array([[0, 1], [1, 3]])],
    "columns": np.s_[:, jnp.array([1, 4, 1])],
    "numbers": np.s_[jnp.array([0, 3, 0]), jnp.array([1, 1, 1])],
    "rows of others": np.s_[1:3, None, jnp.array([0, 2], jnp.uint8)],
    "places outside": np.s_[jnp.array([-9, 1, 4, 0, -1])],
    "numbers outside": np.s_[jnp.array([1, 1, 9]), jnp.array([-9, 3, 0])],
}


def rewritten(f, *args):
    """The function with loops, which must have replaced all scatters."""
    program, shape = jax.make_jaxpr(f, return_shape=True)(*args)
    assert "scatter" in str(program)
    changed = row_by_row(program.jaxpr)
    assert not [e for e in equations(changed) if e.primitive.name.startswith("scatter")]
    run = partial(core.eval_jaxpr, changed, program.consts)
    return lambda *args: jax.tree.unflatten(jax.tree.structure(shape), run(*args))


def check(f, *args):
    chex.assert_trees_all_equal(jax.jit(rewritten(f, *args))(*args), jax.jit(f)(*args))


@pytest.mark.parametrize(
    ("mode", "dtype"), [("drop", jnp.float32), ("drop", jnp.int32), ("clip", jnp.float64)]
)
def test_each_kind_of_scatter(mode, dtype):
    def f(x):
        out = {}
        for place, index in PLACES.items():
            new = jnp.flip(x[index])  # Another number in each place.
            for kind in KINDS:
                out[place, kind] = getattr(x.at[index], kind)(new, mode=mode)
        return out

    with jax.enable_x64(dtype == jnp.float64):
        check(f, jnp.asarray(np.random.default_rng(0).uniform(-9, 9, (4, 5)), dtype))


@pytest.mark.parametrize("mode", ["fill", "clip"])
def test_windows_that_reach_outside(mode):
    numbers = lax.ScatterDimensionNumbers((0, 2), (), (1, 0))  # The updates' middle: the rows.
    places = jnp.array([[0, 0], [1, 2], [4, 1], [-1, 0], [3, 2], [1, 3]])
    news = jnp.arange(36.0).reshape(2, 6, 3)
    f = lambda x: lax.scatter_add(x, places, news, numbers, mode=mode)  # noqa: E731
    check(f, jnp.ones((4, 5)))


def test_no_rows_at_all():
    numbers = lax.ScatterDimensionNumbers((), (0,), (0,))
    f = lambda x, i, new: lax.scatter(x, i, new, numbers)  # noqa: E731
    check(f, jnp.ones(3), jnp.zeros((0, 1), jnp.int32), jnp.zeros(0))


def test_scatters_in_what_a_program_calls():
    places = jnp.array([0, 2, 0])
    change = lambda x: x.at[places].add(x[1:])  # noqa: E731
    straight, curved = jax.custom_vjp(change), jax.custom_jvp(change)
    straight.defvjp(lambda x: (change(x), None), lambda _, g: (g,))
    curved.defjvp(lambda x, dx: (change(*x), change(*dx)))

    def f(x):
        x = lax.while_loop(lambda x: jnp.sum(change(x)) < 50, change, x)
        x, rows = lax.scan(lambda x, _: (change(x), x.at[places].set(x[1:])), x, None, length=3)
        x = lax.cond(x[0] > 3, change, jnp.sin, jax.jit(change)(x))
        return straight(cube(x)), curved(twice(x)), rows, lax.map(change, rows)

    check(f, jnp.arange(4.0))


def test_what_stays():
    def program(f):
        return jax.make_jaxpr(f)(jnp.ones((3, 4))).jaxpr

    i = jnp.array([0, 2])
    for f in [
        lambda x: lax.scan(lambda x, _: (jnp.sin(x), x[i]), x, None, length=3),
        lambda x: x.at[i].apply(jnp.sin),
        jax.vmap(lambda x: x.at[x[:2].astype(int)].add(1.0)),
    ]:
        plain = program(f)
        assert row_by_row(plain) is plain


def test_a_small_solve_of_a_function_that_indexes_is_one_kernel():
    near, far = jnp.arange(9), jnp.arange(1, 10)

    def f(x):
        return jnp.sum((x[near] - 1) ** 2) + jnp.sum((x[far] - x[near] ** 2) ** 2)

    solve = partial(jnn.minimize, f, solver=jnn.lbfgs(), max_steps=30)
    starts = jnp.stack([jnp.zeros(10), jnp.full(10, 0.5)])
    assert f'{MARK} = "true"' in text(solve, starts[0])
    lanes = text(jax.vmap(solve), starts)
    assert f'{MARK} = "true"' not in lanes
    assert "stablehlo.scatter" in lanes
    one = solve(starts[0])
    with wish("0"):
        many = solve(starts[0])
    assert one.evaluations == many.evaluations
    np.testing.assert_allclose(one.params, many.params, rtol=1e-5)
