"""L2 regularisation against the documents' steps, on any structure of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules.core.mode import MODES
from tests.golden import golden


def quadratic(q, case):
    """The documents' objective, half q A q - b q."""
    a, b = case["inputs"]["A"], case["inputs"]["b"]
    return q @ a @ q / 2 - b @ q


@pytest.mark.parametrize("name", ["OPT-GD-L2", "OPT-GD-L2-centre"])
@pytest.mark.parametrize("mode", MODES)
def test_decay_is_the_gradient_of_the_penalty(name, mode):
    """D-3, D-4: q+ = (1 - alpha lambda) q - alpha J is a descent step on V + lambda |q|^2 / 2."""
    case = golden(name)
    inputs = case["inputs"]
    centre = inputs.get("q_c")

    def penalised(q):
        return quadratic(q, case) + inputs["lambda"] * jnn.l2(q, centre)

    with jax.enable_x64(True), jnn.derivatives(mode):
        q = jnp.asarray(inputs["q0"])
        for expected in case["outputs"]["q"]:
            q = q - inputs["alpha"] * jax.grad(penalised)(q)
            np.testing.assert_allclose(q, expected, rtol=1e-13)


@pytest.mark.parametrize("mode", MODES)
def test_any_structure_has_a_cotangent_of_its_own(mode, random):
    params = {"w": random.normal(size=(2, 3)), "b": [random.normal(size=3), None]}
    centre = {"w": random.normal(size=(2, 3)), "b": [random.normal(size=3), None]}
    difference = jax.tree.map(np.subtract, params, centre)
    with jax.enable_x64(True), jnn.derivatives(mode):
        value, (dq, dc) = jax.value_and_grad(jnn.l2, (0, 1))(params, centre)
        without = jax.grad(lambda p: jnn.l2(p, centre, biases=False))(params)
    squares = sum(np.square(d).sum() for d in jax.tree.leaves(difference))
    np.testing.assert_allclose(value, squares / 2, rtol=1e-14)
    jax.tree.map(np.testing.assert_array_equal, dq, difference)
    jax.tree.map(np.testing.assert_array_equal, dc, jax.tree.map(np.negative, difference))
    np.testing.assert_array_equal(without["w"], difference["w"])
    assert without["b"][0].tolist() == [0, 0, 0]


def test_nothing_to_penalise_is_zero():
    assert jnn.l2(()) == 0
    assert jnn.l2({"b": jnp.ones(3)}, biases=False) == 0
    assert jax.grad(lambda p: jnn.l2(p, biases=False))(jnp.ones(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precisions_are_summed_in_float32(dtype):
    q = jnp.ones(12000, dtype)
    assert jnn.l2(q).dtype == dtype
    np.testing.assert_allclose(float(jnn.l2(q)), 6000, rtol=float(jnp.finfo(dtype).eps))


def test_arrays_of_several_dtypes_give_the_widest():
    params = {"w": jnp.ones((2, 2), jnp.bfloat16), "scale": jnp.ones(2)}
    assert jnn.l2(params).dtype == jnp.float32
    assert jnn.l2(params) == 3
    slopes = jax.grad(jnn.l2)(params)
    assert slopes["w"].dtype == jnp.bfloat16
    assert slopes["scale"].dtype == jnp.float32


def test_errors_name_the_array():
    params = {"w": jnp.ones((2, 2)), "count": jnp.array(3)}
    with pytest.raises(TypeError, match=r"l2: `params\['count'\]` must be a floating array"):
        jnn.l2(params)
    with pytest.raises(ValueError, match="l2: `centre` must be of the structure of `params`"):
        jnn.l2({"w": jnp.ones(2)}, jnp.ones(2))
    with pytest.raises(ValueError, match=r"l2: `centre\['w'\]` must be of shape \(2,\), got float"):
        jnn.l2({"w": jnp.ones(2)}, {"w": jnp.ones(3)})
