"""One set of parameters at several places of a network."""

import functools
from collections.abc import Mapping
from typing import Any

import jax

from jnn import errors
from jnn.layers.combinators.rows import check_layer
from jnn.layers.core.layer import Apply, Init, Layer, layer
from jnn.layers.core.ragged import ALL
from jnn.types import Batch, Key, Params, State

_TRANSPOSED = ".T"


@functools.partial(layer, sees=ALL)
def share(inner: Layer, ties: Mapping[str, str]) -> tuple[Init, Apply]:
    """A network some of whose parameters are others of it, so that both places train one array.

    `ties` say what is what, by paths as files have them: `{"2": "0"}` gives layer 2 all parameters
    of layer 0, `{"2/w": "0/table.T"}` gives the weights of layer 2 the transposed table of layer 0,
    as language models tie their last layer to their embedding. Parameters are those of `inner`,
    with None where one is tied: it is counted, stored and optimised once, and its gradient is the
    sum of those of its places. A state is not shared.

    Args:
      inner: the network.
      ties: from the path of an array, or of a layer, to the path of what it is instead; with ".T"
        behind the latter for the transposed matrix.

    >>> net = jnn.share(jnn.serial(jnn.dense(4), jnn.relu(), jnn.dense(4)), {"2": "0"})
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 4)))
    >>> jax.tree.map(jnp.shape, params)
    (DenseParams(w=(4, 4), b=(4,)), (), DenseParams(w=None, b=None))
    >>> net = jnn.share(jnn.serial(jnn.dense(4), jnn.dense(9, bias=False)), {"1/w": "0/w.T"})
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 9)))  # An autoencoder.
    >>> params[1]
    DenseParams(w=None, b=None)
    """
    check_layer("share", "inner", inner)
    if not isinstance(ties, Mapping) or not ties:
        expected = 'such as {"2/w": "0/w"}, from paths to paths'
        errors.fail("share", "ties", expected, repr(ties), kind=TypeError)

    def init(key: Key, x: Batch) -> tuple[Params, State]:
        params, state = inner.init(key, x)
        leaves, structure = _by_path(params)
        tied = _leaves_tied(ties, leaves)
        for name, source in tied.items():
            here, there = errors.describe(leaves[name]), errors.describe(_taken(leaves, source))
            if here != there:
                expected = f"of arrays of one shape and dtype; '{name}' is {here}"
                errors.fail("share", "ties", expected, f"{there} for '{source}'")
        kept = [None if name in tied else leaf for name, leaf in leaves.items()]
        return structure.unflatten(kept), state

    def apply(
        params: Params, state: State, x: Batch, *, key: Key | None = None, train: bool = False
    ) -> tuple[Batch, State]:
        return inner.apply(filled(params, ties), state, x, key=key, train=train)

    return init, apply


def filled(params: Params, ties: Mapping[str, str]) -> Params:
    """The parameters of the network inside: what is tied stands in its places too."""
    leaves, structure = _by_path(params)
    tied = _leaves_tied(ties, leaves)
    return structure.unflatten(
        [_taken(leaves, tied[name]) if name in tied else leaf for name, leaf in leaves.items()]
    )


def _by_path(params: Params) -> tuple[dict[str, Any], Any]:
    """Arrays, and None where there is none, by their paths."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(params, is_leaf=lambda x: x is None)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): a for path, a in leaves
    }, structure


def _taken(leaves: Mapping[str, Any], source: str) -> Any:
    leaf = leaves[source.removesuffix(_TRANSPOSED)]
    return leaf.T if source.endswith(_TRANSPOSED) else leaf


def _leaves_tied(ties: Mapping[str, str], leaves: Mapping[str, Any]) -> dict[str, str]:
    """The ties of layers and arrays as ties of arrays, once they are found to be right."""
    found: dict[str, str] = {}
    for name, source in ties.items():
        turn = _TRANSPOSED if source.endswith(_TRANSPOSED) else ""
        origin = source.removesuffix(_TRANSPOSED)
        here, there = (_below(path, leaves) for path in (name, origin))
        for path, parts in ((name, here), (origin, there)):
            if not parts:
                errors.fail("share", "ties", f"of paths among {', '.join(leaves)}", repr(path))
        if here != there:
            expected = f"of places alike; under '{name}' are {', '.join(sorted(here))}"
            errors.fail("share", "ties", expected, f"{', '.join(sorted(there))} under '{origin}'")
        found |= {name + part: origin + part + turn for part in here}
    both = {origin.removesuffix(_TRANSPOSED) for origin in found.values()} & {*found}
    if both:
        remedy = "Tie all places to the first."
        errors.fail("share", "ties", "to what is not tied itself", repr(min(both)), remedy)
    return found


def _below(path: str, leaves: Mapping[str, Any]) -> set[str]:
    """What follows the path in the names of arrays: "" for its own."""
    parts = {name.removeprefix(path) for name in leaves if f"{name}/".startswith(f"{path}/")}
    return {part for part in parts if not part or part.startswith("/")}
