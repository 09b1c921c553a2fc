"""Columns of text, for the records that print as tables."""

import math
from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], total: bool = False, left: int = 1) -> str:
    """Rows in columns, the first `left` of them left-aligned, with a line under the head.

    With `total`, there is a line above the last row too.

    >>> print(table([("", "time"), ("by hand", "3 ms"), ("autodiff", "12 ms")]))
               time
    ---------------
    by hand    3 ms
    autodiff  12 ms
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [str.ljust if i < left else str.rjust for i in range(len(widths))]
    lines = [
        "  ".join(side(cell, width) for side, cell, width in zip(sides, row, widths, strict=True))
        for row in rows
    ]
    lines = [line.rstrip() for line in lines]
    rule = "-" * max(map(len, lines))
    lines.insert(1, rule)
    if total:
        lines.insert(-1, rule)
    return "\n".join(lines)


def bytes_text(count: float) -> str:
    """A number of bytes for people.

    >>> bytes_text(512), bytes_text(1536)
    ('512 B', '1.5 KiB')
    """
    if count < 1024:
        return f"{count:.0f} B"
    power = min(5, int(math.log2(count)) // 10)
    return f"{count / 1024**power:.1f} {'KMGTP'[power - 1]}iB"


def seconds_text(seconds: float) -> str:
    """A time for people.

    >>> seconds_text(3.21e-6), seconds_text(0.0123)
    ('3.21 us', '12.3 ms')
    """
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def quantity_text(value: float | None, unit: str) -> str:
    """A measured number and its unit for people; "?" where it is not known.

    >>> quantity_text(1536, "B"), quantity_text(1234567, "flop"), quantity_text(0.51, "ulp")
    ('1.5 KiB', '1,234,567', '0.51 ulp')
    """
    if value is None:
        return "?"
    if unit in ("B", "s"):
        return bytes_text(value) if unit == "B" else seconds_text(value)
    return f"{value:,.0f}" if unit == "flop" else f"{value:.3g} {unit}".strip()
