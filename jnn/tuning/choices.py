"""A table of chosen implementations: immutable, a context, a file."""

import contextlib
import dataclasses
import itertools
import json
import platform
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import jax

from jnn import errors
from jnn.files import whole
from jnn.rules.core.product import Call, Product, choices, products
from jnn.text import seconds_text, table
from jnn.xla.platform import platforms

FORMAT = "jnn choices 2"
OLDER = "jnn choices 1"  # Settings by name, where a record is now.


class Trial(NamedTuple):
    """One candidate for one call.

    Attributes:
      name: the implementation.
      seconds: the median time of a call, None where it was not measured.
      error: the largest error against the reference, over the largest entry of the array.
      fault: why it must not be chosen, empty if it may.
    """

    name: str
    seconds: float | None
    error: float | None
    fault: str = ""


class Choice(NamedTuple):
    """One call, and the implementation that was chosen for it.

    Attributes:
      product: the product's name.
      arrays: shape and dtype of each of its arrays.
      settings: its settings, by name, as JSON.
      name: the chosen implementation.
      trials: all candidates.
      platform: what it was chosen for.
    """

    product: str
    arrays: tuple[tuple[tuple[int, ...], str], ...]
    settings: str
    name: str
    trials: tuple[Trial, ...] = ()
    platform: str = "cpu"

    @property
    def key(self) -> tuple[Any, ...]:
        """What a call is recognised by."""
        return self.product, self.arrays, self.settings, self.platform

    def __str__(self) -> str:
        arrays = " ".join(f"{dtype}[{','.join(map(str, shape))}]" for shape, dtype in self.arrays)
        settings = " ".join(f"{k}={json.dumps(v)}" for k, v in json.loads(self.settings).items())
        return f"{self.product} {arrays} {settings}".rstrip()


@dataclasses.dataclass(frozen=True, eq=False)
class Choices(contextlib.ContextDecorator):
    """Implementations chosen for the calls of a function, made by `jnn.tune`; `str` is a table.

    Within `with choices:`, each product's call that the table lists runs as chosen there, and every
    other call by its default; as a decorator, `choices(f)` is `f` in that context. `jit` compiles
    once for each table. What holds where a function is called, holds for the derivative that
    `jax.vjp` returns of it too, wherever that is pulled.

    Attributes:
      rows: a `Choice` for each call.
      device: the device that they were measured on.
      jax: the version of JAX.

    >>> jnn.tune(jnn.rules.tanh, jnp.ones(3)).rows
    ()
    """

    rows: tuple[Choice, ...]
    device: str
    jax: str

    def __post_init__(self) -> None:
        names = {row.key: row.name for row in self.rows}
        object.__setattr__(self, "names", MappingProxyType(names))
        object.__setattr__(self, "_hash", hash(frozenset(names.items())))

    names: Mapping[Any, str] = dataclasses.field(init=False, repr=False)
    _hash: int = dataclasses.field(init=False, repr=False)

    # Tables that choose the same share compiled programs, however their times differ.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choices) and self.names == other.names

    def __hash__(self) -> int:
        return self._hash

    def __or__(self, other: "Choices") -> "Choices":
        """The rows of both; where both know a call, the right one's."""
        rows = {row.key: row for row in (*self.rows, *other.rows)}
        return Choices(tuple(rows.values()), other.device, other.jax)

    def choose(self, product: Product, call: Call) -> str | None:
        """The chosen implementation, or None for a call that is not in the table."""
        del product
        return self.names.get((call.product, call.arrays, settings_text(call), call.platform))

    def __enter__(self) -> Self:
        context = choices(self)
        context.__enter__()
        _entered.stack = (*getattr(_entered, "stack", ()), context)
        return self

    def __exit__(self, *error: object) -> None:
        *_entered.stack, context = _entered.stack
        context.__exit__(*error)

    def __str__(self) -> str:
        rows = [(f"on {self.device}, jax {self.jax}", "time", "error", "")]
        for row in self.rows:
            for trial in row.trials:
                verdict = "chosen" if trial.name == row.name else trial.fault
                time = "-" if trial.seconds is None else seconds_text(trial.seconds)
                error = "-" if trial.error is None else f"{trial.error:.1e}"
                rows.append((f"  {trial.name}", time, error, verdict))
        head, rule, *trials = table(rows).split("\n")
        lines, rest = [head, rule], iter(trials)
        for row in self.rows:  # A call may be long; the columns below stay close to each other.
            lines += [str(row), *itertools.islice(rest, len(row.trials))]
        return "\n".join(lines)

    def save(self, path: str | Path) -> None:
        """Writes the table as JSON; the file appears whole or not at all."""
        rows = [
            row._asdict()
            | {"settings": json.loads(row.settings), "trials": [t._asdict() for t in row.trials]}
            for row in self.rows
        ]
        content = {"format": FORMAT, "device": self.device, "jax": self.jax, "rows": rows}
        with whole(path) as file:
            file.write(json.dumps(content, indent=1).encode())

    @classmethod
    def load(cls, path: str | Path) -> "Choices":
        """Reads a table that `save` wrote; nothing in it is executed.

        A table of another device or version of JAX is refused: its times mean nothing here. So is
        one that names a product or an implementation that does not exist.
        """
        remedy = "Measure again, with jnn.tune or `python -m jnn tune`."
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(content["format"])
            rows = tuple(map(_row, content["rows"]))
            loaded = cls(rows, str(content["device"]), str(content["jax"]))
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
            older = str(error) == OLDER
            got = "of an older form" if older else f"{type(error).__name__}: {error}"
            errors.fail("Choices.load", "path", f"a table of jnn.tune ('{FORMAT}')",
                        f"{path} ({got})", remedy if older else "")  # fmt: skip
        for what, theirs, ours in (("version of jax", loaded.jax, jax.__version__),
                                   ("device", loaded.device, device())):  # fmt: skip
            if theirs != ours:
                expected = f"a table of this {what}, {ours}"
                errors.fail("Choices.load", "path", expected, f"one of {theirs}", remedy)
        for row in rows:
            errors.choice("Choices.load", "product", row.product, products)
            errors.choice(f"Choices.load: {row.product}", "implementation", row.name,
                          products[row.product].implementations)  # fmt: skip
        return loaded


_entered = threading.local()  # Of each thread, the contexts that it is in.


def device() -> str:
    """The kind of the default device; of a CPU, its model too, where the system tells."""
    kind = jax.devices()[0].device_kind
    if kind != "cpu":
        return kind
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"cpu {models[0] if models else platform.processor() or platform.machine()}"


def settings_text(call: Call) -> str:
    """The setting of a call as JSON, in one form, so that a table in a file knows it again."""
    setting = call.setting
    if dataclasses.is_dataclass(setting):
        named = [(f.name, getattr(setting, f.name)) for f in dataclasses.fields(setting)]
    else:
        named = [] if setting is None else [("setting", setting)]
    return json.dumps({name: _plain(call, name, value) for name, value in named})


def _plain(call: Call, name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "__index__"):
        return int(value)
    if isinstance(value, tuple):
        return [_plain(call, name, v) for v in value]
    if type(value).__repr__ is object.__repr__:
        errors.fail(call.product, name, "one whose repr says what it is", repr(value))
    return repr(value)


def _row(row: dict[str, Any]) -> Choice:
    if not isinstance(row["settings"], dict):
        raise TypeError("settings are no object")
    arrays = tuple((tuple(map(int, shape)), str(dtype)) for shape, dtype in row["arrays"])
    trials = tuple(map(_trial, row["trials"]))
    settings, name = json.dumps(row["settings"]), row["name"]
    # Files of before do not say it; but they are of this device.
    return Choice(
        row["product"], arrays, settings, name, trials, row.get("platform", platforms()[0])
    )


def _trial(told: dict[str, Any]) -> Trial:
    trial = Trial(**told)
    for number in (trial.seconds, trial.error):
        if isinstance(number, bool) or not isinstance(number, int | float | None):
            raise TypeError(f"{number!r} is no time and no error")
    return trial
