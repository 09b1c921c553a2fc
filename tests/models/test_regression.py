"""Linear, logistic and multinomial regression: golden numbers; closed forms against the rules."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jnn.layers import DenseParams
from jnn.models import linear, logistic, multinomial, pin, pinned, unpin
from tests.golden import golden

KINDS = {"linear": linear, "logistic": logistic, "multinomial": multinomial, "pinned": pinned}
COLUMNS = {"linear": 2, "logistic": 1, "multinomial": 3, "pinned": 2}


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def close(ours, theirs, rtol=1e-12):
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=rtol, atol=1e-14)


def case(name, random, bias=True):
    """Parameters, samples and targets that fit the kind."""
    n, k, m = 3, COLUMNS[name], 7
    b = jnp.asarray(random.normal(size=k)) if bias else None
    params = DenseParams(jnp.asarray(random.normal(size=(n, k))), b)
    t = {
        "linear": random.normal(size=(m, k)),
        "logistic": random.integers(0, 2, m),
    }.get(name, random.integers(0, 3, m))
    return params, jnp.asarray(random.normal(size=(m, n))), jnp.asarray(t)


def test_golden_logistic_regression():
    """T-9, T-14..17, the Hessian and Newton's step; samples are rows here."""
    inputs, outputs = golden("T-9..17+Hessian").values()
    x, t = jnp.asarray(inputs["X_cols"].T), jnp.asarray(inputs["c1"])
    params = DenseParams(jnp.asarray(inputs["w"])[:, None], None)
    close(logistic.objective(params, x, t), outputs["F"])
    close(logistic.gradient(params, x, t).w[:, 0], outputs["grad"])
    close(logistic.hessian(params, x), outputs["hess"])
    close(logistic.newton(params, x, t).w[:, 0], outputs["newton_step"], rtol=1e-9)


def test_golden_multinomial_regression():
    """X-61..63: sums over samples there, means here; l2 shrinks the bias, being absorbed."""
    inputs, outputs = golden("X-61/63").values()
    x, hot = jnp.asarray(inputs["X_cols"].T), jnp.asarray(inputs["Y_onehot_cols"].T)
    params, m = DenseParams(jnp.asarray(inputs["theta"]), None), len(x)
    l2 = inputs["lambda"] / m
    close(multinomial.predict(params, x).T, outputs["P"])
    close(m * multinomial.objective(params, x, hot), outputs["C"])
    close(m * multinomial.objective(params, x, hot.argmax(-1), l2=l2), outputs["C_reg"])
    gradient = m * multinomial.gradient(params, x, hot).w
    close(gradient, outputs["grad"])
    shrunk = m * multinomial.gradient(params, x, hot, l2=l2).w
    close(params.w - inputs["eta"] * shrunk, outputs["theta_next_L2"])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_the_closed_forms_are_the_derivatives_of_the_objective(name, weighted, random):
    """T-17, T §2.3.1..3, X-60..65: with and without weights, L2 and a bias."""
    kind = KINDS[name]
    params, x, t = case(name, random, bias=weighted)
    weights = jnp.asarray(random.uniform(size=len(x))) if weighted else None
    l2 = 0.3 if weighted else 0.0
    flat, unravel = ravel_pytree(params)

    @jax.jit
    def both(flat, x, v):
        def objective(flat, x):
            return kind.objective(unravel(flat), x, t, l2=l2, weights=weights)

        params, options = unravel(flat), {"l2": l2, "weights": weights}
        theirs = jax.grad(objective, (0, 1))(flat, x)
        hessian = jax.hessian(objective)(flat, x)
        ours = (
            ravel_pytree(kind.gradient(params, x, t, **options))[0],
            kind.data_gradient(params, x, t, weights=weights),
            kind.hessian(params, x, **options),
            ravel_pytree(kind.product(params, x, unravel(v), **options))[0],
            hessian @ ravel_pytree(kind.newton(params, x, t, **options))[0],
        )
        return ours, (*theirs, hessian, hessian @ v, -theirs[0])

    ours, theirs = both(flat, x, jnp.asarray(random.normal(size=flat.shape)))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)


def test_a_weight_of_two_is_a_sample_twice(random):
    params, x, t = case("multinomial", random)
    twice, double = np.array([0, 0, *range(1, 7)]), jnp.asarray([2.0, *np.ones(6)])
    weighted = multinomial.objective(params, x, t, weights=double)
    close(weighted, multinomial.objective(params, x[twice], t[twice]))


def test_one_class_of_the_softmax_is_redundant(random):
    """T, Remark 2: a vector added to all columns changes nothing, the Hessian is singular."""
    params, x, t = case("multinomial", random)
    moved = jax.tree.map(lambda a: a + jnp.ones_like(a[..., :1]), params)
    close(multinomial.predict(moved, x), multinomial.predict(params, x))
    fewer = pin(params)
    close(pinned.predict(fewer, x), multinomial.predict(params, x))
    close(pinned.objective(fewer, x, t), multinomial.objective(params, x, t))
    close(multinomial.predict(unpin(fewer), x), multinomial.predict(params, x))
    close(unpin(fewer).w.sum(-1), np.zeros(3))
    redundant = np.linalg.eigvalsh(multinomial.hessian(params, x))
    assert np.sum(redundant < 1e-12) == 4  # A vector of weights, and a bias.
    assert np.linalg.eigvalsh(pinned.hessian(fewer, x))[0] > 1e-4


def test_two_classes_pinned_are_logistic_regression(random):
    """X-44: softmax of two is the sigmoid of the difference."""
    params, x, t = case("logistic", random)
    close(pinned.predict(params, x)[:, :1], logistic.predict(params, x))
    close(pinned.objective(params, x, 1 - t), logistic.objective(params, x, t))


def test_newton_converges_quadratically_and_solves_linear_regression_at_once(random):
    params, x, t = case("linear", random)
    step = linear.newton(params, x, t)
    reached = jax.tree.map(jnp.add, params, step)
    rows = np.hstack([x, np.ones((7, 1))])
    solved = np.linalg.lstsq(rows, np.asarray(t), rcond=None)[0]
    close(np.vstack(reached), solved, rtol=1e-9)

    params, x, t = case("multinomial", random)
    sizes, newton = [], jax.jit(lambda p: multinomial.newton(p, x, t, l2=0.1))
    for _ in range(7):
        move = newton(params)
        params = jax.tree.map(jnp.add, params, move)
        sizes.append(float(jnp.abs(move.w).max()))
    assert sizes[-1] < 1e-14
    assert max(b / a**2 for a, b in itertools.pairwise(sizes) if b > 1e-14) < 5


def test_scores_far_out_keep_their_digits():
    """X-16: where p is within rounding of 1, p - 1 is still sigmoid(-z)."""
    params, x = DenseParams(jnp.ones((1, 1)), None), jnp.array([[50.0], [800.0]])
    gradient = logistic.data_gradient(params, x, jnp.array([1, 1]))
    np.testing.assert_allclose(gradient[:, 0], [-np.exp(-50) / 2, 0.0], rtol=1e-12)
    assert np.isfinite(logistic.objective(params, x, jnp.array([0, 1])))


def test_other_parameters_are_refused():
    with pytest.raises(TypeError, match=r"logistic: `params` must be DenseParams\(w, b\)"):
        logistic.scores((jnp.ones((1, 1)), None), jnp.ones((1, 1)))  # pyright: ignore
