"""What the recurrences share: time ahead of the batch, a part of the steps at a time, and sums.

A step multiplies by the recurrent weights and no more. What concerns all steps alike, the product
with the input weights and the gradients of all weights, is computed for a part of the sequence at
once: of so many steps that the products are large, and so few that the part is in the cache still.
What is large is written where it stays: a loop's results by themselves would be zeros and a copy
first, and memory that is touched for the first time takes longer than what is computed into it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide, wide
from jnn.rules.core.chunks import fitting, room
from jnn.rules.core.halves import loop_dtype, moved
from jnn.xla.control import scan

ROWS = 512  # In a product, steps times samples: so many at least make it a fast one.


class Reading(NamedTuple):
    """How a sequence is read: from its first step, or from its last.

    Attributes:
      steps: of the sequence.
      reverse: whether from the last.
    """

    steps: int
    reverse: bool

    def part(self, a: jax.Array, first: Any, size: int) -> jax.Array:
        """Of (batch, time, ...) so many steps as they are read, (size, batch, ...)."""

        def cut(a: jax.Array, start: Any) -> jax.Array:
            return turned(lax.dynamic_slice_in_dim(a, start, size, 1), self.reverse)

        return moved(cut, a, self._start(first, size))

    def put(self, a: jax.Array, part: jax.Array, first: Any) -> jax.Array:
        """The inverse: the array with this part."""
        part = back(part.astype(a.dtype), self.reverse)
        return lax.dynamic_update_slice_in_dim(a, part, self._start(first, part.shape[1]), 1)

    def _start(self, first: Any, size: int) -> Any:
        return self.steps - first - size if self.reverse else first


def forwards(
    step: Callable[..., Any], start: tuple[jax.Array, ...], x: jax.Array, w: jax.Array,
    *, saves: int, reverse: bool, keep: int | None,
) -> tuple[jax.Array, Any, Any]:  # fmt: skip
    """All outputs, (batch, time, units); the last state; and what the backward is to have.

    That is of each step what `step(state, x w) -> state, saved` saves, `saves` numbers in arrays
    side by side, (time, batch, saves) in the order of reading; and the states before each part.
    With `keep` these alone. The first array of a state is the output.
    """
    reading, (batch, time) = Reading(x.shape[1], reverse), x.shape[:2]

    def part(carry: Any, first: Any, size: int, _: None) -> tuple[Any, Any]:
        state, y, saved = carry
        kept = tuple(s.astype(x.dtype) for s in (state if keep else state[1:]))
        u = product(reading.part(x, first, size), w)
        return _run(step, state, u, y, saved, reading, first), kept

    y = room((batch, time, start[0].shape[-1]), loop_dtype(x.dtype), x)
    saved = None if keep is not None else room((time, batch, saves), loop_dtype(x.dtype), x)
    if not time:
        return y, start, (saved, ())
    size = keep or _steps_at_once(x, w)
    (state, y, saved), kept = _over_time(part, (start, y, saved), time, size)
    y, saved = jax.tree.map(lambda a: a.astype(x.dtype), (y, saved))
    return y, state, (saved, kept)


def backwards(
    step: Callable[..., Any], pull: Callable[..., Any], carry: Any, x: jax.Array, w: jax.Array,
    y: Any, start: jax.Array, saved: Any, delta: jax.Array,
    *, saves: int, reverse: bool, keep: int | None,
) -> tuple[Any, jax.Array]:  # fmt: skip
    """What `pull(carry, x, h before each step, state, saved, delta) -> carry, dx` makes of parts.

    Args:
      step: that of `forwards`, which with `keep` runs again.
      pull: the backward of a part; its carry, which is also returned, is the cotangent of the
        state and the sums; `state` is what stands before the part, without the output.
      carry: what it starts from.
      x: inputs, (batch, time, features).
      w: the input weights.
      y: the outputs, without `keep`.
      start: the first output before any step.
      saved: by `forwards`.
      delta: the cotangent of y.
      saves: as in `forwards`.
      reverse: as in `forwards`.
      keep: as in `forwards`.
    """
    (batch, time), (saved, kept) = x.shape[:2], saved
    reading, dx = Reading(time, reverse), room(x.shape, loop_dtype(x.dtype), w)
    if not time:
        return carry, dx.astype(x.dtype)

    def again(state: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Outputs and savings of a part, in the order of reading."""
        size, units = len(x), state[0].shape[-1]
        shapes = (batch, size, units), (size, batch, saves)
        y, saved = (room(shape, loop_dtype(x.dtype), x) for shape in shapes)
        _, y, saved = _run(step, state, product(x, w), y, saved, Reading(size, False), 0)
        return turned(y, False).astype(x.dtype), saved

    def part(carry: Any, first: Any, size: int, state: Any) -> tuple[Any, None]:
        (sums, dx), of_x, state = carry, reading.part(x, first, size), tuple(map(as_wide, state))
        if keep is None:
            before = reading.part(y, jnp.maximum(first - 1, 0), 1)[0]
            before = jnp.where(first == 0, start.astype(x.dtype), before)
            h = reading.part(y, first, size)
            has = moved(lambda a, i: lax.dynamic_slice_in_dim(a, i, size), saved, first)
        else:
            h, has = again(state, of_x)
            before, *state = state
        h = jnp.concatenate([before[None].astype(x.dtype), h[:-1]])
        sums, more = pull(sums, of_x, h, state, has, reading.part(delta, first, size))
        return (sums, reading.put(dx, more, first)), None

    size = keep or _steps_at_once(x, w)
    (carry, dx), _ = _over_time(part, (carry, dx), time, size, kept, back=True)
    return carry, dx.astype(x.dtype)


def _steps_at_once(x: jax.Array, w: jax.Array) -> int:
    """How many steps make a part: what `x w` has of them fits."""
    batch, time, _ = x.shape
    each = batch * w.shape[1] * w.dtype.itemsize
    return fitting(time, each, least=ROWS // max(batch, 1))


def _run(
    step: Callable[..., Any], state: Any, u: jax.Array, y: jax.Array, saved: Any,
    reading: Reading, first: Any,
) -> tuple[Any, jax.Array, Any]:  # fmt: skip
    """Steps from `first` on: the state after them, and what they put into `y` and `saved`."""

    def turn(carry: Any, arrays: Any) -> tuple[Any, None]:
        (state, y, saves), (u, i) = carry, arrays
        state, pieces = step(state, u)
        y, column = reading.put(y, state[0][None], i), jnp.int32(0)
        for piece in () if saved is None else pieces:
            place = i, jnp.zeros_like(i), column
            saves = lax.dynamic_update_slice(saves, piece[None].astype(y.dtype), place)
            column += piece.shape[-1]
        return (state, y, saves), None

    places = first + jnp.arange(len(u), dtype=jnp.int32)
    return scan(turn, (state, y, saved), (u, places))[0]


def _over_time(
    part: Callable[..., Any], carry: Any, steps: int, size: int, each: Any = None,
    *, back: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """`part(carry, first step, steps, one) -> carry, results` over so many steps at a time.

    `each`, and the results, have one entry a part. Steps behind the last whole part are a shorter
    one. It begins with the first part, or at the back.
    """
    parts, rest = steps // size, steps % size
    last = jax.tree.map(lambda a: a[-1], each)

    def by_itself(carry: Any, first: int, size: int) -> tuple[Any, Any]:
        carry, result = part(carry, first, size, last)
        return carry, jax.tree.map(lambda a: a[None], result)

    if steps <= size:
        return by_itself(carry, 0, steps)
    ends = None
    if rest and back:
        carry, ends = by_itself(carry, steps - rest, rest)
    ahead = size * jnp.arange(parts, dtype=jnp.int32), jax.tree.map(lambda a: a[:parts], each)
    turn = lambda carry, one: part(carry, one[0], size, one[1])  # noqa: E731
    carry, results = scan(turn, carry, ahead, reverse=back)
    if rest and not back:
        carry, ends = by_itself(carry, steps - rest, rest)
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
    # Transposed by itself: the product of a copy takes half the time of one with a stride.
    x = lax.optimization_barrier(moved(jnp.transpose, x.reshape(-1, x.shape[-1])))
    return product(x, delta.reshape(-1, delta.shape[-1]).astype(x.dtype))


def slope(t: jax.Array) -> jax.Array:
    """The derivative of tanh where it is t, to the last digit also where t is nearly 1."""
    return (1 - t) * (1 + t)


def initial(state: jax.Array | None, x: jax.Array, units: int) -> jax.Array:
    """The state before the first step in the wide dtype, zeros where none is given."""
    if state is None:
        return jnp.zeros((x.shape[0], units), wide(x.dtype))
    return as_wide(state)


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
