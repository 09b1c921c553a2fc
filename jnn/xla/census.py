"""What a compiled program consists of, counted in its text."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

_ARRAY = re.compile(r"\b(pred|bf16|[sufc]\d+(?:e\dm\d\w*)?)\[([\d,]*)\]")
_LINE = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (.+?) ([a-z][\w-]*)\((.*)$")
_CALLED = re.compile(
    r"(?:body|condition|to_apply|branch_computations|calls|true_computation|false_computation)"
    r"=\{?((?:%[\w.-]+(?:, )?)+)"
)
_TURNS = re.compile(r'known_trip_count":\{"n":"(\d+)"')
_CALLERS = {"while", "conditional", "call", "async-start"}
# What launches nothing and moves nothing.
_FREE = _CALLERS | {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "iota",
    "partition-id", "replica-id", "copy-done", "async-done", "opt-barrier",
}  # fmt: skip
COLLECTIVES = (
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute",
)  # fmt: skip


class Census(NamedTuple):
    """Counts of one program; what is in a loop counts as often as it turns, if that is known.

    Attributes:
      kernels: how many run, fusions, products and custom calls among them.
      traffic: the bytes of operands and results of all kernels.
      calls: custom calls by name, and how often each runs.
      operations: each kind of operation and how often it is there, inside of fusions too.
      collectives: bytes that each kind of collective puts out, by its name.
    """

    kernels: int
    traffic: int
    calls: Mapping[str, int]
    operations: Mapping[str, int]
    collectives: Mapping[str, int]


def census(text: str) -> Census:
    """Counts in the text of an optimised HLO module.

    >>> program = jax.jit(lambda x: jnp.sin(x) @ x).lower(jnp.ones((2, 2))).compile()
    >>> counts = census(program.as_text())
    >>> counts.operations["dot"], counts.operations["scatter"]
    (1, 0)
    """
    bodies, entry = _bodies(text)
    total: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    collectives: Counter[str] = Counter()

    def walk(name: str, times: int) -> None:
        sizes = {line[0]: _bytes(line[1]) for line in bodies[name]}
        for own, types, operation, rest in bodies[name]:
            if operation in _CALLERS:
                turns = _TURNS.search(rest) if operation == "while" else None
                for called in re.findall(r"%([\w.-]+)", " ".join(_CALLED.findall(rest))):
                    walk(called, times * (int(turns[1]) if turns else 1))
            if operation in _FREE:
                continue
            operands = re.findall(r"%([\w.-]+)", rest.split("), ")[0])
            total["kernels"] += times
            total["traffic"] += times * (sizes[own] + sum(sizes.get(o, 0) for o in operands))
            if operation == "custom-call":
                target = re.search(r'custom_call_target="([^"]+)"', rest)
                calls[target[1] if target else "?"] += times
            kind = operation.removesuffix("-start")
            if kind in COLLECTIVES:
                collectives[kind] += times * _bytes(types.split(", ")[-1])

    walk(entry, 1)
    operations = Counter(operation for lines in bodies.values() for _, _, operation, _ in lines)
    return Census(total["kernels"], total["traffic"], calls, operations, collectives)


def _bodies(text: str) -> tuple[dict[str, list[tuple[str, ...]]], str]:
    """The lines of each computation, taken apart, and the name of the one that runs."""
    bodies: dict[str, list[tuple[str, ...]]] = {}
    entry = body = ""
    for line in text.splitlines():
        if line.endswith("{") and "->" in line:
            name = re.match(r"(?:ENTRY )?%?([\w.-]+)", line)
            body = name[1] if name else ""
            bodies[body], entry = [], body if line.startswith("ENTRY") else entry
        elif body and (found := _LINE.match(line)):
            bodies[body].append(found.groups())
    return bodies, entry


def _bytes(types: str) -> int:
    total = 0
    for name, sizes in _ARRAY.findall(types):
        bits = 8 if name == "pred" else int("".join(re.findall(r"\d+", name)[:1]))
        total += -(-bits * math.prod(map(int, filter(None, sizes.split(",")))) // 8)
    return total


def memory(program: Any) -> dict[str, int]:
    """Bytes of a compiled program as XLA plans them: temporaries, arguments, outputs, peak.

    A TPU's program keeps what it can in fast memory, which counts in no temporaries.
    """
    plan = program.memory_analysis()
    if plan is None:
        return {}
    sizes = {
        "temporaries": plan.temp_size_in_bytes,
        "arguments": plan.argument_size_in_bytes,
        "outputs": plan.output_size_in_bytes,
    }
    peak = getattr(plan, "peak_memory_in_bytes", 0)
    return sizes | ({"peak": peak} if peak else {})
