"""A step of two LSTM layers and a classifier, against Flax's faster cell and PyTorch."""

import contextlib
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks.modern.contest import Contest, with_torch
from benchmarks.networks import steps
from jnn.measure import Program

GOAL = "1.5 times Flax's speed, and no slower than PyTorch"
# Batch, steps, features and units, classes.
SIZES = (64, 128, 256, 10)
LAYERS, GATES = 2, "ifgo"


def contests(quick: bool) -> list[Contest]:
    """The network of the goal."""
    sizes = (2, 5, 4, 3) if quick else SIZES
    batch, time, units, classes = sizes
    title = f"{LAYERS} LSTM layers of {units} units, {time} steps, batch {batch}, {classes} classes"
    told = partial(steps.moments, ours=_flat, theirs=_from_flax)
    return steps.in_each(title, partial(_contenders, *sizes), GOAL, told)


def _contenders(batch: int, time: int, units: int, classes: int, dtype: str) -> dict[str, Program]:
    random = np.random.default_rng(0)
    x = random.normal(size=(batch, time, units)).astype(np.float32)
    t = random.integers(0, classes, batch).astype(np.int32)
    net = jnn.serial(*[jnn.lstm(units)] * LAYERS, jnn.last(), jnn.dense(classes))
    params, _ = jax.jit(net.init)(jax.random.key(0), x)

    def loss(params: Any, x: Any, t: Any) -> jax.Array:
        return jnn.softmax_cross_entropy(net(params, x).astype(jnp.float32), t).mean()

    found, flat = steps.ours(steps.computed_in(dtype, loss), params, x, t), _flat(params)
    with contextlib.suppress(ImportError):
        theirs = steps.computed_in(dtype, _flax(units, classes))
        found["Flax, optax"] = steps.with_optax(theirs, _to_flax(flat), x, t)
    return found | with_torch(
        lambda n: steps.by_torch(_torch, flat, x, t.astype(np.int64), threads=n, dtype=dtype)
    )


def _flat(params: Any) -> dict[str, np.ndarray]:
    """Our parameters by name."""
    *layers, _, last = params
    found = {"last.w": np.asarray(last.w), "last.b": np.asarray(last.b)}
    for i, layer in enumerate(layers):
        found |= {f"{i}.{name}": np.asarray(a) for name, a in layer._asdict().items()}
    return found


def _flax(units: int, classes: int) -> Any:
    """The loss of its variables."""
    import optax  # pyright: ignore[reportMissingImports]
    from flax import linen as nn  # pyright: ignore[reportMissingImports]

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            for i in range(LAYERS):
                x = nn.RNN(nn.OptimizedLSTMCell(units, name=f"cell{i}"))(x)
            return nn.Dense(classes, name="last")(x[:, -1])

    def loss(params: Any, x: Any, t: Any) -> jax.Array:
        logits: Any = Model().apply({"params": params}, x)
        logits = logits.astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, t).mean()

    return loss


def _to_flax(flat: dict[str, np.ndarray]) -> dict[str, Any]:
    """Flax has a kernel for each gate, and the bias beside the recurrent one."""
    tree: dict[str, Any] = {"last": {"kernel": flat["last.w"], "bias": flat["last.b"]}}
    for i in range(LAYERS):
        w, r, b = (np.split(flat[f"{i}.{name}"], len(GATES), -1) for name in "wrb")
        cell = {f"i{gate}": {"kernel": w[k]} for k, gate in enumerate(GATES)}
        tree[f"cell{i}"] = cell | {
            f"h{gate}": {"kernel": r[k], "bias": b[k]} for k, gate in enumerate(GATES)
        }
    return tree


def _from_flax(tree: Any) -> dict[str, Any]:
    found = {"last.w": tree["last"]["kernel"], "last.b": tree["last"]["bias"]}
    for i in range(LAYERS):
        for name, side, entry in (("w", "i", "kernel"), ("r", "h", "kernel"), ("b", "h", "bias")):
            parts = [tree[f"cell{i}"][f"{side}{gate}"][entry] for gate in GATES]
            found[f"{i}.{name}"] = jnp.concatenate(parts, -1)
    return found


def _torch(torch: Any, p: Any, x: Any, t: Any) -> Any:
    weights = []
    for i in range(LAYERS):
        b = p[f"{i}.b"]
        weights += [p[f"{i}.w"].T, p[f"{i}.r"].T, b, torch.zeros_like(b)]
    zeros = torch.zeros(LAYERS, len(x), p["0.r"].shape[0])
    y, *_ = torch.lstm(x, (zeros, zeros), weights, True, LAYERS, 0.0, True, False, True)
    logits = y[:, -1] @ p["last.w"] + p["last.b"]
    return torch.nn.functional.cross_entropy(logits, t)
