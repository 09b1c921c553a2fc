"""Predict with a network that `python -m jnn train --save FILE` wrote.

A row a sample: the class and its probability, or the numbers; and the truth where the data know it.
Rows go to standard output as CSV, or to the file of --out; how good they are is said then.
DATA are read as `train` reads them (`python -m jnn train --help`); of data in two parts, the one to
test on. A table need not have the target's column. With a network that was trained on a text, DATA
is a text to go on from, or a file with one.

Examples:
  python -m jnn predict digits.safetensors digits --out digits.csv
  python -m jnn predict iris.safetensors new.csv
  python -m jnn predict houses.safetensors houses.csv --json
  python -m jnn predict book.safetensors "It was" --length 300
"""

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np

from jnn.commands.reading.options import how_of, reading, writing
from jnn.commands.reading.sources import read_source
from jnn.commands.reading.targets import numbered, numbers
from jnn.commands.writing.plain import as_json
from jnn.commands.writing.scores import (
    class_scores,
    confusion,
    confusion_text,
    of_numbers,
    scores_text,
)
from jnn.commands.writing.texts import go_on
from jnn.files import whole
from jnn.store.safetensors import read_arrays
from jnn.store.trained import Trained
from jnn.store.writer import WRITER


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the network")
    parser.add_argument("data", metavar="DATA", help="the samples, as for train")
    writing(parser)
    reading(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the rows to FILE")
    parser.add_argument("--json", action="store_true", help="print rows and scores as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints the predictions, and where the truth is known, how good they are."""
    if WRITER in read_arrays(options.file)[1]:
        return go_on(options)
    trained = Trained.load(options.file)
    inputs = int(np.prod(trained.input))
    how = how_of(options, trained.columns.target)
    how = how._replace(columns=trained.columns, inputs=inputs, labelled=False)
    source = read_source(options.data, how)
    samples = source.test or source.train
    assert samples is not None
    outputs = trained.outputs(samples.x)
    rows, scores = table(trained, outputs, samples.y)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    if options.out:
        with whole(options.out) as file:
            file.write(text.getvalue().encode())
    if options.json:
        head, *rest = rows
        predictions = [dict(zip(head, row, strict=True)) for row in rest]
        told = {"file": options.file, "data": options.data, "predictions": predictions}
        print(as_json(told | {"scores": scores}))
    elif not options.out:
        print(text.getvalue(), end="")
    if not options.json:
        # Beside the rows, what is said must not become one of them.
        print(said(trained, scores, len(rows) - 1, options.out),
              file=sys.stdout if options.out else sys.stderr)  # fmt: skip
    return 0


def table(
    trained: Trained, outputs: np.ndarray, y: np.ndarray | None
) -> tuple[list[list[Any]], dict[str, Any]]:
    """Rows under a head, and scores, which are empty where the truth is not known."""
    count = range(1, len(outputs) + 1)
    if trained.classes:
        most = outputs.argmax(-1)
        sure = trained.probabilities(outputs).max(-1)
        rows = [[i, trained.classes[k], round(float(p), 6)]
                for i, k, p in zip(count, most, sure, strict=True)]  # fmt: skip
        head = ["sample", "class", "probability"]
        if y is None:
            return [head, *rows], {}
        truth = numbered(y, trained.classes)
        texts = [trained.classes[k] if k >= 0 else str(v) for k, v in zip(truth, y, strict=True)]
        known = truth >= 0
        scores: dict[str, Any] = {"unknown": int((~known).sum())}
        if known.any():
            counts = confusion(most[known], truth[known], len(trained.classes))
            scores |= class_scores(outputs[known], truth[known]) | {"confusion": counts.tolist()}
        return [[*head, "truth"], *([*r, t] for r, t in zip(rows, texts, strict=True))], scores
    names = trained.columns.target or tuple(f"y{i + 1}" for i in range(outputs.shape[1]))
    rows = [[i, *map(float, row)] for i, row in zip(count, outputs, strict=True)]
    if y is None:
        return [["sample", *names], *rows], {}
    truth = numbers(y)
    head = ["sample", *names, *(f"{name} truth" for name in names)]
    return [head, *([*r, *map(float, t)] for r, t in zip(rows, truth, strict=True))], of_numbers(
        outputs, truth
    )


def said(trained: Trained, scores: dict[str, Any], samples: int, out: Path | None) -> str:
    """The scores as text."""
    lines = [f"{samples:,} samples" + (f"; written to {out}" if out else "")]
    if unknown := scores.get("unknown"):
        lines.append(f"{unknown:,} of a class that the network does not know")
    shown = {k: v for k, v in scores.items() if k not in ("confusion", "unknown")}
    if shown:
        lines += ["", scores_text({"scores": shown})]
    if "confusion" in scores:
        lines += ["", confusion_text(np.array(scores["confusion"]), trained.classes)]
    return "\n".join(lines)
