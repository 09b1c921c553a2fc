"""Mutation proof: whatever derivative is planted wrong, `check` rejects the rule with a sentence.

A fault is planted in every rule of the library at an example where it makes a difference; which
example that is, is computed from the right cotangents. Where it can make none, the reason is given.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnn.rules import Rule, registry
from jnn.verify import check
from jnn.verify.case import Case

pytestmark = pytest.mark.slow


class Fault(NamedTuple):
    """How it is planted in a rule, and where it makes a difference."""

    plant: Callable[[Rule], Rule]
    matters: Callable[[Case, list[np.ndarray]], bool]  # Given the right tensors.
    possible: Callable[[Case], bool] = lambda case: True  # By the shapes alone.


# Faults of the backward: functions of the cotangents and of the arguments that they belong to.


def in_backward(change: Callable[[list, list], list], matters: Callable[..., bool]) -> Fault:
    def plant(rule: Rule) -> Rule:
        def forward(*args, **settings):
            y, saved = rule.parts.forward(*args, **settings)
            return y, (saved, args)

        def backward(kept, delta, /, **settings):
            saved, args = kept
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
                for x in jax.tree.leaves(argument)
                if cotangent is not None and jnp.issubdtype(x.dtype, jnp.floating)
            ]
            return structure.unflatten(change(leaves, theirs))

        return rule.replace(forward=forward, backward=backward)

    return Fault(plant, matters)


def of_each(change: Callable[[Any, Any], Any]) -> Fault:
    """The same fault in every cotangent."""

    def matters(case: Case, right: list[np.ndarray]) -> bool:
        return any(
            differ(np.asarray(change(jnp.asarray(d), jnp.asarray(x))), d)
            for d, x in zip(right, case.floats, strict=True)
        )

    return in_backward(lambda ds, xs: list(map(change, ds, xs)), matters)


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


def swapping_matters(_: Case, right: list[np.ndarray]) -> bool:
    return any(differ(right[i], right[j]) for i, j in list(pairs(right))[:1])


def stale(rule: Rule) -> Rule:
    """What is saved belongs to another call, at the arguments 3 - x."""

    def other(x):
        return 3 - x if jnp.issubdtype(x.dtype, jnp.floating) else x

    def forward(*args, **settings):
        y, _ = rule.parts.forward(*args, **settings)
        return y, rule.parts.forward(*jax.tree.map(other, args), **settings)[1]

    return rule.replace(forward=forward)


def staleness_matters(case: Case, right: list[np.ndarray]) -> bool:
    wrong = Case(stale(case.rule), case.example)
    told = wrong.hand(case.floats, case.rest, case.delta, case.direction)
    return any(map(differ, map(np.asarray, told.cotangent), right))


BACKWARD = {
    "sign": of_each(lambda d, x: -d),
    "factor": of_each(lambda d, x: 1.01 * d),
    "zero": of_each(lambda d, x: 0.0 * d),
    "entry": of_each(entry),
    "permuted": of_each(permuted),
    "transposed": of_each(transposed)._replace(possible=lambda case: any(map(square, case.floats))),
    "negative side": of_each(lambda d, x: jnp.where(x < 0, 2 * d, d)),
    "swapped": in_backward(swapped, swapping_matters)._replace(
        possible=lambda case: any(pairs(case.floats))
    ),
    "stale": Fault(stale, staleness_matters),
}


# Faults of the tangent.


def in_tangent(change: Callable[[Any], Any]) -> Fault:
    def plant(rule: Rule) -> Rule:
        def tangent(primals, tangents, /, **settings):
            y, dy = rule.parts.tangent(primals, tangents, **settings)
            return y, jax.tree.map(change, dy)

        return rule.replace(tangent=tangent)

    def matters(_: Case, right: list[np.ndarray]) -> bool:
        return any(differ(np.asarray(change(jnp.asarray(dy))), dy) for dy in right)

    return Fault(plant, matters)


TANGENT = {
    "sign": in_tangent(lambda dy: -dy),
    "factor": in_tangent(lambda dy: 1.01 * dy),
    "zero": in_tangent(lambda dy: 0.0 * dy),
    "entry": in_tangent(lambda dy: entry(dy, None)),
    "permuted": in_tangent(lambda dy: permuted(dy, None)),
}

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


@functools.cache
def drawn(name: str, seed: int) -> Case:
    makers = registry[name].examples
    return Case(registry[name], makers[seed % len(makers)](np.random.default_rng(seed)))


def rejected(name: str, fault: Fault, what: str) -> None:
    """At the first example at which the fault makes a difference, it is found."""
    with jax.enable_x64(True):
        possible = filter(fault.possible, (drawn(name, seed) for seed in range(1000)))
        for case in itertools.islice(possible, 24):
            told = case.autodiff(case.floats, case.rest, case.delta, case.direction)
            if fault.matters(case, list(map(np.asarray, getattr(told, what)))):
                break
        else:
            pytest.fail(f"{name}: no example was found at which the fault makes a difference")
    mutant = fault.plant(registry[name])
    report = check(mutant, case.args, settings=case.settings, suites=["agreement"])
    assert not report.ok, f"{name} passes with this fault at {case}"
    assert any(f"the {what}" in sentence for sentence in report.findings)


def planted(part: str, faults: dict[str, Fault]) -> list[tuple[str, str]]:
    return [(name, f) for name in registry for f in faults if (name, part, f) not in HARMLESS]


@pytest.mark.parametrize(("name", "fault"), planted("backward", BACKWARD))
def test_a_wrong_backward_is_rejected(name, fault):
    rejected(name, BACKWARD[fault], "cotangent")


@pytest.mark.parametrize(("name", "fault"), planted("tangent", TANGENT))
def test_a_wrong_tangent_is_rejected(name, fault):
    rejected(name, TANGENT[fault], "tangent")
