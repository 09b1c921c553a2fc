"""Every optimizer against a plain NumPy loop of its printed formula, over 50 steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.optim import chain, decay
from tests.optim import references

CASES = {
    "gd": (jnn.gd(0.05), references.gd),
    "gd with decay": (chain(decay(0.3), jnn.gd(0.05)), references.gd_decayed),
    "gd on a schedule": (
        jnn.gd(jnn.schedules.inverse_time(0.05, every=4)),
        references.gd_inverse_time,
    ),
    "heavy_ball": (jnn.heavy_ball(0.05, 0.9), references.heavy_ball),
    "nesterov": (jnn.nesterov(0.05, 0.9), references.nesterov),
    "momentum": (jnn.momentum(0.05, 0.9), references.momentum),
    "momentum on a schedule": (
        jnn.momentum(jnn.schedules.inverse_time(0.05, every=4), 0.9),
        references.momentum_inverse_time,
    ),
    "averaged_momentum": (jnn.averaged_momentum(0.05, 0.9), references.averaged_momentum),
    "damped_particle": (jnn.damped_particle(0.1, 2.0), references.damped_particle),
    "adagrad, mean": (jnn.adagrad(0.05), references.adagrad_mean),
    "adagrad, sum": (jnn.adagrad(0.05, average="sum"), references.adagrad_sum),
    "rmsprop": (jnn.rmsprop(0.05), references.rmsprop),
    "rmsprop, centred": (
        jnn.rmsprop(0.05, centred=True, momentum=0.5),
        references.rmsprop_centred,
    ),
    "adam": (jnn.adam(0.05), references.adam),
    "adamw": (jnn.adamw(0.05, decay=0.1), references.adamw),
    "amsgrad": (jnn.amsgrad(0.05), references.amsgrad),
    "nadam": (jnn.nadam(0.05), references.nadam),
    "radam": (jnn.radam(0.05), references.radam),
    "adamax": (jnn.adamax(0.05), references.adamax),
    "lion": (jnn.lion(0.01, decay=0.1), references.lion),
    "lamb": (jnn.lamb(0.05, decay=0.1), references.lamb),
    "midpoint": (jnn.midpoint(1e-3), references.midpoint),
    "three_step": (jnn.three_step(1e-3), references.three_step),
    "adams_bashforth, 2": (jnn.adams_bashforth(0.05), references.adams_bashforth_2),
    "adams_bashforth, 3": (jnn.adams_bashforth(0.05, 3), references.adams_bashforth_3),
}

STEPS = 50


def trajectory(optimizer, grads, start):
    """Parameters after the gradients, in one compiled scan."""

    def step(carry, g):
        q, state = carry
        updates, state = optimizer.update(g, state, q)
        return (jnn.apply_updates(q, updates), state), None

    @jax.jit
    def run(grads, start):
        return jax.lax.scan(step, (start, optimizer.init(start)), grads)[0][0]

    stacked = jax.tree.map(lambda *g: jnp.stack(g), *grads)
    return run(stacked, jax.tree.map(jnp.asarray, start))


def problem(random, dtype):
    start = {
        "w": random.normal(size=(4, 3)).astype(dtype),
        "b": random.normal(size=3).astype(dtype),
    }
    # Gradients of very different sizes, whose average is not 0.
    scale = {"w": 10.0 ** random.uniform(-3, 1, (4, 3)), "b": np.ones(3)}
    grads = [
        {
            k: (scale[k] * (random.normal(size=v.shape) + 0.5)).astype(dtype)
            for k, v in start.items()
        }
        for _ in range(STEPS)
    ]
    return grads, start


def error(ours, theirs):
    """The largest error, relative to the size of the array."""
    errors = [abs(ours[k] - theirs[k]).max() / max(abs(theirs[k]).max(), 1) for k in theirs]
    return max(float(e) for e in errors)


# Its errors grow by 2.686 a step, so that any two ways to compute it part: few steps are compared.
UNSTABLE = {"three_step": 8}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
def test_fifty_steps_are_those_of_the_formula(name, dtype, tolerance, random):
    optimizer, reference = CASES[name]
    with jax.enable_x64(dtype == "float64"):
        grads, start = problem(random, dtype)
        grads = grads[: UNSTABLE.get(name, STEPS)]
        theirs = references.run(reference, grads, start)
        ours = trajectory(optimizer, grads, start)
    assert ours["w"].dtype == dtype
    assert error(jax.tree.map(np.asarray, ours), theirs) <= tolerance


def test_muon_follows_its_formula_on_matrices_and_adam_elsewhere(random):
    with jax.enable_x64(True):
        grads, start = problem(random, "float64")
        ours = trajectory(jnn.muon(0.05, other=jnn.adam(0.05)), grads, start)
        w = references.run(references.muon, [{"w": g["w"]} for g in grads], {"w": start["w"]})
        b = references.run(references.adam, [{"b": g["b"]} for g in grads], {"b": start["b"]})
    assert error(jax.tree.map(np.asarray, ours), w | b) <= 1e-12
