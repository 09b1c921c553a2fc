"""Activations as layers: for each rule of one argument, a constructor of the same name."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.typing import DTypeLike

from jnn import errors, rules
from jnn.layers.core.initialisers import Initialiser, check_initialisers, constant
from jnn.layers.core.layer import (
    Apply,
    Init,
    Layer,
    check_dtype,
    described,
    fed,
    fed_by,
    layer,
    pure,
    without_parameters,
)
from jnn.layers.core.ragged import ARRAYS, ONE
from jnn.rules.core.rule import Rule
from jnn.types import Batch, Key
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
    alone = rule.elementwise or rule in (rules.softmax, rules.log_softmax)
    return layer(construct, Recipe(lift, (("rule", rule),)), sees=ONE if alone else ARRAYS)


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
mish = lift(rules.mish)
hard_swish = lift(rules.hard_swish)
hard_sigmoid = lift(rules.hard_sigmoid)
relu6 = lift(rules.relu6)
celu = lift(rules.celu)
log_sigmoid = lift(rules.log_sigmoid)
soft_shrink = lift(rules.soft_shrink)
hard_shrink = lift(rules.hard_shrink)
softmax = lift(rules.softmax)
log_softmax = lift(rules.log_softmax)
local_response_norm = lift(rules.local_response_norm)


class PreluParams(NamedTuple):
    """The slope below 0: one for all, (), or one a channel, (channels,)."""

    slope: jax.Array


_QUARTER = constant(0.25)


@functools.partial(layer, sees=ONE)
def prelu(
    *, shared: bool = True, slope: Initialiser = _QUARTER, dtype: DTypeLike | None = None
) -> tuple[Init, Apply]:
    """The rectifier with a learned slope below 0. Parameters are `PreluParams(slope)`.

    Args:
      shared: whether there is one slope for all, or one a channel, that is of the last axis.
      slope: initialiser of the slope.
      dtype: of the slope, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net = jnn.prelu(shared=False)
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> params.slope.shape, net(params, jnp.array([[-1.0, 0.0, 2.0]])).tolist()
    ((3,), [[-0.25, 0.0, 2.0]])
    """
    check_initialisers("prelu", slope=slope)
    check_dtype("prelu", dtype)

    def init(key: Key, x: Batch) -> tuple[PreluParams, tuple[()]]:
        channels, taken = fed_by("prelu", x, dtype)
        return PreluParams(slope(key, () if shared else (channels,), taken)), ()

    def apply(params: PreluParams, x: jax.Array) -> jax.Array:
        if not isinstance(params, PreluParams) or params.slope.ndim != (not shared):
            expected = f"PreluParams of {'one slope' if shared else 'a slope a channel'}"
            errors.fail("prelu", "params", expected, described(params), "Make them by init.")
        return rules.prelu(fed(x, params.slope, dtype), params.slope)

    return init, pure(apply)
