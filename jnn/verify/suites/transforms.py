"""The suite on JAX's transformations: each gives with the rule what it gives with the definition.

All are traced into one program that runs once, under `jit`. One that cannot be traced is a finding
of its own and does not stop the others.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.verify.case import Arrays, Case, Outcome, equal, first_line
from jnn.verify.suites.agreement import EXACT
from jnn.xla.flags import quick_jit

Pair = tuple[Any, Any]  # What a transformation gives with the rule, and with the definition.
MOST = 2**14  # Entries of a Jacobian or a Hessian that is formed whole.


class _Program:
    """The rule and its definition at the arguments of a case, while the program is traced."""

    def __init__(
        self, case: Case, named: Iterable[str],
        floats: Arrays, rest: Arrays, delta: Arrays, direction: Arrays,
    ):  # fmt: skip
        self.case, self.named, self.delta, self.v = case, set(named), delta, tuple(direction)
        self.floats, self.rest = tuple(floats), list(rest)
        self.wrt = tuple(range(len(floats)))
        # A second point, for what needs several: near by, integers in another order, other keys.
        self.here = case.join(floats, rest)
        self.there = case.join([0.999 * x for x in floats], [_other(x) for x in rest])

    def function(self, mode: str, rest: Any = None) -> Callable[..., Any]:
        """The rule's floating output as a function of its floating arguments."""
        rest = self.rest if rest is None else rest
        return lambda *floats: self.case.call(mode, floats, rest)[0]

    def scalar(self, mode: str, rest: Any = None) -> Callable[..., Any]:
        """A number; its gradient weighs the output by delta and, to be curved, by itself."""

        def value(*floats: Any) -> Any:
            y = self.function(mode, rest)(*floats)
            return sum(jnp.sum((d + a / 2) * a) for d, a in zip(self.delta, y, strict=True))

        return value

    def slope(self, *floats: Any) -> Any:
        """The gradient of the scalar by hand."""
        return jax.grad(self.scalar("backward"), self.wrt)(*floats)

    @functools.cached_property
    def definition(self) -> tuple[Any, Any]:
        return jax.value_and_grad(self.scalar("autodiff"), self.wrt)(*self.floats)

    @functools.cached_property
    def pushed(self) -> Any:
        return jax.jvp(self.function("autodiff"), self.floats, self.v)

    @functools.cached_property
    def jacobian(self) -> Any:
        return jax.jacrev(self.function("autodiff"), self.wrt)(*self.floats)

    @functools.cached_property
    def hessian(self) -> Any:
        return jax.hessian(self.scalar("autodiff"), self.wrt)(*self.floats)

    @functools.cached_property
    def curvature(self) -> Any:
        """The definition's Hessian times v."""
        if "hessian" not in self.named:
            return jax.jvp(jax.grad(self.scalar("autodiff"), self.wrt), self.floats, self.v)[1]
        return [
            sum(jnp.tensordot(block, v, v.ndim) for block, v in zip(row, self.v, strict=True))
            for row in self.hessian
        ]

    @functools.cached_property
    def pulled(self) -> Any:
        return self.pull("autodiff", self.here)

    def pull(self, mode: str, args: Any) -> Any:
        """Value and cotangents at these arguments."""
        floats, rest = self.case.split(jax.tree.leaves(args))
        y, pull = jax.vjp(self.function(mode, rest), *floats)
        return y, pull(self.delta)

    def transposed(self) -> Any:
        _, pull = jax.vjp(self.function("backward"), *self.floats)
        return jax.linear_transpose(lambda delta: pull(delta), self.delta)(self.v)[0]

    def repeated(self) -> Any:
        function, zeros = self.function("backward"), [jnp.zeros_like(d) for d in self.delta]

        def step(state: Any) -> Any:
            return state[0] + 1, function(*self.floats)

        return jax.lax.while_loop(lambda state: state[0] < 2, step, (0, zeros))[1]

    def scanned(self) -> Pair:
        """The gradient through a loop over both points."""

        def total(both: Any) -> Any:
            def step(carry: Any, args: Any) -> Any:
                floats, rest = self.case.split(jax.tree.leaves(args))
                return carry + self.scalar("backward", rest)(*floats), None

            return jax.lax.scan(step, jnp.zeros(()), both)[0]

        both = jax.tree.map(_stack, self.here, self.there)
        floats, _ = self.case.split(jax.tree.leaves(jax.grad(total, allow_int=True)(both)))
        others, rest = self.case.split(jax.tree.leaves(self.there))
        second = jax.grad(self.scalar("autodiff", rest), self.wrt)(*others)
        return floats, jax.tree.map(_stack, list(self.definition[1]), list(second))

    def mapped(self) -> Pair:
        """Value and cotangents, mapped over all arguments, at both points."""
        both = jax.tree.map(_stack, self.here, self.there)
        got, by_mapping = self.each(both, 0)
        apart = jax.tree.map(_stack, self.pulled, self.pull("autodiff", self.there))
        return got, by_mapping if self.draws_other else apart

    def mapped_over(self, argument: int) -> Pair:
        """Value and cotangents, mapped over one argument, which is the same twice."""
        axes = tuple(0 if i == argument else None for i in range(len(self.here)))
        twice = tuple(
            jax.tree.map(_stack, x, x) if i == argument else x for i, x in enumerate(self.here)
        )
        got, by_mapping = self.each(twice, axes)
        return got, by_mapping if self.draws_other else jax.tree.map(_stack, *[self.pulled] * 2)

    def each(self, args: Any, axes: Any) -> Pair:
        """What the rule and its definition give, both mapped."""
        pulls = (functools.partial(self.pull, mode) for mode in ("backward", "autodiff"))
        return tuple(jax.vmap(pull, (axes,))(args) for pull in pulls)

    @property
    def draws_other(self) -> bool:
        """Whether there is a key of which JAX draws other numbers under vmap than apart."""
        keys = filter(errors.is_key, self.rest)
        return any("rbg" in str(jax.random.key_impl(key)) for key in keys)


def _other(x: Any) -> Any:
    if not errors.is_key(x):
        return jnp.flip(x)
    data = jax.random.key_data(x)
    return jax.random.wrap_key_data(data + jnp.ones_like(data), impl=jax.random.key_impl(x))


def _stack(*pair: Any) -> Any:
    return jnp.stack(pair)


def _inner(left: Any, right: Any) -> Any:
    return sum(jnp.vdot(a, b) for a, b in zip(left, right, strict=True))


OTHERS: dict[str, Callable[[_Program], Pair]] = {
    "value_and_grad": lambda p: (
        jax.value_and_grad(p.scalar("backward"), p.wrt)(*p.floats), p.definition,
    ),
    "grad in mode forward": lambda p: (
        jax.grad(p.scalar("forward"), p.wrt)(*p.floats), p.definition[1],
    ),
    "grad of checkpoint": lambda p: (
        jax.grad(jax.checkpoint(p.scalar("backward")), p.wrt)(*p.floats), p.definition[1],
    ),
    "linearize": lambda p: (
        jax.linearize(p.function("forward"), *p.floats)[1](*p.v), p.pushed[1],
    ),
    "reverse over forward": lambda p: (
        jax.grad(lambda *f: jax.jvp(p.scalar("forward"), f, p.v)[1], p.wrt)(*p.floats),
        p.curvature,
    ),
    "while_loop": lambda p: (p.repeated(), p.pushed[0]),
    "grad of scan": lambda p: p.scanned(),
}  # fmt: skip

# These alone are repeated for the other kinds of arguments.
ESSENTIAL: dict[str, Callable[[_Program], Pair]] = {
    "reverse over reverse": lambda p: (
        jax.grad(lambda *f: _inner(p.slope(*f), p.v), p.wrt)(*p.floats), p.curvature,
    ),
    "forward over reverse": lambda p: (jax.jvp(p.slope, p.floats, p.v)[1], p.curvature),
    "linear_transpose of vjp": lambda p: (p.transposed(), p.pushed[1]),
    "vmap over all arguments": lambda p: p.mapped(),
}  # fmt: skip

# Not for large arguments.
WHOLE: dict[str, Callable[[_Program], Pair]] = {
    "jacrev": lambda p: (jax.jacrev(p.function("backward"), p.wrt)(*p.floats), p.jacobian),
    "jacfwd": lambda p: (jax.jacfwd(p.function("forward"), p.wrt)(*p.floats), p.jacobian),
    "hessian": lambda p: (jax.hessian(p.scalar("backward"), p.wrt)(*p.floats), p.hessian),
}  # fmt: skip


def transforms(case: Case) -> Iterator[Outcome]:
    """Every transformation, in float64; and jvp where it must raise."""
    yield from _compared(case, every=True)
    yield from _jvp_of_backward(case)


def curvature(case: Case) -> Iterator[Outcome]:
    """Of these, second derivatives and vmap alone: for the other kinds of arguments."""
    yield from _compared(case, every=False)


def _all_of(case: Case) -> dict[str, Callable[[_Program], Pair]]:
    named = OTHERS | ESSENTIAL
    if case.size * max(case.size, sum(d.size for d in case.delta)) <= MOST:
        named |= WHOLE
        del named["forward over reverse"]  # It is what `hessian` does, in every direction.
    for i, name in enumerate(case.rule.arguments):
        if jax.tree.leaves(case.args[i]):
            named[f"vmap over `{name}`"] = lambda p, i=i: p.mapped_over(i)
    return named


def _compared(case: Case, *, every: bool) -> Iterator[Outcome]:
    run, failures = _runner(case, every)
    results = run(case.floats, case.rest, case.delta, case.direction)
    for name, sentence in failures.items():
        yield Outcome(f"{name} raises {sentence}")
    for name, (got, want) in results.items():
        got, want = jax.tree.leaves(got), jax.tree.leaves(want)
        labels = [f"tensor {i} of {len(want)}" for i in range(1, len(want) + 1)]
        yield from equal(f"{name}:", labels, got, want, case.delta, EXACT)


@functools.lru_cache(maxsize=16)
def _runner(case: Case, every: bool) -> tuple[Callable[..., dict[str, Pair]], dict[str, str]]:
    """The compiled pairs of a case, and what tracing them raised: one program for all checks."""
    failures: dict[str, str] = {}
    named = _all_of(case) if every else ESSENTIAL

    def run(*point: Any) -> dict[str, Pair]:
        program, results = _Program(case, named, *point), {}
        for name, transformation in named.items():
            try:
                results[name] = transformation(program)
            except Exception as error:  # Whatever it is, it is what a user would see.
                failures[name] = first_line(error)
        return results

    return quick_jit(run), failures


def _jvp_of_backward(case: Case) -> Iterator[Outcome]:
    """A rule that is differentiated backwards cannot be pushed forwards, and says what to do."""
    point, direction = tuple(case.floats), tuple(case.direction)
    try:
        jax.jvp(lambda *floats: case.call("backward", floats, case.rest)[0], point, direction)
    except TypeError as error:
        notes = " ".join(getattr(error, "__notes__", ()))
        if 'derivatives("forward")' not in notes:
            yield Outcome(f"jvp in mode backward raises {first_line(error)} and names no mode")
    else:
        yield Outcome("jvp in mode backward does not raise")
