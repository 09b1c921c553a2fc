"""Networks of this library's layers as Flax and PyTorch compute them, read from the layers' specs.

The layers that a residual network with batch normalisation is made of, and no others. A step is one
of SGD, from equal parameters, and returns the loss, new parameters and new running statistics in
our layout.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks.modern.contest import by_torch
from jnn.layers import ConvParams, DenseParams, Layer, NormParams, Running
from jnn.measure import Program
from jnn.train.program.precision import Precision, narrow

KINDS = {ConvParams: "Conv", NormParams: "BatchNorm", DenseParams: "Dense"}
ENTRIES = {"w": "kernel", "b": "bias", "scale": "scale", "shift": "bias"}

# The step, and its arguments.
Step = tuple[Callable[..., Any], tuple[Any, ...]]


def our_step(
    net: Layer, params: Any, state: Any, x: Any, t: Any, *, rate: float, dtype: str = "float32"
) -> Step:
    """The step by this library."""
    precision = precision_of(dtype)

    def loss(params: Any, state: Any, x: Any, t: Any) -> Any:
        params, x = narrow(precision, (params, x))
        y, state = net.apply(params, state, x, train=True)
        return jnn.softmax_cross_entropy(y.astype(jnp.float32), t).mean(), state

    def step(params: Any, *rest: Any) -> Any:
        (value, state), grads = jax.value_and_grad(loss, has_aux=True)(params, *rest)
        return value, jax.tree.map(lambda p, g: p - rate * g, params, grads), state

    return step, (params, state, x, t)


def flax_step(
    net: Layer, params: Any, state: Any, x: Any, t: Any, *, rate: float, dtype: str = "float32"
) -> Step | None:
    """The step by Flax and optax; None where they are not installed."""
    try:
        import optax  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    apply, theirs, ours = flax_network(net, params, state)

    precision = precision_of(dtype)

    def loss(both: Any, x: Any, t: Any) -> Any:
        params, x = narrow(precision, (both["params"], x))
        y, new = apply(both | {"params": params}, x)
        y = y.astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(y, t).mean(), new

    def step(both: Any, x: Any, t: Any) -> Any:
        (value, new), grads = jax.value_and_grad(loss, has_aux=True)(both, x, t)
        updated = jax.tree.map(lambda p, g: p - rate * g, both["params"], grads["params"])
        return value, *ours(updated, new)

    return step, (theirs, x, t)


def flax_network(net: Layer, params: Any, state: Any) -> tuple[Callable[..., Any], Any, Any]:
    """`apply(variables, x) -> (y, statistics)`, Flax's variables, and what makes both ours again.

    Flax's running variance is the biased one; in what comes back it is ours, m / (m - 1) as large.
    """
    from flax import linen as nn  # pyright: ignore[reportMissingImports]

    counts = []  # Of each norm, how many numbers a channel has.

    def run(net: Layer, x: Any) -> Any:
        of, name = net.spec, net.spec.name
        if name == "serial":
            for inner in of.layers:
                x = run(inner, x)
            return x
        if name == "skip":
            y = run(of["inner"], x)
            return y + (x if of["project"] is None else run(of["project"], x))
        if name == "conv":
            size = (of["size"],) * 2
            return nn.Conv(of["n"], size, of["stride"], of["padding"], use_bias=of["bias"])(x)
        if name == "batch_norm":
            counts.append(math.prod(x.shape[:-1]))
            return nn.BatchNorm(False, momentum=of["beta"], epsilon=of["epsilon"])(x)
        if name == "dense":
            return nn.Dense(of["n"])(x)
        return {"relu": nn.relu, "global_mean_pool": lambda x: x.mean((1, 2))}[name](x)

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            counts.clear()
            return run(net, x)

    nodes, structure = jax.tree.flatten(params, is_leaf=_is_node)
    norms, states = jax.tree.flatten(state, is_leaf=_is_node)
    seen = dict.fromkeys(KINDS.values(), 0)
    names = []
    for node in nodes:
        kind = KINDS[type(node)]
        names.append(f"{kind}_{seen[kind]}")
        seen[kind] += 1
    variables = {
        "params": {
            name: {ENTRIES[field]: a for field, a in node._asdict().items() if a is not None}
            for name, node in zip(names, nodes, strict=True)
        },
        "batch_stats": {f"BatchNorm_{i}": {"mean": r.mean, "var": r.variance}
                        for i, r in enumerate(norms)},
    }  # fmt: skip
    network, kept = Network(), [inner.spec["beta"] for inner in _norms(net)]

    def apply(variables: Any, x: Any) -> Any:
        y, new = network.apply(variables, x, mutable=["batch_stats"])
        return y, new["batch_stats"]

    def ours(found: Any, statistics: Any) -> Any:
        back = [
            type(node)(*(found[name].get(ENTRIES[field]) for field in node._fields))
            for name, node in zip(names, nodes, strict=True)
        ]
        running = []
        for i, (old, m, beta) in enumerate(zip(norms, counts, kept, strict=True)):
            new = statistics[f"BatchNorm_{i}"]
            of_batch = (new["var"] - beta * old.variance) * (m / (m - 1))
            running.append(Running(new["mean"], beta * old.variance + of_batch))
        return structure.unflatten(back), states.unflatten(running)

    return apply, variables, ours


def torch_step(
    net: Layer, params: Any, state: Any, x: Any, t: Any, *, rate: float, threads: int,
    dtype: str = "float32",
) -> Program:  # fmt: skip
    """The step by PyTorch, its images and filters with channels last."""
    nodes, structure = jax.tree.flatten(params, is_leaf=_is_node)
    norms, states = jax.tree.flatten(state, is_leaf=_is_node)
    leaves, fields = jax.tree.flatten(nodes)

    def run(torch: Any, net: Layer, x: Any, given: Iterator[Any], running: Iterator[Any]) -> Any:
        f, of, name = torch.nn.functional, net.spec, net.spec.name
        if name == "serial":
            for inner in of.layers:
                x = run(torch, inner, x, given, running)
            return x
        if name == "skip":
            y = run(torch, of["inner"], x, given, running)
            beside = of["project"]
            return y + (x if beside is None else run(torch, beside, x, given, running))
        if name == "conv":
            return f.conv2d(x, *next(given), stride=of["stride"], padding=of["padding"])
        if name == "batch_norm":
            return f.batch_norm(x, *next(running), *next(given), training=True,
                                momentum=1 - of["beta"], eps=of["epsilon"])  # fmt: skip
        if name == "dense":
            return f.linear(x, *next(given))
        return {"relu": torch.relu, "global_mean_pool": lambda x: x.mean((2, 3))}[name](x)

    def gradients(torch: Any, x: Any, t: Any, *given: Any) -> Any:
        running = [tuple(torch.from_numpy(np.array(a)) for a in one) for one in norms]
        y = run(torch, net, x.detach(), iter(fields.unflatten(given)), iter(running))
        value = torch.nn.functional.cross_entropy(y, t)
        value.backward()
        with torch.no_grad():
            new = [_turned(p - rate * p.grad, back=True) for p in given]
        back = structure.unflatten(fields.unflatten(new))
        return value, back, states.unflatten([Running(*one) for one in running])

    theirs = [_turned(np.asarray(a)) for a in leaves]
    images = np.asarray(x).transpose(0, 3, 1, 2)
    return by_torch(gradients, images, np.int64(t), *theirs, threads=threads, same=lambda y: y,
                    dtype=dtype)  # fmt: skip


def _turned(a: Any, back: bool = False) -> Any:
    """Weights as PyTorch has them: (out, in), and OIHW, a view with channels last."""
    if a.ndim == 4:
        if back:
            return a.permute(2, 3, 1, 0)
        return np.ascontiguousarray(a.transpose(3, 0, 1, 2)).transpose(0, 3, 1, 2)
    return a.T if a.ndim == 2 else a


def precision_of(dtype: str) -> Precision | None:
    """That of a contest in this dtype."""
    return None if dtype == "float32" else jnn.train.mixed(dtype)


def _is_node(node: Any) -> bool:
    return isinstance(node, ConvParams | NormParams | DenseParams | Running)


def _norms(net: Layer) -> Iterator[Layer]:
    """The batch normalisations in their order."""
    if net.spec.name == "batch_norm":
        yield net
    inner = net.spec.layers or tuple(v for _, v in net.spec.settings if isinstance(v, Layer))
    for each in inner:
        yield from _norms(each)
