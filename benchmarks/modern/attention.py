"""Attention, value and gradient in q, k and v, against `jax.nn` and PyTorch."""

from functools import partial
from typing import Any

import jax
import numpy as np

from benchmarks.modern.contest import AUTODIFF, OURS, Contest, by_torch, with_torch
from benchmarks.report import in_mode
from jnn.measure import Program, program
from jnn.rules import attention

GOAL = (
    "1.5 times the speed of `jax.nn` in 0.1 of its temporaries, and at most 1.2 times the time of "
    "PyTorch; 2.2 times the temporaries for twice the tokens."
)


def contests(quick: bool) -> list[Contest]:
    """Causal attention from short to long, without causality, grouped, and with a window."""
    sizes = [(1, 32, 2, 8)] if quick else [(2, 2048, 8, 64), (1, 4096, 4, 64), (1, 8192, 4, 64)]
    short = (2, 16, 2, 8) if quick else (16, 64, 8, 64)
    middle = (1, 32, 4, 8) if quick else (2, 1024, 8, 64)
    return [
        *(_contest("causal", size, GOAL, causal=True) for size in sizes),
        _contest("causal and short", short, "No slower than whole rows.", causal=True),
        _contest("not causal", middle),
        _contest("four query heads a key head", middle, group=4, causal=True),
        _contest("a window of an eighth", middle, causal=True, window=middle[1] // 8),
    ]


def _contest(
    what: str, size: tuple[int, ...], goal: str = "", group: int = 1, **settings: Any
) -> Contest:
    title = f"{what}, {' x '.join(map(str, size))}"
    return Contest(title, partial(_contenders, size, group, settings), goal)


def _contenders(size: tuple[int, ...], group: int, settings: Any) -> dict[str, Program]:
    random = np.random.default_rng(0)
    batch, time, heads, features = size
    shapes = size, *[(batch, time, heads // group, features)] * 2, size
    q, k, v, delta = (random.normal(size=shape).astype(np.float32) for shape in shapes)

    def slopes(function: Any, q: Any, k: Any, v: Any, delta: Any) -> Any:
        y, pull = jax.vjp(function, q, k, v)
        return y, *pull(delta)

    arrays = q, k, v, delta
    ours = partial(slopes, partial(attention, **settings))
    theirs = partial(slopes, partial(_jax, **settings))
    return {
        OURS: program(ours, *arrays),
        AUTODIFF: in_mode("autodiff", ours, *arrays),
        "jax.nn": program(theirs, *arrays),
        **with_torch(partial(_torch, arrays, settings)),
    }


def _jax(q: Any, k: Any, v: Any, causal: bool = False, window: int | None = None) -> Any:
    local = None if window is None else (window - 1, 0)
    return jax.nn.dot_product_attention(q, k, v, is_causal=causal, local_window_size=local)


def _torch(arrays: Any, settings: Any, threads: int) -> Program:
    *_, delta = arrays
    time, window = delta.shape[1], settings.get("window")
    seen = None
    if window:
        seen = np.tril(np.ones((time, time), bool)) & ~np.tril(np.ones((time, time), bool), -window)

    def slopes(torch: Any, q: Any, k: Any, v: Any, _: Any) -> Any:
        mask = None if seen is None else torch.from_numpy(seen)
        causal = settings.get("causal", False) and mask is None
        y = torch.nn.functional.scaled_dot_product_attention(
            *(a.transpose(1, 2) for a in (q, k, v)), attn_mask=mask, is_causal=causal,
            enable_gqa=k.shape[2] < q.shape[2],
        ).transpose(1, 2)  # fmt: skip
        y.backward(torch.from_numpy(delta))
        return [y, q.grad, k.grad, v.grad]

    return by_torch(slopes, *arrays, threads=threads)
