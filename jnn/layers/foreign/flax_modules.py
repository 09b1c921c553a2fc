"""Modules of Flax as layers, trained by `fit` beside ours."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.layers.core.layer import Apply, Init, layer
from jnn.types import Batch, Key, Params, State

# By which argument a call is told whether it trains, and what that is when it does.
FLAGS = {"train": True, "training": True, "is_training": True, "deterministic": False,
         "use_running_average": False}  # fmt: skip


@layer
def from_flax(module: Any) -> tuple[Init, Apply]:
    """A module of Flax as a layer: of `flax.linen`, or an `nnx.Module` that was made already.

    Parameters are those of the module, as Flax has them; state is what else it keeps, such as
    running statistics. `key` is there for dropout and whatever draws. A call with an argument
    `train`, `training`, `is_training`, `deterministic` or `use_running_average` is told of `train`;
    a module of nnx that has none is put into its modes of training and evaluation.

    Args:
      module: of linen, whose parameters `init` draws; or of nnx, which holds parameters from the
        start: `init` returns these, whatever the key.

    >>> from flax import linen  # doctest: +SKIP
    >>> net = jnn.serial(jnn.layers.from_flax(linen.Dense(8)), jnn.relu())  # doctest: +SKIP
    >>> fit = jnn.fit(net, loss, jnn.adam(), (x, y), epochs=10)  # doctest: +SKIP
    """
    try:
        from flax import linen, nnx  # pyright: ignore
    except ImportError:
        raise ImportError("from_flax needs Flax. To install it: pip install flax.") from None
    if isinstance(module, nnx.Module):
        return _of_nnx(nnx, module)
    if not isinstance(module, linen.Module):
        expected = "a module of flax.linen or flax.nnx"
        errors.fail("from_flax", "module", expected, errors.describe(module), kind=TypeError)
    return _of_linen(module)


def _of_linen(module: Any) -> tuple[Init, Apply]:
    flag = _flag(module)

    def init(key: Key, x: Batch) -> tuple[Params, State]:
        rngs = dict(zip(("params", "dropout"), jax.random.split(key), strict=True))
        example = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), x)
        variables = dict(module.init(rngs, example, **_told(flag, False)))
        return variables.pop("params", {}), variables or ()

    def apply(
        params: Params, state: State, x: Batch, *, key: Key | None = None, train: bool = False
    ) -> tuple[Batch, State]:
        variables = {"params": params, **(state or {})}
        rngs = {} if key is None else {"dropout": key}
        told = _told(flag, train)
        if not train or not state:
            return module.apply(variables, x, rngs=rngs, **told), state
        y, new = module.apply(variables, x, rngs=rngs, mutable=list(state), **told)
        return y, {name: new.get(name, kept) for name, kept in state.items()}

    return init, apply


def _of_nnx(nnx: Any, module: Any) -> tuple[Init, Apply]:
    flag = _flag(module)

    def parts(module: Any) -> Any:
        return nnx.split(module, nnx.Param, nnx.RngState, ...)

    graph, first, chance, rest = parts(module)

    def held(like: Any, values: Any) -> Any:
        state = jax.tree.map(lambda a: a, like)  # A copy, whose values can be set.
        nnx.replace_by_pure_dict(state, values)
        return state

    def init(key: Key, x: Batch) -> tuple[Params, State]:
        del key, x
        return nnx.to_pure_dict(first), nnx.to_pure_dict(rest) or ()

    def apply(
        params: Params, state: State, x: Batch, *, key: Key | None = None, train: bool = False
    ) -> tuple[Batch, State]:
        drawn = jax.tree.map(lambda a: a, chance)
        made = nnx.merge(graph, held(first, params), drawn, held(rest, state or {}))
        streams = {v.tag for _, v in nnx.iter_graph(made) if isinstance(v, nnx.RngKey)}
        if key is not None and streams:
            nnx.reseed(made, **dict.fromkeys(streams, key))
        if flag is None:
            made.train() if train else made.eval()
        y = made(x, **_told(flag, train))
        return y, nnx.to_pure_dict(parts(made)[3]) or ()

    return init, apply


def _flag(module: Any) -> str | None:
    """The argument that says whether a module trains, if its call has one."""
    known = inspect.signature(type(module).__call__).parameters
    return next((name for name in FLAGS if name in known), None)


def _told(flag: str | None, train: bool) -> dict[str, bool]:
    return {} if flag is None else {flag: train is FLAGS[flag]}
