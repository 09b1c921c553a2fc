"""The losses of classification, with the last layer and alone, against `jax.nn`, optax, PyTorch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks.modern.contest import AUTODIFF, OURS, Contest, by_torch, with_torch
from benchmarks.report import in_mode
from jnn.measure import Program, program

LINEAR = (4096, 256, 32768), (128, 64, 1000)  # Rows, features, classes.
ALONE = (4096, 8192), (256, 10)  # Rows, classes.
LINEAR_GOALS = "0.85 of autodiff's time, 0.1 of its temporaries.", "No slower than autodiff."
GOAL = "No slower than the plain formulas, which round a small loss to 0."


def contests(quick: bool) -> list[Contest]:
    """The last layer with its loss, large and small; both entropies on logits."""
    linear, alone = (((6, 4, 5),), ((4, 3),)) if quick else (LINEAR, ALONE)
    found = [
        Contest(f"linear_cross_entropy, {n} x {m} x {classes}", partial(_linear, n, m, classes), g)
        for (n, m, classes), g in zip(linear, LINEAR_GOALS, strict=False)
    ]
    for name in ("softmax", "sigmoid"):
        for n, classes in alone:
            title = f"{name}_cross_entropy, {n} x {classes}"
            found.append(Contest(title, partial(_alone, name, n, classes), GOAL))
    return found


def _linear(n: int, m: int, classes: int) -> dict[str, Program]:
    random = np.random.default_rng(0)
    x, w, b = random.normal(size=(n, m)), random.normal(size=(m, classes)), np.zeros(classes)
    x, w, b = (a.astype(np.float32) for a in (x, w / m**0.5, b))
    args = x, w, b, random.integers(0, classes, n).astype(np.int32)

    def slopes(loss: Callable[..., Any], x: Any, w: Any, b: Any, t: Any) -> Any:
        return jax.value_and_grad(loss, (0, 1, 2))(x, w, b, t)

    def of_logits(loss: Callable[..., Any]) -> Callable[..., Any]:
        return partial(slopes, lambda x, w, b, t: loss(x @ w + b[None], t).mean())

    def by_torch_with(torch: Any, x: Any, w: Any, b: Any, t: Any) -> Any:
        y = torch.nn.functional.cross_entropy(torch.addmm(b, x, w), t.long())
        y.backward()
        return [y, x.grad, w.grad, b.grad]

    ours = partial(slopes, lambda x, w, b, t: jnn.linear_cross_entropy(x, w, t, b))
    return {
        OURS: program(ours, *args),
        AUTODIFF: in_mode("autodiff", ours, *args),
        "jnn, logits whole": program(of_logits(jnn.softmax_cross_entropy), *args),
        **{name: program(of_logits(loss), *args) for name, loss in _peers("softmax").items()},
        **with_torch(lambda threads: by_torch(by_torch_with, *args, threads=threads)),
    }


def _alone(name: str, n: int, classes: int) -> dict[str, Program]:
    random = np.random.default_rng(0)
    x = (3 * random.normal(size=(n, classes))).astype(np.float32)
    delta = random.normal(size=n).astype(np.float32)
    labels = random.integers(0, classes, n).astype(np.int32)
    answers = random.integers(0, 2, (n, classes)).astype(np.float32)
    args = x, labels if name == "softmax" else answers, delta

    def slopes(loss: Callable[..., Any], x: Any, t: Any, delta: Any) -> Any:
        y, pull = jax.vjp(lambda x: loss(x, t), x)
        return y, *pull(delta)

    def by_torch_with(torch: Any, x: Any, t: Any, delta: Any) -> Any:
        functions = torch.nn.functional
        if name == "softmax":
            y = functions.cross_entropy(x, t.long(), reduction="none")
        else:
            y = functions.binary_cross_entropy_with_logits(x, t.detach(), reduction="none").sum(-1)
        y.backward(delta.detach())
        return [y, x.grad]

    ours = partial(slopes, getattr(jnn, f"{name}_cross_entropy"))
    return {
        OURS: program(ours, *args),
        AUTODIFF: in_mode("autodiff", ours, *args),
        **{peer: program(partial(slopes, loss), *args) for peer, loss in _peers(name).items()},
        **with_torch(lambda threads: by_torch(by_torch_with, *args, threads=threads)),
    }


def _peers(name: str) -> dict[str, Callable[[Any, Any], Any]]:
    """The loss of logits by the formulas of `jax.nn`, and by optax where it is installed."""

    def softmax(z: Any, t: Any) -> Any:
        return -jnp.take_along_axis(jax.nn.log_softmax(z), t[:, None], -1)[:, 0]

    def sigmoid(z: Any, t: Any) -> Any:
        return -(t * jax.nn.log_sigmoid(z) + (1 - t) * jax.nn.log_sigmoid(-z)).sum(-1)

    plain = {"jax.nn": softmax if name == "softmax" else sigmoid}
    try:
        import optax  # pyright: ignore[reportMissingImports]
    except ImportError:
        return plain
    if name == "softmax":
        return plain | {"optax": optax.softmax_cross_entropy_with_integer_labels}
    return plain | {"optax": lambda z, t: optax.sigmoid_binary_cross_entropy(z, t).sum(-1)}
