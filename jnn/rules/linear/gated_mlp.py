"""The gated network of two layers that stands in transformers, as one rule over rows."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide, wide
from jnn.rules.core.chunks import chunked, fitting
from jnn.rules.core.rule import Example, Rule, rule
from jnn.rules.core.sharded import own
from jnn.rules.pointwise import gated as gates
from jnn.xla.platform import is_for

ROWS = 512  # At least so many at a time: each chunk reads all weights, and adds to all their sums.


@rule
def gated_mlp(
    x: jax.Array,
    w_gate: jax.Array,
    w_up: jax.Array,
    w_down: jax.Array,
    b_gate: jax.Array | None = None,
    b_up: jax.Array | None = None,
    b_down: jax.Array | None = None,
    *,
    activation: str | Rule = "silu",
) -> jax.Array:
    """Two layers with a gate between, `y = (f(gate) up) w_down`, of LLaMA and its like (M-86).

    Where `gate = x w_gate`, `up = x w_up`, each with its biases if it has any. With the cotangent
    delta, and sums over the rows (M-87..89),

        dh = delta w_down^T    dgate = f'(gate) up dh    dup = f(gate) dh
        dx = dgate w_gate^T + dup w_up^T
        dw_gate = x^T dgate    dw_up = x^T dup    dw_down = (f(gate) up)^T delta

    At a kink of f the slope is the one that f chooses. What lies between the products is computed
    for some rows at a time, and is in memory for these alone.

    Saves: x, w_gate, w_up, w_down, 2 hidden tensors, gate and up. Autodiff saves four or five.

    Args:
      x: inputs, (..., n).
      w_gate: weights of the gate, (n, hidden).
      w_up: weights of what passes it, (n, hidden).
      w_down: weights behind it, (hidden, m).
      b_gate: biases of the gate, (hidden,), or None.
      b_up: biases of what passes, (hidden,), or None.
      b_down: biases behind the gate, (m,), or None.
      activation: the name of an elementwise rule, or the rule; for names of gates see `gated`.

    >>> x, w = jnp.ones((5, 2)), jnp.ones((2, 3))
    >>> jnn.rules.gated_mlp(x, w, 2 * w, w.T, activation="relu")[0].tolist()
    [24.0, 24.0]
    """
    weights = (w_gate, w_up, w_down), (b_gate, b_up, b_down)
    return _of_rows(x, *weights, activation)[0]


@gated_mlp.forward
def gated_mlp_forward(x, w_gate, w_up, w_down, b_gate, b_up, b_down, *, activation):
    weights = (w_gate, w_up, w_down), (b_gate, b_up, b_down)

    def part(x):
        return _of_rows(x, *weights, activation), ()  # M-86

    (y, gate, up), _ = chunked(part, (_rows(x),), _at_a_time(x, w_gate))
    return y.reshape(*x.shape[:-1], y.shape[-1]), (x, *weights[0], gate, up)


@gated_mlp.backward
def gated_mlp_backward(saved, delta, *, activation):
    x, w_gate, w_up, w_down, gate, up = saved

    def part(x, gate, up, delta):
        dh = _product(delta, w_down.T)  # M-87
        again = x
        if not is_for("cpu"):  # In memory as narrow as the rest, and no copy of two side by side.
            dh, again = dh.astype(x.dtype), lax.optimization_barrier(x)
        dgate, dup = gates.gate_cotangents(gate, up, dh, activation)  # M-84, M-85
        dgate, dup = dgate.astype(x.dtype), dup.astype(x.dtype)
        dx = _product(dgate, w_gate.T) + _product(dup, w_up.T)  # M-88
        h = gates.gated_forward(gate, up, activation=activation)[0]
        pairs = (x, dgate), (again, dup), (h, delta)
        dw = [_product(a.T, d) for a, d in pairs]  # M-89, and the sums of biases
        return dx.astype(x.dtype), (*dw, *(d.sum(0, dtype=dx.dtype) for _, d in pairs))

    rows = _rows(x), gate, up, _rows(delta)
    dx, sums = chunked(part, rows, _at_a_time(x, w_gate))
    return dx.reshape(x.shape), *sums


@gated_mlp.tangent
def gated_mlp_tangent(primals, tangents, *, activation):
    (x, w_gate, w_up, w_down, *b), (dx, dw_gate, dw_up, dw_down, *db) = primals, tangents
    moves = []
    for w, dw, c, dc in ((w_gate, dw_gate, b[0], db[0]), (w_up, dw_up, b[1], db[1])):
        dz = _product(dx, w) + _product(x, dw)
        dz = dz if c is None else _plus(dz, dc)
        moves.append((_affine(x, w, c), dz.astype(x.dtype)))
    h, dh = gates.gated_tangent(*zip(*moves, strict=True), activation=activation)
    dy = _product(dh, w_down) + _product(h, dw_down)
    dy = dy if b[2] is None else _plus(dy, db[2])
    return _affine(h, w_down, b[2]), dy.astype(x.dtype)


@gated_mlp.check
def gated_mlp_check(x, w_gate, w_up, w_down, b_gate, b_up, b_down, *, activation):
    gates.check_gate("gated_mlp", w_gate, w_up, activation)
    biases = {"b_gate": b_gate, "b_up": b_up, "b_down": b_down}
    given = {name: b for name, b in biases.items() if b is not None}
    errors.floating("gated_mlp", x=x, w_gate=w_gate, w_down=w_down, **given)
    errors.rank("gated_mlp", "w_gate", w_gate, 2)
    errors.rank("gated_mlp", "w_down", w_down, 2)
    if x.shape[-1:] != w_gate.shape[:1]:
        expected = f"of shape (..., {w_gate.shape[0]}) to fit `w_gate` {errors.describe(w_gate)}"
        errors.fail("gated_mlp", "x", expected, errors.describe(x), "Weights are (in, out).")
    if w_down.shape[0] != w_gate.shape[1]:
        expected = f"of shape ({w_gate.shape[1]}, m) to fit `w_gate` {errors.describe(w_gate)}"
        errors.fail("gated_mlp", "w_down", expected, errors.describe(w_down))
    for name, b in given.items():
        n = (w_down if name == "b_down" else w_gate).shape[1:]
        errors.shape("gated_mlp", name, b, n, "One bias a unit.")


def _of_rows(x: jax.Array, w: Any, b: Any, activation: str | Rule) -> tuple[jax.Array, ...]:
    """Output, gate and up."""
    gate, up = _affine(x, w[0], b[0]), _affine(x, w[1], b[1])
    h = gates.gated.parts.definition(gate, up, activation=activation)
    return _affine(h, w[2], b[2]), gate, up


def _affine(x: jax.Array, w: jax.Array, b: jax.Array | None) -> jax.Array:
    z = _product(x, w)
    return (z if b is None else _plus(z, b)).astype(x.dtype)


def _plus(z: jax.Array, b: jax.Array) -> jax.Array:
    return z + jnp.broadcast_to(as_wide(b), z.shape)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    """The product of matrices, still in the dtype in which it is summed."""
    return jnp.tensordot(a, b, 1, preferred_element_type=wide(a.dtype))


def _rows(x: jax.Array) -> jax.Array:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _at_a_time(x: jax.Array, w: jax.Array) -> int:
    rows = math.prod(x.shape[:-1])
    return fitting(own(rows), w.shape[1] * w.dtype.itemsize, least=ROWS)


def _example(activation: str, biases: str):
    def make(random: np.random.Generator) -> Example:
        *batch, n, hidden, m = random.integers(1, 5, random.integers(4, 6))
        w_gate, w_up = random.normal(size=(2, n, hidden))
        sizes = {"b_gate": hidden, "b_up": hidden, "b_down": m}
        b = {name: random.normal(size=size) for name, size in sizes.items() if name in biases}
        return Example(
            random.normal(size=(*batch, n)), w_gate, w_up, random.normal(size=(hidden, m)),
            *map(b.get, sizes), activation=activation,
        )  # fmt: skip

    return make


for _activation, _biases in (
    ("silu", ""),
    ("gelu", "b_gate b_up b_down"),
    ("sigmoid", "b_gate"),
    ("identity", "b_up"),
):
    gated_mlp.example(_example(_activation, _biases))


@gated_mlp.extreme
def gated_mlp_extreme(random: np.random.Generator) -> Example:
    x = 1e3 * np.array([[1.0, -1], [-1, 1], [1e-9, 0], [1, 1]])
    w_gate, w_up = np.array([[1.0, 0, 1e-2], [0, 1, -1e-2]]), random.normal(size=(2, 3)) / 1e3
    return Example(x, w_gate, w_up, random.normal(size=(3, 2)))
