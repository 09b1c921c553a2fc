"""Worked numbers of the documents, corrected, as float64: `golden("DENSE-0")["inputs"]["W"]`."""

import json
from pathlib import Path
from typing import Any

import numpy as np

CASES = {
    case["id"]: case
    for case in json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
}


def golden(name: str) -> dict[str, Any]:
    """The case of that id: `inputs` and `outputs`, numbers and nested lists as arrays."""
    case = CASES[name]
    return {part: _arrays(case[part]) for part in ("inputs", "outputs")}


def _arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _arrays(v) for key, v in value.items()}
    if isinstance(value, list):
        try:
            return np.array(value)
        except ValueError:  # Ragged: layers of different sizes.
            return [_arrays(v) for v in value]
    return value
