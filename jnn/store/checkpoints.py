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
from jnn.files import abandoned
from jnn.store.format import DamagedError
from jnn.store.safetensors import fill, named, read_arrays, stored_array
from jnn.store.shards import write_shards

NAME = "epoch-{:08}.safetensors"
BEST = "best.safetensors"
SHARDS = "{}-{:08}"  # What the files of other processes begin with.


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often a run is saved; `fit(..., checkpoint=folder)` takes the defaults.

    A run with the same arguments goes on from the last whole checkpoint in the folder, and gives
    the parameters of an uninterrupted one, bit for bit. Another optimizer is refused; another rate,
    batch size or number of samples is taken, with a warning. `best.safetensors` holds the `params`
    and the `state` of the best epoch that was saved:
    `jnn.load(folder / "best.safetensors", {"params": params, "state": state})`. The members of
    `fit_many` are saved together, without a best one.

    Of arrays that a layout divides among processes, each process writes what it has, to a file
    beside, `epoch-00000004-2of2.safetensors`; `jnn.load` puts them together. Any number of devices
    and another layout may go on from them.

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

    def store(
        self, carry: Any, history: Mapping[str, np.ndarray], best: Any, about: Mapping[str, str]
    ) -> None:
        """Saves the carry after an epoch, and removes what is older than the last few.

        `best` are parameters and state, if they are the best up to now; `about` says of the run
        what `restore` gives to `compare`.
        """
        folder, epoch = Path(self.folder), int(np.max(carry.epoch))
        trees = [(NAME.format(epoch), "epoch", {"carry": carry, "history": dict(history)})]
        trees += [] if best is None else [(BEST, "best", best)]
        for name, kind, tree in trees:
            leaves, keys = named(tree)
            beside = SHARDS.format(kind, epoch)
            write_shards(
                folder / name,
                leaves,
                stored_array,
                {**keys, **about},
                beside,
                jax.process_index(),
                _meet,
            )
        if not jax.process_index():
            # What has a later number is none of this run's, and takes no place of the last few.
            own = [path for number, path in self.epochs().items() if number <= epoch]
            for path in own[self.keep :]:
                path.unlink(missing_ok=True)
            kept = {SHARDS.format("epoch", number) for number in self.epochs()}
            kept |= {SHARDS.format("best", epoch)}
            for path in folder.glob("*-*of*.safetensors"):
                beside = path.name.rpartition("-")[0]
                if beside not in kept and (best is not None or beside.startswith("epoch")):
                    path.unlink(missing_ok=True)
        _meet()  # Nobody reads before it is there.

    def restore(
        self, like: Any, compare: Callable[[Mapping[str, str]], None]
    ) -> tuple[Any, dict[str, np.ndarray]] | None:
        """The last whole checkpoint and the history up to it; None where there is none.

        Its arrays lie as those of `like` do, whatever devices have written them; `compare` refuses
        what another run has left.
        """
        if not jax.process_index():
            for path in abandoned(self.folder, "*.safetensors"):
                with contextlib.suppress(OSError):
                    path.unlink()  # What a killed run began to write.
        damaged = []
        for path in self.epochs().values():
            try:
                found = _read(path, like, compare)
            except DamagedError as error:
                found = None
                damaged.append(str(error))
            if not _everywhere(found is not None):
                continue
            for message in damaged:
                warnings.warn(f"{message} The run goes on from '{path.name}'.", stacklevel=4)
            return found
        if damaged:
            raise DamagedError(damaged[0])
        return None


def _read(
    path: Path, like: Any, compare: Callable[[Mapping[str, str]], None]
) -> tuple[Any, dict[str, np.ndarray]]:
    arrays, metadata = read_arrays(path)
    compare(metadata)
    history = {
        name.removeprefix("history/"): array
        for name, array in arrays.items()
        if name.startswith("history/")
    }
    kept = {name: a for name, a in arrays.items() if not name.startswith("history/")}
    return fill(path, {"carry": like}, kept, metadata)["carry"], history


def _meet() -> None:
    """Waits for the other processes."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("jnn checkpoint")


def _everywhere(here: bool) -> bool:
    """Whether something is so in every process."""
    if jax.process_count() == 1:
        return here
    return bool(np.all(multihost_utils.process_allgather(np.array(here))))


def checkpoints_of(checkpoint: Any) -> Checkpoints | None:
    """What `fit` was given: a folder, or settings."""
    if checkpoint is None or isinstance(checkpoint, Checkpoints):
        return checkpoint
    return Checkpoints(checkpoint)


def same_key(a: jax.Array, b: jax.Array) -> bool:
    """Whether two runs draw the same."""
    one, other = (np.asarray(jax.random.key_data(k) if errors.is_key(k) else k) for k in (a, b))
    return np.array_equal(one, other)
