"""A step of SGD on a convolutional network, as Flax, Equinox and PyTorch have it.

Each peer starts from our parameters and returns the loss and its new parameters in our layout:
filters HWIO, weights (in, out), what is flattened with the channels last. Where a library is not
installed, its step is None.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from benchmarks.convolutional import (
    FLATTEN,
    POOL,
    RELU,
    Affine,
    Conv,
    Dense,
    Network,
    Residual,
    after,
    walk,
)

Params = list[Affine]
# The step, its arguments, and what makes (loss, our parameters) of what it returns.
JaxStep = tuple[Callable[..., Any], tuple[Any, ...], Callable[[Any], Any]]


def flax_step(network: Network, rate: float, params: Params, x: Any, t: Any) -> JaxStep | None:
    """Flax (linen) and optax."""
    try:
        import optax  # pyright: ignore[reportMissingImports]
        from flax import linen as nn  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None

    def run(steps, x):
        for step in steps:
            if isinstance(step, Residual):
                main = run(step.main, x)
                x = nn.relu(main + run(step.shortcut, x))
            elif isinstance(step, Conv):
                x = nn.Conv(step.channels, (step.window,) * 2, step.stride, step.padding)(x)
            elif isinstance(step, Dense):
                x = nn.Dense(step.units)(x)
            elif step == POOL:
                x = nn.max_pool(x, (2, 2), (2, 2))
            elif step == RELU:
                x = nn.relu(x)
            else:
                x = x.reshape(x.shape[0], -1) if step == FLATTEN else x.mean((1, 2))
        return x

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return run(network.steps, x)

    net, optimizer = Net(), optax.sgd(rate)

    def loss(params, x, t):
        logits: Any = net.apply(params, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, t).mean()

    def step(params, x, t):
        value, grads = jax.value_and_grad(loss)(params, x, t)
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        return value, optax.apply_updates(params, updates)

    names, counts = [], {"Conv": 0, "Dense": 0}
    for layer, _ in walk(network.steps, network.shape):
        kind = type(layer).__name__
        names.append(f"{kind}_{counts[kind]}")
        counts[kind] += 1
    theirs = {name: {"kernel": p.w, "bias": p.b} for name, p in zip(names, params, strict=True)}

    def back(result):
        value, new = result
        return value, [Affine(new["params"][n]["kernel"], new["params"][n]["bias"]) for n in names]

    return step, ({"params": theirs}, x, t), back


def equinox_step(network: Network, rate: float, params: Params, x: Any, t: Any) -> JaxStep | None:
    """Equinox and optax; channels first, one sample at a time under `vmap`, as its layers are."""
    try:
        import equinox as eqx  # pyright: ignore[reportMissingImports]
        import optax  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    key, pool = jax.random.key(0), eqx.nn.MaxPool2d(2, 2)

    def layer(step, shape, p):
        if isinstance(step, Conv):
            made = eqx.nn.Conv2d(shape[-1], step.channels, step.window, step.stride, step.padding,
                                 key=key)  # fmt: skip
            new = (p.w, p.b[:, None, None])
        else:
            made = eqx.nn.Linear(shape[-1], step.units, key=key)
            new = (p.w, p.b)
        return eqx.tree_at(lambda made: (made.weight, made.bias), made, new)

    def run(steps: Sequence[Any], layers: Iterator[Any], x: Any) -> Any:
        for step in steps:
            if isinstance(step, Residual):
                main = run(step.main, layers, x)
                x = jax.nn.relu(main + run(step.shortcut, layers, x))
            elif isinstance(step, Conv | Dense):
                x = next(layers)(x)
            elif step == POOL:
                x = pool(x)
            elif step == RELU:
                x = jax.nn.relu(x)
            else:
                x = x.reshape(-1) if step == FLATTEN else x.mean((1, 2))
        return x

    layers = [
        layer(*each, p)
        for each, p in zip(
            walk(network.steps, network.shape), channels_first(network, params), strict=True
        )
    ]
    arrays, static = eqx.partition(layers, eqx.is_array)
    optimizer = optax.sgd(rate)

    def loss(arrays, x, t):
        layers = eqx.combine(arrays, static)
        logits = jax.vmap(lambda x: run(network.steps, iter(layers), x))(x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, t).mean()

    def step(arrays, x, t):
        value, grads = eqx.filter_value_and_grad(loss)(arrays, x, t)
        updates, _ = optimizer.update(grads, optimizer.init(arrays), arrays)
        return value, eqx.apply_updates(arrays, updates)

    def back(result):
        value, layers = result
        new = [Affine(np.asarray(a.weight), np.asarray(a.bias).ravel()) for a in layers]
        return value, channels_last(network, new)

    return step, (arrays, np.moveaxis(np.asarray(x), -1, 1), t), back


class TorchStep:
    """PyTorch, its own SGD; `run()` takes a step, from the parameters of the last."""

    def __init__(
        self, network: Network, rate: float, params: Params, x: Any, t: Any,
        *, threads: int, channels_last: bool,
    ):  # fmt: skip
        import torch  # pyright: ignore[reportMissingImports]
        from torch.nn import functional  # pyright: ignore[reportMissingImports]

        self.network, self.threads, self.torch = network, threads, torch
        layout = torch.channels_last if channels_last else torch.contiguous_format

        def tensor(array: Any) -> Any:
            made = torch.from_numpy(np.array(array))
            return made.contiguous(memory_format=layout) if made.ndim == 4 else made

        self.layers = [
            [tensor(p.w).requires_grad_(), tensor(p.b).requires_grad_()]
            for p in channels_first(network, params)
        ]
        self.x, self.t = tensor(np.moveaxis(np.asarray(x), -1, 1)), tensor(np.int64(t))
        flat = [p for layer in self.layers for p in layer]
        self.optimizer, self.f = torch.optim.SGD(flat, rate), functional

    def logits(self, steps: Sequence[Any], layers: Iterator[Any], x: Any) -> Any:
        f = self.f
        for step in steps:
            if isinstance(step, Residual):
                main = self.logits(step.main, layers, x)
                x = f.relu(main + self.logits(step.shortcut, layers, x))
            elif isinstance(step, Conv):
                x = f.conv2d(x, *next(layers), stride=step.stride, padding=step.padding)
            elif isinstance(step, Dense):
                x = f.linear(x, *next(layers))
            elif step == POOL:
                x = f.max_pool2d(x, 2)
            elif step == RELU:
                x = f.relu(x)
            else:
                x = x.flatten(1) if step == FLATTEN else x.mean((2, 3))
        return x

    def run(self) -> Any:
        if self.torch.get_num_threads() != self.threads:
            self.torch.set_num_threads(self.threads)
        self.optimizer.zero_grad()
        logits = self.logits(self.network.steps, iter(self.layers), self.x)
        loss = self.f.cross_entropy(logits, self.t)
        loss.backward()
        self.optimizer.step()
        return loss

    def step(self) -> Any:
        """The loss and new parameters, in our layout."""
        value = self.run().item()
        new = [Affine(w.detach().numpy().copy(), b.detach().numpy().copy()) for w, b in self.layers]
        return value, channels_last(self.network, new)


def channels_first(network: Network, params: Params) -> Params:
    """Our parameters as Equinox and PyTorch have them: OIHW, (out, in), flattened so too."""
    return [
        p._replace(w=np.ascontiguousarray(_order(p.w, step, flat).transpose(_to(step))))
        for p, (step, _), flat in zip(params, walk(network.steps, network.shape),
                                      _flattened(network), strict=True)
    ]  # fmt: skip


def channels_last(network: Network, params: Params) -> Params:
    """The reverse of `channels_first`."""
    return [
        p._replace(w=_order(p.w.transpose(np.argsort(_to(step))), step, flat, back=True))
        for p, (step, _), flat in zip(params, walk(network.steps, network.shape),
                                      _flattened(network), strict=True)
    ]  # fmt: skip


def _to(step: Any) -> tuple[int, ...]:
    return (3, 2, 0, 1) if isinstance(step, Conv) else (1, 0)


def _order(w: Any, step: Any, flat: tuple[int, ...] | None, back: bool = False) -> Any:
    """The rows of the dense layer behind a `flatten`, from channels last to first, or `back`."""
    if flat is None:
        return w
    height, width, channels = flat
    if back:
        return w.reshape(channels, height, width, -1).transpose(1, 2, 0, 3).reshape(w.shape)
    return w.reshape(*flat, -1).transpose(2, 0, 1, 3).reshape(w.shape)


def _flattened(network: Network) -> list[tuple[int, ...] | None]:
    """For each layer, the shape of the images that were flattened right before it."""
    shape, flat, found = network.shape, None, []
    for step in network.steps:
        if step == FLATTEN:
            flat = shape[1:]
        elif isinstance(step, Conv | Dense | Residual):
            count = len(list(walk((step,), shape)))
            found += [flat] + [None] * (count - 1)
            flat = None
        shape = after(step, shape)
    return found
