"""Losses of PyTorch's and optax's shelf: NumPy and SciPy, PyTorch itself, planted errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

import jnn
from jnn.rules import registry
from jnn.rules.core.mode import MODES
from jnn.verify import check


def drawn(random):
    """Arguments of each loss, and what NumPy or SciPy says of them."""
    y, t, u = random.normal(size=(3, 5, 4))
    p, sign = scipy.special.softmax(t, -1), np.where(t > 0, 1.0, -1.0)
    s = np.exp(u)
    counts = random.poisson(3.0, (5, 4)).astype(float)
    e, near = np.abs(y - t), np.maximum(0, 1 - sign * y)
    away = np.linalg.norm
    return {
        "kl_divergence": ((y, p), scipy.special.rel_entr(p, np.exp(y)).sum(-1)),
        "poisson": (
            (y, counts),
            -(scipy.stats.poisson.logpmf(counts, np.exp(y)) + scipy.special.gammaln(counts + 1))
            .sum(-1),
        ),
        "gaussian_nll": (
            (y, t, s),
            -(scipy.stats.norm.logpdf(t, y, np.sqrt(s)) + np.log(2 * np.pi) / 2).sum(-1),
        ),
        "hinge": ((y, sign), near.sum(-1)),
        "squared_hinge": ((y, sign), np.square(near).sum(-1)),
        "smooth_l1": ((y, t), np.where(e < 1, e * e / 2, e - 0.5).sum(-1)),
        "cosine": ((y, t), 1 - (y * t).sum(-1) / away(y, axis=-1) / away(t, axis=-1)),
        "triplet": (
            (y, t, u), np.maximum(0, away(y - t, axis=-1) - away(y - u, axis=-1) + 1)
        ),
    }  # fmt: skip


NAMES = tuple(drawn(np.random.default_rng(0)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_values_equal_a_second_opinion(name, mode, random):
    args, expected = drawn(random)[name]
    with jax.enable_x64(True), jnn.derivatives(mode):
        np.testing.assert_allclose(registry[name](*args), expected, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_equal_those_of_pytorch(name, random):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    f = torch.nn.functional
    theirs = {
        "kl_divergence": lambda y, t: f.kl_div(y, t, reduction="none").sum(-1),
        "poisson": lambda y, t: f.poisson_nll_loss(y, t, reduction="none").sum(-1),
        "gaussian_nll": lambda y, t, s: f.gaussian_nll_loss(y, t, s, reduction="none").sum(-1),
        "hinge": lambda y, t: torch.relu(1 - t * y).sum(-1),
        "squared_hinge": lambda y, t: torch.relu(1 - t * y).square().sum(-1),
        "smooth_l1": lambda y, t: f.smooth_l1_loss(y, t, reduction="none").sum(-1),
        "cosine": lambda y, t: 1 - f.cosine_similarity(y, t, dim=-1),
        "triplet": lambda a, p, n: f.triplet_margin_loss(a, p, n, eps=0.0, reduction="none"),
    }[name]
    args, _ = drawn(random)[name]
    delta = random.normal(size=5)
    tensors = [torch.tensor(a, requires_grad=True) for a in args]
    value = theirs(*tensors)
    value.backward(torch.tensor(delta))
    with jax.enable_x64(True):
        ours, pull = jax.vjp(registry[name], *args)
        np.testing.assert_allclose(ours, value.detach().numpy(), rtol=1e-9, atol=1e-12)
        for d, tensor in zip(pull(jnp.asarray(delta)), tensors, strict=True):
            np.testing.assert_allclose(d, tensor.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_a_cosine_takes_vectors_of_any_length():
    y = jnp.array([[3e30, 4e30], [3e-30, 4e-30], [0.0, 0.0]])
    t = jnp.array([[3.0, 4.0]] * 3)
    value, dy = jax.value_and_grad(lambda y: jnn.cosine(y, t).sum())(y)
    np.testing.assert_allclose(value, 1.0, atol=1e-6)
    assert np.isfinite(np.asarray(dy)).all()
    assert not np.asarray(dy)[2].any()


def test_a_variance_below_the_least_counts_as_that_and_does_not_move():
    y, t, s = jnp.array([1.0]), jnp.array([1.0]), jnp.array([-1.0])
    value, slope = jax.value_and_grad(jnn.gaussian_nll, 2)(y, t, s)
    np.testing.assert_allclose(value, np.log(1e-6) / 2, rtol=1e-6)
    assert slope == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_probability_of_zero_adds_nothing_and_has_no_derivative(mode):
    """Its slope is -inf from above, so that no kink of the suites can hold it: 0 by choice."""
    y, t = jnp.array([-3.0, -0.5]), jnp.array([0.0, 1.0])
    with jnn.derivatives(mode):
        value, (dy, dt) = jax.value_and_grad(jnn.kl_divergence, (0, 1))(y, t)
    assert (value, dy.tolist(), dt.tolist()) == (0.5, [0.0, -1.0], [0.0, 1.5])


def dropped(rule, change):
    """The rule with the cotangents that `change` makes of the right ones."""

    def wrong(saved, delta, **settings):
        return change(rule.parts.backward(saved, delta, **settings), saved)

    return rule.replace(backward=wrong)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("kl_divergence", lambda d, saved: (d[0], d[1] - 1e-3, d[2])),
        ("poisson", lambda d, saved: (d[0], -d[1], d[2])),
        ("gaussian_nll", lambda d, saved: (d[0], d[0], d[2])),
        ("gaussian_nll", lambda d, saved: (*d[:2], 2 * d[2])),
        ("squared_hinge", lambda d, saved: (d[0] / 2, d[1], d[2])),
        ("cosine", lambda d, saved: (d[0] + 1e-3 * saved[0], d[1])),
        ("triplet", lambda d, saved: (d[0], d[2], d[1])),
    ],
)
def test_a_wrong_backward_is_found(name, change):
    assert not check(dropped(registry[name], change), suites=["agreement"])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: jnn.smooth_l1(x, x, delta=0.0), "Write absolute_error"),
        (lambda x: jnn.gaussian_nll(x, x, x[0]), "`variance` must be"),
        (lambda x: jnn.triplet(x, x, x[:1]), "`negative` must be"),
        (lambda x: jnn.triplet(x, x, x, margin=-1.0), "`margin` must be"),
        (lambda x: jnn.hinge(x, x[0]), "`t` must be"),
    ],
)
def test_bad_input_says_what_was_expected(call, words):
    with pytest.raises(ValueError, match=words):
        call(jnp.ones((2, 3)))
