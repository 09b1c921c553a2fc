"""Suites on the batch axis: batches of size zero, and batches shared out among devices.

Which arguments carry the batch is found out: those of which rows can be picked, so that the
definition's output is picked alike.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, PartitionSpec

from jnn.verify.case import Arrays, Case, NotRun, Outcome, equal
from jnn.verify.suites.agreement import EXACT
from jnn.xla.flags import quick_jit


def empty_batch(case: Case) -> Iterator[Outcome]:
    """A batch of no samples gives an empty value, and zeros for what the samples share."""
    batch = _batch(case)
    if not batch:
        raise NotRun("no leading axis is a batch: the definition does not treat rows one by one")
    floats, rest = case.split(_picked(case, batch, []))
    delta, direction = [d[:0] for d in case.delta], [np.zeros_like(x) for x in floats]
    hand, autodiff = (f(floats, rest, delta, direction) for f in (case.hand, case.autodiff))
    for what in ("value", "cotangent", "tangent"):
        names = case.names if what == "cotangent" else case.output_names
        got, want = getattr(hand, what), getattr(autodiff, what)
        yield from equal(f"with a batch of size 0, the {what}", names, got, want, delta, EXACT)


def devices(case: Case) -> Iterator[Outcome]:
    """Under `shard_map`, one sample on each of two devices, value and gradient are as on one.

    What the samples share lies on both devices, and its cotangent is summed over them: inside,
    where a device differentiates its own part, and outside, where the whole is differentiated.
    """
    if jax.device_count() < 2:
        raise NotRun("there is one device, shard_map needs two (jax_num_cpu_devices makes them)")
    batch = _batch(case)
    leaves = _picked(case, batch, [0, -1])
    floats, rest = case.split(leaves)
    delta = [d[[0, -1]] if batch else d for d in case.delta]
    results, (y, cotangents) = _on_two_devices(case)(floats, rest, delta)
    for place, (value, pulled) in zip(("inside", "of"), results, strict=True):
        for what, names, got, want in (
            ("value", case.output_names, value, y),
            ("cotangent", case.names, pulled, cotangents),
        ):
            yield from equal(f"vjp {place} shard_map: the {what}", names, got, want, delta, EXACT)


@functools.lru_cache(maxsize=16)
def _on_two_devices(case: Case) -> Callable[..., Any]:
    """What `devices` compares, as one program."""
    batch = _batch(case)
    mesh = jax.make_mesh((2,), ("devices",), (AxisType.Auto,), devices=jax.devices()[:2])
    split, whole = PartitionSpec("devices"), PartitionSpec()
    axes = [split if i in batch else whole for i in range(len(case.leaves))]
    of_floats, of_rest = case.split(axes)
    of_output = [split if batch else whole] * len(case.delta)

    def pull(mode: str, floats: Arrays, rest: Arrays, delta: Arrays) -> Any:
        y, pull = jax.vjp(lambda *f: case.call(mode, f, rest)[0], *floats)
        return y, list(pull(list(delta)))

    def program(floats: Arrays, rest: Arrays, delta: Arrays) -> Any:
        inside = jax.shard_map(
            lambda *args: pull("backward", *args),
            mesh=mesh, in_specs=(of_floats, of_rest, of_output), out_specs=(of_output, of_floats),
        )  # fmt: skip
        value = jax.shard_map(
            lambda floats, rest: case.call("backward", floats, rest)[0],
            mesh=mesh, in_specs=(of_floats, of_rest), out_specs=of_output,
        )  # fmt: skip
        y, outside = jax.vjp(lambda *f: value(list(f), rest), *floats)
        results = inside(floats, rest, delta), (y, list(outside(delta)))
        return results, pull("autodiff", floats, rest, delta)

    return quick_jit(program)


@functools.lru_cache(maxsize=16)
def _batch(case: Case) -> frozenset[int]:
    """The leaves of the arguments that lead with the batch axis, the first floating one included.

    Of all sets of leaves whose rows can be picked, repeated and left out with the same effect on
    the rows of the output, the largest; none where there is none.
    """
    leaves, first = case.leaves, case.is_floating.index(True)
    if not leaves[first].ndim or any(y.ndim == 0 for y in jax.tree.leaves(case.outputs)):
        return frozenset()
    n = leaves[first].shape[0]
    like = [i for i, x in enumerate(leaves) if i != first and x.ndim and x.shape[0] == n]
    for size in range(len(like), -1, -1):
        for others in itertools.combinations(like, size):
            if _picks_rows(case, frozenset({first, *others}), n):
                return frozenset({first, *others})
    return frozenset()


def _picks_rows(case: Case, batch: frozenset[int], n: int) -> bool:
    every, picks = list(range(n)), ([n - 1], [0, n - 1, 0])

    def values(*points: Any) -> Any:
        return [case.call("autodiff", *case.split(leaves)) for leaves in points]

    points = [_picked(case, batch, rows) for rows in (every, *picks)]
    try:
        whole, *parts = quick_jit(values)(*points)
    except Exception:  # The definition refuses such arguments: this is no batch axis.
        return False
    return all(
        y.shape[:1] == (n,) and part.shape == (len(rows), *y.shape[1:])
        and np.allclose(part, np.asarray(y)[rows], rtol=1e-9, atol=1e-12, equal_nan=True)
        for rows, part_ in zip(picks, parts, strict=True)
        for y, part in zip(jax.tree.leaves(whole), jax.tree.leaves(part_), strict=True)
    )  # fmt: skip


def _picked(case: Case, batch: frozenset[int], rows: Sequence[int]) -> list[Any]:
    """The leaves of the arguments, of the batch those rows."""
    index = np.array(rows, int)
    return [x[index] if i in batch else x for i, x in enumerate(case.leaves)]
