"""Functions of others that compute what a rule computes, by the rule's name."""

import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

MISSING = "pip install -e '.[bench]' adds it"


def of_jax() -> dict[str, Callable[..., Any]]:
    """Functions of `jax.nn` and `jax.image`, some with derivative rules of their own."""
    nn = jax.nn
    return {
        "sigmoid": nn.sigmoid,
        "tanh": nn.tanh,
        "relu": nn.relu,
        "leaky_relu": nn.leaky_relu,
        "softplus": nn.softplus,
        "elu": nn.elu,
        "selu": nn.selu,
        "gelu": functools.partial(nn.gelu, approximate=False),
        "silu": nn.silu,
        "softsign": nn.soft_sign,
        "hard_tanh": nn.hard_tanh,
        "relu6": nn.relu6,
        "hard_sigmoid": nn.hard_sigmoid,
        "hard_swish": nn.hard_swish,
        "log_sigmoid": nn.log_sigmoid,
        "celu": nn.celu,
        "mish": nn.mish,
        "identity": nn.identity,
        "softmax": nn.softmax,
        "log_softmax": nn.log_softmax,
        "logsumexp": functools.partial(nn.logsumexp, axis=-1),
        "resize": _twice_as_large,
    }


def _twice_as_large(x: jax.Array) -> jax.Array:
    n, height, width, channels = x.shape
    return jax.image.resize(x, (n, 2 * height, 2 * width, channels), "linear")


def of_optax() -> dict[str, Callable[..., Any]]:
    """Losses of optax, summed over the outputs as ours are; none if it is not installed."""
    try:
        import optax  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}

    def summed(loss: Callable[..., Any]) -> Callable[..., Any]:
        return lambda y, t: loss(y, t.astype(y.dtype)).sum(-1)

    return {
        "softmax_cross_entropy": optax.softmax_cross_entropy_with_integer_labels,
        "sigmoid_cross_entropy": summed(optax.sigmoid_binary_cross_entropy),
        "squared_error": summed(optax.squared_error),
        "half_squared_error": summed(optax.l2_loss),
        "huber": summed(optax.huber_loss),
    }


def flax_step(sizes: tuple[int, ...], rate: float, params: Any) -> tuple[Callable, Any] | None:
    """A step of SGD on Flax's MLP, and its parameters, equal to ours; None without Flax and optax.

    Args:
      sizes: units of the layers, the input's excluded.
      rate: the learning rate.
      params: our parameters, a `(w, b)` for each layer.
    """
    try:
        import optax  # pyright: ignore[reportMissingImports]
        from flax import linen  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None

    class MLP(linen.Module):
        @linen.compact
        def __call__(self, x):
            for n in sizes[:-1]:
                x = linen.relu(linen.Dense(n)(x))
            return linen.Dense(sizes[-1])(x)

    net, optimizer = MLP(), optax.sgd(rate)
    theirs = {"params": {f"Dense_{i}": {"kernel": w, "bias": b} for i, (w, b) in enumerate(params)}}

    def loss(params, x, t):
        logits = cast(Any, net.apply(params, x))
        return optax.softmax_cross_entropy_with_integer_labels(logits, t).mean()

    def step(params, x, t):
        value, grads = jax.value_and_grad(loss)(params, x, t)
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        layers = cast(Any, optax.apply_updates(params, updates))["params"]
        ordered = [layers[f"Dense_{i}"] for i in range(len(sizes))]
        return value, [(layer["kernel"], layer["bias"]) for layer in ordered]

    return step, jax.tree.map(jnp.asarray, theirs)
