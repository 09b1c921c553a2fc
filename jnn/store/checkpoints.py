"""Checkpoints of a run: the last few and the best, in one folder, each whole or not there."""

import contextlib
import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jnn import errors
from jnn.store.safetensors import DamagedError, fill, read_arrays, save

NAME = "epoch-{:08}.safetensors"
BEST = "best.safetensors"


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often a run is saved; `fit(..., checkpoint=folder)` takes the defaults.

    A run with the same arguments goes on from the last whole checkpoint in the folder, and gives
    the parameters of an uninterrupted one, bit for bit. `best.safetensors` holds the `params` and
    the `state` of the best epoch that was saved:
    `jnn.load(folder / "best.safetensors", {"params": params, "state": state})`. The members of
    `fit_many` are saved together, without a best one.

    >>> import pathlib, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> net, data = jnn.dense(2), jnn.data.xor(64)
    >>> for epochs in (2, 5):
    ...     fit = jnn.fit(net, jnn.softmax_cross_entropy, jnn.adam(), data, epochs=epochs,
    ...                   checkpoint=jnn.train.Checkpoints(folder, keep=2), progress=None)
    >>> len(fit.history["loss"]), sorted(p.name for p in pathlib.Path(folder).iterdir())
    (5, ['best.safetensors', 'epoch-00000004.safetensors', 'epoch-00000005.safetensors'])

    Attributes:
      folder: made if it is not there.
      every: how many epochs lie between two; the last epoch of a run is saved too.
      keep: how many of the last ones stay.
    """

    folder: str | os.PathLike[str]
    every: int = 1
    keep: int = 3

    def __post_init__(self) -> None:
        errors.positive_integer("Checkpoints", "every", self.every)
        errors.positive_integer("Checkpoints", "keep", self.keep)

    def epochs(self) -> dict[int, Path]:
        """The checkpoints that are there, by their epoch, the last first."""
        found = {}
        for path in Path(self.folder).glob("epoch-*.safetensors"):
            if number := re.fullmatch(r"epoch-(\d{8,})\.safetensors", path.name):
                found[int(number[1])] = path
        return dict(sorted(found.items(), reverse=True))

    def store(self, carry: Any, history: Mapping[str, np.ndarray], best: Any) -> None:
        """Saves the carry after an epoch, and removes what is older than the last few.

        `best` are parameters and state, if they are the best up to now.
        """
        if not jax.process_index():  # One writer.
            folder = Path(self.folder)
            tree = {"carry": carry, "history": dict(history)}
            save(folder / NAME.format(int(np.max(carry.epoch))), tree)
            if best is not None:
                save(folder / BEST, best)
            for path in list(self.epochs().values())[self.keep :]:
                path.unlink(missing_ok=True)
        if jax.process_count() > 1:  # Nobody reads before it is there.
            multihost_utils.sync_global_devices("jnn checkpoint")

    def restore(
        self, like: Any, place: Callable[[Any], Any]
    ) -> tuple[Any, dict[str, np.ndarray]] | None:
        """The last whole checkpoint and the history up to it; None where there is none.

        `place` puts what was read where the run computes.
        """
        if not jax.process_index():
            for path in Path(self.folder).glob(".*.safetensors.*.tmp"):
                with contextlib.suppress(OSError):
                    path.unlink()  # What a killed run began to write.
        damaged = []
        for path in self.epochs().values():
            try:
                arrays, metadata = read_arrays(path)
            except DamagedError as error:
                damaged.append(str(error))
                continue
            for message in damaged:
                warnings.warn(f"{message} The run goes on from '{path.name}'.", stacklevel=4)
            history = {
                name.removeprefix("history/"): array
                for name, array in arrays.items()
                if name.startswith("history/")
            }
            kept = {name: a for name, a in arrays.items() if not name.startswith("history/")}
            carry = fill(path, {"carry": like}, kept, metadata)["carry"]
            return place(carry), history
        if damaged:
            raise DamagedError(damaged[0])
        return None


def checkpoints_of(checkpoint: Any) -> Checkpoints | None:
    """What `fit` was given: a folder, or settings."""
    if checkpoint is None or isinstance(checkpoint, Checkpoints):
        return checkpoint
    return Checkpoints(checkpoint)


def same_key(a: jax.Array, b: jax.Array) -> bool:
    """Whether two runs draw the same."""
    one, other = (np.asarray(jax.random.key_data(k) if errors.is_key(k) else k) for k in (a, b))
    return np.array_equal(one, other)
