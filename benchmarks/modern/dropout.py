"""Dropout alone, and as a part of a training step."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks.modern.contest import AUTODIFF, OURS, Contest, by_torch, with_torch
from benchmarks.report import in_mode
from jnn.measure import Program, program
from jnn.rules.core.product import choices

Drop = Callable[[Any, Any], Any]
WITHOUT = "the step without dropout"


def contests(quick: bool) -> list[Contest]:
    """Dropout of one array, and the step of a network with two of them, at two rates each."""
    n = 64 if quick else 4096
    batch, widths = (8, (12, 16, 16, 4)) if quick else (256, (784, 1024, 1024, 10))
    found = []
    for rate in (0.5, 0.25):  # At which float32 and 32 bits decide alike for all of them.
        found.append(
            Contest(f"{n} x {n}, rate {rate}, value and gradient", lambda r=rate: _alone(n, r))
        )
    for rate in (0.5, 0.1):
        title = f"a step of {'-'.join(map(str, widths))}, batch {batch}, rate {rate}"
        goal = "what dropout adds to the step is at most half of what it adds with Flax's"
        found.append(Contest(title, lambda r=rate: _step(batch, widths, r), goal))
    return found


def _peers(rate: float) -> dict[str, Drop]:
    """Flax's module, and what it does: they draw the bits that we draw."""
    keep = 1 - rate

    def bernoulli(x: Any, key: Any) -> Any:
        return jnp.where(jax.random.bernoulli(key, keep, x.shape), x / keep, jnp.zeros_like(x))

    found = {"jax.random.bernoulli": bernoulli}
    try:
        from flax import linen  # pyright: ignore[reportMissingImports]
    except ImportError:
        return found
    module = linen.Dropout(rate, deterministic=False)
    return {"Flax": lambda x, key: module.apply({}, x, rng=key)} | found


class _Saves:
    """Chooses what dropout saves."""

    def __init__(self, way: str):
        self.way = way

    def choose(self, product: Any, call: Any) -> str | None:
        del call
        return self.way if product.name == "dropout.saved" else None


def _alone(n: int, rate: float) -> dict[str, Program]:
    random = np.random.default_rng(0)
    x, delta = (random.normal(size=(n, n)).astype(np.float32) for _ in range(2))
    key = jax.random.key(0)

    def both(drop: Drop) -> Callable[..., Any]:
        def value_and_gradient(x: Any, delta: Any, key: Any) -> Any:
            y, pull = jax.vjp(lambda x: drop(x, key), x)
            return y, pull(delta)[0]

        return value_and_gradient

    ours = both(lambda x, key: jnn.rules.dropout(x, key, rate=rate))
    args = x, delta, key
    found = {OURS: in_mode("backward", ours, *args), AUTODIFF: in_mode("autodiff", ours, *args)}
    for way in ("bits", "bytes"):
        with choices(_Saves(way)):
            found[f"jnn, {way} saved"] = program(ours, *args)
    found |= {name: program(both(drop), *args) for name, drop in _peers(rate).items()}
    expected = jax.device_get(found[OURS]())

    def torch_program(threads: int) -> Program:
        def gradients(torch: Any, x: Any, delta: Any) -> Any:
            y = torch.nn.functional.dropout(x, rate)
            y.backward(delta.detach())
            return y, x.grad

        made = by_torch(gradients, x, delta, threads=threads, same=tuple)
        kept = np.mean(made.run()[0] != 0)
        assert abs(kept - (1 - rate)) < 0.05, kept
        return _not_compared(made, expected)  # It has a generator of its own.

    return found | with_torch(torch_program)


def _step(batch: int, widths: tuple[int, ...], rate: float) -> dict[str, Program]:
    random = np.random.default_rng(0)
    x = random.normal(size=(batch, widths[0])).astype(np.float32)
    t = random.integers(0, widths[-1], batch).astype(np.int32)
    params = [
        ((random.normal(size=(n, m)) / n**0.5).astype(np.float32), np.zeros(m, np.float32))
        for n, m in itertools.pairwise(widths)
    ]
    key = jax.random.key(0)

    def step(drop: Drop) -> Callable[..., Any]:
        def loss(params: Any, x: Any, t: Any, key: Any) -> Any:
            for i, (w, b) in enumerate(params):
                x = jnn.rules.affine(x, w, b)
                if i < len(params) - 1:
                    x = drop(jnn.rules.relu(x), jax.random.fold_in(key, i))
            return jnn.softmax_cross_entropy(x, t).mean()

        def update(params: Any, x: Any, t: Any, key: Any) -> Any:
            grads = jax.grad(loss)(params, x, t, key)
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)

        return update

    args = params, x, t, key
    ours = step(lambda x, key: jnn.rules.dropout(x, key, rate=rate))
    found = {OURS: in_mode("backward", ours, *args), AUTODIFF: in_mode("autodiff", ours, *args)}
    found |= {name: program(step(drop), *args) for name, drop in _peers(rate).items()}
    expected = jax.device_get(found[OURS]())
    found[WITHOUT] = _not_compared(program(step(lambda x, key: x), *args), expected)
    return found


def _not_compared(made: Program, expected: Any) -> Program:
    """Runs it, and returns what the others return: its own numbers are not theirs."""

    def run() -> Any:
        jax.block_until_ready(made.run())
        return expected

    return made._replace(run=run)
