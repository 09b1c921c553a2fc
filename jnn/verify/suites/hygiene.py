"""Suites on conduct: the same bits twice, integers left alone, nothing computed for nobody."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn.verify.case import Arrays, Case, NotRun, Outcome, equal
from jnn.verify.suites.agreement import EXACT
from jnn.xla.flags import quick_jit
from jnn.xla.programs import equations

SLACK = 1.25  # How many times autodiff's operations a gradient in one argument may take,
SPARE = 4  # besides so many for each entry of the arguments and the output.


def determinism(case: Case) -> Iterator[Outcome]:
    """Equal calls give equal bits: un-jitted, with another call between, jitted, traced twice."""
    floats, rest, delta, direction = case.floats, case.rest, case.delta, case.direction
    first, between, second = (_pull(case, x, rest, delta) for x in (floats, case.nearby, floats))
    if not _same(first, second):
        yield Outcome("two equal calls, un-jitted, with another between, give different bits")
    expected = case.autodiff(case.nearby, rest, delta, direction)
    yield from equal("un-jitted, the value of a second call", case.output_names, between[0],
                     expected.value, delta, EXACT)  # fmt: skip
    yield from equal("un-jitted, the cotangent of a second call", case.names, between[1],
                     expected.cotangent, delta, EXACT)  # fmt: skip
    if not _same(*(case.hand(floats, rest, delta, direction) for _ in range(2))):
        yield Outcome("two equal calls, jitted, give different bits")
    for mode, function, last in (("backward", _pull, delta), ("forward", _push, direction)):
        one, other = (
            jax.make_jaxpr(lambda *args, f=function: f(case, *args))(floats, rest, last)
            for _ in range(2)
        )
        if _text(one) != _text(other) or not _same(one.consts, other.consts):
            yield Outcome(f"traced twice in mode {mode}, the rule gives two different programs: "
                          "does it keep a state, or draw numbers without a key?")  # fmt: skip


def _pull(case: Case, floats: Arrays, rest: Arrays, delta: Arrays) -> Any:
    y, pull = jax.vjp(lambda *f: case.call("backward", f, rest)[0], *floats)
    return y, pull(list(delta))


def _push(case: Case, floats: Arrays, rest: Arrays, direction: Arrays) -> Any:
    return jax.jvp(lambda *f: case.call("forward", f, rest)[0], tuple(floats), tuple(direction))


def _text(program: Any) -> str:
    return re.sub("0x[0-9a-f]+", "", str(program.jaxpr))  # Addresses differ, and mean nothing.


def _same(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def integers(case: Case) -> Iterator[Outcome]:
    """Integer and boolean arguments take cotangents of dtype float0, of their shape."""
    args = case.join(case.floats, case.rest)
    for mode in ("backward", "forward"):

        def total(*args: Any, mode: str = mode) -> Any:
            return sum(jnp.sum(y) for y in case.call(mode, *case.split(jax.tree.leaves(args)))[0])

        gradient = jax.eval_shape(
            jax.grad(total, argnums=tuple(range(len(args))), allow_int=True), *args
        )
        for x, dx in zip(case.leaves, jax.tree.leaves(gradient), strict=True):
            expected = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jax.dtypes.float0
            if (dx.dtype, dx.shape) != (expected, x.shape):
                yield Outcome(f"in mode {mode}, the cotangent of {x.dtype.name}{list(x.shape)} is "
                              f"{dx.dtype.name}{list(dx.shape)}")  # fmt: skip


def idle_cost(case: Case) -> Iterator[Outcome]:
    """Under `jit`, arguments that are not differentiated cost nothing.

    The gradient in each argument alone takes no more operations than autodiff's, counted by the
    compiler: at most 1.25 times as many, and 4 for each entry of the arguments and the output; and
    those of the value, for a rule that says that it computes it again (`rule.value_again`).
    """
    if len(case.floats) < 2:
        raise NotRun("there is one floating argument, and it is differentiated")
    spare = SPARE * (case.size + sum(d.size for d in case.delta))
    if case.rule.value_again:
        value = lambda *args: case.call("autodiff", *args)[0]  # noqa: E731
        spare += _count(value, case.floats, case.rest)
    for i, name in enumerate(case.names):
        by_hand, by_autodiff = (_operations(case, mode, i) for mode in ("backward", "autodiff"))
        allowed = SLACK * by_autodiff + spare
        yield Outcome(
            f"the gradient in `{name}` alone takes {by_hand:.0f} operations, autodiff's "
            f"{by_autodiff:.0f}: what it does not need should not be computed",
            max(by_hand / allowed - 1, 0.0), 0.0,
        )  # fmt: skip


def _operations(case: Case, mode: str, argument: int) -> float:
    def gradient(floats: Arrays, rest: Arrays, delta: Arrays) -> Any:
        def call(x: Any) -> Any:
            moved = [x if i == argument else f for i, f in enumerate(floats)]
            return case.call(mode, moved, rest)[0]

        return jax.vjp(call, floats[argument])[1](list(delta))

    return _count(gradient, case.floats, case.rest, case.delta)


def _count(function: Callable[..., Any], *args: Any) -> float:
    program = quick_jit(function).lower(*args).compile()
    return float((program.cost_analysis() or {}).get("flops", 0.0))


def plain(case: Case) -> Iterator[Outcome]:
    """Forward, backward and tangent are plain `jnp` and `lax`: they call no other rule.

    Otherwise they could neither be transposed nor differentiated again.
    """
    rule = case.rule.parts
    args = case.join(case.floats, case.rest)
    _, settings = case.rule.bind(*args, **case.settings)
    delta = jax.tree.map(lambda y: np.zeros(y.shape, _tangent_dtype(y)), case.outputs)
    tangents = jax.tree.map(lambda x: np.zeros(x.shape, _tangent_dtype(x)), args)
    bodies = {}
    if rule.forward and rule.backward:
        bodies["forward and backward"] = lambda args: rule.backward(
            rule.forward(*args, **settings)[1], jax.tree.map(jnp.asarray, delta), **settings
        )
    if rule.tangent:
        bodies["the tangent"] = lambda args: rule.tangent(args, tangents, **settings)
    for name, body in bodies.items():
        if called := _custom(jax.make_jaxpr(body)(args)):
            yield Outcome(f"{name} must be plain jnp and lax, but call {', '.join(sorted(called))}")


def _tangent_dtype(x: Any) -> Any:
    return x.dtype if jnp.issubdtype(x.dtype, jnp.inexact) else jax.dtypes.float0


def _custom(program: Any) -> set[str]:
    """The names of the functions with a VJP of their own that a program calls."""
    calls = [e for e in equations(program) if e.primitive.name.startswith("custom_vjp_call")]
    return {call.params["call_jaxpr"].jaxpr.debug_info.func_name for call in calls}
