"""A trained network with all that is needed to use it again, in memory and in one file.

The file is one of `jnn.save`: the arrays are the parameters, the state and the scales; the metadata
hold, as JSON, the network's recipe and what its inputs and outputs mean. It is read, never
executed, and everything in it is checked.
"""

import json
import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.commands.reading.networks import MOST, NETWORKS, Recipe, network
from jnn.commands.reading.sources import Columns
from jnn.data import Scale
from jnn.layers.layer import Layer
from jnn.rules.pointwise.activation import ACTIVATIONS
from jnn.store.safetensors import fill, read, save

ABOUT = "network"  # The metadata's entry.
CHUNK = 500  # Samples in one call of the network.


class Trained(NamedTuple):
    """A network, its parameters, and the meaning of its numbers.

    Attributes:
      recipe: what the network is built from.
      net: the network.
      params: its parameters.
      state: its layers' state.
      classes: the names of the classes; empty where it predicts numbers.
      columns: of the table that it was trained on.
      scale: what the inputs pass through first, or None.
      target_scale: what numbers are predicted in units of, or None.
    """

    recipe: Recipe
    net: Layer
    params: Any
    state: Any
    classes: tuple[str, ...] = ()
    columns: Columns = Columns()
    scale: Scale | None = None
    target_scale: Scale | None = None

    def prepared(self, x: np.ndarray) -> np.ndarray:
        """Inputs as the network reads them; `x` may be flat, or images where that is flat."""
        if math.prod(x.shape[1:]) != math.prod(self.recipe.input):
            shape = " x ".join(map(str, self.recipe.input))
            got = " x ".join(map(str, x.shape[1:]))
            errors.fail("predict", "DATA", f"samples of {shape}, as the network reads them", got)
        x = x.reshape(len(x), *self.recipe.input)
        return x if self.scale is None else self.scale(x)

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """Logits, or numbers in the target's own units."""
        x = self.prepared(x)
        apply = jax.jit(lambda params, state, x: self.net(params, x, state))
        parts = [
            np.asarray(apply(self.params, self.state, x[i : i + CHUNK]))
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
        about = self.recipe._asdict() | self.columns._asdict() | {"classes": self.classes}
        about |= {"scaled": self.scale is not None, "target_scaled": self.target_scale is not None}
        save(path, _tree(self), {ABOUT: json.dumps(about)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what `save` wrote; any other file is refused with a reason."""
        arrays, metadata = read(path)
        if ABOUT not in metadata:
            expected = "a file that `python -m jnn train --save` wrote"
            errors.fail("predict", "FILE", expected, f"'{path}', which names no network")
        trained = _described(path, metadata[ABOUT])
        tree = fill(path, _tree(trained), arrays, metadata)
        scales = {
            name: Scale(*map(np.asarray, tree[name])) if tree[name] else None
            for name in ("scale", "target_scale")
        }
        return trained._replace(params=tree["params"], state=tree["state"], **scales)


def _tree(trained: Trained) -> dict[str, Any]:
    """The arrays of the file."""
    return {name: getattr(trained, name) for name in ("params", "state", "scale", "target_scale")}


def _described(path: object, text: str) -> Any:
    """What the metadata describe, with shapes in place of arrays."""
    try:
        about = json.loads(text)
        recipe = Recipe(
            model=_one_of(about, "model", NETWORKS),
            input=_counts(about, "input", 3),
            outputs=_counts({"outputs": [about["outputs"]]}, "outputs", 1)[0],
            hidden=_counts(about, "hidden", 100),
            activation=_one_of(about, "activation", ACTIVATIONS),
        )
        classes = _texts(about, "classes")
        columns = Columns(_texts(about, "features"), _texts(about, "target"),
                          _counts(about, "places", 100, least=0))  # fmt: skip
        if len(classes) not in (0, recipe.outputs):
            raise ValueError(f"{len(classes)} classes and {recipe.outputs} outputs")
        net = network(recipe)
        x = jax.ShapeDtypeStruct((1, *recipe.input), jnp.float32)
        params, state = jax.eval_shape(net.init, jax.random.key(0), x)
        scale = _shapes(recipe.input) if about["scaled"] else None
        target_scale = _shapes((recipe.outputs,)) if about["target_scaled"] else None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        reason = str(error)[:200] if isinstance(error, ValueError) else repr(error)[:200]
        expected = "a file whose metadata describe a network of jnn"
        errors.fail("predict", "FILE", expected, f"'{path}': {reason}")
    return Trained(recipe, net, params, state, classes, columns, scale, target_scale)


def _shapes(shape: tuple[int, ...]) -> Any:
    one = jax.ShapeDtypeStruct(shape, jnp.float32)
    return Scale(one, one)  # pyright: ignore[reportArgumentType]


def _one_of(about: Mapping[str, Any], name: str, known: Mapping[str, Any]) -> str:
    if not isinstance(about[name], str) or about[name] not in known:
        raise ValueError(f"{name} {str(about[name])[:40]!r} is not known")
    return about[name]


def _counts(about: Mapping[str, Any], name: str, most: int, least: int = 1) -> tuple[int, ...]:
    values = about[name]
    right = isinstance(values, list) and len(values) <= most
    if not right or not all(type(n) is int and least <= n <= MOST for n in values):
        raise ValueError(f"{name} are not {most} numbers at most, of {least} ... {MOST}")
    return tuple(values)


def _texts(about: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = about[name]
    if not isinstance(values, list) or not all(isinstance(text, str) for text in values):
        raise ValueError(f"{name} are not texts")
    return tuple(values)
