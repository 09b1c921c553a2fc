"""The history of a run: a column of numbers for each quantity, a row for each epoch."""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jnn import errors
from jnn.files import whole
from jnn.train.plan import Row

UNITS = ("seconds", "evaluations")  # Columns that tell the effort.


class History(dict[str, np.ndarray]):
    """Columns by name: "loss", the metrics, the same with "validation_" before, "seconds".

    A solver's history has the "evaluations" up to the end of each epoch too.

    >>> history = jnn.train.History({"loss": np.array([0.5, 0.25]), "seconds": np.ones(2)})
    >>> history["loss"][-1].item(), history["seconds"].sum().item()
    (0.25, 2.0)
    """

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a table with a row an epoch, as CSV or JSON by the ending of the path.

        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "history.csv")
        >>> jnn.train.History({"loss": np.array([0.5, 0.25])}).save(path)
        >>> path.read_text().splitlines()
        ['epoch,loss', '1,0.5', '2,0.25']
        """
        ending = Path(path).suffix
        errors.choice("save", "path", ending, (".csv", ".json"))
        columns = {name: values.tolist() for name, values in self.items()}
        if ending == ".json":
            # JSON knows no NaN.
            text = json.dumps(
                {k: [x if np.isfinite(x) else None for x in v] for k, v in columns.items()}
            )
        else:
            buffer = io.StringIO()
            table = csv.writer(buffer, lineterminator="\n")
            table.writerow(["epoch", *columns])
            for i, row in enumerate(zip(*columns.values(), strict=True), 1):
                table.writerow([i, *row])
            text = buffer.getvalue()
        with whole(path) as file:
            file.write(text.encode())

    def panels(self) -> dict[str, dict[str, np.ndarray]]:
        """The curves as `jnn.plots.history` draws them: training and validation in one panel.

        >>> list(jnn.train.History({"loss": np.ones(2), "validation_loss": np.ones(2)}).panels())
        ['loss']
        """
        names = [n for n in self if n not in UNITS and not n.startswith("validation_")]
        curves = {}
        for name in names:
            kinds = {"training": name, "validation": f"validation_{name}"}
            curves[name] = {kind: self[column] for kind, column in kinds.items() if column in self}
        return curves


def collect(
    names: Sequence[str], rows: Sequence[Row], seconds: Sequence[float],
    before: Mapping[str, np.ndarray],
) -> History:  # fmt: skip
    """The history of rows, behind that of an earlier part of the run."""
    columns = {name: np.array([row.values[name] for row in rows], np.float32) for name in names}
    columns["seconds"] = np.array(seconds)
    if before:
        columns = {name: np.concatenate([before[name], new]) for name, new in columns.items()}
    return History(columns)
