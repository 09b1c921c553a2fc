"""LSTM over whole sequences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn.arithmetic import as_wide, wide
from jnn.rules.core.chunks import room
from jnn.rules.core.halves import loop_dtype
from jnn.rules.core.rule import Example, rule
from jnn.rules.recurrent.steps import (
    back,
    backwards,
    biased,
    check_recurrence,
    drawn,
    forwards,
    initial,
    product,
    slope,
    summed,
    turned,
)
from jnn.xla.control import scan


@rule
def lstm(
    x: jax.Array,
    w: jax.Array,
    r: jax.Array,
    b: jax.Array | None = None,
    h0: jax.Array | None = None,
    c0: jax.Array | None = None,
    *,
    reverse: bool = False,
    keep: int | None = None,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Long short-term memory: `(y, (h, c))`, all outputs and the last state (M-43..46).

    With s the sigmoid, for each step in turn

        i, f, g, o = s, s, tanh, s of the quarters of x w + b + h r
        c = f c + i g
        h = o tanh(c)

    and y has h of each step. Gates and their order are PyTorch's: `w` and `r` are its `weight_ih`
    and `weight_hh` transposed, b the sum of its two biases. The backward (M-47..51) has one
    product a step, `dh = delta r^T` with delta that of the gates; the gradients of the weights are
    products over many steps.

    Saves: x, w, r, b, y, h0, c0, 2 hidden tensors, which are the gates of each step, and c before
    every few; with `keep` not y and these, but the states before every k-th step.

    Args:
      x: inputs, (batch, time, features).
      w: input weights, (features, 4 units).
      r: recurrent weights, (units, 4 units).
      b: biases, (4 units,), or None.
      h0: the state before the first step, (batch, units); None for zeros.
      c0: likewise.
      reverse: whether to read from the end of the time; y is in the order of x all the same, and
        the last state is that at time 0.
      keep: every how many steps the state is kept. What lies between is computed again in the
        backward, which costs one more forward; the square root of the time keeps least.

    >>> x, w, r = jnp.ones((8, 20, 3)), jnp.full((3, 16), 0.1), jnp.full((4, 16), 0.1)
    >>> y, (h, c) = jnn.rules.lstm(x, w, r)
    >>> y.shape, h.shape, c.shape, bool((y[:, -1] == h).all())
    ((8, 20, 4), (8, 4), (8, 4), True)
    """
    del keep  # It changes nothing but the backward.

    def step(state, u):
        h, c = state
        i, f, g, o = jnp.split(u + product(h, r), 4, -1)  # M-43
        c = lax.logistic(f) * c + lax.logistic(i) * jnp.tanh(g)  # M-45
        h = lax.logistic(o) * jnp.tanh(c)  # M-46
        return (h, c), h

    start = initial(h0, x, len(r)), initial(c0, x, len(r))
    state, y = scan(step, start, biased(product(turned(x, reverse), w), b))
    h, c = (s.astype(x.dtype) for s in state)
    return back(y, reverse).astype(x.dtype), (h, c)


def _step(state, u, *, r, b):
    """One step, and its gates."""
    h, c = state
    z, n = biased(u + product(h, r), b), len(r)  # M-43
    i_f, g, o = lax.logistic(z[:, : 2 * n]), jnp.tanh(z[:, 2 * n : 3 * n]), z[:, 3 * n :]
    o = lax.logistic(o)  # M-44
    c = i_f[:, n:] * c + i_f[:, :n] * g  # M-45
    return (o * jnp.tanh(c), c), (i_f, g, o)  # M-46


def _pull(carry, x, before, state, gates, delta, *, w, r):
    """The backward of some steps: `before` is h before each, `state` is c before the first."""
    dstate, sums, db = carry
    i, f, g, o = jnp.split(as_wide(gates), 4, -1)
    c, after = _cells(state[0], f, i * g)
    t = jnp.tanh(after)
    of_c = o * slope(t)
    of_z = [g * i * (1 - i), c * f * (1 - f), i * slope(g), t * o * (1 - o)]
    of_z = jnp.concatenate(of_z, -1)

    def step(carry, arrays):
        (dh, dc, d), (k, of_c, of_z, f, delta) = carry, arrays
        dh = dh + as_wide(delta)
        dc = dc + dh * of_c  # M-47
        dz = of_z * jnp.concatenate([dc, dc, dc, dh], -1)  # M-48
        dz = dz.astype(x.dtype).astype(d.dtype)
        return (product(dz, r), dc * f, lax.dynamic_update_index_in_dim(d, dz, k, 0)), None  # M-49

    arrays = jnp.arange(len(x), dtype=jnp.int32), of_c, of_z, f, delta
    carry = *dstate, room(of_z.shape, loop_dtype(x.dtype), w)
    (*dstate, d), _ = scan(step, carry, arrays, reverse=True)
    sums = sums + summed(jnp.concatenate([x, before], -1), d)  # M-50
    return (tuple(dstate), sums, db + as_wide(d).sum((0, 1))), product(d, w)  # M-51


def _cells(c, f, added):
    """The cells before each of some steps, and after."""

    def step(c, arrays):
        f, added = arrays
        c = f * c + added  # M-45
        return c, c

    _, after = scan(step, c, (f, added))
    return jnp.concatenate([c[None], after[:-1]]), after


@lstm.forward
def lstm_forward(x, w, r, b, h0, c0, *, reverse, keep):
    start = initial(h0, x, len(r)), initial(c0, x, len(r))
    step, saves = partial(_step, r=r, b=b), r.shape[1]
    y, state, saved = forwards(step, start, x, w, saves=saves, reverse=reverse, keep=keep)
    h, c = (s.astype(x.dtype) for s in state)
    return (y, (h, c)), (x, w, r, b, *((y, h0) if keep is None else (None, None)), saved)


@lstm.backward
def lstm_backward(saved, delta, *, reverse, keep):
    x, w, r, b, y, h0, saved = saved
    delta, dstate = delta
    zeros = (jnp.zeros((*n, r.shape[1]), wide(x.dtype)) for n in ((len(w) + len(r),), ()))
    carry, dx = backwards(
        partial(_step, r=r, b=b), partial(_pull, w=w.T, r=r.T),
        (jax.tree.map(as_wide, dstate), *zeros), x, w, y, initial(h0, x, len(r)), saved, delta,
        saves=r.shape[1], reverse=reverse, keep=keep,
    )  # fmt: skip
    (dh, dc), sums, db = carry
    return dx, sums[: len(w)], sums[len(w) :], db, dh, dc


@lstm.tangent
def lstm_tangent(primals, tangents, *, reverse, keep):
    del keep
    (x, w, r, b, h0, c0), (dx, dw, dr, db, dh, dc) = primals, tangents
    xt, dxt = turned(x, reverse), turned(dx, reverse)
    u = biased(product(xt, w), b)
    du = biased(product(dxt, w) + product(xt, dw), db)

    def step(state, arrays):
        (h, c, dh, dc), (u, du) = state, arrays
        i, f, g, o = jnp.split(u + product(h, r), 4, -1)
        di, df, dg, do = jnp.split(du + product(dh, r) + product(h, dr), 4, -1)
        i, f, g, o = lax.logistic(i), lax.logistic(f), jnp.tanh(g), lax.logistic(o)
        dc = f * (1 - f) * df * c + f * dc + i * (1 - i) * di * g + i * slope(g) * dg
        c = f * c + i * g
        t = jnp.tanh(c)
        dh = o * (1 - o) * do * t + o * slope(t) * dc
        return (o * t, c, dh, dc), (o * t, dh)

    start = (initial(s, x, len(r)) for s in (h0, c0, dh, dc))
    (h, c, dh, dc), (y, dy) = scan(step, tuple(start), (u, du))
    y, dy = (back(a, reverse).astype(x.dtype) for a in (y, dy))
    h, c, dh, dc = (a.astype(x.dtype) for a in (h, c, dh, dc))
    return (y, (h, c)), (dy, (dh, dc))


@lstm.check
def lstm_check(x, w, r, b, h0, c0, *, reverse, keep):
    check_recurrence("lstm", 4, x, w, r, reverse, keep, b=b, h0=h0, c0=c0)


def _example(biases: int = 1, states: int = 2, time: int | None = None, **settings):
    def make(random: np.random.Generator) -> Example:
        x, w, r, *others = drawn(random, 4, biases, states, time)
        b = others.pop(0) if biases else None
        return Example(x, w, r, b, *(others or (None, None)), **settings)

    return make


lstm.example(_example())
lstm.example(_example(biases=0, states=0, reverse=True))
lstm.example(_example(keep=2, time=5))
lstm.example(_example(states=0, keep=2, time=4, reverse=True))
lstm.example(_example(biases=0, time=1))


@lstm.extreme
def lstm_extreme(random: np.random.Generator) -> Example:
    x, r = random.normal(size=(2, 3, 2)), random.normal(size=(2, 8))
    return Example(1e4 * x, random.normal(size=(2, 8)), r, None, None, 10 * x[:, 0])
