"""Programs for devices that need not be here; those of H200 and v5e where their compilers are."""

import jax
import jax.numpy as jnp
import pytest

import jnn
from jnn.xla.absent import compiled, target
from jnn.xla.census import census

X = jax.ShapeDtypeStruct((8, 16), jnp.float32)


def test_this_machine_is_a_device_too():
    program = compiled(lambda x: jnp.tanh(x) @ x.T, X, device="cpu")
    assert program(jnp.ones((8, 16))).shape == (8, 8)


def test_a_program_is_told_what_it_is_for():
    asked = []

    def f(x):
        asked.append(jnn.xla.platform.platforms())
        return x

    compiled(f, X, device="cpu")
    assert asked == [("cpu",)]


def test_settings_are_those_of_jit():
    program = compiled(lambda x: x + 1, X, device="cpu", donate_argnums=0)
    assert program.memory_analysis().alias_size_in_bytes == 8 * 16 * 4


def test_what_is_unknown_is_named():
    with pytest.raises(ValueError, match=r"target: `device` must be one of 'cpu', 'h100', 'h200'"):
        target("b200")


def is_here(device):
    try:
        return bool(target(device))
    except ImportError:
        return False


@pytest.mark.parametrize("device", ["h200", "v5e"])
def test_a_compiler_that_is_not_here_is_a_sentence(device):
    if is_here(device):
        program = compiled(lambda x: jnn.rules.softmax(x), X, device=device)
        assert census(program.as_text()).kernels
    else:
        with pytest.raises(ImportError, match="extra `devices`"):
            target(device)


def test_a_comparison_for_a_device():
    weighed = jnn.compare(jnn.rules.softmax_cross_entropy, platform="cpu", batch=8)
    assert weighed.device == "cpu"
    assert weighed.hand.scatters == 0
    assert weighed.hand.census.traffic < weighed.autodiff.census.traffic
    labels = [m.label for m in weighed.measures]
    lines = str(weighed).splitlines()
    assert lines[0].split()[:3] == ["softmax_cross_entropy", "on", "cpu"]
    assert [line.split("  ")[0] for line in lines[2:]] == labels
    shapes = jnn.compare(lambda x, w: jnp.sin(x @ w), X, X.update(shape=(16, 4)), platform="cpu")
    assert shapes.hand.memory["arguments"] == 4 * (8 * 16 + 16 * 4 + 8 * 4)


def test_the_backward_stands_apart_from_the_forward():
    weighed = jnn.compare(jnp.sin, jax.ShapeDtypeStruct((64,), jnp.float32), platform="cpu")
    assert weighed.hand == weighed.autodiff
    assert weighed.hand.census.operations["sine"] == weighed.hand.census.operations["cosine"] == 1
