"""Arrays put where a run computes: on one device, or over a mesh as its layout says."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from jnn import errors
from jnn.train.layout import Layout


def place(layout: Layout | None, tree: Any, shardings: Any = None) -> Any:
    """Arrays on the device, or on those of a layout: a copy on each, or as `shardings` say."""
    if layout is None:  # What NumPy holds is sent: `asarray` compiles a program for each shape.
        return jax.tree.map(
            lambda x: jax.device_put(x) if isinstance(x, np.ndarray) else jnp.asarray(x), tree
        )

    def put(x: Any, sharding: NamedSharding) -> jax.Array:
        if errors.is_key(x):
            implementation = jax.random.key_impl(x)
            return jax.random.wrap_key_data(
                put(jax.random.key_data(x), sharding), impl=implementation
            )
        if isinstance(x, jax.Array) and not x.is_fully_addressable:  # Of an earlier run.
            return jax.jit(lambda x: x, out_shardings=sharding)(x)
        array = np.asarray(x)
        array = array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
        # Each device gets its part, and none the whole.
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    if shardings is None:
        shardings = jax.tree.map(lambda _: layout.copied, tree)
    return jax.tree.map(put, tree, shardings)


def local(key: jax.Array) -> jax.Array:
    """A copy of a random key on the default device of this process."""
    if not errors.is_key(key):
        return jnp.asarray(np.array(key))
    data = jnp.asarray(np.array(jax.random.key_data(key)))
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(key))


def shard(layout: Layout | None, batch: Any, size: int) -> Any:
    """A batch divided over the mesh; one that it does not divide is computed by every device."""
    if layout is None or size % layout.parts:
        return batch
    return jax.tree.map(lambda a: lax.with_sharding_constraint(a, layout.batches), batch)


def scatter(layout: Layout | None, batches: Any, own: bool) -> Any:
    """Stacked batches on the device, or divided over the mesh where it divides a batch.

    With `own` these are the parts of this process, and every process' parts together are a batch.
    """
    if layout is None:
        return jax.device_put(batches)
    divided = NamedSharding(layout.mesh, PartitionSpec(None, layout.batch))

    def put(a: np.ndarray) -> jax.Array:
        if own:
            return jax.make_array_from_process_local_data(divided, a)
        sharding = layout.copied if a.shape[1] % layout.parts else divided
        return jax.make_array_from_callback(a.shape, sharding, lambda index: a[index])

    return jax.tree.map(
        lambda a: put(np.asarray(a, jax.dtypes.canonicalize_dtype(a.dtype))), batches
    )


def laid_out(layout: Layout | None, params: Any, tree: Any) -> Any:
    """Inside a program: what was computed, laid out as the layout says, where parts are divided."""
    if layout is None or not layout.divides:
        return tree
    return jax.tree.map(lax.with_sharding_constraint, tree, layout.specs(params, tree))
