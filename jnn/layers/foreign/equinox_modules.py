"""Modules of Equinox as layers, trained by `fit` beside ours."""

import inspect
from typing import Any

import jax

from jnn import errors
from jnn.layers.core.layer import Apply, Init, layer
from jnn.types import Batch, Key, Params, State


@layer
def from_equinox(module: Any, state: Any = None) -> tuple[Init, Apply]:
    """A module of Equinox as a layer, which is given one sample after the other under `vmap`.

    Parameters are the module itself, without what is no floating array. A call with an argument
    `key` gets one for each sample; evaluation is Equinox's inference mode. `init` returns the
    parameters that the module has, whatever the key.

    Args:
      module: as its constructor makes it.
      state: what `equinox.nn.make_with_state` made beside it; the call is then `module(x, state)`,
        and the batch has the axis name "batch".

    >>> module = equinox.nn.MLP(3, 2, 16, 1, key=jax.random.key(0))  # doctest: +SKIP
    >>> net = jnn.layers.from_equinox(module)  # doctest: +SKIP
    >>> fit = jnn.fit(net, loss, jnn.adam(), (x, y), epochs=10)  # doctest: +SKIP
    """
    try:
        import equinox as eqx  # pyright: ignore
    except ImportError:
        sentence = "from_equinox needs Equinox. To install it: pip install equinox."
        raise ImportError(sentence) from None
    if not isinstance(module, eqx.Module) or not callable(module):
        expected = "a module of Equinox that can be called"
        errors.fail("from_equinox", "module", expected, errors.describe(module), kind=TypeError)
    first, fixed = eqx.partition(module, eqx.is_inexact_array)
    keyed = "key" in inspect.signature(type(module).__call__).parameters
    kept, stateful = state, state is not None

    def copied(tree: Any) -> Any:
        """Equinox takes no state twice; ours may be, as any other's."""
        return jax.tree.map(lambda a: a, tree)

    def init(key: Key, x: Batch) -> tuple[Params, State]:
        del key, x
        return first, copied(kept) if stateful else ()

    def apply(
        params: Params, state: State, x: Batch, *, key: Key | None = None, train: bool = False
    ) -> tuple[Batch, State]:
        made = eqx.nn.inference_mode(eqx.combine(params, fixed), not train)
        count, keys = len(jax.tree.leaves(x)[0]), None
        if keyed and key is not None:
            keys = jax.random.split(key, count)
        drawn = keys is not None

        given = (copied(state),) if stateful else ()

        def one(x: Any, key: Any) -> Any:
            return made(x, *given, **({"key": key} if drawn else {}))

        axes: dict[str, Any] = {"axis_name": "batch", "out_axes": (0, None)} if stateful else {}
        found = jax.vmap(one, in_axes=(0, 0 if drawn else None), **axes)(x, keys)
        return found if stateful else (found, ())

    return init, apply
