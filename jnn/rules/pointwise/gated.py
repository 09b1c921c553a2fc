"""Gates: one half of a layer's units decides how much of the other half passes."""

import jax
import numpy as np

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.core.rule import Example, Rule, rule
from jnn.rules.pointwise.activation import activation as chosen


@rule
def gated(gate: jax.Array, up: jax.Array, *, activation: str | Rule = "silu") -> jax.Array:
    """The gate `y = f(gate) up`, entry by entry (M-82).

    It is SwiGLU with "silu", GeGLU with "gelu", GLU with "sigmoid", ReGLU with "relu", and bilinear
    with "identity". With the cotangent delta (M-83..85),

        dgate = f'(gate) up delta        dup = f(gate) delta

    At a kink of f the slope is the one that f chooses.

    Saves: gate, up. f(gate) and its slope are computed again.

    Args:
      gate: what is activated, of any shape.
      up: what passes, of the same shape.
      activation: the name of an elementwise rule, or the rule.

    >>> jnn.rules.gated(jnp.array([-1.0, 0.0, 2.0]), jnp.full(3, 3.0), activation="relu").tolist()
    [0.0, 0.0, 6.0]
    """
    return _passed(gate, up, activation).astype(up.dtype)


@gated.forward
def gated_forward(gate, up, *, activation):
    return _passed(gate, up, activation).astype(up.dtype), (gate, up)  # M-82


@gated.backward
def gated_backward(saved, delta, *, activation):
    gate, up = saved
    return gate_cotangents(gate, up, delta, activation)


@gated.tangent
def gated_tangent(primals, tangents, *, activation):
    (gate, up), (dgate, dup) = primals, map(as_wide, tangents)
    f, df = chosen("gated", activation).parts.tangent((as_wide(gate),), (dgate,))
    y, dy = f * as_wide(up), df * as_wide(up) + f * dup  # M-83
    return y.astype(up.dtype), dy.astype(up.dtype)


@gated.check
def gated_check(gate, up, *, activation):
    check_gate("gated", gate, up, activation)


def _passed(gate: jax.Array, up: jax.Array, activation: str | Rule) -> jax.Array:
    return chosen("gated", activation).parts.definition(as_wide(gate)) * as_wide(up)


def gate_cotangents(
    gate: jax.Array, up: jax.Array, delta: jax.Array, activation: str | Rule
) -> tuple[jax.Array, jax.Array]:
    """What the gate and what passes it get of delta, in the wide dtype."""
    step, delta = chosen("gated", activation).parts, as_wide(delta)
    # An elementwise map's tangent is its backward (T-13), and has the value beside it.
    f, dgate = step.tangent((as_wide(gate),), (as_wide(up) * delta,))  # M-84: f'(gate) up delta
    return dgate, f * delta  # M-85


def check_gate(function: str, gate: jax.Array, up: jax.Array, activation: str | Rule) -> None:
    """Gate and what passes it are of one shape and dtype, the activation is elementwise."""
    chosen(function, activation)
    errors.floating(function, gate=gate, up=up)
    errors.shape(function, "up", up, gate.shape, "Gate and what passes it have one shape.")


# One activation that saves its input, one its output, one nothing; and those with names of gates.
GATES = ("silu", "gelu", "sigmoid", "relu", "identity")


def _example(activation: str):
    def make(random: np.random.Generator) -> Example:
        shape = tuple(random.integers(1, 5, random.integers(1, 4)))
        gate, up = random.normal(size=(2, *shape))
        return Example(2 * gate, up, activation=activation)

    return make


for _activation in GATES:
    gated.example(_example(_activation))


@gated.extreme
def gated_extreme(random: np.random.Generator) -> Example:
    magnitudes = np.array([1e-30, 1e-8, 20.0, 90.0, 1e4])
    gate = np.concatenate([magnitudes, -magnitudes])
    return Example(gate, random.normal(size=gate.shape))


@gated.kink
def gated_kink(random: np.random.Generator) -> Example:
    return Example(np.zeros(3), random.normal(size=3), activation="relu")
