"""Some parameters apart from others: chosen by their path in the tree, their shape or dtype."""

import fnmatch
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import jax

from jnn import errors
from jnn.optim.optimizer import Optimizer, adapt, chain, stateless
from jnn.optim.rates import zeros_like
from jnn.types import Grads, Params, State, Updates
from jnn.value import constructor

Where = str | Callable[[str, Any], bool]
LISTED = 30  # Paths in an error.


def matching(where: Where) -> Callable[[str, Any], bool]:
    """A choice of parameters as a function of the path and the leaf."""
    if isinstance(where, str):
        return lambda path, leaf: fnmatch.fnmatchcase(path, where)
    if not callable(where):
        expected = "a pattern such as '*/b', or a function of (path, leaf)"
        errors.fail("only", "where", expected, repr(where), kind=TypeError)
    return where


def selection(where: Where, tree: Any) -> Any:
    """Which leaves of `tree` are meant, as a tree of booleans; a pattern that fits none is refused.

    >>> params = {"dense": {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}}
    >>> jnn.optim.selection("*/b", params)
    {'dense': {'b': True, 'w': False}}
    >>> jnn.optim.selection(lambda path, x: x.ndim > 1, params)
    {'dense': {'b': False, 'w': True}}
    """
    chosen = matching(where)

    def decide(path: Any, leaf: Any) -> bool:
        return bool(chosen(_name(path), leaf))

    found = jax.tree_util.tree_map_with_path(decide, tree)
    leaves = jax.tree.leaves(found)
    if isinstance(where, str) and leaves and not any(leaves):
        unmatched("only", "where", where, tree)
    return found


def unmatched(function: str, argument: str, pattern: str, tree: Any) -> NoReturn:
    """The error for a pattern that fits no leaf's path, with the paths that there are."""
    paths = paths_of(tree)
    listed = ", ".join(paths[:LISTED]) + (", ..." if len(paths) > LISTED else "")
    remedy = f"There are: {listed}. In a pattern * stands for anything, slashes too."
    expected = "a pattern that fits a parameter's path"
    errors.fail(function, argument, expected, repr(pattern), remedy)


def paths_of(tree: Any) -> list[str]:
    """The path of each leaf, as patterns are held against it.

    >>> from jnn.optim.selection import paths_of
    >>> paths_of([{"w": 0, "b": 1}])
    ['0/b', '0/w']
    """
    return [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


@constructor
def only(where: Where, optimizer: Any) -> Optimizer:
    """Applies an optimizer to some leaves and lets the others pass unchanged.

    To the optimizer inside, the others are absent: it holds no state for them.

    >>> params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
    >>> no_biases = jnn.optim.only(lambda path, x: x.ndim > 1, jnn.optim.decay(0.5))
    >>> optimizer = jnn.chain(no_biases, jnn.gd(1.0))
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> updates["w"][0].tolist(), updates["b"].tolist()
    ([-1.5, -1.5], [-1.0, -1.0])

    Args:
      where: a shell pattern for the path, such as `"*/b"` or `"0/*"` (`*` crosses slashes), or a
        function of the path and the leaf, which may look at its shape and dtype but not its value.
      optimizer: an optimizer or a transform.
    """
    inner = adapt(optimizer)

    def split(mask: Any, tree: Any) -> Any:
        return jax.tree.map(lambda use, x: x if use else None, mask, tree)

    def init(params: Params) -> State:
        return inner.init(split(selection(where, params), params))

    def update(
        grads: Grads, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        mask = selection(where, grads)
        some = None if params is None else split(mask, params)
        updates, state = inner.update(split(mask, grads), state, some, **extra)

        def merge(use: bool | None, new: Any, old: Any) -> Any:
            return new if use else old

        return jax.tree.map(merge, mask, updates, grads, is_leaf=lambda x: x is None), state

    return Optimizer(init, update)


@constructor
def freeze(where: Where) -> Optimizer:
    """Keeps some parameters as they are: their updates become zero.

    It stands last in a chain.

    >>> optimizer = jnn.chain(jnn.gd(0.5), jnn.optim.freeze("b"))
    >>> params = {"w": jnp.ones(2), "b": jnp.ones(2)}
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> updates["w"].tolist(), updates["b"].tolist()
    ([-0.5, -0.5], [0.0, 0.0])

    Args:
      where: which parameters, as in `only`.
    """
    return only(where, stateless(lambda grads, _: zeros_like(grads)))


@constructor
def groups(label: Callable[[str, Any], str], optimizers: Mapping[str, Any]) -> Optimizer:
    """Each parameter with the optimizer of its group.

    >>> def label(path, leaf):
    ...     return "body" if path.startswith("0/") else "head"
    >>> optimizer = jnn.optim.groups(label, {"body": jnn.gd(0.125), "head": jnn.gd(1.0)})
    >>> params = [{"w": jnp.ones(2)}, {"w": jnp.ones(2)}]
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> [u["w"].tolist() for u in updates]
    [[-0.125, -0.125], [-1.0, -1.0]]

    Args:
      label: the group of a leaf, from its path and the leaf.
      optimizers: one for each label.
    """

    def labelled(path: str, leaf: Any) -> str:
        name = label(path, leaf)
        if name not in optimizers:
            known = ", ".join(map(repr, optimizers))
            remedy = "Give an optimizer for that label."
            errors.fail("groups", "label", f"one of {known} for '{path}'", repr(name), remedy)
        return name

    def member(name: str) -> Where:
        return lambda path, leaf: labelled(path, leaf) == name

    return chain(*(only(member(name), inner) for name, inner in optimizers.items()))
