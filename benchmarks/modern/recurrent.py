"""LSTM and GRU: outputs and the gradient in all arguments, against Flax, PyTorch and autodiff."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.modern.contest import AUTODIFF, OURS, Contest, by_torch, with_torch
from benchmarks.report import in_mode
from jnn.measure import Program, program
from jnn.rules import registry

GATES = {"lstm": 4, "gru": 3}
GOAL = "1.5 times Flax's speed (2 is the aim), 0.6 of its residuals, compiled in 1.5 of autodiff's"
# Batch, steps, units; features are as many as units.
SIZES = ((64, 128, 256), (16, 128, 256), (1, 128, 256), (64, 128, 512), (16, 128, 64))
LONG = 8, 4096, 64


def contests(quick: bool) -> list[Contest]:
    """Both recurrences over sizes, and long sequences with and without kept states."""
    sizes, long = (((2, 5, 4),), (2, 9, 4)) if quick else (SIZES, LONG)
    found = []
    for name in GATES:
        for batch, steps, units in sizes:
            title = f"{name}, {batch} x {steps} x {units}"
            found.append(Contest(title, partial(_contenders, name, batch, steps, units), GOAL))
        batch, steps, units = long
        title = f"{name}, {batch} x {steps} x {units}, states kept"
        goal = "a tenth of the residuals"
        found.append(Contest(title, partial(_keeping, name, *long), goal, tolerance=1e-3))
    return found


def _arguments(name: str, batch: int, steps: int, units: int) -> list[np.ndarray]:
    """x, w, r, the biases, and the cotangent of the outputs."""
    random, wide = np.random.default_rng(0), GATES[name] * units

    def draw(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    x, w, r = draw(batch, steps, units), draw(units, wide), draw(units, wide)
    biases = [draw(wide)] if name == "lstm" else [draw(wide), np.zeros(wide, np.float32)]
    if name == "gru":
        biases[1][-units:] = draw(units)  # Flax has no other recurrent bias.
    return [x, w / units**0.5, r / units**0.5, *biases, draw(batch, steps, units)]


def _contenders(name: str, batch: int, steps: int, units: int) -> dict[str, Program]:
    args = _arguments(name, batch, steps, units)
    ours = partial(_gradients, registry[name], name)
    return {
        OURS: in_mode("backward", ours, *args),
        AUTODIFF: in_mode("autodiff", ours, *args),
        **_flax(name, units, args),
        **with_torch(lambda threads: _torch(name, units, threads, args)),
    }


def _keeping(name: str, batch: int, steps: int, units: int) -> dict[str, Program]:
    args = _arguments(name, batch, steps, units)
    keep = max(1, int(steps**0.5))
    kept = partial(_gradients, partial(registry[name], keep=keep), name)
    every = partial(_gradients, registry[name], name)
    return {
        OURS: in_mode("backward", kept, *args),
        "jnn, every state": in_mode("backward", every, *args),
        AUTODIFF: in_mode("autodiff", every, *args),
        **_flax(name, units, args),
    }


def _gradients(rule: Callable[..., Any], name: str, *args: jax.Array) -> list[jax.Array]:
    *arguments, delta = args
    y, pull = jax.vjp(lambda *args: rule(*args)[0], *arguments)
    grads = list(pull(delta))
    return [y, *_of_flax(name, grads)]


def _of_flax(name: str, grads: list[Any]) -> list[Any]:
    """Of the recurrent bias the third alone that Flax has."""
    return grads if name == "lstm" else [*grads[:-1], grads[-1][-len(grads[2]) :]]


def _flax(name: str, units: int, args: list[np.ndarray]) -> dict[str, Program]:
    """Flax's scan of its faster cell, with our weights; none if it is not installed."""
    try:
        from flax import linen  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    cell = linen.OptimizedLSTMCell if name == "lstm" else linen.GRUCell
    net: Any = linen.RNN(cell(units))
    x, w, r, *biases, delta = args
    letters = "ifgo" if name == "lstm" else "rzn"
    inputs, states = (np.split(a, GATES[name], 1) for a in (w, r))
    parts = np.split(biases[0], GATES[name])
    tree: dict[str, dict[str, Any]] = {}
    for k, letter in enumerate(letters):
        tree[f"i{letter}"] = {"kernel": inputs[k]}
        tree[f"h{letter}"] = {"kernel": states[k]}
        tree[f"{'h' if name == 'lstm' else 'i'}{letter}"]["bias"] = parts[k]
    if name == "gru":
        tree["hn"]["bias"] = biases[1][-units:]

    def gradients(params: Any, x: jax.Array, delta: jax.Array) -> list[jax.Array]:
        y, pull = jax.vjp(lambda p, x: net.apply({"params": {"cell": p}}, x), params, x)
        grads, dx = pull(delta)

        def joined(side: str, kind: str) -> jax.Array:
            return jnp.concatenate([grads[f"{side}{letter}"][kind] for letter in letters], -1)

        found = [y, dx, joined("i", "kernel"), joined("h", "kernel")]
        found.append(joined("h" if name == "lstm" else "i", "bias"))
        return found if name == "lstm" else [*found, grads["hn"]["bias"]]

    return {"Flax": program(gradients, tree, x, delta)}


def _torch(name: str, units: int, threads: int, args: list[np.ndarray]) -> Program:
    x, w, r, *biases, delta = args

    def gradients(torch: Any, *tensors: Any) -> list[Any]:
        x, delta = tensors
        net.zero_grad()
        y, _ = net(x)
        y.backward(delta.detach())
        grads = [x.grad, net.weight_ih_l0.grad.T, net.weight_hh_l0.grad.T, net.bias_ih_l0.grad]
        return [y, *_of_flax(name, grads if name == "lstm" else [*grads, net.bias_hh_l0.grad])]

    import torch  # pyright: ignore[reportMissingImports]

    kind = torch.nn.LSTM if name == "lstm" else torch.nn.GRU
    net: Any = kind(units, units, batch_first=True)
    with torch.no_grad():
        net.weight_ih_l0.copy_(torch.tensor(w.T))
        net.weight_hh_l0.copy_(torch.tensor(r.T))
        net.bias_ih_l0.copy_(torch.tensor(biases[0]))
        net.bias_hh_l0.copy_(torch.tensor(biases[1] if name == "gru" else 0 * biases[0]))
    return by_torch(gradients, x, delta, threads=threads)
