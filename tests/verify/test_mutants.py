"""Mutation proof: whatever derivative is planted wrong, `agreement` says so in a sentence.

A fault is planted in every rule of the library at an example where it makes a difference; which
example that is, is computed from the right cotangents. Where it can make none, the reason is given.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules import Example, Rule, registry
from jnn.verify.case import Case
from jnn.verify.suites.agreement import agreement

pytestmark = pytest.mark.slow


class Fault(NamedTuple):
    """What becomes of tensors, given the arguments' tensors that they belong to, and where it may.

    Attributes:
      change: of the tensors, and of the arguments' (of a tangent there are none).
      possible: whether it can make a difference, by the shapes alone.
    """

    change: Callable[[list, list], list]
    possible: Callable[[Case], bool] = lambda case: True


def of_each(change: Callable[[Any, Any], Any]) -> Fault:
    """The same fault in every cotangent."""
    return Fault(lambda ds, xs: list(map(change, ds, xs)))


def differ(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and not np.allclose(one, other, rtol=1e-6, atol=1e-9)


def entry(d, _):
    """One entry is wrong: the last."""
    return d.ravel().at[-1:].multiply(1.5).reshape(d.shape)


def permuted(d, _):
    return jnp.roll(d.ravel(), 1).reshape(d.shape)


def transposed(d, _):
    return d.swapaxes(-1, -2) if square(d) else d


def square(d) -> bool:
    return d.ndim > 1 and d.shape[-1] == d.shape[-2] > 1


def swapped(ds: list, _: Any) -> list:
    """The first two cotangents of one shape, exchanged."""
    for i, j in pairs(ds):
        ds[i], ds[j] = ds[j], ds[i]
        break
    return ds


def pairs(tensors: list) -> Iterator[tuple[int, int]]:
    for j, b in enumerate(tensors):
        yield from ((i, j) for i, a in enumerate(tensors[:j]) if a.shape == b.shape)


BACKWARD = {
    "sign": of_each(lambda d, x: -d),
    "factor": of_each(lambda d, x: 1.01 * d),
    "zero": of_each(lambda d, x: 0.0 * d),
    "entry": of_each(entry),
    "permuted": of_each(permuted),
    "transposed": of_each(transposed)._replace(possible=lambda case: any(map(square, case.floats))),
    "negative side": of_each(lambda d, x: jnp.where(x < 0, 2 * d, d)),
    "swapped": Fault(swapped, lambda case: any(pairs(case.floats))),
    "stale": Fault(lambda ds, xs: ds),  # What is saved is of another call, at 3 - x.
}
TANGENT = {
    "sign": Fault(lambda dys, _: [-dy for dy in dys]),
    "factor": Fault(lambda dys, _: [1.01 * dy for dy in dys]),
    "zero": Fault(lambda dys, _: [0.0 * dy for dy in dys]),
    "entry": Fault(lambda dys, _: [entry(dy, None) for dy in dys]),
    "permuted": Fault(lambda dys, _: [permuted(dy, None) for dy in dys]),
}
FAULTS = [("backward", name) for name in BACKWARD] + [("tangent", name) for name in TANGENT]
STALE = FAULTS.index(("backward", "stale"))
NONE = len(FAULTS)


def with_faults(rule: Rule) -> Rule:
    """The rule with all faults in it, and one argument more: the number of that which acts.

    So one program tells all of them.
    """
    signature = inspect.signature(rule.parts.definition)
    own = list(signature.parameters.values())
    at = sum(p.kind is not p.KEYWORD_ONLY for p in own)
    which = inspect.Parameter("fault", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)

    def definition(*args, **settings):
        return rule.parts.definition(*args[:-1], **settings)

    definition.__signature__ = signature.replace(parameters=[*own[:at], which, *own[at:]])
    definition.__name__ = rule.name
    mutant = jnn.rule(definition)

    @mutant.forward
    def forward(*args, **settings):
        *args, fault = args
        y, saved = rule.parts.forward(*args, **settings)
        other = rule.parts.forward(*jax.tree.map(elsewhere, args), **settings)[1]
        saved = jax.lax.cond(fault == STALE, lambda: other, lambda: saved)
        return y, (saved, args, fault)

    @mutant.backward
    def backward(kept, delta, /, **settings):
        saved, args, fault = kept
        cotangents = tuple(
            None if argument is None else cotangent
            for argument, cotangent in zip(
                args, rule.parts.backward(saved, delta, **settings), strict=True
            )
        )
        leaves, structure = jax.tree.flatten(cotangents)
        theirs = [
            x
            for argument, cotangent in zip(args, cotangents, strict=True)
            if cotangent is not None
            for x, d in zip(jax.tree.leaves(argument), each(cotangent), strict=True)
            if d is not None
        ]
        changes = [f.change for f in BACKWARD.values()]
        return (*structure.unflatten(acted(changes, fault, leaves, theirs)), None)

    @mutant.tangent
    def tangent(primals, tangents, /, **settings):
        y, dy = rule.parts.tangent(primals[:-1], tangents[:-1], **settings)
        leaves, structure = jax.tree.flatten(dy)
        changes = [f.change for f in TANGENT.values()]
        moved = acted(changes, primals[-1] - len(BACKWARD), leaves, [])
        return y, structure.unflatten(moved)

    checker = rule._checker
    if checker is not None:
        mutant.check(lambda *args, **settings: checker(*args[:-1], **settings))
    return mutant


def each(cotangent: Any) -> list[Any]:
    return jax.tree.leaves(cotangent, is_leaf=lambda d: d is None)


def elsewhere(x):
    return 3 - x if jnp.issubdtype(x.dtype, jnp.floating) else x


def acted(changes: list[Callable], number: Any, tensors: list, theirs: list) -> list:
    """The tensors as the change of that number leaves them; as they are, if it is none's."""

    def changed(change: Callable) -> Callable:
        return lambda: [
            c.astype(d.dtype) for c, d in zip(change(list(tensors), theirs), tensors, strict=True)
        ]

    known = (number >= 0) & (number < len(changes))
    branches = [*map(changed, changes), lambda: list(tensors)]
    return jax.lax.switch(jnp.where(known, number, len(changes)), branches)


# Where a fault makes no difference whatever the example, and why.
EMPTY_HANDED = (
    "identity", "mean_pool", "subsample", "adaptive_mean_pool", "resize", "pixel_shuffle",
    "pixel_unshuffle",
)  # fmt: skip
HARMLESS = {(name, "backward", "stale"): "nothing is saved" for name in EMPTY_HANDED}
HARMLESS |= {
    (name, "backward", "stale"): "integers and keys are saved, which stay"
    for name in ("rotary", "embedding", "dropout")
}
HARMLESS |= {
    (name, "backward", "swapped"): "there is one tensor that has a gradient"
    for name in ("rotary", "embedding", "dropout", "ctc")
}
HARMLESS |= {
    (name, "backward", "transposed"): "the last axes of its examples differ"
    for name in ("resize", "pixel_shuffle", "local_response_norm")
}
HARMLESS |= {
    ("relu", "backward", "negative side"): "the derivative is 0 there",
    ("relu6", "backward", "negative side"): "the derivative is 0 there",
    ("cross_entropy", "backward", "negative side"): "probabilities are not negative",
    ("binary_cross_entropy", "backward", "negative side"): "probabilities are not negative",
    ("l2", "tangent", "permuted"): "the value is one number",
} | {
    (name, "backward", "swapped"): "there is one tensor"
    for name, rule in registry.items()
    if rule.arguments in (("x",), ("z",))
}


@pytest.mark.parametrize("name", registry)
def test_wrong_derivatives_are_rejected(name):
    """Each fault at the first example at which it makes a difference."""
    mutant, makers = with_faults(registry[name]), registry[name].examples
    left = [f for f in range(NONE) if (name, *FAULTS[f]) not in HARMLESS]
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        for seed in range(MOST_EXAMPLES):
            example = makers[seed % len(makers)](np.random.default_rng(seed))
            case = Case(mutant, Example(*positional(mutant, example), NONE, **example.settings))
            if not any(fault_of(f).possible(case) for f in left):
                continue
            assert found(case, NONE) == []
            right = case.autodiff(case.floats, case.rest, case.delta, case.direction)
            for f in [f for f in left if matters(f, case, right)]:
                what = "cotangent" if FAULTS[f][0] == "backward" else "tangent"
                assert any(f"the {what}" in sentence for sentence in found(case, f)), (
                    f"{name} passes with a wrong {FAULTS[f]} at {case}"
                )
                left.remove(f)
            if not left:
                return
    pytest.fail(f"{name}: no example was found at which {[FAULTS[f] for f in left]} matter")


MOST_EXAMPLES = 1000  # Most are passed over by their shapes.


def positional(mutant: Rule, example: Example) -> list[Any]:
    """All arguments of the example but the fault, those that are left out as their defaults."""
    parameters = inspect.signature(mutant).parameters
    own = [parameters[name] for name in mutant.arguments[:-1]]
    return [*example.args, *(p.default for p in own[len(example.args) :])]


def fault_of(number: int) -> Fault:
    part, name = FAULTS[number]
    return (BACKWARD if part == "backward" else TANGENT)[name]


def found(case: Case, number: int) -> list[str]:
    """What the suite finds wrong with that fault."""
    case.rest[-1] = np.asarray(number)
    return [o.sentence for o in agreement(case) if not o.error <= o.allowed]


def matters(number: int, case: Case, right: Any) -> bool:
    """Whether the fault makes a difference to the right derivatives."""
    if not fault_of(number).possible(case):
        return False
    if number == STALE:
        case.rest[-1] = np.asarray(number)
        told = case.hand(case.floats, case.rest, case.delta, case.direction)
        wrong, tensors = told.cotangent, right.cotangent
    else:
        tensors = right.cotangent if number < len(BACKWARD) else right.tangent
        wrong = fault_of(number).change(list(map(jnp.asarray, tensors)), case.floats)
    return any(map(differ, map(np.asarray, wrong), map(np.asarray, tensors)))
