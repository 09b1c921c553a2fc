"""One setting of a constructor: what it is compared by, what is kept of it, how it is written."""

import functools
import hashlib
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jnn import errors


class _Same:
    """Equal to itself alone."""

    def __init__(self, thing: Any):
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.thing is other.thing

    def __hash__(self) -> int:
        return id(self.thing)


def comparable(setting: Any) -> Any:
    """What a setting is compared by, hashable whatever it is.

    >>> from jnn.setting import comparable
    >>> comparable((1, 2.0)) == comparable((1, 2)), comparable([1]) == comparable([1])
    (False, True)
    """
    kind = type(setting)
    if isinstance(setting, Tracer):
        return _Same(setting)
    if isinstance(setting, float):
        return kind, setting.hex()  # NaN is one setting, 0.0 and -0.0 are two.
    if isinstance(setting, tuple | list):
        return kind, *map(comparable, setting)
    if isinstance(setting, dict):
        return kind, *((comparable(k), comparable(v)) for k, v in setting.items())
    if isinstance(setting, functools.partial):
        return kind, *map(comparable, (setting.func, setting.args, setting.keywords))
    try:
        if isinstance(setting, np.ndarray | np.generic | jax.Array):
            return kind, *_numbers(setting)
        hash(setting)
    except (TypeError, RuntimeError):
        return _Same(setting)
    return kind, setting


def _numbers(array: Any) -> tuple[Any, ...]:
    if errors.is_key(array):
        return str(array.dtype), *_numbers(jax.random.key_data(array))
    numbers = np.asarray(array)
    if numbers.dtype.hasobject:
        raise TypeError("An array of objects has no numbers.")
    digest = hashlib.sha256(np.ascontiguousarray(numbers).tobytes()).digest()
    return str(numbers.dtype), numbers.shape, digest


def held(setting: Any) -> Any:
    """A copy of what could be changed afterwards.

    >>> from jnn.setting import held
    >>> sizes = [4, 2]
    >>> kept = held(sizes)
    >>> sizes.append(1)
    >>> kept
    [4, 2]
    """
    if type(setting) in (list, tuple):
        return type(setting)(map(held, setting))
    if type(setting) is dict:
        return {name: held(inner) for name, inner in setting.items()}
    if type(setting) is np.ndarray:
        setting = setting.copy()
        setting.flags.writeable = False
    return setting


def show(setting: Any) -> str:
    """A setting as it is written in the call.

    >>> from jnn.setting import show
    >>> show(jnn.initialisers.zeros), show((1, "a")), show(jnn.adam(0.1))
    ('zeros', "(1, 'a')", 'adam(0.1)')
    """
    if hasattr(setting, "recipe"):
        return repr(setting)  # A part of what a constructor made.
    if isinstance(setting, functools.partial):
        settings = [show(s) for s in setting.args]
        settings += [f"{name}={show(s)}" for name, s in setting.keywords.items()]
        return f"partial({', '.join([show(setting.func), *settings])})"
    if type(setting) is list:
        return f"[{', '.join(map(show, setting))}]"
    if type(setting) is tuple:
        return f"({', '.join(map(show, setting))}{',' * (len(setting) == 1)})"
    if type(setting) is dict:
        return f"{{{', '.join(f'{k!r}: {show(s)}' for k, s in setting.items())}}}"
    return getattr(setting, "__name__", repr(setting))
