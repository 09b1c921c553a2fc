"""The documents' numbers: golden cases OPT-*, X-55..59 and D-fn4, and the errata about them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.optim import chain, decay
from tests.golden import golden


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def iterates(optimizer, gradient, q, steps):
    q = jnp.asarray(q)
    state, points = optimizer.init(q), []
    for _ in range(steps):
        updates, state = optimizer.update(gradient(q), state, q, gradient=gradient)
        q = jnn.apply_updates(q, updates)
        points.append(np.asarray(q))
    return np.array(points)


def quadratic(inputs):
    a, b = jnp.asarray(inputs["A"]), jnp.asarray(inputs["b"])
    return lambda q: a @ q - b


CASES = {
    "OPT-GD": lambda i: jnn.gd(i["alpha"]),
    "OPT-GD-L2": lambda i: chain(decay(i["lambda"]), jnn.gd(i["alpha"])),
    "OPT-GD-L2-centre": lambda i: chain(decay(i["lambda"], i["q_c"]), jnn.gd(i["alpha"])),
    "OPT-momentum-D7": lambda i: jnn.damped_particle(i["alpha"], i["gamma"]),
    "OPT-heavyball-H121": lambda i: jnn.heavy_ball(i["mu"], i["p"]),
    "OPT-AdaGrad-D9-mean": lambda i: jnn.adagrad(i["alpha"], epsilon=i["eps"]),
    "OPT-AdaGrad-sum": lambda i: jnn.adagrad(i["alpha"], average="sum", epsilon=i["eps"]),
    "OPT-RMSProp-D10": lambda i: jnn.rmsprop(i["alpha"], i["beta"], epsilon=i["eps"]),
    "OPT-Adam-D11": lambda i: jnn.adam(i["alpha"], i["beta1"], i["beta2"], epsilon=i["eps"]),
    "OPT-RMSProp-fullmatrix": lambda i: jnn.full_rmsprop(i["alpha"], i["beta"], epsilon=i["eps"]),
    "OPT-midpoint-D13": lambda i: jnn.midpoint(i["alpha"]),
    "OPT-threestep-D14": lambda i: jnn.three_step(i["alpha"]),
}

# The multistep cases list the iterates after those that Euler's method starts them with.
STARTERS = {"OPT-midpoint-D13": 1, "OPT-threestep-D14": 2}


@pytest.mark.parametrize("name", CASES)
def test_the_first_iterates_are_the_documents(name):
    case = golden(name)
    q, skipped = case["outputs"]["q"], STARTERS.get(name, 0)
    optimizer = CASES[name](case["inputs"])
    ours = iterates(optimizer, quadratic(case["inputs"]), case["inputs"]["q0"], skipped + len(q))
    np.testing.assert_allclose(ours[skipped:], q, rtol=1e-12, atol=1e-13)


def test_full_rmsprop_by_a_sketch_is_the_same_while_it_holds_all_gradients():
    case = golden("OPT-RMSProp-fullmatrix")
    i = case["inputs"]
    # Two parameters have at most two directions, of which the columns never lose one.
    optimizer = jnn.full_rmsprop(i["alpha"], i["beta"], epsilon=i["eps"], rank=3)
    ours = iterates(optimizer, quadratic(i), i["q0"], 3)
    np.testing.assert_allclose(ours, case["outputs"]["q"], rtol=1e-9)


@pytest.mark.parametrize("end", ["from_m2", "from_2"])
def test_x55_descent_on_a_square(end):
    case = golden("X-55..59")
    x = case["outputs"][end]
    ours = iterates(jnn.gd(case["inputs"]["eta"]), lambda x: 2 * x, x[0], 4)
    np.testing.assert_allclose(ours, x[1:], rtol=1e-12)


def test_x63_the_regularised_step_of_a_regression():
    case = golden("X-61/63")
    i, o = case["inputs"], case["outputs"]
    theta, gradient = jnp.asarray(i["theta"]), jnp.asarray(o["grad"])
    for optimizer, name in [
        (jnn.gd(i["eta"]), "theta_next"),
        (chain(decay(i["lambda"]), jnn.gd(i["eta"])), "theta_next_L2"),
    ]:
        updates, _ = optimizer.update(gradient, optimizer.init(theta), theta)
        ours = jnn.apply_updates(theta, updates)
        np.testing.assert_allclose(ours, o[name], rtol=1e-12)


@pytest.mark.parametrize("name", ["a", "e", "e_hat"])
def test_footnote_4_averages(name):
    case = golden("D-fn4")
    beta = case["inputs"]["beta"]
    average = {
        "a": jnn.optim.mean(),
        "e": jnn.optim.exponential(beta),
        "e_hat": jnn.optim.unbiased(beta),
    }[name]
    state, ours = average.init(jnp.zeros(())), []
    for x in case["inputs"]["x"]:
        state = average.update(jnp.asarray(x), state)
        ours.append(float(average.value(state)))
    np.testing.assert_allclose(ours, case["outputs"][name], rtol=1e-14)


# Errata: what is printed misses, ours holds.

J = np.array([6.0, 5.0])


def test_d7_the_rate_changes_with_the_relabelling():
    alpha, gamma = 0.1, 2.0
    start, gradient = [2.0, 1.0], quadratic(golden("OPT-GD")["inputs"])
    particle = iterates(jnn.damped_particle(alpha, gamma), gradient, start, 5)
    beta = 1 - gamma * alpha
    average = iterates(jnn.averaged_momentum(alpha / gamma, beta), gradient, start, 5)
    np.testing.assert_allclose(average, particle, rtol=1e-13)
    printed = iterates(jnn.averaged_momentum(alpha, beta), gradient, start, 5)
    assert round(particle[-1, 0], 3) == 1.368
    assert round(printed[-1, 0], 3) == 0.850


@pytest.mark.parametrize("form", ["damped_particle", "heavy_ball", "averaged_momentum"])
def test_the_three_forms_of_momentum_are_one_method(form):
    settings = {"damped_particle": (0.1, 2.0), "heavy_ball": (0.01, 0.8),
                "averaged_momentum": (0.05, 0.8)}  # fmt: skip
    forms = jnn.optim.momentum_forms(**{form: settings[form]})
    for name, expected in settings.items():
        np.testing.assert_allclose(getattr(forms, name), expected, rtol=1e-14)
    gradient = quadratic(golden("OPT-GD")["inputs"])
    ours = [
        iterates(getattr(jnn, name)(*getattr(forms, name)), gradient, [2.0, 1.0], 20)
        for name in settings
    ]
    np.testing.assert_allclose(ours[1], ours[0], rtol=1e-12)
    np.testing.assert_allclose(ours[2], ours[0], rtol=1e-12)
    usual = iterates(jnn.momentum(*forms.heavy_ball), gradient, [2.0, 1.0], 20)
    np.testing.assert_allclose(usual, ours[0], rtol=1e-12)


def test_d7_moves_by_the_new_velocity():
    case = golden("OPT-momentum-D7")
    # Euler's explicit method moves by the old one, which is 0 at first: it would stay.
    assert not np.allclose(case["outputs"]["q"][0], case["inputs"]["q0"])
    ours = iterates(jnn.damped_particle(0.1, 2.0), quadratic(case["inputs"]), [2.0, 1.0], 1)
    np.testing.assert_allclose(ours[0], [2.0 - 0.01 * 6, 1.0 - 0.01 * 5], rtol=1e-14)


@pytest.mark.parametrize("optimizer", [jnn.adagrad(0.1), jnn.adam(0.1)], ids=["D-9", "D-11"])
def test_d9_and_d11_use_the_gradient_of_the_point_that_is_left(optimizer):
    seen = []

    def gradient(q):
        seen.append(np.asarray(q))
        return 2 * q

    points = iterates(optimizer, gradient, [2.0, 1.0], 3)
    np.testing.assert_array_equal(seen, [[2.0, 1.0], *points[:2]])


def test_d9_read_literally_is_another_method():
    q0, (q1, q2) = np.array([2.0, 1.0]), iterates(jnn.adagrad(0.1), lambda q: 2 * q, [2.0, 1.0], 2)

    def step(*gradients):
        squares = np.mean([g**2 for g in gradients], axis=0)
        return q1 - 0.1 * gradients[-1] / (np.sqrt(squares) + 1e-8)

    np.testing.assert_allclose(q2, step(2 * q0, 2 * q1), rtol=1e-14)
    assert abs(q2 - step(2 * q1, 2 * q2)).max() > 1e-4  # J_n at q_n would be implicit.


def test_d9_the_mean_is_not_the_sum():
    gradient = quadratic(golden("OPT-GD")["inputs"])
    mean = iterates(jnn.adagrad(0.1), gradient, [2.0, 1.0], 3)
    total = iterates(jnn.adagrad(0.1, average="sum"), gradient, [2.0, 1.0], 3)
    assert round(mean[-1, 0], 4) == 1.7106
    assert round(total[-1, 0], 4) == 1.7773


def test_d11_corrects_the_squares_by_their_own_beta():
    optimizer = jnn.adam(0.1, epsilon=0.0)
    j = jnp.asarray(J)
    updates, _ = optimizer.update(j, optimizer.init(j))
    np.testing.assert_allclose(updates, [-0.1, -0.1], rtol=1e-14)  # Exactly alpha.
    m, v = (1 - 0.9) * J / (1 - 0.9), (1 - 0.999) * J**2 / (1 - 0.9)  # As printed.
    np.testing.assert_allclose(0.1 * m / np.sqrt(v), [1.0, 1.0], rtol=1e-12)  # Ten times alpha.


def test_h118_a_decreasing_sequence_need_not_reach_a_minimum():
    optimizer = jnn.gd(lambda n: 2.0 ** (-n.astype(float) - 2))
    points = iterates(optimizer, lambda x: 2 * x, 1.0, 40)
    assert (np.diff(points) <= 0).all()
    assert round(float(points[-1]), 4) == 0.2888


def test_footnote_4_the_weights_of_each_average_add_up():
    n, beta = 20, 0.9
    ones = jnp.ones(())
    for average, expected in [
        (jnn.optim.mean(), 1.0),
        (jnn.optim.exponential(beta), 1 - beta**n),
        (jnn.optim.unbiased(beta), 1.0),
        (jnn.optim.total(), n),
    ]:
        state = average.init(ones)
        for _ in range(n):
            state = average.update(ones, state)
        assert float(average.value(state)) == pytest.approx(expected, rel=1e-13)
