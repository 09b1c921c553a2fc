"""A layer and a way around it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from tests.layers.toys import centred, noisy

KEY = jax.random.key(0, impl="rbg")
X = jnp.asarray(np.random.default_rng(1).normal(size=(6, 4)), jnp.float32)


def test_it_adds_its_input():
    inner = jnn.dense(4, activation="tanh")
    net = jnn.skip(inner)
    params, state = net.init(KEY, X)
    assert state == ()
    np.testing.assert_allclose(net(params, X), X + inner(params[0], X), rtol=1e-6)
    same_step = jnn.serial(jnn.dense(5, activation="tanh"), jnn.dense(4, bias=False))
    net = jnn.skip(same_step)
    ((first, second),), _ = net.init(KEY, X)
    treister = jnn.rules.residual(X, first.w, first.b, second.w)
    np.testing.assert_allclose(net(((first, second),), X), treister, rtol=1e-5, atol=1e-6)


def test_with_a_projection_it_is_parallel():
    inner, project = jnn.dense(3), jnn.dense(3, bias=False)
    net, other = jnn.skip(inner, project=project), jnn.parallel(inner, project, combine="sum")
    params, _ = net.init(KEY, X)
    for got, want in zip(
        jax.tree.leaves(params), jax.tree.leaves(other.init(KEY, X)[0]), strict=True
    ):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_allclose(net(params, X), other(params, X), rtol=1e-6)


def test_keys_and_states_go_where_they_belong():
    inner, project = jnn.serial(noisy(), jnn.dense(4)), jnn.serial(centred(), noisy())
    net = jnn.skip(inner, project=project)
    params, state = net.init(KEY, X)
    y, new = net.apply(params, state, X, key=KEY, train=True)
    one, _ = inner.apply(params[0], (), X, key=jax.random.fold_in(KEY, 0), train=True)
    other, theirs = project.apply(
        params[1], state[1], X, key=jax.random.fold_in(KEY, 1), train=True
    )
    np.testing.assert_allclose(y, one + other, rtol=1e-6)
    assert new[0] == ()
    assert new[1][0][1].item() == theirs[0][1].item() == 1


def test_the_table_and_the_deltas():
    net = jnn.serial(jnn.skip(jnn.dense(4)), jnn.skip(jnn.dense(3), project=jnn.dense(3)))
    table = jnn.summary(net, X)
    assert [(row.number, row.parameters) for row in table.rows] == [
        ("0.0", 20), ("0", 0), ("1.0", 15), ("1.1", 15), ("1", 0),
    ]  # fmt: skip
    params, _ = net.init(KEY, X)
    assert [*jnn.deltas(net, params, X, X[:, :3])] == ["input", "0.skip", "1.skip"]


def test_shapes_that_do_not_fit_come_with_the_projection_that_would():
    with pytest.raises(ValueError, match=r"skip: `inner` must be one that returns float32\[6,4\].*"
                       r"got float32\[6,3\].*project=jnn.dense\(3\)"):  # fmt: skip
        jnn.skip(jnn.dense(3)).apply((jnn.dense(3).init(KEY, X)[0],), (), X)
    images = jnp.zeros((2, 7, 7, 3))
    net = jnn.skip(jnn.conv(6, 3, stride=2, padding=1))
    with pytest.raises(ValueError, match=r"project=jnn.conv\(6, 1, stride=2\)"):
        net(net.init(KEY, images)[0], images)
    mended = jnn.skip(jnn.conv(6, 3, stride=2, padding=1), project=jnn.conv(6, 1, stride=2))
    assert mended(mended.init(KEY, images)[0], images).shape == (2, 4, 4, 6)
    with pytest.raises(TypeError, match="skip: `inner` must be a layer"):
        jnn.skip(jnn.relu)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="skip: `project` must be a layer"):
        jnn.skip(jnn.relu(), project=True)  # pyright: ignore[reportArgumentType]
    narrow = jnn.skip(jnn.dense(4, dtype=jnp.bfloat16))
    with pytest.raises(ValueError, match=r"returns float32\[6,4\].*got bfloat16\[6,4\]"):
        narrow(narrow.init(KEY, X)[0], X)
