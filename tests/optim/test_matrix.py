"""Methods on whole matrices: full-matrix AdaGrad and RMSProp, the sketch, Muon's iteration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn import optim


def directions(optimizer, grads):
    state, found = optimizer.init(grads[0]), []
    for g in grads:
        u, state = optimizer.update(g, state)
        found.append(np.asarray(u))
    return found


def by_definition(m, g, epsilon):
    w, v = np.linalg.eigh(m)
    return v @ np.diag(1 / (np.sqrt(np.maximum(w, 0)) + epsilon)) @ v.T @ g


def test_whiten_divides_by_the_root_of_the_average_matrix(random):
    grads = list(random.normal(size=(6, 4)))
    with jax.enable_x64(True):
        ours = directions(optim.whiten(optim.mean(), 0.1), [jnp.asarray(g) for g in grads])
    for n, u in enumerate(ours, 1):
        m = sum(np.outer(g, g) for g in grads[:n]) / n
        np.testing.assert_allclose(u, by_definition(m, grads[n - 1], 0.1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("keep", [None, 0.9])
def test_a_sketch_is_the_whole_matrix_until_it_is_full(keep, random):
    average = optim.mean() if keep is None else optim.exponential(keep)
    with jax.enable_x64(True):
        grads = [jnp.asarray(g) for g in random.normal(size=(8, 20))]
        whole = directions(optim.whiten(average, 0.1), grads)
        sketch = directions(optim.whiten_last(6, keep, 0.1), grads)
    np.testing.assert_allclose(sketch[:6], whole[:6], rtol=1e-7, atol=1e-10)
    assert abs(sketch[7] - whole[7]).max() > 1e-6  # Two gradients are forgotten by then.


def test_a_full_sketch_is_the_matrix_of_its_gradients(random):
    grads = list(random.normal(size=(9, 20)))
    with jax.enable_x64(True):
        ours = directions(optim.whiten_last(4, 0.9, 0.1), [jnp.asarray(g) for g in grads])
    m = sum(0.1 * 0.9**i * np.outer(g, g) for i, g in enumerate(grads[:-5:-1]))
    np.testing.assert_allclose(ours[-1], by_definition(m, grads[-1], 0.1), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("make", [jnn.full_rmsprop, lambda r: jnn.full_rmsprop(r, rank=5)])
def test_equal_gradients_and_zeros_are_finite(make):
    """All columns are one direction then, or none: the small matrix has no inverse."""
    optimizer = make(0.1)
    for g in (jnp.array([3.0, 4.0, 0.0]), jnp.zeros(3)):
        state = optimizer.init(g)
        for _ in range(8):
            u, state = optimizer.update(g, state)
            assert jnp.isfinite(u).all()
        np.testing.assert_allclose(u[2], 0.0, atol=1e-6)


def test_full_matrix_steps_turn_with_the_coordinates_and_diagonal_ones_do_not(random):
    turn, _ = np.linalg.qr(random.normal(size=(4, 4)))
    with jax.enable_x64(True):
        grads = [jnp.asarray(g) for g in random.normal(size=(5, 4))]
        turned = [jnp.asarray(turn) @ g for g in grads]
        whole, diagonal = jnn.full_rmsprop(0.1), jnn.rmsprop(0.1)
        np.testing.assert_allclose(
            directions(whole, turned)[-1], turn @ directions(whole, grads)[-1], rtol=1e-9
        )
        difference = directions(diagonal, turned)[-1] - turn @ directions(diagonal, grads)[-1]
    assert abs(difference).max() > 1e-2


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (3, 3, 2, 4)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_orthogonal_updates_keep_the_singular_vectors_and_level_the_values(shape, dtype, random):
    g = jnp.asarray(random.normal(size=shape), dtype)
    u, _ = optim.orthogonalise().update(g, ())
    assert u.shape == shape
    assert u.dtype == dtype
    flat = np.asarray(g, float).reshape(-1, shape[-1])
    left, _, right = np.linalg.svd(flat, full_matrices=False)
    core = left.T @ np.asarray(u, float).reshape(flat.shape) @ right.T
    values = np.diag(core)
    slack = 0.02 if dtype == "bfloat16" else 1e-4
    np.testing.assert_allclose(core - np.diag(values), 0, atol=slack)
    assert (values > 0.68).all()
    assert (values < 1.21).all()


def test_the_iteration_lifts_small_values_and_leaves_zero():
    with jax.enable_x64(True):
        s = np.array([1.0, 0.1, 0.01, 0.004])
        u, _ = optim.orthogonalise().update(jnp.diag(jnp.asarray(s)), ())
        values = np.diag(np.asarray(u))
        assert values.min() > 0.68
        assert values.max() < 1.21
        np.testing.assert_array_equal(optim.orthogonalise().update(jnp.zeros((3, 2)), ())[0], 0)


def test_muon_counts_outputs_over_inputs_and_leaves_vectors_to_the_other():
    params = {"w": jnp.eye(2, 8), "b": jnp.ones(8)}
    optimizer = jnn.muon(1.0, other=jnn.gd(0.25))
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    np.testing.assert_allclose(updates["b"], -0.25)
    values = np.linalg.svd(updates["w"], compute_uv=False)
    assert (values > 0.68 * 2).all()
    assert (values < 1.21 * 2).all()
