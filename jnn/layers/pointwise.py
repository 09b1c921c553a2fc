"""Activations as layers: for each rule of one argument, a constructor of the same name."""

import inspect
from collections.abc import Callable
from typing import Any

from jnn import errors, rules
from jnn.layers.core.layer import Apply, Init, Layer, layer, pure, without_parameters
from jnn.rules.core.rule import Rule
from jnn.value import Recipe


def lift(rule: Rule) -> Callable[..., Layer]:
    """The constructor of layers that apply `rule`, of one argument; it takes the rule's settings.

    >>> @jnn.rule
    ... def double(x):
    ...     return 2 * x
    >>> @jnn.rules.elementwise(double, saves="")
    ... def double_derivative(_, v):
    ...     return 2 * v
    >>> jnn.serial(jnn.dense(3), jnn.layers.lift(double)())
    serial(dense(3), double())
    """
    if not isinstance(rule, Rule) or len(rule.arguments) != 1:
        errors.fail("lift", "rule", "a rule of one argument", repr(rule), kind=TypeError)
    _, *settings = inspect.signature(rule.parts.definition).parameters.values()

    def construct(**settings: Any) -> tuple[Init, Apply]:
        return without_parameters, pure(lambda params, x: rule(x, **settings))

    construct.__name__ = construct.__qualname__ = rule.name
    construct.__doc__ = f"The layer of the rule `{rule.name}`.\n\n{inspect.getdoc(rule) or ''}"
    construct.__dict__["__signature__"] = inspect.Signature(settings)
    return layer(construct, Recipe(lift, (("rule", rule),)))


def lifted(given: Any) -> Any:
    """The layer of a rule of one argument; what is none stays as it is."""
    return lift(given)() if isinstance(given, Rule) and len(given.arguments) == 1 else given


identity = lift(rules.identity)
sigmoid = lift(rules.sigmoid)
soft_logistic = lift(rules.soft_logistic)
tanh = lift(rules.tanh)
relu = lift(rules.relu)
leaky_relu = lift(rules.leaky_relu)
softplus = lift(rules.softplus)
elu = lift(rules.elu)
selu = lift(rules.selu)
gelu = lift(rules.gelu)
silu = lift(rules.silu)
softsign = lift(rules.softsign)
hard_tanh = lift(rules.hard_tanh)
softmax = lift(rules.softmax)
log_softmax = lift(rules.log_softmax)
