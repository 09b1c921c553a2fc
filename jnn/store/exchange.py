"""Parameters to and from the files of PyTorch."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.layers.combinators.repeat import rolled, unrolled
from jnn.store.safetensors import NAMES, by_path, read_arrays, write

ENTRIES = {
    "w": "weight", "b": "bias", "scale": "weight", "shift": "bias",
    "w_gate": "gate_proj.weight", "w_up": "up_proj.weight", "w_down": "down_proj.weight",
    "b_gate": "gate_proj.bias", "b_up": "up_proj.bias", "b_down": "down_proj.bias",
}  # fmt: skip


def save_torch(path: str | os.PathLike[str], params: Any) -> None:
    """Writes parameters so that PyTorch's modules take them: `safetensors.torch.load_file(path)`.

    `0/w` and `0/b` become `0.weight` and `0.bias`, the names of an `nn.Sequential` of the same
    layers. Weights get PyTorch's axes: (in, out) becomes (out, in), and filters HWIO become OIHW.
    Layers of a `repeat` are written one by one, as of an `nn.Sequential`; a gated layer has the
    names of LLaMA's, `gate_proj`, `up_proj` and `down_proj`; what `share` ties is written once.
    A dense layer behind `flatten` keeps the order of its inputs, which is channels last here: in
    PyTorch, flatten after `permute(0, 2, 3, 1)`.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "net.safetensors")
    >>> net = jnn.serial(jnn.dense(2), jnn.relu())
    >>> params, _ = net.init(jax.random.key(0), jnp.ones((8, 3)))
    >>> jnn.train.save_torch(path, params)
    >>> {name: array.shape for name, array in jnn.load(path).items()}
    {'0.bias': (2,), '0.weight': (2, 3)}
    """
    arrays = {}
    for name, leaf in by_path("save_torch", unrolled(params)).items():
        array = np.asarray(leaf)
        if array.dtype.name not in NAMES:
            errors.fail("save_torch", "params", "arrays of numbers", errors.describe(leaf))
        arrays[_their_name(name)] = _their_axes(array) if _is_weight(name) else array
    write(path, arrays, {})


def load_torch(path: str | os.PathLike[str], like: Any) -> Any:
    """Reads parameters from a file of PyTorch's, as `safetensors.torch.save_file` writes it.

    Names and axes are converted as `save_torch` does it, the other way.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "net.safetensors")
    >>> params, _ = jnn.serial(jnn.dense(2)).init(jax.random.key(0), jnp.ones((8, 3)))
    >>> jnn.train.save_torch(path, params)
    >>> bool((jnn.train.load_torch(path, params)[0].w == params[0].w).all())
    True

    Args:
      path: the file.
      like: parameters of the same structure, shapes and dtypes.
    """
    arrays, _ = read_arrays(path)
    apart = jax.eval_shape(unrolled, like)
    leaves = by_path("load_torch", apart)
    found = []
    for name, leaf in leaves.items():
        theirs = _their_name(name)
        if theirs not in arrays:
            held = ", ".join(sorted(arrays))
            errors.fail("load_torch", "path", f"a file with '{theirs}'", f"one with {held}")
        array = _our_axes(arrays[theirs]) if _is_weight(name) else arrays[theirs]
        if (array.shape, array.dtype) != (jnp.shape(leaf), jnp.dtype(leaf.dtype)):
            got = f"{errors.describe(array)} for '{theirs}'"
            expected = f"one with {errors.describe(leaf)} for '{name}'"
            errors.fail("load_torch", "path", expected, got)
        found.append(jnp.array(array))
    beyond = arrays.keys() - {_their_name(name) for name in leaves}
    if beyond:
        expected = "a file of the parameters of `like` only"
        errors.fail("load_torch", "path", expected, f"one with {', '.join(sorted(beyond))}")
    return rolled(jax.tree.unflatten(jax.tree.structure(apart), found), like)


def _their_name(name: str) -> str:
    *outer, last = name.split("/")
    return ".".join([*outer, ENTRIES.get(last, last)])


def _is_weight(name: str) -> bool:
    return ENTRIES.get(name.split("/")[-1], "").endswith("weight")


def _their_axes(w: np.ndarray) -> np.ndarray:
    """(..., in, out) as (out, in, ...)."""
    return w if w.ndim < 2 else np.moveaxis(w, (-1, -2), (0, 1))


def _our_axes(w: np.ndarray) -> np.ndarray:
    return w if w.ndim < 2 else np.moveaxis(w, (0, 1), (-1, -2))
