"""What a compiled program costs one device: arithmetic, bytes of memory, bytes over links.

Read in the text of its optimised HLO module; what is in a loop counts as often as it turns.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from jnn.xla.census import (
    ARRAY,
    COLLECTIVES,
    FREE,
    Line,
    bodies_of,
    called_by,
    moved_by,
    size_of,
    turns_of,
)

_WINDOW = re.compile(r"window=\{([^}]*)\}")
_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")
_NAMES = re.compile(r"%([\w.-]+)")


class Costs(NamedTuple):
    """Of one device, of one run of the program.

    Attributes:
      flops: of matrix products and convolutions, two for each multiplication.
      memory: bytes that kernels read and write, as `jnn.xla.census` counts them.
      runs: how often each kind of collective runs.
      bytes: of each kind of collective: what is gathered, what is added up, whole.
      looped: of `bytes`, those inside of loops.
    """

    flops: int
    memory: int
    runs: Mapping[str, int]
    bytes: Mapping[str, int]
    looped: Mapping[str, int]


def costs(text: str) -> Costs:
    """Counts in the text of an optimised HLO module.

    >>> def f(w, x):
    ...     return jax.lax.scan(lambda x, w: (x @ w, None), x, w)[0]
    >>> program = jax.jit(f).lower(jnp.ones((5, 8, 8)), jnp.ones((3, 8))).compile()
    >>> costs(program.as_text()).flops == 5 * 2 * 3 * 8 * 8
    True
    """
    bodies, entry = bodies_of(text)
    return _Reader(bodies).read(entry)


class _Reader:
    def __init__(self, bodies: dict[str, list[Line]]):
        self.bodies = bodies
        self.by_name = {name: {line.name: line for line in b} for name, b in bodies.items()}
        self.flops = self.memory = 0
        self.runs: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.looped: Counter[str] = Counter()
        self.begun: set[tuple[str, ...]] = set()

    def read(self, entry: str) -> Costs:
        self._walk(entry, 1, False, False)
        return Costs(self.flops, self.memory, self.runs, self.bytes, self.looped)

    def _walk(self, body: str, times: int, looped: bool, fused: bool) -> None:
        for line in self.bodies.get(body, ()):
            kind = line.operation
            if kind in ("dot", "convolution"):
                self.flops += times * self._multiplied(body, line)
            if kind.removesuffix("-start") in COLLECTIVES:
                self._communicates(body, line, times, looped)
            elif not fused and kind not in FREE:
                self.memory += times * moved_by(line, self.by_name[body], self.bodies)
            turns, inside = times, looped
            if kind == "while":
                turns, inside = times * turns_of(line, self.bodies), True
            for called in called_by(line):
                self._walk(called, turns, inside, fused or kind == "fusion")

    def _communicates(self, body: str, line: Line, times: int, looped: bool) -> None:
        kind = line.operation.removesuffix("-start")
        chain = re.search(r'chain_id="(\d+)"', line.rest)
        if chain:  # A TPU's kernels carry one in parts, each of which names it.
            channel = re.search(r"channel_id=(\d+)", line.rest)
            part = kind, chain[1], channel[1] if channel else "", re.sub(r"\{.*?\}", "", line.types)
            if part in self.begun:
                return
            self.begun.add(part)
        if kind == "all-reduce" and "all-reduce-scatter" in body:
            kind = "reduce-scatter"  # As a TPU has it: a sum of which a device keeps its part.
        elif kind in ("reduce-scatter", "all-to-all"):
            own = self.by_name[body]
            size = sum(_bytes(own[o].types) for o in line.operands if o in own)
            self._add(kind, times, size, looped)
            return
        types = line.types
        if line.operation.endswith("-start") and kind != "all-reduce":  # (given, made, ...)
            types = re.sub(r", u32\[\].*", "", types)
            self._add(kind, times, _bytes(types) - self._given(body, line), looped)
            return
        self._add(kind, times, _bytes(types), looped)

    def _given(self, body: str, line: Line) -> int:
        own = self.by_name[body]
        return sum(_bytes(own[o].types) for o in line.operands if o in own)

    def _add(self, kind: str, times: int, size: int, looped: bool) -> None:
        self.runs[kind] += times
        self.bytes[kind] += times * size
        if looped:
            self.looped[kind] += times * size

    def _multiplied(self, body: str, line: Line) -> int:
        left, right = (_shape(self.by_name[body][name].types) for name in line.operands[:2])
        out = _shape(line.types)
        if line.operation == "dot":
            found = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", line.rest)
            axes = [int(a) for a in found[1].split(",") if a] if found else []
            return 2 * math.prod(out) * math.prod(left[a] for a in axes)
        labels = _LABELS.search(line.rest)
        assert labels, line.rest
        of_left, of_right, of_out = labels.groups()
        total = 2 * right[of_right.index("i")]
        total *= out[of_out.index("b")] * out[of_out.index("f")]
        window = _WINDOW.search(line.rest)
        told = dict(part.split("=") for part in window[1].split()) if window else {}
        for axis in sorted(set(of_out) - set("bf")):
            total *= _met(told, int(axis), left[of_left.index(axis)], out[of_out.index(axis)])
        return total


def _shape(types: str) -> list[int]:
    found = re.search(r"\[([\d,]*)\]", types)
    return [int(n) for n in found[1].split(",") if n] if found else []


def _bytes(types: str) -> int:
    return sum(size_of(*each[:2]) for each in ARRAY.findall(types))


def _met(told: Mapping[str, str], axis: int, size: int, out: int) -> int:
    """How many pairs of an output's place and a filter's meet an entry, along one axis."""

    def one(name: str, default: int) -> int:
        return int(told[name].split("x")[axis]) if name in told else default

    low = int(told["pad"].split("x")[axis].split("_")[0]) if "pad" in told else 0
    window, stride, holes = one("size", 1), one("stride", 1), one("lhs_dilate", 1)
    apart = one("rhs_dilate", 1)
    last = (size - 1) * holes
    return sum(
        0 <= (at := o * stride + w * apart - low) <= last and at % holes == 0
        for o in range(out)
        for w in range(window)
    )


def over_links(kind: str, size: int, devices: int) -> int:
    """Bytes that a device sends in a collective of so many bytes over so many devices.

    >>> over_links("all-gather", 1600, 16), over_links("all-reduce", 1600, 16)
    (1500, 3000)
    """
    once = size * (devices - 1) // devices
    return {"all-reduce": 2 * once, "collective-permute": size}.get(kind, once)
