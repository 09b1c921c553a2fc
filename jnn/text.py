"""Columns of text, for the records that print as tables."""

import math
from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], total: bool = False) -> str:
    """Rows in columns, the first left-aligned, with a line under the head.

    With `total`, there is a line above the last row too.

    >>> print(table([("", "time"), ("by hand", "3 ms"), ("autodiff", "12 ms")]))
               time
    ---------------
    by hand    3 ms
    autodiff  12 ms
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]
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
    power = min(3, int(math.log2(count)) // 10)
    return f"{count / 1024**power:.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"


def seconds_text(seconds: float) -> str:
    """A time for people.

    >>> seconds_text(3.21e-6), seconds_text(0.0123)
    ('3.21 us', '12.3 ms')
    """
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"
