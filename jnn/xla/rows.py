"""Scattering as a loop over rows.

XLA's CPU backend cannot make one kernel of a program that scatters, as the gradient of `x[indices]`
does. A loop that reads a window of the array, changes it and writes it back can be part of one.
"""

from collections.abc import Callable
from functools import cache, partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# What a window becomes, by the name of the scatter.
CHANGES: dict[str, Callable] = {
    "scatter": lambda old, new: new,
    "scatter-add": lax.add,
    "scatter-sub": lax.sub,
    "scatter-mul": lax.mul,
    "scatter-min": lax.min,
    "scatter-max": lax.max,
}


def row_by_row(program: Any) -> Any:
    """The program with a loop for each scatter, also in what it calls.

    The rows are written in their order, so that the results are those of the scatter, also where
    indices repeat. Batched scatters and `x.at[i].apply` stay, and so does, as the same object, what
    has no scatter inside.

    >>> from jnn.xla.rows import row_by_row
    >>> program = jax.make_jaxpr(jax.grad(lambda x: jnp.sum(x[jnp.array([2, 2, 0])])))(jnp.ones(3))
    >>> changed = row_by_row(program.jaxpr)
    >>> [old.primitive.name for old in program.eqns if old not in changed.eqns]
    ['scatter-add']
    >>> jax.core.eval_jaxpr(changed, program.consts, jnp.ones(3))
    [Array([1., 0., 2.], dtype=float32)]
    """

    @cache  # What is called twice stays one function.
    def within(value: Any) -> Any:
        if (old := getattr(value, "jaxpr", value)) is not value:  # Of newer jax it is.
            new = within(old)
            return value if new is old else value.replace(jaxpr=new)
        equations = [changed(e) for e in value.eqns]
        return value if same(equations, value.eqns) else value.replace(eqns=equations)

    def changed(equation: Any) -> Any:
        if can_loop(equation):
            return loop(equation)
        params = {name: each(value) for name, value in equation.params.items()}
        if same(params.values(), equation.params.values()):
            return equation
        return equation.replace(params=params)

    def each(value: Any) -> Any:
        if hasattr(value, "eqns"):  # A program.
            return within(value)
        if type(value) is tuple:
            parts = tuple(map(each, value))
            return value if same(parts, value) else parts
        return value

    return within(program)


def same(new: Any, old: Any) -> bool:
    """Whether all are the same objects."""
    return all(a is b for a, b in zip(new, old, strict=True))


def can_loop(equation: Any) -> bool:
    """Whether an operation is a scatter that the loop below can do."""
    name, params = equation.primitive.name, equation.params
    if name not in CHANGES or params["dimension_numbers"].operand_batching_dims:
        return False
    return name != "scatter" or params["update_jaxpr"] is None


def loop(equation: Any) -> Any:
    """A call of a function that does what the scatter does."""
    mode, numbers = equation.params["mode"], equation.params["dimension_numbers"]
    clip = mode == lax.GatherScatterMode.CLIP
    f = jax.jit(partial(scatter, CHANGES[equation.primitive.name], numbers, clip))
    avals: list[Any] = [v.aval for v in equation.invars]
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals]
    (call,) = jax.make_jaxpr(f)(*shapes).eqns
    return equation.replace(primitive=call.primitive, params=call.params)


def scatter(
    change: Callable,
    numbers: lax.ScatterDimensionNumbers,
    clip: bool,
    x: jax.Array,
    indices: jax.Array,
    updates: jax.Array,
) -> jax.Array:
    """One row of indices and its part of the updates after the other.

    A window that is not wholly inside the array is moved there by `clip`, else not written.
    """
    window, count = numbers.update_window_dims, prod(indices.shape[:-1])
    lengths = iter([updates.shape[d] for d in window])
    sizes = [1 if d in numbers.inserted_window_dims else next(lengths) for d in range(x.ndim)]
    others = [d for d in range(updates.ndim) if d not in window]
    news = updates.transpose(*others, *window).reshape(count, *sizes)
    indices = indices.reshape(count, indices.shape[-1])
    dims, most = numbers.scatter_dims_to_operand_dims, jnp.iinfo(indices.dtype).max
    room = [min(x.shape[d] - sizes[d], most) for d in dims]
    nearest = jnp.clip(indices, 0, jnp.array(room, indices.dtype)[None])
    inside = jnp.all(indices == nearest, 1) | clip

    def turn(x: jax.Array, row: tuple) -> tuple[jax.Array, None]:
        index, inside, new = row
        start = [jnp.zeros((), index.dtype)] * x.ndim
        for k, d in enumerate(dims):
            start[d] = index[k]
        old = lax.dynamic_slice(x, start, sizes, allow_negative_indices=False)
        new = jnp.where(inside, change(old, new), old)
        return lax.dynamic_update_slice(x, new, start, allow_negative_indices=False), None

    return lax.scan(turn, x, (nearest, inside, news))[0]
