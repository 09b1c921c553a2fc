"""Compare hand-written derivatives with autodiff: exactness, time, memory.

NAME is a rule, e.g. affine or softmax_cross_entropy, or a model:

  mlp    784-512-512-10 with relu, trained on the softmax cross-entropy
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn import models
from jnn.rules import registry, softmax_cross_entropy
from jnn.verify.compare import compare


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("name", metavar="NAME", choices=[*registry, *MODELS], help="rule or model")
    parser.add_argument("--batch", type=_count, default=256, metavar="N", help="samples (256)")
    parser.add_argument(
        "--seconds", type=float, default=2.0, metavar="S", help="time to spend on timing (2)"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a picture too")


def run(options: argparse.Namespace) -> int:
    """Prints the comparison, and for a model the ledger of what each layer saves."""
    if options.name in MODELS:
        function, args = MODELS[options.name](options.batch)
        result = compare(function, *args, budget=options.seconds)
        print(result, result.ledger, sep="\n\n")
    else:
        rule = registry[options.name]
        result = compare(rule, batch=options.batch, budget=options.seconds)
        print(result)
    if options.plot is not None:
        result.plot(options.plot)
        print(f"picture: {options.plot}")
    return 0


def mlp(batch: int) -> tuple[Callable[..., jax.Array], tuple[Any, ...]]:
    """The loss of a multilayer perceptron for digits, and its arguments: params, x, t."""
    net = models.mlp([512, 512, 10], activation="relu")
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(batch, 784)), jnp.float32)
    t = jnp.asarray(random.integers(0, 10, batch), jnp.int32)
    params, _ = net.init(jax.random.key(0), x)

    def mlp(params: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        return softmax_cross_entropy(net(params, x), t).mean()

    return mlp, (params, x, t)


MODELS = {"mlp": mlp}


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text}")
    return int(text)
