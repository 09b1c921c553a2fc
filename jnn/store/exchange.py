"""Parameters and states to and from the files of PyTorch."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.layers.combinators.repeat import RepeatedParams
from jnn.layers.embedding import EmbeddingParams
from jnn.layers.recurrent import GRUParams, LSTMParams
from jnn.store.attention import as_ours, as_theirs
from jnn.store.format import NAMES, write
from jnn.store.safetensors import load

# How PyTorch calls what our records hold, `*` of the names below; several names are of a sum.
ENTRIES: dict[str, tuple[str, ...]] = {
    "w": ("weight",), "b": ("bias",), "scale": ("weight",), "shift": ("bias",),
    "mean": ("running_mean",), "variance": ("running_var",), "slope": ("weight",),
    "w_gate": ("gate_proj.weight",), "w_up": ("up_proj.weight",), "w_down": ("down_proj.weight",),
    "w_in": ("in_proj_weight",), "b_in": ("in_proj_bias",),
    "w_q": ("q_proj_weight",), "w_k": ("k_proj_weight",), "w_v": ("v_proj_weight",),
    "b_gate": ("gate_proj.bias",), "b_up": ("up_proj.bias",), "b_down": ("down_proj.bias",),
}  # fmt: skip
OF_KIND: dict[type, dict[str, tuple[str, ...]]] = {
    LSTMParams: {"w": ("weight_ih",), "r": ("weight_hh",), "b": ("bias_ih", "bias_hh")},
    GRUParams: {"w": ("weight_ih",), "r": ("weight_hh",), "b": ("bias_ih",), "c": ("bias_hh",)},
}
FIRST_LAYER = "*_l0"  # A module of one recurrent layer calls its entries so.
COUNT = "num_batches_tracked"  # Batch norms of PyTorch count batches, and use it for nothing.


class Entry(NamedTuple):
    """An array of ours, and where it is in PyTorch.

    Attributes:
      path: ours, `0/w`.
      leaf: the array, or its shape and dtype.
      names: theirs, `0.weight`; of several arrays it is the sum.
      turned: whether its axes are others there.
    """

    path: str
    leaf: Any
    names: tuple[str, ...]
    turned: bool


def save_torch(
    path: str | os.PathLike[str],
    params: Any,
    state: Any = (),
    *,
    names: Mapping[str, str] | None = None,
) -> None:
    """Writes parameters so that PyTorch's modules take them: `safetensors.torch.load_file(path)`.

    `0/w` and `0/b` become `0.weight` and `0.bias`, the names of an `nn.Sequential` of the same
    layers; running statistics of batch norms are `running_mean` and `running_var`. Weights get
    PyTorch's axes: (in, out) becomes (out, in), and filters HWIO become OIHW. A recurrent layer is
    an `nn.LSTM` or `nn.GRU` of one layer; an LSTM's recurrent bias is 0. Attention is an
    `nn.MultiheadAttention`, or LLaMA's, with `q_proj` and its kin, where keys have fewer heads.
    A `prelu` is an `nn.PReLU`. Layers of a `repeat` are written one by one, as of an
    `nn.Sequential`; a gated layer has the names of LLaMA's, `gate_proj`, `up_proj` and `down_proj`;
    what `share` ties is written once. A dense layer behind `flatten` keeps the order of its inputs,
    which is channels last here: in PyTorch, flatten after `permute(0, 2, 3, 1)`.

    Args:
      path: the file.
      params: the parameters.
      state: the network's state, if it has one.
      names: for modules of other names, theirs by our path: of a layer, or of layers within. The
        `*` in one stands for the entries, and is at the end where it is left out. For example
        {"0": "conv1", "1/0": "rnn.*_l0", "1/1": "rnn.*_l0_reverse"}; those of residual networks are
        `jnn.models.torchvision_names(net)`, of transformers' blocks `jnn.models.torch_names(net)`.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "net.safetensors")
    >>> net = jnn.serial(jnn.dense(2), jnn.batch_norm())
    >>> params, state = net.init(jax.random.key(0), jnp.ones((8, 3)))
    >>> jnn.train.save_torch(path, params, state, names={"0": "first"})
    >>> [*jnn.load(path)][:4], jnn.load(path)["first.weight"].shape
    (['1.bias', '1.running_mean', '1.running_var', '1.weight'], (2, 3))
    """
    arrays = {}
    apart: Any = as_theirs((params, _marked(params, state)))
    for entry in _entries("save_torch", apart, names):
        array = np.asarray(entry.leaf)
        if array.dtype.name not in NAMES:
            errors.fail("save_torch", "params", "arrays of numbers", errors.describe(entry.leaf))
        first, *others = entry.names
        arrays[first] = _their_axes(array) if entry.turned else array
        arrays |= dict.fromkeys(others, np.zeros_like(array))
    write(path, arrays, {})


def load_torch(
    path: str | os.PathLike[str],
    like: Any,
    state: Any = (),
    *,
    names: Mapping[str, str] | None = None,
) -> Any:
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
      state: a state like that in the file, such as the running statistics of batch norms.
      names: see `save_torch`.

    Returns:
      The parameters; with a state the pair of both.
    """
    arrays = {name: a for name, a in load(path).items() if name.split(".")[-1] != COUNT}
    both = like, _marked(like, state)
    apart = jax.eval_shape(as_theirs, both)
    entries = _entries("load_torch", apart, names)
    found = [_read(entry, arrays) for entry in entries]
    beyond = arrays.keys() - {name for entry in entries for name in entry.names}
    if beyond:
        expected = "a file of the parameters of `like` only"
        remedy = "Statistics of batch norms are a state: load_torch(path, params, state)."
        errors.fail("load_torch", "path", expected, f"one with {', '.join(sorted(beyond))}",
                    remedy * any("running_" in name for name in beyond))  # fmt: skip
    params, new = as_ours(jax.tree.unflatten(jax.tree.structure(apart), found), both)
    return (params, _unmarked(new)) if jax.tree.leaves(state) else params


def _read(entry: Entry, arrays: Mapping[str, np.ndarray]) -> jax.Array:
    """The array in a file, with our axes."""
    total = None
    for name in entry.names:
        if name not in arrays:
            held = ", ".join(sorted(arrays))
            errors.fail("load_torch", "path", f"a file with '{name}'", f"one with {held}")
        array = _our_axes(arrays[name]) if entry.turned else arrays[name]
        if array.shape == (1,) and not jnp.shape(entry.leaf):  # One slope for all channels.
            array = array.reshape(())
        if (array.shape, array.dtype) != (jnp.shape(entry.leaf), jnp.dtype(entry.leaf.dtype)):
            got = f"{errors.describe(array)} for '{name}'"
            expected = f"one with {errors.describe(entry.leaf)} for '{entry.path}'"
            errors.fail("load_torch", "path", expected, got)
        total = array if total is None else total + array
    return jnp.array(total)


def _entries(function: str, trees: Any, names: Mapping[str, str] | None) -> list[Entry]:
    """All arrays of parameters and of a state, in the order of their leaves."""
    given, used = dict(names or {}), set()
    found: dict[str, Entry] = {}
    for tree in trees:
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            *outer, field = (jax.tree_util.keystr((key,), simple=True) for key in path)
            kind = type(_owner(tree, path))
            entries = OF_KIND.get(kind, ENTRIES).get(field, (field,))
            prefix, pattern = _pattern(outer, given, kind in OF_KIND)
            used.add(prefix)
            turned = "weight" in entries[0] and kind is not EmbeddingParams
            theirs = tuple(pattern.replace("*", entry) for entry in entries)
            entry = Entry("/".join([*outer, field]), leaf, theirs, turned)
            for name in theirs:
                if name in found:
                    got = f"'{name}' for '{found[name].path}' and for '{entry.path}'"
                    errors.fail(function, "names", "such that no two arrays share a name", got)
                found[name] = entry
    if unused := given.keys() - used:
        got = ", ".join(sorted(unused))
        errors.fail(function, "names", "paths of layers, such as '0' or '1/0'", got)
    return list({entry.path: entry for entry in found.values()}.values())


def _pattern(outer: list[str], given: Mapping[str, str], recurrent: bool) -> tuple[str, str]:
    """The path of the layers that are renamed, and the names in them, with `*` for an entry."""
    prefix, root, rest = "", "", outer
    for n in range(len(outer), 0, -1):
        path = "/".join(outer[:n])
        if path in given:
            prefix, root, rest = path, given[path], outer[n:]
            break
    if "*" in root:
        return prefix, root.replace("*", ".".join([*rest, "*"]))
    return prefix, ".".join(filter(None, [root, *rest, FIRST_LAYER if recurrent else "*"]))


def _owner(tree: Any, path: tuple[Any, ...]) -> Any:
    """The record in which a leaf is."""
    for key in path[:-1]:
        name = getattr(key, "name", None)
        tree = getattr(tree, name) if name else tree[getattr(key, "idx", getattr(key, "key", None))]
    return tree


def _marked(params: Any, state: Any) -> Any:
    """The state with that of each `repeat` marked as stacked, as its parameters are."""
    if isinstance(params, RepeatedParams):
        return RepeatedParams(_marked(params.each, state))
    if type(params) is type(state) is tuple and len(params) == len(state):
        return tuple(map(_marked, params, state))
    return state


def _unmarked(state: Any) -> Any:
    """The other way."""
    if isinstance(state, RepeatedParams):
        return _unmarked(state.each)
    return tuple(map(_unmarked, state)) if type(state) is tuple else state


def _their_axes(w: np.ndarray) -> np.ndarray:
    """(..., in, out) as (out, in, ...), and a number as the one of its array."""
    return np.atleast_1d(w) if w.ndim < 2 else np.moveaxis(w, (-1, -2), (0, 1))


def _our_axes(w: np.ndarray) -> np.ndarray:
    return w if w.ndim < 2 else np.moveaxis(w, (0, 1), (-1, -2))
