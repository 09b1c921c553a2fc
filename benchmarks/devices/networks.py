"""Training steps of whole networks, parameters given away, against Flax and optax."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

import jnn
from benchmarks import convolutional
from benchmarks.convolutional import Network
from benchmarks.devices.case import AUTODIFF, OURS, Case, Side, Struct
from benchmarks.peers_cnn import flax_step

RATE = 0.1
BATCHES = {"lenet": (256,), "vgg6": (64, 1024), "resnet": (128, 1024)}


def cases(dtype: Any, quick: bool = False) -> Iterator[Case]:
    """Convolutional networks, and a perceptron with GELU."""
    for name, batches in BATCHES.items():
        for batch in (2,) if quick else batches:
            network = convolutional.NETWORKS[name]
            yield _case(name, network._replace(shape=(batch, *network.shape[1:])), dtype)
    batch, width = (2, 4) if quick else (8192, 512)
    net = jnn.models.mlp([width, width, 10], activation="gelu")
    x, t = Struct((batch, 784), dtype), Struct((batch,), jnp.int32)
    params, _ = jax.eval_shape(net.init, jax.random.key(0), x)
    yield Case(f"mlp with gelu, {batch}", _sides(_step(net), params, x, t))


def _case(name: str, network: Network, dtype: Any) -> Case:
    x, t = Struct(network.shape, dtype), Struct(network.shape[:1], jnp.int32)
    given = convolutional.initial(network)
    sides = _sides(_step(convolutional.ours(network)), _in(dtype, given), x, t)
    if peer := flax_step(network, RATE, given, x, t):
        step, (theirs, *_), _ = peer
        sides["Flax, optax"] = Side(step, (_in(dtype, theirs), x, t), donated=True)
    return Case(f"{name}, {network.shape[0]}", sides)


def _sides(step: Any, *args: Any) -> dict[str, Side]:
    ours = Side(step, args, donated=True)
    return {OURS: ours, AUTODIFF: ours._replace(mode="autodiff")}


def _in(dtype: Any, tree: Any) -> Any:
    return jax.tree.map(lambda a: Struct(a.shape, dtype), tree)


def _step(net: Any) -> Any:
    def loss(params: Any, x: Any, t: Any) -> jax.Array:
        return jnn.softmax_cross_entropy(net(params, x), t).mean()

    def step(params: Any, x: Any, t: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, x, t)
        moved = jax.tree.map(lambda p, g: p - jnp.asarray(RATE, p.dtype) * g, params, grads)
        return value, moved

    return step
