"""What the recurrences share: time ahead of the batch, a few steps at a time, and their sums.

A step multiplies by the recurrent weights and no more. What concerns all steps alike, the product
with the input weights and the gradients of all weights, is computed for a part of the sequence at
once: of so many steps that the products are large, and so few that the part is in the cache still.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.arithmetic import as_wide, wide
from jnn.xla.control import scan

ROWS = 512  # In a product, steps times samples: large enough for it to be a fast one.


def steps_at_once(steps: int, batch: int) -> int:
    """How many steps make a part: all parts of one size, if it can be.

    >>> from jnn.rules.recurrent.steps import steps_at_once
    >>> steps_at_once(128, 64), steps_at_once(130, 64), steps_at_once(20, 1)
    (8, 10, 20)
    """
    least = max(1, min(steps, ROWS // max(batch, 1)))
    even = [n for n in range(least, min(2 * least, steps) + 1) if steps % n == 0]
    return even[0] if even else least


def forwards(
    part: Callable[..., Any], start: Any, x: jax.Array, *, reverse: bool, keep: int | None
) -> tuple[jax.Array, Any, Any]:
    """All outputs, (batch, time, units); the last state; and what the backward is to have.

    That is what `part(state, x) -> state, (h, saved)` saves of its steps; with `keep`, the state
    before each part alone.
    """

    def saving(state: Any, x: jax.Array, _: None) -> tuple[Any, Any]:
        after, (h, saved) = part(state, x)
        if keep is not None:
            saved = jax.tree.map(lambda s: s[None].astype(x.dtype), state)
        return after, (h, saved)

    size = keep or steps_at_once(x.shape[1], x.shape[0])
    state, (h, saved) = _over_time(saving, start, turned(x, reverse), None, size)
    return back(h, reverse), state, saved


def backwards(
    part: Callable[..., Any], pull: Callable[..., Any], carry: Any,
    x: jax.Array, y: jax.Array | None, first: jax.Array, saved: Any, delta: jax.Array,
    *, reverse: bool, keep: int | None,
) -> tuple[Any, jax.Array]:  # fmt: skip
    """What `pull(carry, x, h before each step, saved, delta) -> carry, dx` makes, part by part.

    Args:
      part: that of `forwards`, which with `keep` computes again what it did not save.
      pull: the backward of a part; its carry, which is also returned, is the cotangent of the
        state and the sums.
      carry: what it starts from.
      x: inputs, (batch, time, features).
      y: the outputs, without `keep`.
      first: the first output before any step.
      saved: by `forwards`.
      delta: the cotangent of y.
      reverse: as in `forwards`.
      keep: as in `forwards`.
    """
    x, delta = turned(x, reverse), turned(delta, reverse)
    if keep is None:
        assert y is not None
        arrays = x, before(turned(y, reverse), first), saved, delta
        size = steps_at_once(*delta.shape[:2])
        carry, dx = _over_time(lambda c, a, _: pull(c, *a), carry, arrays, None, size, back=True)
        return carry, back(dx, reverse)

    def again(carry: Any, arrays: Any, state: Any) -> tuple[Any, jax.Array]:
        x, delta = arrays
        state = jax.tree.map(as_wide, state)
        _, (h, saved) = part(state, x)
        return pull(carry, x, before(h, state[0]), saved, delta)

    carry, dx = _over_time(again, carry, (x, delta), saved, keep, back=True)
    return carry, back(dx, reverse)


def _over_time(
    part: Callable[..., Any], carry: Any, arrays: Any, each: Any, size: int, *, back: bool = False
) -> tuple[Any, Any]:
    """`part(carry, arrays, one) -> carry, results` over so many steps at a time.

    Arrays and results are (steps, ...); `each` has one entry a part. Steps behind the last
    whole part are a shorter one. It begins with the first part, or at the back.
    """
    steps = jax.tree.leaves(arrays)[0].shape[0]
    parts, rest = steps // size, steps % size
    last = jax.tree.map(lambda a: a[-1], each)
    if steps <= size:
        return part(carry, arrays, last)
    ahead = jax.tree.map(lambda a: a[: steps - rest].reshape(-1, size, *a.shape[1:]), arrays)
    behind = jax.tree.map(lambda a: a[steps - rest :], arrays)
    pairs = ahead, jax.tree.map(lambda a: a[:parts], each)
    ends = None
    if rest and back:
        carry, ends = part(carry, behind, last)
    carry, results = scan(lambda c, pair: part(c, *pair), carry, pairs, reverse=back)
    if rest and not back:
        carry, ends = part(carry, behind, last)
    results = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), results)
    if ends is not None:
        results = jax.tree.map(lambda *both: jnp.concatenate(both), results, ends)
    return carry, results


def turned(x: jax.Array, reverse: bool) -> jax.Array:
    """(batch, time, ...) as (time, batch, ...) in the order in which it is read; and back."""
    return jnp.swapaxes(jnp.flip(x, 1) if reverse else x, 0, 1)


def back(y: jax.Array, reverse: bool) -> jax.Array:
    """The inverse of `turned`."""
    y = jnp.swapaxes(y, 0, 1)
    return jnp.flip(y, 1) if reverse else y


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """`a b` over the last axis of a, in the dtype of b; accumulated and given in the wide one."""
    return jnp.tensordot(a.astype(b.dtype), b, 1, preferred_element_type=wide(b.dtype))


def biased(z: jax.Array, b: jax.Array | None) -> jax.Array:
    """`z + b`, for a b that may be absent."""
    return z if b is None else z + jnp.broadcast_to(as_wide(b), z.shape)


def summed(x: jax.Array, delta: jax.Array) -> jax.Array:
    """The sum over steps and samples of `x^T delta`, in the wide dtype."""
    both = ((0, 1), (0, 1))
    return jnp.tensordot(x, delta.astype(x.dtype), both, preferred_element_type=wide(x.dtype))


def slope(t: jax.Array) -> jax.Array:
    """The derivative of tanh where it is t, to the last digit also where t is nearly 1."""
    return (1 - t) * (1 + t)


def initial(state: jax.Array | None, x: jax.Array, units: int) -> jax.Array:
    """The state before the first step in the wide dtype, zeros where none is given."""
    if state is None:
        return jnp.zeros((x.shape[0], units), wide(x.dtype))
    return as_wide(state)


def before(h: jax.Array, first: jax.Array) -> jax.Array:
    """What each step starts from: of (time, ...), all one step later, behind the first."""
    return jnp.concatenate([first[None].astype(h.dtype), h[:-1]]) if len(h) else h


def check_recurrence(
    function: str, gates: int, x: Any, w: Any, r: Any, reverse: Any, keep: Any, **others: Any
) -> None:
    """The arguments of a recurrence fit together: `others` are biases and initial states."""
    others = {name: a for name, a in others.items() if a is not None}
    errors.floating(function, x=x, w=w, r=r, **others)
    errors.rank(function, "x", x, 3)
    errors.rank(function, "r", r, 2)
    units = r.shape[0]
    errors.shape(function, "r", r, (units, gates * units), f"{gates} gates, side by side.")
    errors.shape(function, "w", w, (x.shape[-1], gates * units), "Weights are (in, out).")
    for name, a in others.items():
        if name.endswith("0"):
            errors.shape(function, name, a, (x.shape[0], units), "One state a sample.")
        else:
            errors.shape(function, name, a, (gates * units,), "One bias a gate and unit.")
    errors.choice(function, "reverse", reverse, (False, True))
    if keep is not None:
        errors.positive_integer(function, "keep", keep)


def drawn(
    random: np.random.Generator, gates: int, biases: int, states: int, time: int | None = None
) -> list[np.ndarray]:
    """Arguments to try a recurrence on: x, w, r, and so many biases and states."""
    batch, steps, features, units = random.integers(1, 4, 4)
    steps = steps + 1 if time is None else time
    shapes = [(batch, steps, features), (features, gates * units), (units, gates * units)]
    shapes += [(gates * units,)] * biases + [(batch, units)] * states
    return [random.normal(size=shape) for shape in shapes]
