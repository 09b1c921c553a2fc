"""K-means: Lloyd's iterations worked out, scikit-learn as a second opinion, hard data."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from tests.golden import golden


def test_golden_iterations():
    case = golden("TOC-kmeans")
    x, first = (jnp.asarray(case["inputs"][key], jnp.float32) for key in ("points", "c0"))
    labels, centres = (case["outputs"][key] for key in ("labels", "centres"))
    run = jax.jit(lambda steps: jnn.models.kmeans(None, x, 2, centres=first, steps=steps))
    for step in range(3):
        found = run(step)
        np.testing.assert_array_equal(found.labels, labels[step])
        if step:
            np.testing.assert_allclose(found.centres, centres[step - 1], rtol=1e-6)
    found = run(100)
    assert (found.steps, found.converged) == (2, True)  # The second changed no label.


def test_scikit_learn_agrees(random):
    cluster = pytest.importorskip("sklearn.cluster")
    x = random.normal(size=(300, 5)) + 3 * random.integers(0, 2, size=(300, 5))
    first = x[:6]
    theirs = cluster.KMeans(6, init=first, n_init=1, tol=0, max_iter=500).fit(x)
    with jax.enable_x64(True):
        ours = jnn.models.kmeans(None, jnp.asarray(x), 6, centres=jnp.asarray(first), steps=500)
    assert ours.converged
    np.testing.assert_array_equal(ours.labels, theirs.labels_)
    np.testing.assert_allclose(ours.centres, theirs.cluster_centers_, rtol=1e-10)
    np.testing.assert_allclose(ours.inertia, theirs.inertia_, rtol=1e-10)


def test_plus_plus_finds_separate_clusters_far_from_the_origin(random):
    """As many clusters as centres: each draw falls into a new one, whatever the key."""
    corners = 1000 + 100 * random.normal(size=(8, 3))
    x = np.repeat(corners, 20, axis=0) + 0.01 * random.normal(size=(160, 3))
    find = jax.jit(jax.vmap(lambda key: jnn.models.kmeans(key, jnp.asarray(x, jnp.float32), 8)))
    found = find(jax.random.split(jax.random.key(0), 5))
    assert found.converged.all()
    np.testing.assert_array_less(found.inertia, 1.0)


def test_equal_samples_and_lost_centres_give_numbers():
    found = jnn.models.kmeans(jax.random.key(0), jnp.ones((5, 2)), 3)
    assert jnp.isfinite(found.centres).all()
    assert found.inertia == 0
    lost = jnp.array([[0.0, 0.0], [50.0, 50.0]])
    found = jnn.models.kmeans(None, jnp.zeros((4, 2)), 2, centres=lost)
    np.testing.assert_allclose(found.centres, lost)


def test_no_array_is_a_cube():
    n, k, features = 2000, 50, 40
    run = jax.jit(functools.partial(jnn.models.kmeans, k=k))
    x = jax.ShapeDtypeStruct((n, features), jnp.float32)
    memory = run.lower(jax.random.key(0), x).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 4 * n * k * features / 3


def test_what_does_not_fit_says_so():
    with pytest.raises(ValueError, match="`k` must be at most the number of samples, 3, got 4"):
        jnn.models.kmeans(jax.random.key(0), jnp.zeros((3, 2)), 4)
    with pytest.raises(ValueError, match="`key` must be a random key"):
        jnn.models.kmeans(None, jnp.zeros((3, 2)), 2)
