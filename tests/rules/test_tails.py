"""Samples that are right by far: values and gradients against extended precision, in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules.losses.softmax import shares

MARGINS = [5.0, 10.0, 20.0, 37.0, 40.0, 60.0, 85.0, 300.0]
ULPS = 8 * float(np.finfo(np.float32).eps)
HOT = np.array([1.0, 0, 0])


def exact(margin):
    """The others' sum, log(1 + o), o / (1 + o), and the probabilities of the others."""
    e = np.exp(np.array([-margin, -margin - 1], np.longdouble))
    o = e.sum()
    return o, np.log1p(o), o / (1 + o), e / (1 + o)


def close(got, want):
    """Relative to each entry, where it is a normal number."""
    got, want = np.asarray(got, np.longdouble), np.asarray(want, np.longdouble)
    normal = np.abs(want) > np.finfo(np.float32).tiny
    np.testing.assert_allclose(got[normal], want[normal], rtol=ULPS)
    assert (np.abs(got[~normal]) <= np.finfo(np.float32).tiny).all()


def logits(margin, shift=0.0):
    return jnp.array([shift, shift - margin, shift - margin - 1], jnp.float32)


def entropy(rule, t):
    return lambda x: rule(x, t)


def linear(rule, reduction):
    t = jnp.zeros(1, int)
    return lambda x: rule(x[None], jnp.eye(3), t, reduction=reduction).sum()


LOSSES = {
    "of a class": entropy(jnn.softmax_cross_entropy, jnp.array(0)),
    "of one-hot targets": entropy(jnn.softmax_cross_entropy, jnp.array(HOT, jnp.float32)),
    "of a boolean row": entropy(jnn.softmax_cross_entropy, jnp.array(HOT, bool)),
    "of log_softmax": lambda x: -jnn.rules.log_softmax(x)[0],
    "linear, mean": linear(jnn.linear_cross_entropy, "mean"),
    "linear, none": linear(jnn.linear_cross_entropy, "none"),
}


@pytest.mark.parametrize("mode", ["backward", "forward", "autodiff"])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("margin", MARGINS)
def test_values_and_gradients_keep_their_digits(name, mode, margin):
    """M-61..69: log(1 + o), -o / (1 + o) and the probabilities of the others."""
    if mode != "backward" and margin not in (20.0, 40.0):
        return
    _, loss, lead, rest = exact(margin)
    with jnn.derivatives(mode):
        for shift in (0.0, 7.0):
            value, slope = jax.value_and_grad(LOSSES[name])(logits(margin, shift))
            close(value, loss)
            if mode != "forward":  # A tangent transposed adds in an order of JAX's.
                close(slope, [-lead, *rest])
        if mode == "forward":
            _, moved = jax.jvp(LOSSES[name], (logits(margin),), (jnp.array(HOT, jnp.float32),))
            close(moved, -lead)


@pytest.mark.parametrize("margin", MARGINS)
def test_others_of_the_shelf(margin):
    """The logarithm of a sum near 1, softmax's derivative, softplus, and two classes."""
    o, loss, lead, _ = exact(margin)
    close(jnn.rules.logsumexp(logits(margin)), loss)
    _, pull = jax.vjp(jnn.rules.softmax, logits(margin))
    close(pull(jnp.array(HOT, jnp.float32))[0][0], lead / (1 + o))
    one = np.exp(-np.longdouble(margin))
    for sign, t in ((1, 1.0), (-1, 0.0)):
        x = jnp.array([sign * margin], jnp.float32)
        value, slope = jax.value_and_grad(jnn.sigmoid_cross_entropy)(x, jnp.array([t]))
        close(value, np.log1p(one))
        close(slope, [-sign * one / (1 + one)])
    value, slope = jax.value_and_grad(jnn.rules.softplus)(jnp.float32(-margin))
    close(value, np.log1p(one))
    close(slope, one / (1 + one))


def test_equal_largest_entries_count_but_once():
    x = jnp.zeros(3)
    np.testing.assert_allclose(jnn.rules.logsumexp(x), np.log(3), rtol=1e-6)
    np.testing.assert_allclose(jnn.rules.log_softmax(x), -np.log(3), rtol=1e-6)
    hot = jnp.array(HOT, jnp.float32)
    slope = jax.grad(lambda x: jnn.softmax_cross_entropy(x, hot))(x)
    np.testing.assert_allclose(slope, [-2 / 3, 1 / 3, 1 / 3], rtol=1e-6)


def old_entropy(saved, delta, *, smoothing, ignore):
    """P - t, as it was."""
    x, t, _, m, o = saved
    s = o + jnp.exp(x[t] - m)
    return delta * (shares(x, m, s, jnp.ones_like(s)) - jax.nn.one_hot(t, 3)), None, None


def old_log_softmax(saved, delta, *, axis):
    x, m, o = saved
    return (delta - shares(x, m, 1 + o, delta.sum(axis, keepdims=True)),)


def test_the_old_formulas_are_told_from_the_new():
    rule = jnn.softmax_cross_entropy.replace(backward=old_entropy)
    worse = jnn.rules.log_softmax.replace(backward=old_log_softmax)
    for loss in (entropy(rule, jnp.array(0)), lambda x: -worse(x)[0]):
        _, _, lead, rest = exact(5.0)
        np.testing.assert_allclose(jax.grad(loss)(logits(5.0)), [-lead, *rest], rtol=1e-4)
        with pytest.raises(AssertionError):
            close(jax.grad(loss)(logits(40.0)), [-exact(40.0)[2], *exact(40.0)[3]])
