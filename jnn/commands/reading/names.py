"""What a word of the command line names: something of this library, or of one's own."""

import argparse
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn import models
from jnn.layers.core.layer import Layer
from jnn.rules import softmax_cross_entropy

Made = tuple[Callable[..., jax.Array], tuple[Any, ...]]


def found(word: str, what: str, known: Mapping[str, Any]) -> Any:
    """What is known by that word, or the attribute that PACKAGE.MODULE:NAME names.

    >>> found("math:pi", "number", {}) == found("pi", "number", {"pi": 3.141592653589793})
    True
    """
    module, _, attribute = word.partition(":")
    if not attribute:
        if word not in known:
            raise argparse.ArgumentTypeError(
                f"there is no {what} '{word}'. {what.capitalize()}s: {', '.join(known)}; or "
                "PACKAGE.MODULE:NAME."
            )
        return known[word]
    if "" not in sys.path:  # The console command does not look where it is called.
        sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise argparse.ArgumentTypeError(f"'{word}': {error}.") from None


def count(text: str) -> int:
    """A positive integer.

    >>> count("3")
    3
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text}")
    return int(text)


def positive(text: str) -> float:
    """A number above zero.

    >>> positive("1e-3")
    0.001
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return number


def mlp(batch: int) -> Made:
    """784-512-512-10 with relu, trained on the softmax cross-entropy."""
    return _classifier("mlp", models.mlp([512, 512, 10], activation="relu"), (batch, 784))


def lenet(batch: int) -> Made:
    """28x28: 5x5x32, pool, 5x5x64, pool, dense 256, 10."""
    return _classifier("lenet", models.modern_lenet(), (batch, 28, 28, 1))


def vgg6(batch: int) -> Made:
    """32x32x3: pairs of 3x3 with 32, 64 and 128 maps, a pool behind each, dense 256, 10."""
    return _classifier("vgg6", models.vgg(), (batch, 32, 32, 3))


def _classifier(name: str, net: Layer, shape: tuple[int, ...]) -> Made:
    """The loss of a network with ten classes on random data, and its arguments: params, x, t."""
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=shape), jnp.float32)
    t = jnp.asarray(random.integers(0, 10, shape[0]), jnp.int32)
    params, _ = net.init(jax.random.key(0), x)

    def loss(params: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        return softmax_cross_entropy(net(params, x), t).mean()

    loss.__name__ = name
    return loss, (params, x, t)


# Each makes a function and its arguments for a batch of so many samples.
MODELS: dict[str, Callable[[int], Made]] = {"mlp": mlp, "lenet": lenet, "vgg6": vgg6}
