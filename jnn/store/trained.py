"""A trained network with all that is needed to use it again, in memory and in one file.

The file is one of `jnn.save`: the arrays are the parameters, the state and the scales; the metadata
hold, as JSON, the network's name and settings and what its inputs and outputs mean. It is read,
never executed, and everything in it is checked. Commands and estimators write the same.
"""

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.data import Scale
from jnn.models import named as names
from jnn.models.named import Named
from jnn.store.safetensors import by_path, fill, read_arrays, save

ABOUT = "network"  # The metadata's entry.
CHUNK = 500  # Samples in one call of the network.
ARRAYS = ("params", "state", "scale", "target_scale")


class Columns(NamedTuple):
    """How a table splits: names, which may be empty, and the places of the target's columns."""

    features: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    places: tuple[int, ...] = ()


class Trained(NamedTuple):
    """A network, its parameters, and the meaning of its numbers.

    >>> import tempfile, pathlib
    >>> from jnn.store.trained import Trained
    >>> path = pathlib.Path(tempfile.mkdtemp(), "moons.safetensors")
    >>> x, y = jnn.data.two_moons(200)
    >>> jnn.estimators.MLPClassifier(hidden=(8,), epochs=20).fit(x, y).save(path)
    >>> trained = Trained.load(path)
    >>> trained.net, trained.classes, trained.outputs(x).shape
    (serial(dense(8, activation='relu'), dense(2)), ('0', '1'), (200, 2))

    Attributes:
      net: the network.
      params: its parameters.
      state: its layers' state.
      input: the shape of a sample, as the network reads it.
      width: how many numbers it returns.
      named: what the network is built from, where it has a name.
      classes: the names of the classes; empty where it predicts numbers.
      kind: the dtype of the classes, as NumPy writes it.
      given: how many numbers a sample has as it is given, where a function maps them first.
      flat: whether the target of a sample is a number, not a row of them.
      columns: of the table that it was trained on.
      scale: what the inputs pass through first, or None.
      target_scale: what numbers are predicted in units of, or None.
    """

    net: Any
    params: Any
    state: Any
    input: tuple[int, ...]
    width: int
    named: Named | None = None
    classes: tuple[str, ...] = ()
    kind: str = "<U0"
    given: int = 0
    flat: bool = False
    columns: Columns = Columns()
    scale: Scale | None = None
    target_scale: Scale | None = None

    def prepared(self, x: np.ndarray) -> np.ndarray:
        """Inputs as the network reads them; `x` may be flat, or images where that is flat."""
        if math.prod(x.shape[1:]) != math.prod(self.input):
            shape = " x ".join(map(str, self.input))
            got = " x ".join(map(str, x.shape[1:]))
            errors.fail("predict", "DATA", f"samples of {shape}, as the network reads them", got)
        x = x.reshape(len(x), *self.input)
        return x if self.scale is None else self.scale(x)

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """Logits, or numbers in the target's own units."""
        x = self.prepared(x)
        parts = [
            np.asarray(_apply(self.net, self.params, self.state, x[i : i + CHUNK]))
            for i in range(0, len(x), CHUNK)
        ]
        y = np.concatenate(parts)
        return y if self.target_scale is None else self.target_scale.undo(y)

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """The softmax of logits."""
        powers = np.exp(outputs - outputs.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes everything to a file, which appears whole or not at all."""
        about = {"model": None, "input": self.input, "outputs": self.width}
        about |= self.named._asdict() if self.named else {}
        about |= self.columns._asdict()
        about |= {"classes": self.classes, "kind": self.kind}
        about |= {"given": self.given, "flat": self.flat}
        about |= {"scaled": self.scale is not None, "target_scaled": self.target_scale is not None}
        tree = {name: getattr(self, name) for name in ARRAYS}
        save(path, tree, {ABOUT: json.dumps(about)})

    @staticmethod
    def load(
        path: str | os.PathLike[str], make: Callable[["Trained"], Any] | None = None
    ) -> "Trained":
        """Reads what `save` wrote; any other file is refused with a reason.

        Args:
          path: the file.
          make: of what else the file says, the network or shapes of its parameters, for files
            that name none.
        """
        arrays, metadata = read_arrays(path)
        if ABOUT not in metadata:
            expected = "a file that `python -m jnn train --save` or an estimator wrote"
            errors.fail("predict", "FILE", expected, f"'{path}', which names no network")
        try:
            about = json.loads(metadata[ABOUT])
            found = _told(about)
            net = _network(found, make)
            x = jax.ShapeDtypeStruct((1, *found.input), jnp.float32)
            params, state = jax.eval_shape(net.init, jax.random.key(0), x)
            jax.eval_shape(net, params, x, state)
            like: dict[str, Any] = {"params": params, "state": state}
            if about["scaled"]:
                like["scale"] = _shapes(found.input)
            if about["target_scaled"]:
                like["target_scale"] = _shapes((found.width,))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            reason = str(error)[:200] if isinstance(error, ValueError) else repr(error)[:200]
            expected = "a file whose metadata describe a network of jnn"
            errors.fail("predict", "FILE", expected, f"'{path}': {reason}")
        if "kind" not in about:
            arrays = renumbered(arrays, like, "params/")
        tree = fill(path, typed(like, arrays), arrays, metadata)
        return found._replace(net=net, **tree)


@partial(jax.jit, static_argnames="net")
def _apply(net: Any, params: Any, state: Any, x: Any) -> jax.Array:
    return net(params, x, state)


def typed(like: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The tree with a file's arrays for its leaves where they fit, whatever their precision."""

    def fitted(name: str, leaf: Any) -> Any:
        array = arrays.get(name)
        if array is None or leaf.shape != array.shape:
            return leaf  # Told as a fault when the tree is filled.
        return array if errors.is_floating(leaf) and errors.is_floating(array) else leaf

    put = [fitted(name, leaf) for name, leaf in by_path("load", like).items()]
    return jax.tree.unflatten(jax.tree.structure(like), put)


def renumbered(arrays: dict[str, np.ndarray], like: Any, root: str) -> dict[str, np.ndarray]:
    """The arrays of an older file, whose layers hold activations and pools that now are layers."""
    ours, theirs = (sorted({int(n) for name in names_ if name.startswith(root)
                            and (n := name.removeprefix(root).partition("/")[0]).isdecimal()})
                    for names_ in (by_path("load", like), arrays))  # fmt: skip
    if len(ours) != len(theirs):
        return arrays
    places = dict(zip(map(str, theirs), map(str, ours), strict=True))

    def new(name: str) -> str:
        first, *rest = name.removeprefix(root).split("/")
        return root + "/".join([places[first], *rest]) if first in places else name

    return {new(name) if name.startswith(root) else name: a for name, a in arrays.items()}


def _told(about: Any) -> Trained:
    """What the metadata say, each entry checked."""
    if not isinstance(about, dict):
        raise ValueError("its metadata are no JSON object")
    known = None if about["model"] is None else names.read_named(about)
    width = names.counts({"outputs": [about["outputs"]]}, "outputs", 1)[0]
    classes, kind = _texts(about, "classes"), about.get("kind", "<U0")
    if known and len(classes) not in (0, width):
        raise ValueError(f"{len(classes)} classes and {width} outputs")
    if not isinstance(kind, str) or not re.fullmatch(r"[<>|=]?[USiufb]\d{1,4}", kind):
        raise ValueError(f"kind {str(kind)[:40]!r} is not known")
    columns = Columns(_texts(about, "features"), _texts(about, "target"),
                      names.counts(about, "places", 100, least=0))  # fmt: skip
    given = names.counts({"given": [about.get("given", 0)]}, "given", 1, least=0)[0]
    return Trained(None, (), (), names.counts(about, "input", 3), width, known, classes, kind,
                   given, about.get("flat") is True, columns)  # fmt: skip


def _network(found: Trained, make: Callable[[Trained], Any] | None) -> Any:
    if found.named is not None:
        return found.named.build()
    if make is None:
        raise ValueError("it names no network; the estimator that wrote it reads it")
    return make(found)


def _shapes(shape: tuple[int, ...]) -> Any:
    one = jax.ShapeDtypeStruct(shape, jnp.float32)
    return Scale(one, one)  # pyright: ignore[reportArgumentType]


def _texts(about: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = about[name]
    if not isinstance(values, list) or not all(isinstance(text, str) for text in values):
        raise ValueError(f"{name} are not texts")
    return tuple(values)
