"""A training step with Adam, as each library has it: the loss, and what the step leaves behind.

What is compared is the loss and Adam's first moments, a tenth of the gradients: new parameters
would move by the rate whatever a small gradient is.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks.modern.contest import AUTODIFF, OURS, Contest
from benchmarks.peers_layers import precision_of
from benchmarks.report import in_mode
from jnn.measure import Program, program
from jnn.train.program.precision import narrow

RATE = 1e-3
# What results may differ by in bfloat16, whose numbers have eight bits.
COARSE = 0.06
DTYPES = ("float32", "bfloat16")


def computed_in(dtype: str, loss: Callable[..., Any]) -> Callable[..., Any]:
    """The loss as mixed precision has it: of float32 parameters and data, computed in `dtype`."""
    precision = precision_of(dtype)
    return lambda *args: loss(*narrow(precision, args)).astype(jnp.float32)


def in_each(
    title: str, contenders: Callable[[str], dict[str, Program]], goal: str, told: Callable[..., Any]
) -> list[Contest]:
    """A contest for each dtype, of the contenders that are made for it."""
    return [
        Contest(f"{title}, {dtype}", partial(contenders, dtype), goal,
                1e-3 if dtype == "float32" else COARSE, told)
        for dtype in DTYPES
    ]  # fmt: skip


def ours(loss: Callable[..., Any], params: Any, *data: Any) -> dict[str, Program]:
    """By this library, by hand and under autodiff; `loss(params, *data)` is a mean."""
    optimizer = jnn.adam(RATE)

    def step(params: Any, state: Any, *data: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, *data)
        updates, state = optimizer.update(grads, state, params)
        return value, jnn.apply_updates(params, updates), state

    args = params, optimizer.init(params), *data
    return {OURS: in_mode("backward", step, *args), AUTODIFF: in_mode("autodiff", step, *args)}


def with_optax(loss: Callable[..., Any], params: Any, *data: Any) -> Program:
    """By optax, of a loss of Flax's."""
    import optax  # pyright: ignore[reportMissingImports]

    optimizer = optax.adam(RATE)

    def step(params: Any, state: Any, *data: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, *data)
        updates, state = optimizer.update(grads, state, params)
        return value, optax.apply_updates(params, updates), state

    return program(step, params, optimizer.init(params), *data)


def moments(result: Any, ours: Callable[[Any], Any], theirs: Callable[[Any], Any]) -> Any:
    """The loss and the first moments of a step's result, each tree as the function makes it."""
    if len(result) == 2:  # PyTorch's.
        return result
    value, _, (adam, *_) = result
    if hasattr(adam, "mu"):
        return value, theirs(adam.mu)
    first = jax.tree.map(lambda m: (1 - 0.9) * m, adam.direction.value)  # A mean already.
    return value, ours(first)


def by_torch(
    loss: Callable[..., Any],
    params: Mapping[str, np.ndarray],
    *data: np.ndarray,
    threads: int,
    dtype: str,
) -> Program:
    """By PyTorch: `loss(torch, params, *data)`, parameters by name; each step goes on.

    In bfloat16 by its own mixed precision.
    """
    import torch  # pyright: ignore[reportMissingImports]

    held = {n: torch.from_numpy(np.array(a)).requires_grad_() for n, a in params.items()}
    tensors = [torch.from_numpy(np.array(a)) for a in data]
    optimizer = torch.optim.Adam(held.values(), RATE, fused=True)

    def run() -> Any:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            value = loss(torch, held, *tensors)
        value.backward()
        optimizer.step()
        first = {n: optimizer.state[p]["exp_avg"].numpy() for n, p in held.items()}
        return value.detach().float().numpy(), first

    return Program(run, 0.0, None, None)
