"""How good predictions are, as numbers and as text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jnn.text import table

WIDEST = 20  # Classes of the widest confusion matrix that a terminal shows.
WORST = 10


def confusion(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """How often a sample of the class of the row is taken for that of the column.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def confusion_text(counts: np.ndarray, names: Sequence[str]) -> str:
    r"""The matrix, or of one too wide for a terminal the mistakes made most often.

    >>> print(confusion_text(np.array([[9, 1], [0, 5]]), ("no", "yes")))
    true \ predicted  no  yes    right
    ----------------------------------
    no                9    1   90.0 %
    yes               .    5  100.0 %
    """
    if len(names) > WIDEST:
        wrong = counts - np.diag(np.diag(counts))
        order = np.argsort(-wrong, axis=None)[:WORST]
        pairs = [divmod(int(i), len(names)) for i in order if wrong.flat[i]]
        rows = [(names[i], names[j], str(wrong[i, j])) for i, j in pairs]
        return table([("mistaken most often", "for", "times"), *rows])
    rows = [("true \\ predicted", *names, "right")]
    for i, (name, row) in enumerate(zip(names, counts, strict=True)):
        right = f"{row[i] / row.sum():.1%}".replace("%", " %") if row.sum() else "-"
        rows.append((name, *(str(n) if n else "." for n in row), right))
    return table(rows)


def class_scores(outputs: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The mean cross-entropy and the share of right answers, of logits.

    >>> class_scores(np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([0, 1]))
    {'loss': 0.6931471805599453, 'accuracy': 0.5}
    """
    outputs = np.asarray(outputs, np.float64)
    shifted = outputs - outputs.max(-1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(-1)) - shifted[np.arange(len(truth)), truth]
    return {
        "loss": float(losses.mean()),
        "accuracy": float((outputs.argmax(-1) == truth).mean()),
    }


def of_numbers(outputs: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Root mean square and mean absolute error, and R^2: the share of the variance explained.

    >>> of_numbers(np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]]))["r2"]
    -1.0
    """
    error = np.asarray(outputs, np.float64) - truth
    variance = np.square(truth - truth.mean(0)).sum()
    return {
        "rmse": float(np.sqrt(np.square(error).mean())),
        "mae": float(np.abs(error).mean()),
        "r2": float(1 - np.square(error).sum() / variance) if variance else float("nan"),
    }


def scores_text(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Scores of several sets of samples, a column each.

    >>> print(scores_text({"training": {"accuracy": 0.5}, "test": {"accuracy": 0.25}}))
              training    test
    --------------------------
    accuracy    50.0 %  25.0 %
    """
    names = {name: None for scores in parts.values() for name in scores}
    rows = [("", *parts)]
    for name in names:
        cells = [scores.get(name) for scores in parts.values()]
        texts = (
            "-" if x is None else f"{100 * x:.1f} %" if name == "accuracy" else f"{x:.4g}"
            for x in cells
        )  # fmt: skip
        rows.append((name.replace("r2", "R^2"), *texts))
    return table(rows)
