"""What a rule's docstring promises to save, held against what the rule saves.

One line of the docstring is read by machine, in this grammar:

    line   =  "Saves: " item {", " item} [", " or "." and the reason, for people]
    item   =  "nothing"
           |  the name of an argument
           |  "y"                  the output, unless an argument has that name
           |  count "hidden tensor(s)" [" (" count "where ...)"]
           |  count "wide tensor(s)"
           |  count "number(s) a row"        or "a channel", or "a group"
    count  =  "one" | "two" | "three" | "1" | "2" | ...

An argument is saved as it came. A hidden tensor has the dtype of the arguments, and no more
elements than the largest array that the rule computes; in parentheses may stand what their number
is at worst. A wide tensor is a hidden one that half precisions keep as it is summed, in float32. A
number a row is one for each row of the first argument, that is for each place along
its axes less at least one; a number a group is at most one for each first and last index. Half
precisions may keep both in float32.
"""

import functools
import inspect
import math
import re
from typing import Any, NamedTuple

import jax.numpy as jnp

from jnn.arithmetic import wide
from jnn.floats import cast
from jnn.rules.core.rule import Example, Rule
from jnn.verify.compare.residuals import Saved, residuals

_COUNTS = {"one": 1, "two": 2, "three": 3}
_TENSORS = re.compile(r"(\w+) hidden tensors?(?: \((\w+) where [^)]*\))?")
_WIDE = re.compile(r"(\w+) wide tensors?")
_NUMBERS = re.compile(r"(\w+) numbers? a (row|channel|group)")


class Promise(NamedTuple):
    """The line read: names of arguments or `y`, and how many new arrays of each kind."""

    line: str
    names: frozenset[str]
    tensors: int
    wide: int
    numbers: int
    of_groups: int


def promised(rule: Rule) -> Promise | None:
    """What the docstring of `rule` says it saves; None if it says nothing that can be read.

    >>> promised(jnn.rules.affine).names == {"x", "w"}
    True
    """
    start, _, text = (inspect.getdoc(rule) or "").partition("Saves: ")
    if not text or (start and not start.endswith("\n")):
        return None
    line = " ".join(text.split("\n\n")[0].split())
    known = {*rule.arguments, "y"}
    names, tensors, wides, numbers, of_groups, items = set(), 0, 0, 0, 0, 0
    for item in re.split(r",\s|\.(?:\s|$)", line):
        if item in known:
            names.add(item)
        elif match := _TENSORS.fullmatch(item):
            tensors += max(_count(word) for word in match.groups() if word)
        elif match := _WIDE.fullmatch(item):
            wides += _count(match[1])
        elif match := _NUMBERS.fullmatch(item):
            if match[2] == "group":
                of_groups += _count(match[1])
            else:
                numbers += _count(match[1])
        elif item != "nothing":
            break  # Here the reason begins.
        items += 1
    return Promise(line, frozenset(names), tensors, wides, numbers, of_groups) if items else None


def _count(word: str) -> int:
    return int(word) if word.isdecimal() else _COUNTS.get(word, 0)


def promise(rule: Rule, example: Example, dtype: Any = jnp.float32) -> list[str]:
    """Holds a rule to its docstring at one example: a sentence for whatever it saves beyond.

    >>> example = jnn.rules.Example(np.ones((2, 3)))
    >>> promise(jnn.rules.gelu, example)
    []
    """
    words = promised(rule)
    if words is None:
        return [f"rule '{rule.name}': its docstring has no line \"Saves: ...\" that can be read."]

    args = cast(example.args, dtype)
    ledger = residuals(functools.partial(rule, **example.settings), *args)
    largest = max(ledger.elements.values(), default=0)
    tensors, wides, numbers, of_groups = words[2:]
    findings = []
    for saved in ledger.hand:
        name = re.split(r"\W", saved.origin)[0] if saved.kind == "input" else ""
        if saved.kind == "output" and "y" not in rule.arguments:
            name = "y"
        if name in words.names:
            continue
        if saved.kind != "input" and numbers and _a_row(saved, args, wide(dtype)):
            numbers -= 1
        elif saved.kind != "input" and of_groups and _a_group(saved, args, wide(dtype)):
            of_groups -= 1
        elif saved.kind != "input" and tensors and _a_tensor(saved, largest, dtype):
            tensors -= 1
        elif saved.kind != "input" and wides and _a_tensor(saved, largest, wide(dtype)):
            wides -= 1
        else:
            findings.append(f"rule '{rule.name}' saves {saved}. It promises: {words.line}")
    return findings


def _a_row(saved: Saved, args: Any, dtype: Any) -> bool:
    """Whether there is one number a row: some axes of the first argument are gone, or are 1."""
    rows, full = ([n for n in shape if n != 1] for shape in (saved.shape, jnp.shape(args[0])))
    rest = iter(full)
    fewer = len(rows) < max(1, jnp.ndim(args[0]))
    return fewer and all(n in rest for n in rows) and _fits(saved, dtype)


def _a_group(saved: Saved, args: Any, dtype: Any) -> bool:
    """Whether there is at most one number for each first and each last index of the first one."""
    shape = jnp.shape(args[0])
    return math.prod(saved.shape) <= shape[0] * shape[-1] and _fits(saved, dtype)


def _a_tensor(saved: Saved, largest: int, dtype: Any) -> bool:
    return math.prod(saved.shape) <= largest and _fits(saved, dtype)


def _fits(saved: Saved, dtype: Any) -> bool:
    return saved.dtype.itemsize <= jnp.dtype(dtype).itemsize
