"""What a fully sharded step of a transformer sends over links: one layer at a time, and no more."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from benchmarks.costs import costs
from jnn.rules.core.sharded import Division, by_device, divided, gathered
from jnn.train.plan import Plan
from jnn.train.program import step as steps

LAYERS, SIZE, HIDDEN, VOCABULARY, TIME, BATCH = 3, 256, 512, 512, 6, 8
NET = jnn.models.transformer(
    VOCABULARY, SIZE, 4, LAYERS, hidden=HIDDEN, tied=False, remat=True, dropout=0.1
)
LAYER = 4 * (4 * SIZE**2 + 3 * SIZE * HIDDEN)  # Bytes of one.
ENDS = 4 * 2 * VOCABULARY * SIZE  # Of the embedding and the head.


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((4, 2), ("x", "y"), (jax.sharding.AxisType.Auto,) * 2)


def step_of(layout):
    """A step's function and its arguments; `sgd` moves parameters by their gradients."""
    plan = Plan(NET, jnn.softmax_cross_entropy, jnn.gd(1.0), BATCH, not_finite=None, layout=layout)
    ids = np.random.default_rng(1).integers(0, VOCABULARY, (BATCH, TIME + 1), np.int32)

    def step(params, x, t):
        moving = steps.Moving(params, (), plan.made.init(params), (), (), jnp.int32(0))
        new, (values, _) = steps.step(plan, moving, (x, t), jax.random.key(2))
        return new.params, values["loss"]

    params, _ = NET.init(jax.random.key(0), ids[:, :-1])
    return jax.jit(step), (params, ids[:, :-1], ids[:, 1:])


@pytest.fixture(scope="module")
def sharded(mesh):
    """The step, compiled for parameters that lie divided, and what it returns."""
    layout = jnn.train.fully_sharded(mesh)
    step, (params, *batch) = step_of(layout)
    params = jax.device_put(params, layout.specs(params))
    batch = jax.device_put(batch, layout.batches)
    program = step.lower(params, *batch).compile()
    return program, program(params, *batch)


def test_it_computes_what_one_device_does(sharded):
    step, args = step_of(None)
    new, loss = step(*args)
    _, (theirs, their_loss) = sharded
    np.testing.assert_allclose(loss, their_loss, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
    assert theirs[2].each[0][0][1].w_q.sharding.spec[1] == ("x", "y")


def test_one_layer_is_gathered_at_a_time_and_gradients_are_divided_as_they_come(sharded):
    text = sharded[0].as_text()
    found = costs(text)
    twice = 2 * LAYERS * LAYER  # Forward, and again in the backward.
    assert found.looped["all-gather"] == pytest.approx(twice, rel=0.02)
    assert found.bytes["all-gather"] == pytest.approx(twice + ENDS, rel=0.02)
    # Along an axis of four devices, then along one of two what is left.
    once = (LAYERS * LAYER + ENDS) * (1 + 1 / 4)
    assert found.bytes["reduce-scatter"] == pytest.approx(once, rel=0.02)
    assert found.looped["reduce-scatter"] == pytest.approx(LAYERS * LAYER * 5 / 4, rel=0.02)
    rest = sum(found.bytes[kind] for kind in ("all-reduce", "all-to-all", "collective-permute"))
    assert rest < 0.2 * LAYER  # Among them parts of sums, divided along another axis than theirs.
    textbook = 3 * (LAYERS * LAYER + ENDS)
    assert sum(found.bytes.values()) < 1.1 * textbook
    assert not re.search(rf"= f32\[{LAYERS},{SIZE},{SIZE}\]", text)  # No device has the stack.


def test_each_device_has_the_rows_of_its_own_samples(sharded):
    text = sharded[0].as_text()
    assert f"f32[1,{TIME},{SIZE}]" in text or f"f32[{TIME},{SIZE}]" in text
    assert f"f32[{BATCH},{TIME},{SIZE}]" not in text
    assert f"f32[{BATCH * TIME},{HIDDEN}]" not in text


def test_sums_of_samples_are_whole_where_no_parameter_is_divided(mesh):
    x = jnp.arange(16.0).reshape(8, 2)

    def f(x):
        return by_device(lambda x: (2 * x, (x.T @ x, x.sum(0))), (x,))

    with divided(Division(mesh, ("x", "y"))):
        text = str(jax.jit(f).lower(x).compile().as_text())
        y, (square, total) = jax.jit(f)(x)
        assert gathered(x) is x
    assert "all-reduce" in text
    np.testing.assert_array_equal(y, 2 * x)
    np.testing.assert_array_equal(square, x.T @ x)
    np.testing.assert_array_equal(total, x.sum(0))
