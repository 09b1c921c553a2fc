"""Products are found by tracing, backward ones too, wherever they are called."""

import jax
import jax.numpy as jnp
import pytest

from jnn.tuning import recorded

F = ((2, 3), "float32")


def found(function, *args, **kwargs):
    return [(c.product, *c.arrays, c.setting) for c in recorded(function, *args, **kwargs)]


def test_value_and_derivative_of_a_loss_and_of_any_function(toy, x):
    both = [
        ("toy.value", F, 2.0),
        ("toy.slope", F, F, 2.0),
    ]
    assert found(lambda x: toy.rule(x, scale=2.0).sum(), x) == both
    assert found(lambda x: toy.rule(x, scale=2.0), x) == both
    assert found(lambda x: toy.rule(x, scale=2.0), jax.ShapeDtypeStruct(*F)) == both
    assert found(lambda x: toy.rule(x, scale=2.0), x, gradient=False) == both[:1]
    assert found(lambda n: toy.rule(jnp.float32(n)), 3)[0][:2] == ("toy.value", ((), "float32"))


def test_inside_of_transformations_and_of_what_was_compiled_before(toy, x):
    functions = [
        jax.jit(toy.rule),
        jax.checkpoint(lambda x: toy.rule(x)),
        lambda x: jax.lax.scan(lambda c, _: (toy.rule(c), None), x, length=3)[0],
        lambda x: jax.lax.cond(x.sum() > 0, toy.rule, toy.rule, x),
        jax.vmap(toy.rule),
    ]
    for i, f in enumerate(functions):
        jax.grad(lambda x, f=f: f(x).sum())(x)
        jax.jit(jax.grad(lambda x, f=f: f(x).sum()))(x)
        shape = F if i < 4 else ((3,), "float32")
        assert set(found(f, x)) == {
            ("toy.value", shape, 1.0),
            ("toy.slope", shape, shape, 1.0),
        }


def test_a_call_is_recorded_once(toy, x):
    assert len(found(lambda x: toy.rule(toy.rule(x)) + toy.rule(x), x)) == 2


def test_a_training_step_is_recorded_without_its_own_derivative(toy, x):
    def step(x):
        loop = jax.lax.while_loop(lambda c: c.sum() < 9, lambda c: c + 1, x)
        return x - jax.grad(lambda x: toy.rule(x).sum())(loop)

    assert len(found(step, x, gradient=False)) == 2
    with pytest.raises(Exception, match="while_loop") as info:
        recorded(step, x)
    assert any("gradient=False" in note for note in info.value.__notes__)
