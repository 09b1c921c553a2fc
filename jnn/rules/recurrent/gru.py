"""GRU over whole sequences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn.arithmetic import as_wide, wide
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
def gru(
    x: jax.Array,
    w: jax.Array,
    r: jax.Array,
    b: jax.Array | None = None,
    c: jax.Array | None = None,
    h0: jax.Array | None = None,
    *,
    reverse: bool = False,
    keep: int | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Gated recurrent unit: `(y, h)`, all outputs and the last state (M-52..55).

    With s the sigmoid, u the thirds of x w + b and v those of h r + c, for each step in turn

        p, q = s(u1 + v1), s(u2 + v2)
        n = tanh(u3 + p v3)
        h = (1 - q) n + q h

    and y has h of each step. The reset gate p weighs the recurrent bias as well, as in PyTorch, and
    the order of the gates is PyTorch's: `w` and `r` are its `weight_ih` and `weight_hh` transposed,
    b and c its `bias_ih` and `bias_hh`. The backward (M-56..60) has one product a step; the
    gradients of the weights are products over many steps.

    Saves: x, w, r, b, c, y, h0, 1 hidden tensor, which is the gates and v3 of each step; with
    `keep` not y and these, but the state before every k-th step.

    Args:
      x: inputs, (batch, time, features).
      w: input weights, (features, 3 units).
      r: recurrent weights, (units, 3 units).
      b: biases, (3 units,), or None.
      c: recurrent biases, (3 units,), or None.
      h0: the state before the first step, (batch, units); None for zeros.
      reverse: whether to read from the end of the time; y is in the order of x all the same, and
        the last state is that at time 0.
      keep: every how many steps the state is kept. What lies between is computed again in the
        backward, which costs one more forward; the square root of the time keeps least.

    >>> x, w, r = jnp.ones((8, 20, 3)), jnp.full((3, 12), 0.1), jnp.full((4, 12), 0.1)
    >>> y, h = jnn.rules.gru(x, w, r, reverse=True)
    >>> y.shape, h.shape, bool((y[:, 0] == h).all())
    ((8, 20, 4), (8, 4), True)
    """
    del keep  # It changes nothing but the backward.

    def step(state, u):
        (h,), u = state, jnp.split(u, 3, -1)
        v = jnp.split(biased(product(h, r), c), 3, -1)  # M-52
        p, q = lax.logistic(u[0] + v[0]), lax.logistic(u[1] + v[1])  # M-53
        n = jnp.tanh(u[2] + p * v[2])  # M-54
        h = (1 - q) * n + q * h  # M-55
        return (h,), h

    u = biased(product(turned(x, reverse), w), b)
    (h,), y = scan(step, (initial(h0, x, len(r)),), u)
    return back(y, reverse).astype(x.dtype), h.astype(x.dtype)


def _step(state, u, *, r, b, c):
    """One step; its gates, and the third of the recurrent product that the reset gate weighs."""
    (h,), units = state, len(r)
    u, v = biased(u, b), biased(product(h, r), c)  # M-52
    pq, v = lax.logistic((u + v)[:, : 2 * units]), v[:, 2 * units :]  # M-53
    n = jnp.tanh(u[:, 2 * units :] + pq[:, :units] * v)  # M-54
    return (n + pq[:, units:] * (h - n),), (pq, n, v)  # M-55


def _pull(carry, x, before, _, saved, delta, *, w, r):
    """The backward of some steps, `before` being h before each of them."""
    (dstate, dw, dr, db, dc), units = carry, r.shape[1]
    p, q, n, v = jnp.split(as_wide(saved), 4, -1)
    of_n = (1 - q) * slope(n)
    shared = [of_n * v * p * (1 - p), (as_wide(before) - n) * q * (1 - q)]
    of_v = jnp.concatenate([*shared, of_n * p], -1)

    def step(carry, arrays):
        (dh, all_dh), (k, of_v, q, delta) = carry, arrays
        dh = dh + as_wide(delta)
        dv = of_v * jnp.concatenate([dh, dh, dh], -1)  # M-57
        all_dh = lax.dynamic_update_index_in_dim(all_dh, dh, k, 0)
        return (dh * q + product(dv, r), all_dh), None  # M-58

    arrays = jnp.arange(len(x), dtype=jnp.int32), of_v, q, delta
    (*dstate, dh), _ = scan(step, (*dstate, of_n), arrays, reverse=True)
    recurrent = (of_v * jnp.concatenate([dh, dh, dh], -1)).astype(x.dtype)
    dn = (of_n * dh).astype(x.dtype)  # M-56
    d = jnp.concatenate([recurrent[..., : 2 * units], dn], -1)
    dw, dr = dw + summed(x, d), dr + summed(before, recurrent)  # M-59
    db, dc = db + as_wide(d).sum((0, 1)), dc + as_wide(recurrent).sum((0, 1))
    return (tuple(dstate), dw, dr, db, dc), product(d, w)  # M-60


@gru.forward
def gru_forward(x, w, r, b, c, h0, *, reverse, keep):
    step, saves = partial(_step, r=r, b=b, c=c), 4 * len(r)
    start = (initial(h0, x, len(r)),)
    y, (h,), saved = forwards(step, start, x, w, saves=saves, reverse=reverse, keep=keep)
    saved = x, w, r, b, c, *((y, h0) if keep is None else (None, None)), saved
    return (y, h.astype(x.dtype)), saved


@gru.backward
def gru_backward(saved, delta, *, reverse, keep):
    x, w, r, b, c, y, h0, saved = saved
    delta, dstate = delta
    zeros = (jnp.zeros(a.shape, wide(a.dtype)) for a in (w, r, r[0], r[0]))
    ((dh,), *sums), dx = backwards(
        partial(_step, r=r, b=b, c=c), partial(_pull, w=w.T, r=r.T),
        ((as_wide(dstate),), *zeros), x, w, y, initial(h0, x, len(r)), saved, delta,
        saves=4 * len(r), reverse=reverse, keep=keep,
    )  # fmt: skip
    return dx, *sums, dh


@gru.tangent
def gru_tangent(primals, tangents, *, reverse, keep):
    del keep
    (x, w, r, b, c, h0), (dx, dw, dr, db, dc, dh0) = primals, tangents
    xt, dxt = turned(x, reverse), turned(dx, reverse)
    u = biased(product(xt, w), b)
    du = biased(product(dxt, w) + product(xt, dw), db)

    def step(state, arrays):
        (h, dh), (u, du) = state, arrays
        v = biased(product(h, r), c)
        dv = biased(product(dh, r) + product(h, dr), dc)
        (u1, u2, u3), (v1, v2, v3) = jnp.split(u, 3, -1), jnp.split(v, 3, -1)
        (du1, du2, du3), (dv1, dv2, dv3) = jnp.split(du, 3, -1), jnp.split(dv, 3, -1)
        p, q = lax.logistic(u1 + v1), lax.logistic(u2 + v2)
        n = jnp.tanh(u3 + p * v3)
        dp, dq = p * (1 - p) * (du1 + dv1), q * (1 - q) * (du2 + dv2)
        dn = slope(n) * (du3 + dp * v3 + p * dv3)
        dh = dn + q * (dh - dn) + dq * (h - n)
        h = n + q * (h - n)
        return (h, dh), (h, dh)

    start = initial(h0, x, len(r)), initial(dh0, x, len(r))
    (h, dh), (y, dy) = scan(step, start, (u, du))
    y, dy = (back(a, reverse).astype(x.dtype) for a in (y, dy))
    return (y, h.astype(x.dtype)), (dy, dh.astype(x.dtype))


@gru.check
def gru_check(x, w, r, b, c, h0, *, reverse, keep):
    check_recurrence("gru", 3, x, w, r, reverse, keep, b=b, c=c, h0=h0)


def _example(biases: int = 2, states: int = 1, time: int | None = None, **settings):
    def make(random: np.random.Generator) -> Example:
        x, w, r, *others = drawn(random, 3, biases, states, time)
        b, c = (others.pop(0), others.pop(0)) if biases else (None, None)
        return Example(x, w, r, b, c, *(others or (None,)), **settings)

    return make


gru.example(_example())
gru.example(_example(biases=0, states=0, reverse=True))
gru.example(_example(keep=2, time=5))
gru.example(_example(states=0, keep=2, time=4, reverse=True))
gru.example(_example(biases=0, time=1))


@gru.extreme
def gru_extreme(random: np.random.Generator) -> Example:
    x, r = random.normal(size=(2, 3, 2)), random.normal(size=(2, 6))
    return Example(1e4 * x, random.normal(size=(2, 6)), r, None, None, 10 * x[:, 0])
