"""Every rule, value and gradient, lowered for a GPU and a TPU, which need not be here."""

import functools

import jax
import numpy as np
import pytest
from jax.export import export

import jnn
from jnn.floats import cast, cotangent, pulled
from jnn.rules import registry


def lowered(rule, random, platform, own):
    example = rule.examples[0](random)
    function = functools.partial(rule, **example.settings)
    args = cast(example.args, np.float32)
    delta = cotangent(jax.eval_shape(function, *args))
    with jnn.platform(platform):
        gradients = jax.jit(lambda *args: pulled(function, args, delta))
        return export(gradients, platforms=[own])(*args).mlir_module()


@pytest.mark.parametrize("name", registry)
def test_a_rule_is_lowered_for_every_platform_and_scatters_on_none(name, random):
    """A GPU's scatter adds in no fixed order; a TPU's is a loop over places."""
    for platform, own in (("gpu", "cuda"), ("gpu", "rocm"), ("tpu", "tpu")):
        assert "stablehlo.scatter" not in lowered(registry[name], random, platform, own)


def test_autodiff_scatters(random):
    with jnn.derivatives("autodiff"):
        text = lowered(registry["softmax_cross_entropy"], random, "gpu", "cuda")
    assert "stablehlo.scatter" in text
