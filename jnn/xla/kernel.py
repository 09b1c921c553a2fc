"""A small loop as one kernel of XLA's CPU backend.

That backend makes a kernel of each fused operation and calls one after the other, which costs many
times what the kernels do where arrays have a few numbers. A call with XLA's own attribute
`xla_cpu_small_call`, which it gives to loops that touch less than a kilobyte, becomes one kernel
with all that it calls. Here loops get it that are small enough not to need a second core.
"""

import os
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
from jax import core, lax
from jax.custom_batching import custom_vmap
from jax.experimental.xla_metadata import set_xla_metadata

from jnn.xla.platform import is_for
from jnn.xla.programs import equations
from jnn.xla.rows import row_by_row

# The attribute is XLA's own, and what goes wrong with it ends the process. These have been tried,
# by `python -m pytest tests/xla`; with others all runs as it would without.
TRIED = ("0.10.1", "0.10.2", "0.11.0", "0.11.1", "0.11.2", "0.12.0", "0.12.0.1")
JAXLIB = version("jaxlib")
# A user's wish: "0" for no such kernel, "1" for one with several devices and any jaxlib too.
wish: Any = jax.make_user_context(os.environ.get("JNN_ONE_KERNEL", ""))

# Bytes of an array: more is worth a second core. On two, many kernels took 1.2 to 2 times as long
# as one with matrices or pairs of 1 MB, 1.1 to 1.5 times with 2 MB, 0.8 to 1 times with 8 MB.
LARGEST = 2**20
TERMS = 2**12  # Of a sum or an extremum: XLA hands that many to a library.
# Operations: functions written out term by term compiled sooner as one kernel up to 5,000, with
# 6,200 to 9,000 in 1.6 to 2.3 times as long as many.
LONGEST = 5000
# What such a kernel can hold. What is missing calls a library or the host, as do products of two
# matrices, decompositions, sorting and the like; and what XLA cannot emit there: scattering,
# unless `rows` makes a loop of it.
OPERATIONS = frozenset(
    """
    abs acos acosh add add_any and argmax argmin asin asinh atan atan2 atanh broadcast_in_dim
    cbrt ceil clamp concatenate cond convert_element_type copy cos cosh cumlogsumexp cummax
    cummin cumprod cumsum custom_jvp_call custom_vjp_call digamma div dot_general dynamic_slice
    dynamic_update_slice empty2 eq erf erf_inv erfc exp exp2 expm1 floor gather ge gt
    integer_pow iota is_finite jit le lgamma log log1p logistic lt max min mul ne neg not
    optimization_barrier or pad pow reduce_and reduce_max reduce_min reduce_or reduce_prod
    reduce_sum rem reshape rev round rsqrt scan select_n sign sin sinh slice split sqrt square
    squeeze stack stop_gradient sub tan tanh tile transpose unstack while xor
    """.split()  # noqa: SIM905
)


def one_kernel(f: Callable, *args: Any) -> Any:
    """`f(*args)`; on a CPU in one kernel, if it is small and made of what such a kernel can hold.

    Under `vmap` it is an ordinary call, as many lanes are not small.
    """
    if not wanted():
        return f(*args)
    program, shape = jax.make_jaxpr(f, return_shape=True)(*args)
    run = partial(core.eval_jaxpr, program.jaxpr)
    known = program.consts, *jax.tree.leaves(args)
    looped = row_by_row(program.jaxpr)
    if simple(looped):
        run = alone(partial(core.eval_jaxpr, looped), run)
    return jax.tree.unflatten(jax.tree.structure(shape), run(*known))


def wanted() -> bool:
    """Whether to ask for it: on a CPU whose XLA is known, of one device that holds all arrays."""
    compiled = not jax.config.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]
    if wish.value == "0" or not compiled or not is_for("cpu"):
        return False
    return wish.value == "1" or (JAXLIB in TRIED and jax.device_count() == 1)


def alone(f: Callable, plain: Callable) -> Callable:
    """The function with its call marked; under `vmap` or differentiated, the plain one."""
    marked = custom_vmap(partial(mark, f))

    @marked.def_vmap
    def _(size: int, batched: Any, *args: Any) -> tuple[Any, Any]:
        axes = jax.tree.map(lambda b: 0 if b else None, batched)
        out = jax.vmap(plain, axes, axis_size=size)(*args)
        return out, jax.tree.map(lambda _: True, out)

    call = jax.custom_jvp(marked)
    call.defjvp(partial(jax.jvp, plain))
    return call


def mark(f: Callable, *args: Any) -> list[jax.Array]:
    """A call of `f` that XLA keeps as a call, and makes one kernel of.

    XLA ends the process where a kernel has an argument without a use, and what has a use shows only
    when all is simplified; so it returns its arguments as well. And where one is a constant of more
    than 8 kB; so all come through a barrier.
    """
    known = lax.optimization_barrier(list(args))
    first, *others = jax.jit(lambda *args: [*f(*args), *args])(*known)
    # What is said of a result holds for the call that it comes from.
    first: Any = set_xla_metadata(first, xla_cpu_small_call="true", inlineable="false")
    found: Any = lax.optimization_barrier([first, *others])  # As if all had a use.
    return found[: len(found) - len(args)]


def simple(program: Any) -> bool:
    """Whether a program is short, its arrays small, and each operation one that a kernel can hold.

    >>> from jnn.xla.kernel import simple
    >>> x = jnp.eye(3)
    >>> simple(jax.make_jaxpr(lambda x: x @ x[0])(x)), simple(jax.make_jaxpr(lambda x: x @ x)(x))
    (True, False)
    """
    found = list(equations(program))
    return len(found) <= LONGEST and all(map(fits, found))


def fits(equation: Any) -> bool:
    """Whether one operation can be part of such a kernel."""
    name = equation.primitive.name
    if name not in OPERATIONS:
        return False
    if name == "dot_general" and not has_vector(equation):
        return False
    if reduces(equation) and equation.invars[0].aval.size >= TERMS:
        return False
    avals = [v.aval for v in (*equation.invars, *equation.outvars)]
    return all(a.size * a.dtype.itemsize <= LARGEST for a in avals)


def reduces(equation: Any) -> bool:
    """Whether an operation is a sum or an extremum, as is a product of two vectors."""
    if equation.primitive.name == "dot_general":
        return equation.outvars[0].aval.size == 1
    return equation.primitive.name in ("reduce_sum", "reduce_max", "reduce_min")


def has_vector(equation: Any) -> bool:
    """Whether a product is one of a vector: of two matrices XLA makes a call of a library."""
    contracted, (batched, _) = equation.params["dimension_numbers"]
    free = [v.aval.ndim - len(c) for v, c in zip(equation.invars, contracted, strict=True)]
    return not batched and min(free) == 0
