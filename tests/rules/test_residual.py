"""Treister's residual steps against his numbers, and their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules import residual, residual_projection
from jnn.rules.core.mode import MODES
from tests.golden import golden

STEPS = {"T22": residual, "T23": residual_projection}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("case", range(5))
@pytest.mark.parametrize("mode", MODES)
def test_golden_steps(step, case, mode):
    """T-22 and T-23 with all their VJPs (Treister §4.1.3); he gives none for T-23."""
    numbers = golden(f"RES-{step}-{case}")
    inputs, outputs = numbers["inputs"], numbers["outputs"]
    x, w1, b, w2, v = (inputs[name] for name in ("x", "W1", "b", "W2", "v"))
    with jax.enable_x64(True), jnn.derivatives(mode):
        y, pull = jax.vjp(
            lambda *args: STEPS[step](*args, activation=inputs["activation"]), x, w1.T, b, w2.T
        )
        dx, dw1, db, dw2 = pull(jnp.asarray(v))
    pairs = {"y": y, "dx": dx, "dW1": dw1.T, "db": db, "dW2": dw2.T}
    for name, got in pairs.items():
        np.testing.assert_allclose(got, outputs[name], rtol=1e-12, atol=1e-15, err_msg=name)


def test_an_elementwise_rule_of_ones_own_is_an_activation():
    @jnn.rule
    def square(x):
        return x * x

    jnn.rules.elementwise(square, saves="x")(lambda x, v: 2 * x * v)
    args = jnp.ones((4, 2)), jnp.full((2, 3), 0.5), jnp.ones(3), jnp.ones((3, 2))

    def loss(w1, step):
        return step(args[0], w1, *args[2:], activation=square).sum()

    by_hand = jax.grad(loss)(args[1], residual)
    by_jax = jax.grad(loss)(args[1], jnn.autodiff(residual))
    np.testing.assert_allclose(by_hand, by_jax, rtol=1e-6)


def test_sizes_that_do_not_fit_say_which_step_does():
    x, w, b = jnp.ones((4, 2)), jnp.ones((2, 3)), jnp.ones(3)
    message = r"residual: `w2` must be of shape \(3, 2\), got float32\[2,3\]. .*residual_projection"
    with pytest.raises(ValueError, match=message):
        residual(x, w, b, w)
    message = r"residual_projection: `w2` must be of shape \(2, 3\), got float32\[3,2\]"
    with pytest.raises(ValueError, match=message):
        residual_projection(x, w, b, w.T)
    with pytest.raises(ValueError, match=r"residual: `x` must be of shape \(..., 3\)"):
        residual(x, w.T, b, w)
    with pytest.raises(ValueError, match="residual: `activation` must be one of"):
        residual(x, w, b, w.T, activation="swish")
