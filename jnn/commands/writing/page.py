"""The page of `python -m jnn report`: one HTML file with its style, its bars and its few lines of
script inside, which loads nothing from anywhere.
"""

import html
import math
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata, resources
from string import Template
from typing import Any, NamedTuple

from jnn.text import bytes_text, quantity_text, seconds_text
from jnn.tuning.choices import device
from jnn.verify.compare.compare import TIME, Comparison
from jnn.verify.compare.measures import Measure
from jnn.xla.platform import platforms

SAME = 1.1  # Up to this ratio, and down to its inverse, two times count as equal.


def measures_of(measures: Iterable[Measure]) -> dict[str, Any]:
    """Measures by name, for JSON."""
    return {m.label: {"by hand": m.hand, "autodiff": m.autodiff, "unit": m.unit} for m in measures}


def figures_of(result: Comparison) -> dict[str, Any]:
    """All figures of a comparison, for JSON."""
    measures = measures_of(result.measures)
    return {"ratio": result.ratio, "spread": result.spread, "measures": measures}


class RuleEntry(NamedTuple):
    """A rule or a model on the page.

    Attributes:
      kind: "rule" or "model".
      about: what it is, in a sentence.
      shapes: of its arguments.
      result: None where it could not be compared, for the reason in `fault`.
    """

    name: str
    kind: str
    about: str
    shapes: str
    result: Comparison | None
    fault: str = ""

    @property
    def memory(self) -> float:
        """What is saved for the backward, by hand over autodiff."""
        assert self.result is not None
        hand, autodiff = self.result.hand.saved, self.result.autodiff.saved
        return hand / autodiff if autodiff else 1.0

    @property
    def line(self) -> str:
        """One line for the terminal."""
        if self.result is None:
            return f"{self.name:26} not compared: {self.fault}"
        return f"{self.name:26} time {self.result.ratio:.2f}  saved {self.memory:.2f}"

    def numbers(self) -> dict[str, Any]:
        """All measures, for JSON."""
        about = {"name": self.name, "kind": self.kind, "shapes": self.shapes}
        if self.result is None:
            return about | {"fault": self.fault}
        return about | figures_of(self.result)


def report_page(
    entries: Sequence[RuleEntry], command: str, batch: int, seconds: float, rough: bool
) -> str:
    """The whole page.

    Args:
      entries: what was measured.
      command: the command line that made it.
      batch: the number of samples.
      seconds: how long it took.
      rough: whether the times are, since each was measured for a moment only.
    """
    template = Template((resources.files("jnn.commands") / "page.html").read_text("utf-8"))
    compared = [entry for entry in entries if entry.result is not None]
    return template.substitute(
        cards=_cards(compared),
        map=_map(compared),
        models=_section("Models", [e for e in compared if e.kind == "model"]),
        rules=_section("Rules", [e for e in compared if e.kind == "rule"]),
        faults=_faults([entry for entry in entries if entry.result is None]),
        machine=html.escape(machine()),
        command=html.escape(command),
        batch=batch,
        rough="<b>A quick run: its times are rough.</b> " if rough else "",
        seconds=f"{seconds:.0f}",
    )


def machine() -> str:
    """The device, its cores, and the versions of what ran."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {_version(name)}" for name in ("jnn", "jax", "jaxlib", "numpy"))
    return (
        f"{device()} ({platforms()[0]}), {cores} core{'s' * (cores != 1)}; {versions}; "
        f"Python {sys.version.split()[0]}, {platform.system()}"
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # Run from its source.
        return "(source)"


def _cards(entries: Sequence[RuleEntry]) -> str:
    """The sums of it all."""
    results = [entry.result for entry in entries if entry.result is not None]
    if not results:
        return ""
    ratios = [result.ratio for result in results]
    faster = sum(ratio < 1 / SAME for ratio in ratios)
    slower = sum(ratio > SAME for ratio in ratios)
    leaner = sum(entry.memory < 1 for entry in entries)
    fatter = sum(entry.memory > 1 for entry in entries)
    worst = max(result.hand.gradient_error.relative for result in results)
    theirs = max(result.autodiff.gradient_error.relative for result in results)
    middle = math.exp(statistics.fmean(map(math.log, ratios)))
    cards = [
        (f"{middle:.2f} ×", "time of value and gradient, by hand over autodiff: the geometric mean "
         f"of {len(results)} comparisons"),
        (f"{faster} faster, {slower} slower", f"by more than {SAME - 1:.0%}; "
         f"{len(results) - faster - slower} equal"),
        (f"{leaner} leaner, {fatter} fatter", "in what the forward saves for the backward; "
         f"{len(results) - leaner - fatter} equal"),
        (_small(worst), "the largest error of a gradient by hand, over its largest entry, against "
         f"float64; under autodiff {_small(theirs)}"),
    ]  # fmt: skip
    return "\n".join(
        f'<div class="card"><b>{html.escape(number)}</b><span>{html.escape(text)}</span></div>'
        for number, text in cards
    )


def _map(entries: Sequence[RuleEntry]) -> str:
    """Time against memory, a mark each, both on a logarithmic axis about 1."""
    if not entries:
        return ""
    across = _Axis([e.result.ratio for e in entries if e.result], 40, 352)
    up = _Axis([entry.memory for entry in entries], 286, 8)
    parts = []
    for ratio, kind, name in across.ticks():
        x = across.at(ratio)
        parts.append(f'<path class="{kind}" d="M{x:.1f} {up.first}V{up.last}"/>')
        parts.append(f'<text x="{x:.1f}" y="{up.first + 14}" text-anchor="middle">{name}</text>')
    for ratio, kind, name in up.ticks():
        y = up.at(ratio)
        parts.append(f'<path class="{kind}" d="M{across.first} {y:.1f}H{across.last}"/>')
        parts.append(
            f'<text x="{across.first - 5}" y="{y + 4:.1f}" text-anchor="end">{name}</text>'
        )
    names = []
    taken = [(across.at(e.result.ratio) - 6, across.at(e.result.ratio) + 6, up.at(e.memory))
             for e in entries if e.result]  # fmt: skip
    for entry in sorted(entries, key=lambda entry: entry.kind):  # Models are named first.
        assert entry.result is not None
        x, y = across.at(entry.result.ratio), up.at(entry.memory)
        said = html.escape(f"{entry.name}: time {entry.result.ratio:.2f}, saved {entry.memory:.2f}")
        if entry.kind == "model":
            shape = f'<rect class="model" x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10">'
            parts.append(f"{shape}<title>{said}</title></rect>")
        else:
            shape = f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4.5">'
            parts.append(f"{shape}<title>{said}</title></circle>")
        extreme = not all(0.5 <= r <= 2 for r in (entry.result.ratio, entry.memory))
        if entry.kind == "rule" and not extreme:
            continue
        width = 6 * len(entry.name)
        for left, anchor in ((x + 8, "start"), (x - 8 - width, "end")):
            box = left, left + width, y
            free = all(box[1] < a or b < box[0] or abs(y - c) > 11 for a, b, c in taken)
            if free and across.first < left and box[1] < across.last:
                taken.append(box)
                place = f'x="{left + width * (anchor == "end"):.1f}" text-anchor="{anchor}"'
                names.append(f'<text {place} y="{y + 3.5:.1f}" class="named">{entry.name}</text>')
                break
    middle = (across.first + across.last) / 2
    return (
        '<svg class="map" viewBox="0 0 360 320" role="img" '
        f'aria-label="Time and memory by hand over autodiff">{"".join(parts + names)}'
        f'<text x="{middle}" y="316" text-anchor="middle">'
        "time, by hand / autodiff (squares: models)</text>"
        f'<text transform="translate(9 {(up.first + up.last) / 2}) rotate(-90)" '
        'text-anchor="middle">saved, by hand / autodiff</text></svg>'
    )


class _Axis:
    """Ratios on a logarithmic axis that has 1 inside, from one place of the picture to another."""

    def __init__(self, ratios: Sequence[float], first: float, last: float):
        powers = [math.log2(max(ratio, 1 / 64)) for ratio in ratios]
        self.low, self.high = math.floor(min(-1, *powers)), math.ceil(max(1, *powers))
        self.first, self.last = first, last

    def at(self, ratio: float) -> float:
        """The place of a ratio; 0 lies at the end."""
        power = max(self.low, math.log2(max(ratio, 1 / 64)))
        return self.first + (power - self.low) / (self.high - self.low) * (self.last - self.first)

    def ticks(self) -> Iterator[tuple[float, str, str]]:
        """Powers of two: each ratio, the kind of its line, its name."""
        for power in range(self.low, self.high + 1):
            name = f"{2**power}" if power >= 0 else f"1/{2**-power}"
            yield 2.0**power, "grid" if power else "one", name


def _section(title: str, entries: Sequence[RuleEntry]) -> str:
    if not entries:
        return ""
    entries = sorted(entries, key=lambda entry: entry.result.ratio if entry.result else 0)
    rows = "\n".join(map(_row, entries))
    head = (
        '<div class="head"><button data-key="name">name</button>'
        '<button data-key="time" aria-sort="ascending">time of value and gradient</button>'
        '<button data-key="memory">saved for the backward</button>'
        '<button data-key="error">gradient error</button></div>'
    )
    return f'<h2>{title}</h2>\n<div class="list">{head}\n{rows}\n</div>'


def _row(entry: RuleEntry) -> str:
    result = entry.result
    assert result is not None
    hand, autodiff = result.hand, result.autodiff
    low, high = result.spread
    errors = hand.gradient_error.relative, autodiff.gradient_error.relative
    keys = {"name": entry.name, "time": result.ratio, "memory": entry.memory, "error": errors[0]}
    data = " ".join(f'data-{k}="{html.escape(str(v))}"' for k, v in keys.items())
    saved = f"{bytes_text(hand.saved)} / {bytes_text(autodiff.saved)}"
    times = f"{seconds_text(hand.seconds)} / {seconds_text(autodiff.seconds)}"
    name = html.escape(entry.name).replace("_", "_<wbr>")
    ledger = f"<pre>{html.escape(str(result.ledger))}</pre>" if entry.kind == "model" else ""
    return (
        f'<details class="entry" {data}><summary>'
        f'<span class="name">{name}<small>{html.escape(entry.shapes)}</small>'
        f'</span><span class="cell"><i>time</i><b>{result.ratio:.2f} ×</b>'
        f"{_bars(result.ratio)}<small>{times}</small></span>"
        f'<span class="cell"><i>saved</i><b>{entry.memory:.2f} ×</b>{_bars(entry.memory)}'
        f"<small>{saved}</small></span>"
        f'<span class="cell error"><i>error</i><b>{_small(errors[0])}</b>'
        f"<small>autodiff {_small(errors[1])}</small>"
        "</span></summary>"
        f"<p>{html.escape(entry.about)}</p>{_table(result)}"
        f"<p>Half of the time's ratios lie in {low:.2f} … {high:.2f}.</p>{ledger}</details>"
    )


def _bars(ratio: float) -> str:
    """Two bars, the longer one as long as there is room."""
    hand, autodiff = (100 * value / max(ratio, 1) for value in (ratio, 1))
    return (
        '<svg class="bars" viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="hand" width="{hand:.1f}" height="6"/>'
        f'<rect class="auto" y="8" width="{autodiff:.1f}" height="6"/></svg>'
    )


def _table(result: Comparison) -> str:
    rows = ["<tr><th></th><th>by hand</th><th>autodiff</th><th>ratio</th></tr>"]
    for m in result.measures:
        ratio = result.ratio if m.label == TIME else m.ratio
        both = (quantity_text(m.hand, m.unit), quantity_text(m.autodiff, m.unit))
        cells = (*both, "" if ratio is None else f"{ratio:.2f}")
        data = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        rows.append(f"<tr><th>{html.escape(m.label)}</th>{data}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _small(error: float) -> str:
    return f"{error:.0e}" if error else "0"


def _faults(entries: Sequence[RuleEntry]) -> str:
    if not entries:
        return ""
    items = "".join(
        f"<li>{html.escape(entry.name)}: {html.escape(entry.fault)}</li>" for entry in entries
    )
    return f"<h2>Not compared</h2><ul>{items}</ul>"
