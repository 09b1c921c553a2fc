"""Results as JSON, for other programs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def as_json(value: Any) -> str:
    """One line of JSON; numbers that it does not know, infinite ones, are null.

    >>> as_json({"loss": float("nan"), "at": np.array([1.0, 2.0]), "file": None})
    '{"loss": null, "at": [1.0, 2.0], "file": null}'
    """
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return _plain(np.asarray(value).tolist())
    return None if isinstance(value, float) and not np.isfinite(value) else value
