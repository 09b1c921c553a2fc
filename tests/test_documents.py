"""Worked numbers of the documents that belong to no one rule, and errata: what is printed misses.

docs/equations.md lists every erratum and the test that shows it; most stand with their rule.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules import affine, sigmoid, tanh
from tests.golden import golden


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def case(name):
    """Inputs and outputs of a golden case."""
    found = golden(name)
    return found["inputs"], found["outputs"]


def close(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-12, atol=1e-14)


def apart(ours, theirs, by=1e-3):
    assert np.abs(np.asarray(ours) - np.asarray(theirs)).max() > by


# Delmas


def test_d27_needs_the_derivative_of_the_activation(random):
    x, w1, b1 = random.normal(size=3), random.normal(size=(3, 4)), random.normal(size=4)
    w2, b2, t = random.normal(size=(4, 2)), random.normal(size=2), random.normal(size=2)

    def loss(b1, b2):
        p = sigmoid(affine(sigmoid(affine(x, w1, b1)), w2, b2))
        return jnn.half_squared_error(p, t, outputs="mean")

    db1, db2 = jax.grad(loss, (0, 1))(b1, b2)
    p1 = np.asarray(sigmoid(affine(x, w1, b1)))
    p2 = np.asarray(sigmoid(affine(p1, w2, b2)))
    start = (p2 - t) / 2 * p2 * (1 - p2)  # D-32, with q of the last layer
    close(db2, start)
    close(db1, p1 * (1 - p1) * (w2 @ start))  # D-29
    apart(db1, p1 * (w2 @ start))  # with q as D-27 prints it


# Hedberg


def test_h30_holds_only_summed():
    inputs, outputs = case("DELTA-CE-softmax")
    y, t, w = outputs["y"], inputs["t"], inputs["W"]
    jacobian = jax.jacrev(jnn.rules.softmax)(outputs["z"])
    left = (-t / y)[:, None] * (jacobian @ w)  # delta_i dz_i/dy_j, for each i
    right = -(t - y)[:, None] * w
    apart(left, right, by=0.5)
    close(left.sum(0), right.sum(0))
    close(left.sum(0), outputs["dy_prev"])


def test_the_deltas_of_h111_are_those_of_h14_without_slope_and_with_the_other_sign(random):
    x, w1, b1 = random.normal(size=3), random.normal(size=(3, 4)), random.normal(size=4)
    w2, b2, t = random.normal(size=(4, 2)), random.normal(size=2), random.normal(size=2)

    def loss(z1, z2):  # With z as arguments too, so that JAX gives dE/dz.
        y1 = tanh(affine(x, w1, b1) + z1)
        return jnn.half_squared_error(tanh(affine(y1, w2, b2) + z2), t)

    first, last = jax.grad(loss, (0, 1))(jnp.zeros(4), jnp.zeros(2))  # H-14, H-15
    y1 = np.asarray(tanh(affine(x, w1, b1)))
    y2 = np.asarray(tanh(affine(y1, w2, b2)))
    slope1, slope2 = 1 - y1**2, 1 - y2**2
    of_h111 = t - y2
    of_h112 = w2 @ (of_h111 * slope2)
    close(last, -of_h111 * slope2)
    close(first, -of_h112 * slope1)
    apart(first, -(w2 @ of_h111) * slope1)  # H-14's recursion on H-111's start: the slope is lost


def test_the_error_of_section_6_1_is_what_is_missing(random):
    inputs, _ = case("OPT-GD")
    a, b = inputs["A"], inputs["b"]
    x, guess = np.linalg.solve(a, b), random.normal(size=2)
    close(b - a @ guess, a @ (x - guess))  # H-123: r = A e
    apart(b - a @ guess, a @ (guess - x))  # with e as printed


def test_64_kb_hold_37_filters_of_section_10():
    image = jax.ShapeDtypeStruct((1, 21, 21, 1), jnp.float32)
    size = [jnn.summary(jnn.conv(n, 21, bias=False), image).bytes for n in (37, 38)]
    assert size[0] <= 64 * 1024 < size[1]  # The text says about 55.


# Xu


def test_x8_and_the_forward_pass_of_x86_to_x96():
    inputs, outputs = case("X-8")
    x, theta = inputs["x"].astype(float), inputs["theta"].astype(float)
    assert affine(x, theta[:, None])[0] == outputs["value"] == 19

    inputs, outputs = case("X-86..114")
    z = affine(inputs["x"], inputs["W"].T, inputs["b"])
    a = sigmoid(z)
    close(z, outputs["z"])
    close(a, outputs["a"])
    close(inputs["U"] @ a, outputs["yhat"])
    assert round(float(a[1]), 3) == 0.881  # X-92 prints 0.880
    assert round(float(np.array([-1, 1, -1]) @ np.asarray(a)), 6) == -1.105817  # X-94's weights
    assert round(outputs["loss_full"], 4) == 0.0142  # X-96 prints 0.0144, from the cut 0.880


def test_x10_prints_the_functions_of_the_mirrored_argument():
    x = np.linspace(-3, 3, 7)
    for slope in (0.5, 2.0):
        printed = 1 / (1 + np.exp(slope * x))
        close(sigmoid(-slope * x), printed)
        apart(sigmoid(slope * x), printed)
    assert sigmoid(3.0 - 3.0) == 0.5  # Figure 6: sigma(x - 3) has b = -3, and is 1/2 at x = -b


def test_the_likelihood_of_logistic_regression_is_a_product_under_a_logarithm(random):
    p = random.uniform(size=6)
    y = np.array([0.0, 1, 1, 0, 1, 0])
    chances = np.where(y == 1, p, 1 - p)
    close(chances, (1 - p) * (1 - y) + p * y)  # The alternative form of a chance
    close(chances, p**y * (1 - p) ** (1 - y))  # and X-26's
    entropy = jnn.binary_cross_entropy(p, y)
    close(entropy, -np.log(chances.prod()))  # X-35 prints the product alone
    apart(entropy, -chances.prod())
    logits = np.log(p / (1 - p))
    close(jnn.sigmoid_cross_entropy(logits, y), entropy)


def test_the_steps_and_the_parameters_of_a_convolution():
    image = jax.ShapeDtypeStruct((1, 5, 5, 1), jnp.float32)
    params = jax.eval_shape(jnn.conv(1, 3).init, jax.random.key(0), image)[0]
    places = jax.eval_shape(jnn.conv(1, 3, padding=1), params, image)
    assert places.size - 4 == 21  # §5.2.2 says 12 are left after its four.
    maps = jax.ShapeDtypeStruct((1, 16, 16, 128), jnp.float32)
    assert jnn.summary(jnn.conv(128, 5, bias=False), maps).parameters == 409600  # §5.2.4
    with pytest.raises(ValueError, match="stride"):
        jax.eval_shape(lambda p, x: jnn.conv(1, 3, stride=0)(p, x), params, image)  # §5.4.1


# Treister


def test_a_bias_is_the_weight_of_a_column_of_ones(random):
    x, w, b = random.normal(size=(5, 3)), random.normal(size=(3, 2)), random.normal(size=2)
    ones = np.ones((5, 1))
    augmented = affine(np.hstack([x, ones]), np.vstack([w, b]))  # X-5..12, T §2.1.1
    close(affine(x, w, b), augmented)
    close(jax.grad(lambda b: affine(x, w, b).sum())(b), ones.sum(0).repeat(2))


def test_the_likelihood_of_t3_weighs_its_second_term_by_1_minus_y():
    q, y = np.array([0.8]), np.array([1.0])
    assert round(float(jnn.binary_cross_entropy(q, y)), 4) == 0.2231
    assert round(-(np.log(0.8) + np.log(0.2)), 4) == 1.8326  # y log q + y log(1 - q), as printed


def test_the_expansion_of_logistic_regression_lacks_its_constant_and_a_half(random):
    inputs, _ = case("T-9..17+Hessian")
    x, c, w, m = inputs["X_cols"].T, inputs["c1"], inputs["w"], inputs["c1"].size

    def f(w):  # T-9
        return jnn.sigmoid_cross_entropy(affine(x, w[:, None]), c[:, None]).mean()

    s = np.asarray(sigmoid(x @ w))
    d, step = s * (1 - s), 1e-4 * random.normal(size=w.size)
    g = -(s - c) / d
    square = np.sum(d * (x @ step - g) ** 2)
    expanded = f(w) + (square - np.sum(d * g**2)) / (2 * m)
    assert abs(expanded - f(w + step)) < 1e-10
    assert abs(square / m - f(w + step)) > 0.1  # as printed


def test_t28_to_t30_need_transposes(random):
    f1, f2 = random.normal(size=(4, 3)), random.normal(size=(2, 4))  # Jacobians of two steps
    last = random.normal(size=2)
    close(f1.T @ (f2.T @ last), last @ f2 @ f1)
    with pytest.raises(ValueError, match="mismatch"):
        np.matmul(f1, f2 @ last)  # as printed


def test_approximation_needs_more_than_a_non_linear_activation(random):
    # The text asks for non-linear; a square is, but squares of affine maps are only parabolas.
    x = np.linspace(-1, 1, 200)[:, None]
    w, b = 4 * random.normal(size=(1, 100)), 3 * random.normal(size=100)
    z = affine(x, w, b)
    worst = {}
    for name, features in (("square", jnp.square(z)), ("tanh", tanh(z))):
        c, *_ = np.linalg.lstsq(np.asarray(features), np.cos(5 * x), rcond=1e-14)
        worst[name] = np.abs(np.asarray(features) @ c - np.cos(5 * x)).max()
    assert worst["square"] > 0.9
    assert worst["tanh"] < 1e-8


# Borasi


def test_a_small_step_down_the_gradient_lowers_the_cost_and_the_bound_needs_squares(random):
    net = jnn.models.mlp([3, 2], order="before")
    x, t = random.normal(size=(5, 2)), random.normal(size=(5, 2))
    params, _ = net.init(jax.random.key(0), x)

    def cost(params):
        return jnn.squared_error(net(params, x), t).sum()  # S of §1.1

    grads = jax.grad(cost)(params)
    step = jax.tree.map(lambda p, g: p - 1e-3 * g, params, grads)
    squared = 2 * jnn.l2(grads)
    assert cost(step) < cost(params) - 0.5 * 1e-3 * squared  # Theorem 1.1

    slope, c = 0.1, 1.0  # the norm of a gradient, and the constant of the remainder

    def bound(epsilon):
        return -epsilon * slope**2 + epsilon**2 * c

    assert bound(0.9 * slope / (2 * c)) > 0  # epsilon c < |grad| / 2, as the proof prints
    assert bound(0.9 * slope**2 / (2 * c)) < 0
