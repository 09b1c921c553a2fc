"""LSTM and GRU: loops, kept states, directions, sizes, devices, memory, and planted errors."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

import jnn
from jnn.rules import Example, registry
from jnn.rules.core import chunks
from jnn.rules.recurrent import steps
from jnn.verify import check
from tests.rules.recurrences import BY_LOOPS, arguments

BOTH = pytest.mark.parametrize("name", ["lstm", "gru"])


def given(args):
    return tuple(i for i, a in enumerate(args) if a is not None)


def value_and_pulled(function, args, dtype: Any = np.float64):
    """The value and the cotangents in all arguments that are there, in one list."""
    with jax.enable_x64(True):
        args = [None if a is None else jnp.asarray(a, dtype) for a in args]
        places = given(args)

        def of(*floats):
            full = list(args)
            for i, a in zip(places, floats, strict=True):
                full[i] = a
            return function(*full)

        @jax.jit
        def both(*floats):
            y, pull = jax.vjp(of, *floats)
            random = np.random.default_rng(2)
            delta = jax.tree.map(lambda a: jnp.asarray(random.normal(size=a.shape), a.dtype), y)
            return *jax.tree.leaves(y), *pull(delta)

        return [np.asarray(a, np.float64) for a in both(*(args[i] for i in places))]


def same(got, want, rtol=1e-11, atol=1e-12):
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=rtol, atol=atol)


@BOTH
@pytest.mark.parametrize(
    ("some", "reverse"),
    [({}, False), ({"biases": False}, True), ({"states": False}, True), ({"time": 1}, False),
     ({"batch": 1, "units": 1}, False)],
)  # fmt: skip
def test_values_equal_loops(random, name, some, reverse):
    args = arguments(random, name, **some)
    want = jax.tree.leaves(BY_LOOPS[name](*args, reverse=reverse))
    got = value_and_pulled(partial(registry[name], reverse=reverse), args)
    same(got[: len(want)], want)


@BOTH
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_equal_differences_of_the_loops(random, name, reverse):
    """Central differences of the NumPy loops, entry by entry, in the direction of all outputs."""
    args = arguments(random, name, batch=2, time=3, features=2, units=2)
    outputs = jax.tree.leaves(BY_LOOPS[name](*args, reverse=reverse))
    pulled = value_and_pulled(partial(registry[name], reverse=reverse), args)[len(outputs) :]
    draw = np.random.default_rng(2)
    delta = [draw.normal(size=y.shape) for y in outputs]

    def slope(argument, place):
        values = []
        for sign in (1, -1):
            moved = [a.copy() for a in args]
            moved[argument][place] += sign * 1e-6
            ys = jax.tree.leaves(BY_LOOPS[name](*moved, reverse=reverse))
            values.append(sum((d * y).sum() for d, y in zip(delta, ys, strict=True)))
        return (values[0] - values[1]) / 2e-6

    for argument, g in enumerate(pulled):
        for place in np.ndindex(g.shape):
            np.testing.assert_allclose(g[place], slope(argument, place), rtol=2e-6, atol=1e-8)


@BOTH
@pytest.mark.parametrize(("keep", "reverse"), [(1, False), (3, True), (7, False), (100, True)])
def test_kept_states_change_nothing(random, name, reverse, keep):
    args = arguments(random, name, time=7)
    rule = registry[name]
    want = value_and_pulled(partial(rule, reverse=reverse), args)
    same(value_and_pulled(partial(rule, reverse=reverse, keep=keep), args), want)


@BOTH
@pytest.mark.parametrize("time", [6, 7])
def test_parts_of_the_sequence_change_nothing(monkeypatch, random, name, time):
    """In parts of 2 steps, where the last may be shorter, as in one."""
    args = arguments(random, name, time=time)
    want = value_and_pulled(registry[name], args)
    monkeypatch.setattr(steps, "ROWS", 6)
    monkeypatch.setattr(chunks, "CACHE", 1)
    same(value_and_pulled(registry[name].replace(), args), want)


@BOTH
def test_reverse_is_the_rule_of_the_time_turned(random, name):
    args = arguments(random, name)
    y, end = registry[name](*map(jnp.float32, args))
    turned = [np.flip(args[0], 1), *args[1:]]
    y2, end2 = registry[name](*map(jnp.float32, turned), reverse=True)
    same(jax.tree.leaves((y, end)), jax.tree.leaves((jnp.flip(y2, 1), end2)), rtol=1e-6, atol=1e-6)
    last = end[0] if name == "lstm" else end
    np.testing.assert_array_equal(y[:, -1], last)


@BOTH
def test_a_sequence_may_be_read_in_two_halves(random, name):
    """The state that ends the first begins the second."""
    x, w, r, *rest = map(jnp.float32, arguments(random, name, time=6))
    biases, states = (rest[:1], rest[1:]) if name == "lstm" else (rest[:2], rest[2:])
    y, end = registry[name](x, w, r, *biases, *states)
    first, middle = registry[name](x[:, :4], w, r, *biases, *states)
    second, last = registry[name](x[:, 4:], w, r, *biases, *jax.tree.leaves(middle))
    same([jnp.concatenate([first, second], 1), *jax.tree.leaves(last)],
         [y, *jax.tree.leaves(end)], rtol=1e-6, atol=1e-6)  # fmt: skip


@BOTH
def test_no_time_and_no_batch(random, name):
    for batch, time in ((3, 0), (0, 5)):
        args = arguments(random, name, batch, time)
        y, end, *pulled = value_and_pulled(lambda *a: jax.tree.leaves(registry[name](*a))[:2], args)
        assert y.size == 0
        assert [g.shape for g in pulled] == [a.shape for a in args]
        if not args[0].shape[1]:
            np.testing.assert_array_equal(end, args[4] if name == "lstm" else args[5])


@BOTH
@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16])
def test_half_precision_accumulates_in_float32(random, name, dtype):
    """200 steps of 64 samples: sums of 12800 terms, within what rounding the terms leaves."""
    args = arguments(random, name, batch=64, time=200, units=3)
    args = [np.asarray(jnp.asarray(0.3 * a, dtype), np.float64) for a in args]
    want = value_and_pulled(registry[name], args)
    got = value_and_pulled(registry[name], args, dtype=dtype)
    epsilon = float(jnp.finfo(dtype).eps)
    for g, w in zip(got, want, strict=True):
        assert np.abs(g - w).max() <= 8 * epsilon * np.abs(w).max()


@BOTH
def test_saturated_gates_are_right(random, name):
    """Of pre-activations of 1e4 no NaN, and of the forget gate's tail its few digits."""
    args = [1e4 * a if i == 1 else a for i, a in enumerate(arguments(random, name))]
    for array in value_and_pulled(registry[name], args, dtype=np.float32):
        assert np.isfinite(array).all()
    if name == "lstm":
        x, w, r = np.zeros((1, 1, 1)), np.zeros((1, 4)), np.zeros((1, 4))
        b, c0 = np.array([-100.0, -30.0, 0.0, 50.0]), np.ones((1, 1))
        _, (_, c) = jnn.rules.lstm(*map(jnp.float32, (x, w, r, b, 0 * c0, c0)))
        np.testing.assert_allclose(c, np.exp(-30.0), rtol=1e-6)


@BOTH
def test_mapped_and_compiled(random, name):
    args = list(map(jnp.float32, arguments(random, name)))

    def loss(*args):
        return sum(jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(registry[name](*args)))

    every = tuple(range(len(args)))
    want = jax.grad(loss, every)(*args)
    same(jax.jit(jax.grad(loss, every))(*args), want, rtol=1e-5, atol=1e-6)
    axes = [0] + [None] * 2 + [0 if a.ndim == 2 else None for a in args[3:]]
    apart = [a[:, None] if axis == 0 else a for a, axis in zip(args, axes, strict=True)]
    got = jax.jit(jax.vmap(jax.grad(loss, every), axes))(*apart)
    got = [g.reshape(a.shape) if axis == 0 else g.sum(0)
           for g, a, axis in zip(got, args, axes, strict=True)]  # fmt: skip
    same(got, want, rtol=1e-5, atol=1e-5)


@BOTH
@pytest.mark.parametrize("keep", [None, 2])
def test_eight_devices_share_the_batch(random, name, keep):
    args = list(map(jnp.float32, arguments(random, name, batch=16)))
    split = [a.ndim == 3 or (a.ndim == 2 and i > 2) for i, a in enumerate(args)]
    specs = tuple(PartitionSpec("batch") if s else PartitionSpec() for s in split)
    mesh = jax.make_mesh((8,), ("batch",), (AxisType.Auto,))

    def gradients(*args):
        def total(*args):
            ends = registry[name](*args, keep=keep)
            return sum(jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(ends))

        return jax.grad(total, tuple(range(len(args))))(*args)

    got = jax.jit(jax.shard_map(gradients, mesh=mesh, in_specs=specs, out_specs=specs))(*args)
    same(got, jax.jit(gradients)(*args), rtol=1e-5, atol=1e-5)


@BOTH
def test_bad_input_says_what_was_expected(name):
    gates = 4 if name == "lstm" else 3
    x, w, r = jnp.ones((2, 5, 3)), jnp.ones((3, gates * 4)), jnp.ones((4, gates * 4))
    rule = registry[name]
    with pytest.raises(ValueError, match=f"{name}: `x` must be an array of rank 3"):
        rule(x[0], w, r)
    with pytest.raises(ValueError, match=f"`r` must be of shape \\(3, {gates * 3}\\)"):
        rule(x, w, r[:3])
    with pytest.raises(ValueError, match=f"`w` must be of shape \\(3, {gates * 4}\\)"):
        rule(x, w[:2], r)
    with pytest.raises(ValueError, match=f"`b` must be of shape \\({gates * 4},\\)"):
        rule(x, w, r, jnp.ones(4))
    with pytest.raises(ValueError, match="`h0` must be of shape \\(2, 4\\)"):
        rule(x, w, r, h0=jnp.ones((3, 4)))
    with pytest.raises(ValueError, match="`keep` must be a positive integer"):
        rule(x, w, r, keep=0)
    with pytest.raises(ValueError, match="`reverse`"):
        rule(x, w, r, reverse="yes")
    with pytest.raises(TypeError, match="`w` must be of the dtype of `x`"):
        rule(x, w.astype(jnp.bfloat16), r)


@BOTH
def test_what_is_saved(name):
    """At most 0.6 of autodiff's residuals; of 4096 steps with kept states a tenth of our own."""
    gates = 4 if name == "lstm" else 3
    of = jax.ShapeDtypeStruct

    def saved(batch, time, n, **settings):
        x = of((batch, time, n), jnp.float32)
        w = of((n, gates * n), jnp.float32)
        b = of((gates * n,), jnp.float32)
        return jnn.residuals(lambda x, w, r, b: registry[name](x, w, r, b, **settings)[0],
                             x, w, w, b)  # fmt: skip

    ledger = saved(64, 128, 256)
    kinds = ("new", "output")
    assert ledger.bytes("hand", *kinds) <= 0.6 * ledger.bytes("autodiff", *kinds)
    every, some = saved(4, 4096, 64), saved(4, 4096, 64, keep=64)
    assert some.bytes("hand", *kinds) <= 0.1 * every.bytes("hand", *kinds)


@pytest.mark.compiler
@BOTH
def test_temporaries_of_kept_states_grow_with_the_root_of_the_time(name):
    gates = 4 if name == "lstm" else 3
    of = jax.ShapeDtypeStruct

    def temporaries(time, keep):
        n, kind = 32, jnp.float32
        args = of((2, time, n), kind), of((n, gates * n), kind), of((n, gates * n), kind)

        def loss(*args):
            return registry[name](*args, keep=keep)[0].sum()

        program = jax.jit(jax.grad(loss, (1, 2))).lower(*args).compile()
        inputs = 4 * 2 * time * n  # The input read in time's order, and the outputs.
        analysis: Any = program.memory_analysis()
        return analysis.temp_size_in_bytes - 3 * inputs

    assert temporaries(4096, 64) <= 0.25 * temporaries(4096, None)


# Planted errors: a backward step by step, and each mistake that one makes in it.


def lstm_by_steps(saved, delta, *, reverse, keep, wrong=""):
    (x, w, r, b, h0, c0), (delta, (dh, dc)) = saved, delta
    order = range(x.shape[1])[:: -1 if reverse else 1]
    h = jnp.zeros_like(dh) if h0 is None else h0
    c = jnp.zeros_like(dc) if c0 is None else c0
    steps = []
    for t in order:
        z = x[:, t] @ w + h @ r + (0 if b is None else jnp.broadcast_to(b, (len(x), b.size)))
        i, f, g, o = jnp.split(z, 4, -1)
        i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
        after = f * c + i * g
        out = o * jnp.tanh(after)
        steps.append((t, i, f, g, o, c, after, out if "after the step" in wrong else h))
        h, c = out, after
    if "last state" in wrong:
        dh, dc = jnp.zeros_like(dh), jnp.zeros_like(dc)
    dx, dw, dr, db = (jnp.zeros_like(a) for a in (x, w, r, r[0]))
    for t, i, f, g, o, c, after, h in reversed(steps):
        dh = dh + delta[:, t]
        dc = dc + dh * o * (1 - jnp.tanh(after) ** 2)
        gates = [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2),
                 dh * jnp.tanh(after) * o * (1 - o)]  # fmt: skip
        if "another order" in wrong:
            gates = [gates[0], gates[2], gates[1], gates[3]]
        d = jnp.concatenate(gates, -1)
        at = x.shape[1] - 1 - t if "order of reading" in wrong and reverse else t
        dx = dx.at[:, at].set(d @ w.T)
        dw, dr, db = dw + x[:, t].T @ d, dr + h.T @ d, db + d.sum(0)
        dh, dc = d @ r.T, dc if "forget gate" in wrong else dc * f
    if "initial state" in wrong:
        dh, dc = jnp.zeros_like(dh), jnp.zeros_like(dc)
    return dx, dw, dr, db, dh, dc


def gru_by_steps(saved, delta, *, reverse, keep, wrong=""):
    (x, w, r, b, c, h0), (delta, dh) = saved, delta
    order = range(x.shape[1])[:: -1 if reverse else 1]
    h = jnp.zeros_like(dh) if h0 is None else h0
    biases = [jnp.broadcast_to(jnp.zeros_like(r[0]) if a is None else a, (len(x), r.shape[1]))
              for a in (b, c)]  # fmt: skip
    steps = []
    for t in order:
        u1, u2, u3 = jnp.split(x[:, t] @ w + biases[0], 3, -1)
        v1, v2, v3 = jnp.split(h @ r + biases[1], 3, -1)
        p, q = jax.nn.sigmoid(u1 + v1), jax.nn.sigmoid(u2 + v2)
        n = jnp.tanh(u3 + p * v3)
        after = (1 - q) * n + q * h
        steps.append((t, p, q, n, v3, h, after if "after the step" in wrong else h))
        h = after
    if "last state" in wrong:
        dh = jnp.zeros_like(dh)
    dx, dw, dr, db, dc = (jnp.zeros_like(a) for a in (x, w, r, r[0], r[0]))
    for t, p, q, n, v, h, read in reversed(steps):
        dh = dh + delta[:, t]
        dn = dh * (1 - q) * (1 - n**2)
        gates = [dn * v * p * (1 - p), dh * (h - n) * q * (1 - q)]
        if "another order" in wrong:
            gates = gates[::-1]
        d, e = jnp.concatenate([*gates, dn], -1), jnp.concatenate([*gates, dn * p], -1)
        at = x.shape[1] - 1 - t if "order of reading" in wrong and reverse else t
        dx = dx.at[:, at].set(d @ w.T)
        dw, dr, db = dw + x[:, t].T @ d, dr + read.T @ e, db + d.sum(0)
        dc = dc + (d if "outside the reset gate" in wrong else e).sum(0)
        dh = e @ r.T if "update gate" in wrong else e @ r.T + dh * q
    if "initial state" in wrong:
        dh = jnp.zeros_like(dh)
    return dx, dw, dr, db, dc, dh


def by_steps(name, wrong=""):
    rule = registry[name]

    def forward(*args, **settings):
        return rule.parts.definition(*args, **settings), args

    def example(random):
        return Example(*arguments(random, name, batch=2, time=3, units=2), reverse=True)

    backward = {"lstm": lstm_by_steps, "gru": gru_by_steps}[name]
    told = rule.replace(forward=forward, backward=partial(backward, wrong=wrong))
    told.examples = (example,)
    return told


@BOTH
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_equal_a_backward_step_by_step(random, name, reverse):
    args = arguments(random, name)
    want = value_and_pulled(partial(by_steps(name), reverse=reverse), args)
    same(value_and_pulled(partial(registry[name], reverse=reverse), args), want)


ERRORS = [
    "the gradient of r from the state after the step",
    "the last state's cotangent ignored",
    "the initial state's gradient forgotten",
    "gates in another order",
    "reverse, in the order of reading",
]
PLANTED = [
    *((name, wrong) for name in ("lstm", "gru") for wrong in ERRORS),
    ("lstm", "the cell's cotangent not through the forget gate"),
    ("gru", "the state's cotangent not through the update gate"),
    ("gru", "the recurrent bias outside the reset gate"),
]


@pytest.mark.parametrize(("name", "wrong"), PLANTED)
def test_a_planted_error_is_rejected(name, wrong):
    """And the same backward without an error is not, by the test above."""
    assert not check(by_steps(name, wrong), suites=["agreement"]).ok
