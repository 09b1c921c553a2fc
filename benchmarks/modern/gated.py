"""Gated networks, and labels without their times, against Flax, optax, PyTorch and autodiff."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.modern.contest import AUTODIFF, OURS, Contest, by_torch, with_torch
from benchmarks.report import in_mode
from jnn import rules
from jnn.measure import Program, program

SIZES = ((4096, 512, 1376), (512, 512, 1376))  # Rows, features, hidden units.
FRAMES = ((16, 200, 64, 20), (16, 200, 1000, 20))  # Samples, frames, classes, labels.


def contests(quick: bool) -> list[Contest]:
    """SwiGLU networks over sizes, and the loss of labels without their times."""
    sizes, frames = (((6, 4, 5),), ((2, 7, 4, 2),)) if quick else (SIZES, FRAMES)
    found = [
        Contest(f"SwiGLU network, {n} x {m} x {hidden}", partial(_swiglu, n, m, hidden),
                "autodiff's time, half its temporaries")
        for n, m, hidden in sizes
    ]  # fmt: skip
    for batch, time, classes, length in frames:
        title = f"ctc, {batch} x {time} x {classes}, {length} labels"
        goal = "half of optax's time and of its temporaries"
        found.append(Contest(title, partial(_ctc, batch, time, classes, length), goal, 1e-3))
    return found


def _swiglu(n: int, m: int, hidden: int) -> dict[str, Program]:
    random = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return (random.normal(size=shape) / shape[0] ** 0.5).astype(np.float32)

    x, delta = random.normal(size=(2, n, m)).astype(np.float32)
    args = x, draw(m, hidden), draw(m, hidden), draw(hidden, m), delta

    def gradients(x: Any, w_gate: Any, w_up: Any, w_down: Any, delta: Any) -> Any:
        y, pull = jax.vjp(rules.gated_mlp, x, w_gate, w_up, w_down)
        return y, pull(delta)

    return {
        OURS: in_mode("backward", gradients, *args),
        AUTODIFF: in_mode("autodiff", gradients, *args),
        **_flax(*args),
        **with_torch(lambda threads: by_torch(_torch_swiglu, *args, threads=threads)),
    }


def _flax(*args: np.ndarray) -> dict[str, Program]:
    try:
        from flax import linen  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    *given, delta = args

    class SwiGLU(linen.Module):
        """Three dense layers without biases."""

        @linen.compact
        def __call__(self, x: Any) -> Any:
            wide = partial(linen.Dense, given[1].shape[1], use_bias=False)
            passed = linen.silu(wide(name="gate")(x)) * wide(name="up")(x)
            return linen.Dense(given[3].shape[1], use_bias=False, name="down")(passed)

    def gradients(x: Any, w_gate: Any, w_up: Any, w_down: Any, delta: Any) -> Any:
        def network(x: Any, *kernels: Any) -> Any:
            named = zip(("gate", "up", "down"), kernels, strict=True)
            return SwiGLU().apply({"params": {name: {"kernel": w} for name, w in named}}, x)

        y, pull = jax.vjp(network, x, w_gate, w_up, w_down)
        return y, pull(delta)

    return {"Flax": program(gradients, *given, delta)}


def _torch_swiglu(torch: Any, x: Any, w_gate: Any, w_up: Any, w_down: Any, delta: Any) -> Any:
    y = (torch.nn.functional.silu(x @ w_gate) * (x @ w_up)) @ w_down
    y.backward(delta.detach())
    return [y, x.grad, w_gate.grad, w_up.grad, w_down.grad]


def _ctc(batch: int, time: int, classes: int, length: int) -> dict[str, Program]:
    random = np.random.default_rng(0)
    logits = random.normal(size=(batch, time, classes)).astype(np.float32)
    labels = random.integers(1, classes, (batch, length)).astype(np.int32)
    frames = random.integers(2 * length, time + 1, batch).astype(np.int32)
    count = random.integers(1, length + 1, batch).astype(np.int32)
    args = logits, labels, frames, count

    def ours(logits: Any, *rest: Any) -> Any:
        return _value_and_slope(lambda x: rules.ctc(x, *rest), logits)

    return {
        OURS: in_mode("backward", ours, *args),
        AUTODIFF: in_mode("autodiff", ours, *args),
        **_optax(*args),
        **with_torch(lambda threads: by_torch(_torch_ctc, *args, threads=threads)),
    }


def _value_and_slope(loss: Any, logits: Any) -> Any:
    y, pull = jax.vjp(loss, logits)
    return y, pull(jnp.ones_like(y))


def _optax(*args: np.ndarray) -> dict[str, Program]:
    try:
        import optax  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}

    def theirs(logits: Any, labels: Any, frames: Any, count: Any) -> Any:
        def padding(axis: int, lengths: Any) -> Any:
            places = jnp.arange(axis, dtype=lengths.dtype)
            return (places[None] >= lengths[:, None]).astype(logits.dtype)

        behind = padding(logits.shape[1], frames), padding(labels.shape[1], count)
        return _value_and_slope(lambda x: optax.ctc_loss(x, behind[0], labels, behind[1]), logits)

    return {"optax": program(theirs, *args)}


def _torch_ctc(torch: Any, logits: Any, labels: Any, frames: Any, count: Any) -> Any:
    log_p = torch.nn.functional.log_softmax(logits, -1).transpose(0, 1)
    y = torch.nn.functional.ctc_loss(log_p, labels, frames, count, reduction="none")
    y.sum().backward()
    return [y, logits.grad]
