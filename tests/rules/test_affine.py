"""The affine map against the documents' numbers, an explicit matrix, and its error messages."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnn.rules import affine
from jnn.rules.pointwise.activation import activation
from tests.golden import golden


@pytest.mark.parametrize("case", range(4))
def test_golden_dense_layers(case):
    """H-13..19, Table 4, and Treister §4.1.2; the documents' W is our w transposed."""
    name = f"DENSE-{case}"
    inputs, outputs = golden(name)["inputs"], golden(name)["outputs"]
    with jax.enable_x64(True):
        step = activation("test", inputs["activation"])
        x, w, b = inputs["x"], inputs["W"].T, inputs["b"]
        z = affine(x, w, b)
        y, pull = jax.vjp(lambda x, w, b: step(affine(x, w, b)), x, w, b)
        dx, dw, db = pull(jnp.asarray(inputs["v"]))
    for got, want in [(z, "z"), (y, "y"), (dx, "dx"), (dw.T, "dW"), (db, "db")]:
        np.testing.assert_allclose(got, outputs[want], rtol=1e-12, atol=1e-15)


def test_the_weight_gradient_is_the_transposed_kronecker_product(random):
    """T-36..37: the Jacobian of Wx by vec(W) is x^T (x) I, and its transpose times v is vec(v x^T).

    Treister prints the vector as v x^T itself; vec is missing.
    """
    x, w, v = random.normal(size=3), random.normal(size=(3, 2)), random.normal(size=2)
    with jax.enable_x64(True):
        dw = jax.grad(lambda w: affine(x, w) @ v)(jnp.asarray(w))
    jacobian = np.kron(x[None, :], np.eye(2))  # By vec(W), columns stacked.
    np.testing.assert_allclose(dw.T.reshape(-1, order="F"), jacobian.T @ v, rtol=1e-14)


def test_column_stacking_of_a_matrix_product():
    """T-34..35: AXB = C is (B^T (x) A) vec X = vec C; `KRON-T35`."""
    case = golden("KRON-T35")
    a, x, b = (case["inputs"][name] for name in ("A", "X", "B"))
    with jax.enable_x64(True):
        c = affine(affine(x.T, a.T).T, b)  # A X, then (A X) B, both by rows.
    np.testing.assert_allclose(c, case["outputs"]["C"], rtol=1e-14)
    stacked = np.kron(b.T, a) @ x.reshape(-1, order="F")
    np.testing.assert_allclose(stacked, case["outputs"]["vecC"], rtol=1e-14)


@pytest.mark.parametrize("batch", [(), (5,), (2, 3), (0,), (2, 0, 3)])
def test_any_number_of_batch_axes(batch, random):
    with jax.enable_x64(True):
        x, w, b = random.normal(size=(*batch, 4)), random.normal(size=(4, 2)), random.normal(size=2)
        delta = random.normal(size=(*batch, 2))
        y, pull = jax.vjp(affine, x, w, b)
        dx, dw, db = pull(jnp.asarray(delta))
    np.testing.assert_allclose(y, x @ w + b, rtol=1e-13)
    np.testing.assert_allclose(dx, delta @ w.T, rtol=1e-13)
    np.testing.assert_allclose(dw, x.reshape(-1, 4).T @ delta.reshape(-1, 2), atol=1e-13)
    np.testing.assert_allclose(db, delta.reshape(-1, 2).sum(0), atol=1e-13)


def test_half_precision_accumulates_in_float32():
    """Of 4096 ones, a sum kept in bfloat16 would stop at 256."""
    x, w = jnp.ones((1, 4096), jnp.bfloat16), jnp.ones((4096, 1), jnp.bfloat16)
    assert affine(x, w).item() == 4096
    dw, db = jax.grad(lambda w, b: affine(jnp.ones((4096, 1), w.dtype), w, b).sum(), (0, 1))(
        jnp.ones((1, 1), jnp.bfloat16), jnp.ones(1, jnp.bfloat16)
    )
    assert dw.item() == 4096
    assert db.item() == 4096


def test_a_map_without_bias_takes_none():
    x, w = jnp.ones((2, 3)), jnp.ones((3, 2))
    dx, dw, none = jax.vjp(affine, x, w, None)[1](jnp.ones((2, 2)))
    assert none is None
    assert dx.shape == x.shape
    assert dw.shape == w.shape


ONES = jnp.ones
BAD = {
    "weights are (in, out)": (
        (ONES((8, 3)), ONES((2, 3))),
        ValueError,
        "affine: `x` must be of shape (..., 2) to fit `w` float32[2,3], got float32[8,3]. "
        "Weights are (in, out), and samples are rows.",
    ),
    "no feature axis": ((ONES(()), ONES((2, 3))), ValueError, "affine: `x` must be of shape"),
    "weights of rank 3": ((ONES(3), ONES((1, 3, 2))), ValueError, "`w` must be an array of rank 2"),
    "bias": (
        (ONES((8, 3)), ONES((3, 2)), ONES(3)),
        ValueError,
        "affine: `b` must be of shape (2,), got float32[3]. One bias an output.",
    ),
    "integers": (
        (jnp.ones((8, 3), int), ONES((3, 2))),
        TypeError,
        "affine: `x` must be a floating array, got int32[8,3]. Cast it",
    ),
    "mixed dtypes": (
        (jnp.ones((8, 3), jnp.bfloat16), ONES((3, 2))),
        TypeError,
        "affine: `w` must be of the dtype of `x`, bfloat16, got float32[3,2]. Mixed precisions",
    ),
}


@pytest.mark.parametrize(("args", "error", "message"), BAD.values(), ids=BAD)
def test_bad_input_says_what_was_expected(args, error, message):
    with pytest.raises(error, match=re.escape(message)):
        affine(*args)
    with pytest.raises(error, match=re.escape(message)):  # While a function is traced, too.
        jax.jit(affine)(*args)
