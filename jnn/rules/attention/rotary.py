"""Rotary positions: queries and keys turned by angles that grow with their places."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.core.rule import Example, rule


@rule
def rotary(x: jax.Array, positions: jax.Array, *, base: float = 10000.0) -> jax.Array:
    """Turns pairs of features by the angles `positions base^(-i / half)` (M-40, M-41).

    Feature i of the first half and feature i of the second are a pair, as in LLaMA and GPT-NeoX.
    Scores of queries and keys so turned depend on the difference of their places alone. A rotation
    is undone by its transpose, the rotation by the opposite angle (M-42):

        dx = delta, turned by minus the angles

    Angles are float32, or float64 if x is. Whole positions are multiplied in integers that count
    fractions of a turn, so that a place of a million is turned as accurately as the first.

    Saves: positions. They are constants: no gradient flows to them.

    Args:
      x: (batch, time, heads, size), of an even size.
      positions: (time,) or (batch, time), integers or floating.
      base: how slowly the last pairs turn.

    >>> x = jnp.ones((1, 3, 2, 4))
    >>> [round(float(a), 4) for a in jnn.rules.rotary(x, jnp.arange(3))[0, :, 0, 0]]
    [1.0, -0.3012, -1.3254]
    """
    angles = _angles(x.dtype, x.shape[-1], positions, base)
    a, b = jnp.split(as_wide(x), 2, axis=-1)
    return _joined(a, b, jnp.cos(angles), jnp.sin(angles)).astype(x.dtype)


@rotary.forward
def rotary_forward(x, positions, *, base):
    return rotary.parts.definition(x, positions, base=base), positions


@rotary.backward
def rotary_backward(positions, delta, *, base):
    angles = _angles(delta.dtype, delta.shape[-1], positions, base)
    a, b = jnp.split(as_wide(delta), 2, axis=-1)
    return _joined(a, b, jnp.cos(angles), -jnp.sin(angles)), None  # M-42


@rotary.tangent
def rotary_tangent(primals, tangents, *, base):
    (x, positions), (dx, _) = primals, tangents
    return tuple(rotary.parts.definition(each, positions, base=base) for each in (x, dx))


def _joined(a, b, cos, sin):
    cos, sin = jnp.broadcast_to(cos, a.shape), jnp.broadcast_to(sin, a.shape)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)  # M-40


def _angles(dtype, size, positions, base):
    """M-41 as (batch or 1, time, 1, half)."""
    half = size // 2
    rates = np.power(float(base), -np.arange(half) / max(half, 1))
    places = lax.stop_gradient(jnp.atleast_2d(positions))[:, :, None, None]
    if dtype == jnp.float64:
        return places.astype(dtype) * jnp.asarray(rates).reshape(1, 1, 1, half)
    if jnp.issubdtype(places.dtype, jnp.floating):
        return places.astype(jnp.float32) * jnp.asarray(rates, jnp.float32).reshape(1, 1, 1, half)
    # Turns modulo 1 as integers modulo 2^32, and eight bits below them.
    coarse, fine = np.divmod(np.round(rates / (2 * math.pi) * 2.0**40).astype(np.int64), 256)
    coarse = ((coarse + 2**31) % 2**32 - 2**31).astype(np.int32)
    coarse, fine = (each.astype(np.int32).reshape(1, 1, 1, half) for each in (coarse, fine))
    places = places.astype(jnp.int32)
    turns = places * coarse + ((places * fine) >> 8)
    return turns.astype(jnp.float32) * np.float32(2 * math.pi / 2.0**32)


@rotary.check
def rotary_check(x, positions, *, base):
    errors.floating("rotary", x=x)
    errors.rank("rotary", "x", x, 4)
    batch, time, _, size = x.shape
    if size % 2:
        errors.fail("rotary", "x", "of an even size", errors.describe(x),
                    "Features are turned in pairs, one of each half.")  # fmt: skip
    number = errors.is_floating(positions) or jnp.issubdtype(positions.dtype, jnp.integer)
    if positions.shape not in ((time,), (batch, time)) or not number:
        errors.fail("rotary", "positions", f"numbers of shape ({time},) or ({batch}, {time})",
                    errors.describe(positions), "For example jnp.arange(time).")  # fmt: skip
    errors.number("rotary", "base", base, low=1)


@rotary.example
def rotary_example(random: np.random.Generator) -> Example:
    batch, time, heads, half = random.integers(1, 4, 4)
    return Example(random.normal(size=(batch, time, heads, 2 * half)), np.arange(time))


@rotary.example
def rotary_example_of_rows(random: np.random.Generator) -> Example:
    x = random.normal(size=(2, 3, 2, 4))
    return Example(x, random.integers(0, 1000, (2, 3)), base=500.0)


@rotary.extreme
def rotary_extreme(random: np.random.Generator) -> Example:
    return Example(1e4 * random.normal(size=(1, 3, 1, 4)), np.array([0, 7, 65536]))
