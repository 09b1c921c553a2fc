"""A trained language model in one file: its parameters, its settings and its alphabet.

The file is one of `jnn.save`, whose metadata say how the network is built. It is read, never
executed, and everything in it is checked.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.data import Alphabet
from jnn.layers.core.layer import Layer
from jnn.models.recurrent import CELLS, recurrent
from jnn.models.transformers.generate import generate
from jnn.models.transformers.transformer import transformer
from jnn.store.safetensors import fill, read_arrays, save

WRITER = "writer"  # The metadata's entry.
MOST = 2**20  # Of any size; who names more is not right.
COUNTS = ("size", "heads", "layers", "context")
MODELS = ("transformer", "recurrent")


class Writer(NamedTuple):
    """A network that predicts the next letter, and what it needs to write.

    >>> from jnn.store.writer import Writer
    >>> writer = Writer(jnn.data.Alphabet("ab"), size=8, heads=2, layers=1)
    >>> params, _ = writer.net.init(jax.random.key(0), jnp.zeros((1, 4), int))
    >>> len(writer._replace(params=params).write("ab", 10, key=1))
    12

    Attributes:
      alphabet: its letters.
      size: features at each place, or units of a recurrent layer.
      heads: of attention.
      layers: how many blocks, or recurrent layers.
      context: letters of a window in training.
      model: "transformer" or "recurrent".
      cell: of recurrent layers.
      params: the parameters.
    """

    alphabet: Alphabet
    size: int = 64
    heads: int = 4
    layers: int = 2
    context: int = 64
    model: str = "transformer"
    cell: str = "lstm"
    params: Any = None

    @property
    def net(self) -> Layer:
        """The network; attention sees no more places than in training, however long it writes."""
        if self.model == "recurrent":
            return recurrent(self.alphabet.size, self.size, self.layers, cell=self.cell,
                             read="each", vocabulary=self.alphabet.size)  # fmt: skip
        return transformer(self.alphabet.size, self.size, self.heads, self.layers,
                           window=self.context)  # fmt: skip

    def write(self, beginning: str, letters: int, key: int = 0, temperature: float = 1.0) -> str:
        """A text that begins so, and that many letters more."""
        ids = self.alphabet.encode(beginning).astype(np.int32)
        if not len(ids):
            errors.fail("write", "beginning", "one letter at least", repr(beginning))
        found = generate(self.net, self.params, ids, letters, key, temperature)
        return self.alphabet.decode(np.asarray(found))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes everything to a file, which appears whole or not at all."""
        about = {name: getattr(self, name) for name in COUNTS}
        about |= {"model": self.model, "cell": self.cell, "characters": self.alphabet.characters}
        save(path, {"params": self.params}, {WRITER: json.dumps(about)})

    @staticmethod
    def load(path: str | os.PathLike[str]) -> "Writer":
        """Reads what `save` wrote; any other file is refused with a reason."""
        arrays, metadata = read_arrays(path)
        try:
            writer = _told(json.loads(metadata[WRITER]))
            x = jax.ShapeDtypeStruct((1, 2), jnp.int32)
            params = jax.eval_shape(writer.net.init, jax.random.key(0), x)[0]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            expected = "a file whose metadata describe a language model of jnn"
            errors.fail("predict", "FILE", expected, f"'{path}': {str(error)[:200]}")
        return writer._replace(**fill(path, {"params": params}, arrays, metadata))


def _told(about: Any) -> Writer:
    if not isinstance(about, Mapping) or about.get("model") not in MODELS:
        raise ValueError("its network is not known")
    cell = about.get("cell", "lstm")
    if cell not in tuple(CELLS):
        raise ValueError("its cell is not known")
    for name in COUNTS:
        if type(about[name]) is not int or not 1 <= about[name] <= MOST:
            raise ValueError(f"{name} is no number of 1 ... {MOST}")
    characters = about["characters"]
    if characters is not None and (
        not isinstance(characters, str) or list(characters) != sorted(set(characters))
    ):
        raise ValueError("its characters are no alphabet")
    counts = {name: about[name] for name in COUNTS}
    return Writer(Alphabet(characters), **counts, model=about["model"], cell=cell)
