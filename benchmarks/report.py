"""What the benchmarks share: options, candidates, the Markdown of their results."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jnn.files import whole
from jnn.measure import Program, program
from jnn.rules.core.mode import derivatives

RESULTS = Path(__file__).parent / "results"
SECONDS = 2.0


def options(description: str | None, name: str, *words: str) -> argparse.ArgumentParser:
    """The options of every benchmark; `words` are names that may be picked."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=(description or "").partition("\n")[0]
    )
    if words:
        parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(words)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only to see that it runs")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"for each race ({SECONDS})")
    parser.add_argument(
        "--cpu-time", dest="clock", action="store_const", default=time.perf_counter,
        const=time.process_time, help="count this process' work, where others share the CPU",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help=f"where the table goes ({RESULTS}/{name}.md)")
    return parser


def destination(chosen: argparse.Namespace, name: str) -> Path | None:
    """Where the table goes; nowhere for a part of it or a quick run, unless told."""
    if chosen.out is None and (chosen.quick or getattr(chosen, "names", None)):
        return None
    return chosen.out or RESULTS / f"{name}.md"


def command(chosen: argparse.Namespace, name: str) -> str:
    """The command line that repeats the run."""
    words = [*getattr(chosen, "names", ())]
    if chosen.quick:
        words.append("--quick")
    if chosen.seconds != SECONDS:
        words += ["--seconds", f"{chosen.seconds:g}"]
    if chosen.clock is time.process_time:
        words.append("--cpu-time")
    return " ".join([f"python -m benchmarks.{name}", *words])


def in_mode(mode: str, function: Callable[..., Any], *args: Any) -> Program:
    """`function` compiled with rules differentiated in that mode."""
    with derivatives(mode):
        return program(function, *args)


def agree(what: str, programs: Mapping[str, Callable[[], Any]], tolerance: float = 1e-4) -> None:
    """Stops unless all programs return the same, relative to each array's largest entry."""
    first, *others = programs
    expected = [np.asarray(x, np.float64) for x in jax.tree.leaves(programs[first]())]
    for other in others:
        found = [np.asarray(x, np.float64) for x in jax.tree.leaves(programs[other]())]
        if len(found) != len(expected):
            sys.exit(f"{what}: {other} returns {len(found)} arrays, {first} {len(expected)}")
        for i, (x, y) in enumerate(zip(found, expected, strict=True)):
            error = np.abs(x - y.reshape(x.shape)).max(initial=0.0)
            if not error <= tolerance * np.abs(y).max(initial=1e-30):
                sys.exit(f"{what}: {other} differs from {first} in array {i} by {error:.2g}")


def machine() -> str:
    """The device, the number of cores and the versions, in one line."""
    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{device.device_kind} ({jax.default_backend()}), {cores} cores, jax {jax.__version__}, "
        f"Python {sys.version.split()[0]}"
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table, its columns padded so that it reads as plain text too."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    return "\n".join([line(rows[0]), line(rule), *map(line, rows[1:])])


def publish_section(title: str, line: str, body: str, path: Path | None, *, page: str) -> None:
    """Prints a section, and puts it in its place on the page, whose others stay as they are."""
    section = f"{title}\n\n`{line}` on {machine()}.\n\n{body}\n"
    print(f"## {section}")
    if path is None:
        return
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    sections = {part.partition("\n")[0]: part for part in old.split("\n## ")[1:]}
    sections[title] = section
    parts = [f"# {page}", *(f"## {part.strip()}" for part in sections.values())]
    write(path, "\n\n".join(parts) + "\n")


def publish(title: str, line: str, body: str, path: Path | None) -> None:
    """Prints the page, and writes it whole or not at all."""
    page = f"# {title}\n\n`{line}` on {machine()}.\n\n{body}\n"
    print(page)
    if path is not None:
        write(path, page)


def write(path: Path, page: str) -> None:
    """Writes the file, whole or not at all."""
    with whole(path) as file:
        file.write(page.encode())
    print(f"written to {path}")
