"""What a compiled program consists of, counted in its text."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

ARRAY = re.compile(r"\b(pred|bf16|[sufc]\d+(?:e\dm\d\w*)?)\[([\d,]*)\](\{[^}]*\})?")
_LINE = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (.+?) ([a-z][\w-]*)\((.*)$")
_CALLED = re.compile(
    r"(?:body|condition|to_apply|branch_computations|calls|true_computation|false_computation)"
    r"=\{?((?:%[\w.-]+(?:, )?)+)"
)
_TURNS = re.compile(r'known_trip_count":\{"n":"(\d+)"')
_HANDED = re.compile(r"\{(\d+)\}: \((\d+), \{\}\)")  # Of a kernel, results that are operands.
_ON_CHIP = "S(1)"  # In an array's layout: a TPU's fast memory, beside that which traffic goes to.
_CALLERS = {"while", "conditional", "call", "async-start"}
# What launches nothing and moves nothing.
FREE = _CALLERS | {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "iota",
    "partition-id", "replica-id", "copy-done", "slice-done", "fusion-done", "async-done",
    "opt-barrier",
}  # fmt: skip
# Of their first operand they read what they return.
_SLICES = {"slice", "dynamic-slice", "gather"}
# They write into their first operand, in place; and which operand it is that they write.
_UPDATES = {"dynamic-update-slice": 1, "scatter": 2}
COLLECTIVES = (
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute",
)  # fmt: skip


class Line(NamedTuple):
    """An operation of a program."""

    name: str
    types: str
    operation: str
    operands: list[str]
    rest: str


class Census(NamedTuple):
    """Counts of one program; what is in a loop counts as often as it turns, if that is known.

    Attributes:
      kernels: how many run, fusions, products and custom calls among them.
      traffic: the bytes of operands and results of all kernels; of what a kernel slices, or
        updates in place, the part; of a TPU's fast memory nothing.
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
    bodies, entry = bodies_of(text)
    total: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    collectives: Counter[str] = Counter()

    def walk(name: str, times: int) -> None:
        lines = {line.name: line for line in bodies[name]}
        for line in lines.values():
            if line.operation in _CALLERS:
                turns = turns_of(line, bodies) if line.operation == "while" else 1
                for called in called_by(line):
                    walk(called, times * turns)
            if line.operation in FREE:
                continue
            total["kernels"] += times
            total["traffic"] += times * moved_by(line, lines, bodies)
            if line.operation == "custom-call":
                target = re.search(r'custom_call_target="([^"]+)"', line.rest)
                calls[target[1] if target else "?"] += times
            kind = line.operation.removesuffix("-start")
            if kind in COLLECTIVES:
                collectives[kind] += times * _bytes(line.types.split(", ")[-1])

    walk(entry, 1)
    operations = Counter(line.operation for lines in bodies.values() for line in lines)
    return Census(total["kernels"], total["traffic"], calls, operations, collectives)


def bodies_of(text: str) -> tuple[dict[str, list[Line]], str]:
    """The lines of each computation, taken apart, and the name of the one that runs."""
    bodies: dict[str, list[Line]] = {}
    entry = body = ""
    for line in text.splitlines():
        if line.endswith("{") and "->" in line:
            head = re.match(r"(?:ENTRY )?%?([\w.-]+)", line)
            body = head[1] if head else ""
            bodies[body], entry = [], body if line.startswith("ENTRY") else entry
        elif body and (found := _LINE.match(line)):
            name, types, operation, rest = found.groups()
            operands = re.findall(r"%([\w.-]+)", rest.split("), ")[0])
            bodies[body].append(Line(name, types, operation, operands, rest))
    return bodies, entry


def called_by(line: Line) -> list[str]:
    """The computations that an operation runs."""
    return re.findall(r"%([\w.-]+)", " ".join(_CALLED.findall(line.rest)))


def turns_of(loop: Line, bodies: Mapping[str, list[Line]]) -> int:
    """How often a loop turns: as XLA says, or else up to where its counter is compared."""
    if said := _TURNS.search(loop.rest):
        return int(said[1])
    condition = re.search(r"condition=%([\w.-]+)", loop.rest)
    lines = bodies[condition[1]] if condition else []
    if not lines or lines[-1].operation != "compare" or "direction=LT" not in lines[-1].rest:
        return 1
    bound = [line for line in lines if line.name == lines[-1].operands[1]]
    number = re.match(r"(\d+)\)", bound[0].rest) if bound else None
    return int(number[1]) if number else 1


def moved_by(line: Line, lines: Mapping[str, Line], bodies: Mapping[str, list[Line]]) -> int:
    """The bytes that a kernel reads and writes: a line among those of its body."""
    sizes = [_bytes(lines[each].types) if each in lines else 0 for each in line.operands]
    if line.operation in ("copy-start", "fusion-start"):  # Both ends are in its type.
        return _bytes(line.types)
    if line.operation == "slice-start":
        end = ARRAY.findall(line.types)[1]
        return size_of(*end[:2]) + _size(*end)
    if line.operation in _SLICES:
        written = _bytes(line.types)
        return written + min(sizes[0], written) + sum(sizes[1:])
    if line.operation in _UPDATES:
        return _written(line, sizes)
    called = called_by(line) if line.operation == "fusion" else []
    if not called:
        return _bytes(line.types) + sum(sizes)
    if called[0].startswith("async_collective"):  # It hands over what a gather carries on.
        handed = [tuple(map(int, pair)) for pair in _HANDED.findall(line.rest)]
        made = [_size(*each) for each in ARRAY.findall(line.types)]
        kept = [size for i, size in enumerate(made) if i not in {out for out, _ in handed}]
        taken = [size for i, size in enumerate(sizes) if i not in {given for _, given in handed}]
        return sum(kept + taken)
    return _fused(line, sizes, called[0], bodies)


def _written(line: Line, sizes: list[int]) -> int:
    """By an update in place: of what it is written into, as much as is written."""
    part = sizes[_UPDATES[line.operation]]
    into = min(sizes[0], part) if line.operation == "scatter" else 0  # A sum is read before.
    return into + sum(sizes[1:]) + min(_bytes(line.types), part)


def _fused(line: Line, sizes: list[int], body: str, bodies: Mapping[str, list[Line]]) -> int:
    """What a fusion reads of each operand, and what it writes."""
    total = 0
    for name, number in _parameters(bodies[body]).items():
        if number < len(sizes):
            total += _read(name, sizes[number], body, bodies)
    types = [_size(*each) for each in ARRAY.findall(line.types)]
    ends = _ends(body, bodies)
    if len(types) != len(ends):
        return total + sum(types)
    return total + sum(size if part is None else min(size, part)
                       for size, part in zip(types, ends, strict=True))  # fmt: skip


def _read(name: str, whole: int, body: str, bodies: Mapping[str, list[Line]]) -> int:
    """Of so many bytes of an operand, what the lines of a fusion take, or of a fusion inside it."""
    lines = bodies[body]
    own = {each.name: each for each in lines}
    part = 0
    for user in lines:
        if name not in user.operands:
            continue
        first = user.operands[0] == name and name not in user.operands[1:]
        if user.operation in ("bitcast", "convert"):
            part += _read(user.name, whole, body, bodies)
        elif first and user.operation in _SLICES:  # Of what may have been converted before.
            part += _bytes(user.types) * whole // max(1, _bytes(own[name].types))
        elif first and user.operation in _UPDATES and user.name in _last(body, bodies):
            scatters = user.operation == "scatter"
            part += _bytes(own[user.operands[2]].types) if scatters else 0
        elif user.operation == "fusion":
            inner = called_by(user)[0]
            for given, number in _parameters(bodies[inner]).items():
                if user.operands[number] == name:
                    part += _read(given, whole, inner, bodies)
        else:
            return whole
    return min(part, whole)


def _parameters(lines: list[Line]) -> dict[str, int]:
    return {
        each.name: int(each.rest.split(")")[0]) for each in lines if each.operation == "parameter"
    }


def _last(body: str, bodies: Mapping[str, list[Line]]) -> list[str]:
    """The names of a fusion's results, behind bitcasts."""
    own = {each.name: each for each in bodies[body]}
    root = bodies[body][-1]
    found = []
    for name in root.operands if root.operation == "tuple" else [root.name]:
        while own[name].operation == "bitcast":
            name = own[name].operands[0]
        found.append(name)
    return found


def _ends(body: str, bodies: Mapping[str, list[Line]]) -> list[int | None]:
    """Of each result of a fusion, the bytes of the part that it updates; None for all of it."""
    own = {each.name: each for each in bodies[body]}
    found: list[int | None] = []
    for end in (own[name] for name in _last(body, bodies)):
        if end.operation in _UPDATES:
            found.append(_bytes(own[end.operands[_UPDATES[end.operation]]].types))
        elif end.operation == "fusion":
            found += _ends(called_by(end)[0], bodies)
        else:
            found.append(None)
    return found


def _bytes(types: str) -> int:
    """Of all arrays in the types that are in the device's memory."""
    return sum(_size(*each) for each in ARRAY.findall(types))


def _size(name: str, shape: str, layout: str) -> int:
    return 0 if _ON_CHIP in layout else size_of(name, shape)


def size_of(name: str, shape: str) -> int:
    """Of an array, by its dtype and its shape as they are written."""
    bits = 8 if name == "pred" else int("".join(re.findall(r"\d+", name)[:1]))
    return -(-bits * math.prod(map(int, filter(None, shape.split(",")))) // 8)


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
