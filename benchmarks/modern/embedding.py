"""Embedding: rows read, and their gradients added up."""

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

# Ids, rows, size: a small table that is read often, and a vocabulary.
SIZES = ((40960, 399, 128), (8192, 32768, 256))


def contests(quick: bool) -> list[Contest]:
    """Value, and gradient in the table, at two sizes."""
    sizes = ((64, 9, 8), (16, 40, 8)) if quick else SIZES
    return [
        Contest(f"{n} ids into {rows} x {size}", lambda s=(n, rows, size): _contenders(*s))
        for n, rows, size in sizes
    ]


class _Adds:
    """Chooses how the gradients of rows are added up."""

    def __init__(self, way: str):
        self.way = way

    def choose(self, product: Any, call: Any) -> str | None:
        del call
        return self.way if product.name == "embedding.table" else None


def _contenders(n: int, rows: int, size: int) -> dict[str, Program]:
    random = np.random.default_rng(0)
    ids = random.integers(0, rows, n).astype(np.int32)
    table, delta = (random.normal(size=(m, size)).astype(np.float32) for m in (rows, n))
    args = ids, table, delta

    def both(look_up: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        def value_and_gradient(ids: Any, table: Any, delta: Any) -> Any:
            y, pull = jax.vjp(lambda table: look_up(ids, table), table)
            return y, pull(delta)[0]

        return value_and_gradient

    ours = both(jnn.rules.embedding)
    found = {OURS: in_mode("backward", ours, *args), AUTODIFF: in_mode("autodiff", ours, *args)}
    for way in ("sorted", *(["one_hot"] if rows < 1024 else [])):
        with choices(_Adds(way)):
            found[f"jnn, {way}"] = program(ours, *args)
    found["jnp.take"] = program(both(lambda ids, table: jnp.take(table, ids, axis=0)), *args)

    def torch_program(threads: int) -> Program:
        def gradients(torch: Any, ids: Any, table: Any, delta: Any) -> Any:
            y = torch.nn.functional.embedding(ids, table)
            y.backward(delta.detach())
            return y, table.grad

        return by_torch(gradients, *args, threads=threads, same=tuple)

    return found | with_torch(torch_program)
