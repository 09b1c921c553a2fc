"""Trees of arrays on disk: whole or not at all, checked when read, never executed.

The format is that of safetensors, which PyTorch and others read: eight bytes with the length of a
header, the header in JSON, and the arrays' bytes one after the other. The header gives each leaf's
dtype, shape and place by its path in the tree, `0/w`; under `__metadata__` stand the version of
this format, a checksum, and which leaves are random keys.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jnn import errors
from jnn.store.format import NAMES, RESERVED, refuse, write
from jnn.store.format import DamagedError as DamagedError
from jnn.store.shards import DIVIDED
from jnn.store.shards import read_arrays as read_arrays


def save(path: str | os.PathLike[str], tree: Any, about: Mapping[str, str] | None = None) -> None:
    """Writes a tree of arrays to a file, which appears whole or not at all.

    Leaves are arrays of any kind, bfloat16 and random keys included, and Python numbers. The file
    is written under another name, flushed to the disk, and renamed.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "net.safetensors")
    >>> params, _ = jnn.dense(2).init(jax.random.key(0), jnp.ones((8, 3)))
    >>> jnn.save(path, {"net": params, "key": jax.random.key(1), "epoch": 7})
    >>> sorted(jnn.load(path))
    ['epoch', 'key', 'net/b', 'net/w']
    >>> jnn.load(path, {"net": params, "key": jax.random.key(0), "epoch": 0})["epoch"]
    7

    Args:
      path: where to; a file of that name is replaced.
      tree: a pytree.
      about: texts by name, to stand in the file's metadata.
    """
    about = dict(about or {})
    if taken := about.keys() & {*RESERVED, DIVIDED}:
        errors.fail("save", "about", "of other names", f"'{min(taken)}', which the format uses")
    for name, text in about.items():
        if not isinstance(name, str) or not isinstance(text, str):
            got, remedy = f"{text!r} for {name!r}", "Write numbers as texts, e.g. by json.dumps."
            errors.fail("save", "about", "texts by name", got, remedy, TypeError)
    leaves, keys = named(tree)
    write(path, {name: stored_array(name, x) for name, x in leaves.items()}, about | keys)


def named(tree: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The leaves by their paths, and the metadata that say which of them are random keys."""
    leaves = by_path("save", tree)
    keys = {name: str(jax.random.key_impl(x)) for name, x in leaves.items() if errors.is_key(x)}
    return leaves, {"keys": json.dumps(keys)} if keys else {}


def load(path: str | os.PathLike[str], like: Any = None) -> Any:
    """Reads a file that `save` wrote, or any in the format of safetensors.

    Everything is checked before memory is taken: the header's form, that the arrays' places and
    sizes agree and fill the file, and the checksum of what `save` wrote.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "a.safetensors")
    >>> jnn.save(path, {"a": jnp.ones(2)})
    >>> jnn.load(path, {"a": jnp.zeros(3)})
    Traceback (most recent call last):
    ...
    ValueError: load: `like` must be of the arrays in the file, got float32[3] for 'a', where...

    Args:
      path: the file.
      like: a tree of the same structure, shapes and dtypes, of arrays or `ShapeDtypeStruct`s; a
        leaf comes back as the kind that it has here, on a mesh laid out as it is here. Without,
        the result is a dictionary of NumPy arrays by path.

    Raises:
      ValueError: the file is of another format, damaged, truncated, or does not fit `like`.
    """
    arrays, metadata = read_arrays(path)
    if like is None:
        return {name: np.asarray(array) for name, array in arrays.items()}
    return fill(path, like, arrays, metadata)


def fill(
    path: object, like: Any, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> Any:
    """The tree `like` with the arrays of a file in it."""
    leaves = by_path("load", like)
    keys = _keys(path, metadata)
    missing, beyond = sorted(leaves.keys() - arrays.keys()), sorted(arrays.keys() - leaves.keys())
    if missing or beyond:
        faults = (("without", missing), ("with", beyond))
        parts = [f"{word} {_few(names)}" for word, names in faults if names]
        expected = "a file of the leaves of `like`"
        errors.fail("load", "path", expected, f"'{path}' {' and '.join(parts)}")
    restored = [_restored(name, x, arrays[name], keys.get(name)) for name, x in leaves.items()]
    return jax.tree.unflatten(jax.tree.structure(like), restored)


def by_path(function: str, tree: Any) -> dict[str, Any]:
    """The leaves by their paths, `0/w`."""
    leaves: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name in leaves or name == "__metadata__":
            errors.fail(function, "tree", "of leaves with different paths", f"'{name}' twice")
        leaves[name] = leaf
    return leaves


def stored_array(name: str, leaf: Any) -> np.ndarray:
    """A leaf as an array that the format can hold."""
    array = np.asarray(jax.random.key_data(leaf) if errors.is_key(leaf) else leaf)
    if array.dtype.name not in NAMES:
        errors.fail("save", "tree", f"of leaves of {', '.join(NAMES)}",
                    f"{errors.describe(leaf)} for '{name}'", kind=TypeError)  # fmt: skip
    return array


def _restored(name: str, leaf: Any, array: np.ndarray, implementation: str | None) -> Any:
    """What the file holds, as the kind of leaf that `like` has."""
    if isinstance(leaf, bool | int | float | complex):
        if array.ndim or not isinstance(array.item(), type(leaf)):
            _unlike(name, leaf, array)
        return array.item()
    if errors.is_key(leaf):
        abstract = jax.eval_shape(jax.random.key_data, leaf)
        wanted = str(jax.random.key_impl(leaf) if isinstance(leaf, jax.Array) else implementation)
        if (abstract.shape, abstract.dtype) != (array.shape, array.dtype):
            _unlike(name, leaf, array)
        if wanted != implementation:
            got = f"a key of {wanted} for '{name}', where the file has one of {implementation}"
            errors.fail("load", "like", "of the keys in the file", got)
        data = jax.random.key_data(leaf) if isinstance(leaf, jax.Array) else leaf
        return jax.random.wrap_key_data(_array(array, data), impl=implementation)
    if not hasattr(leaf, "dtype") or (jnp.shape(leaf), jnp.dtype(leaf.dtype)) != (
        array.shape,
        array.dtype,
    ):
        _unlike(name, leaf, array)
    return np.asarray(array) if isinstance(leaf, np.ndarray) else _array(array, leaf)


def _array(array: Any, like: Any) -> jax.Array:
    """What was read, laid out as `like` is where that lies on a mesh; each device gets its part."""
    sharding = getattr(like, "sharding", None)
    if not isinstance(sharding, NamedSharding):
        return jnp.array(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def _unlike(name: str, leaf: Any, array: np.ndarray) -> NoReturn:
    got = f"{errors.describe(leaf)} for '{name}', where the file has {errors.describe(array)}"
    errors.fail("load", "like", "of the arrays in the file", got)


def _keys(path: object, metadata: Mapping[str, str]) -> dict[str, str]:
    try:
        return dict(json.loads(metadata.get("keys", "{}")))
    except (ValueError, TypeError, RecursionError):
        refuse(path, "its metadata do not name the random keys")


def _few(names: list[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if names[5:] else "")
