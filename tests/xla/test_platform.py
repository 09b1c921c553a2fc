"""Programs for a platform, traced on a machine of another."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.export import export

import jnn
from jnn.rules.convolution.geometry import Geometry
from jnn.rules.convolution.products import value
from jnn.xla.platform import NAMES, for_each, is_for, platforms

OWN = [(name, own) for name, all_own in NAMES.items() for own in all_own]


@jax.jit
def step(filters, x):
    """The gradient by the filters of a layer that is pooled and one that is not."""

    def loss(filters):
        h = jnn.rules.rectified_conv(x, filters[0], pool=2, padding=1)
        return jnp.sum(jnn.rules.conv(h, filters[1], padding=1) ** 2)

    return jax.grad(loss)(filters)


@pytest.fixture
def args(random):
    def draw(*size):
        return jnp.asarray(random.normal(size=size), jnp.float32)

    return (draw(3, 3, 32, 32), draw(3, 3, 32, 64)), draw(64, 16, 16, 32)


def counts(text):
    """How often XLA's convolution, products and loops occur."""
    names = ("convolution", "dot_general", "while")
    return [len(re.findall(rf"stablehlo\.{name}\b", text)) for name in names]


def assert_ways(text, name, args):
    """A CPU's convolutions are products, of few samples at a time; elsewhere they are XLA's own."""
    convolutions, products, loops = counts(text)
    if name == "cpu":
        assert [convolutions, products, loops] == counts(step.lower(*args).as_text())
        assert products
        assert loops
    else:
        # Two values, two gradients by the filter, one by the image between.
        assert (convolutions, products, loops) == (5, 0, 0)


def test_a_program_is_for_the_default_device_unless_told():
    assert platforms() == (jax.default_backend(),)
    with jnn.platform("cuda", "rocm", "tpu"):
        assert platforms() == ("gpu", "tpu")
        assert not is_for("gpu")
        with jnn.platform("rocm"):
            assert is_for("gpu")
    with jax.default_device("cpu"):
        assert is_for("cpu")
    with jax.default_device(jax.devices()[0]):
        assert platforms() == (jax.devices()[0].platform,)


@pytest.mark.parametrize("names", [(), ("GPU",), ("cpu", "metal")])
def test_other_names_are_refused(names):
    with pytest.raises(ValueError, match="platform: `names` must be one"), jnn.platform(*names):
        pass


@pytest.mark.parametrize(("name", "own"), OWN)
def test_an_export_holds_the_ways_of_the_platform_it_is_for(name, own, args):
    with jnn.platform(name):
        program = export(step, platforms=[own])(*args)
    assert_ways(program.mlir_module(), name, args)


@pytest.mark.parametrize(("name", "own"), OWN)
def test_a_program_for_several_is_that_of_each_where_it_is_lowered(name, own, args):
    with jnn.platform(*NAMES):
        text = step.trace(*args).lower(lowering_platforms=(own,)).as_text()
    assert_ways(text, name, args)


def test_one_export_for_several(args):
    with jnn.platform(*NAMES):
        program = export(step, platforms=["cpu", "cuda", "tpu"])(*args)
    assert all(counts(program.mlir_module()))
    chex.assert_trees_all_close(program.call(*args), step(*args), rtol=1e-4)


def test_jit_knows_of_it(args):
    texts = []
    for name in ("cpu", "gpu", "cpu"):
        with jnn.platform(name):
            texts.append(jax.jit(lambda *args: step(*args)).lower(*args).as_text())
    assert counts(texts[0]) == counts(texts[2]) != counts(texts[1])
    with jax.default_device("cpu"):
        assert counts(step.lower(*args).as_text()) == counts(texts[0])


def test_an_ordinary_program_has_no_branch(args):
    assert "stablehlo.case" not in step.lower(*args).as_text()


def test_what_held_at_the_call_holds_where_its_derivative_is_pulled(args):
    (w, _), x = args
    with jnn.platform("gpu"):
        y, pull = jax.vjp(lambda w: jnn.rules.conv(x, w), w)
    assert counts(jax.jit(pull).lower(y).as_text())[0] == 1


def test_without_compiling_several_are_the_one_that_runs():
    x = jnp.arange(3.0)
    with jnn.platform("cpu", "tpu"):
        y = for_each(lambda x: x + 1 if is_for("tpu") else x, x)
    np.testing.assert_array_equal(y, x)


def test_a_call_says_what_it_is_for():
    g = Geometry((8,), (3,), (1,), ((0, 0),), (1,))
    x, w = jnp.ones((2, 8, 3)), jnp.ones((3, 3, 4))
    with jnn.platform("tpu"):
        assert value.call(x, w, setting=g).platform == "tpu"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_widened_for_a_cpu_alone(dtype):
    x, w = jnp.ones((2, 8, 3), dtype), jnp.ones((3, 3, 4), dtype)
    widened = []
    for name in NAMES:
        with jnn.platform(name):
            text = jax.jit(jnn.rules.conv).lower(x, w).as_text()
        widened.append("xf32>" in re.findall(r"stablehlo\.convolution.*", text)[0])
    assert widened == [True, False, False]


def test_small_solves_are_one_kernel_on_a_cpu_alone():
    def solve(x):
        return jnn.minimize(lambda x: jnp.sum(x**4), x, jnn.lbfgs()).params

    marks = []
    for name in NAMES:
        with jnn.platform(name):
            text = jax.jit(solve).trace(jnp.ones(3)).lower(lowering_platforms=NAMES[name][:1])
        marks.append("small_call" in text.as_text())
    assert marks == [True, False, False]
