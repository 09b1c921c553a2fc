"""Several devices: the data and the parameters on each, every batch spread over all of them.

The program is the same as on one device; XLA adds the sums over devices that it needs. With
`jax.distributed` the mesh may span processes, each of which calls `fit` with the same arguments.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jnn import errors


def mesh_of(sharding: Any) -> Mesh | None:
    """The mesh that `fit` was given, with axes whose sharding XLA completes."""
    if sharding is None:
        return None
    if not isinstance(sharding, Mesh):
        expected = 'a mesh of devices, e.g. jax.make_mesh((8,), ("data",))'
        errors.fail("fit", "sharding", expected, repr(sharding), kind=TypeError)
    automatic = (AxisType.Auto,) * len(sharding.axis_names)
    return Mesh(sharding.devices, sharding.axis_names, axis_types=automatic)


def place(mesh: Mesh | None, tree: Any) -> Any:
    """Arrays on the device, or a copy on each device of the mesh."""
    if mesh is None:  # What NumPy holds is sent: `asarray` compiles a program for each shape.
        return jax.tree.map(
            lambda x: jax.device_put(x) if isinstance(x, np.ndarray) else jnp.asarray(x), tree
        )
    everywhere = NamedSharding(mesh, PartitionSpec())

    def copy(x: Any) -> jax.Array:
        if errors.is_key(x):
            implementation = jax.random.key_impl(x)
            return jax.random.wrap_key_data(copy(jax.random.key_data(x)), impl=implementation)
        array = np.asarray(jnp.asarray(x))
        return jax.make_array_from_callback(array.shape, everywhere, lambda index: array[index])

    return jax.tree.map(copy, tree)


def local(key: jax.Array) -> jax.Array:
    """A copy of a random key on the default device of this process."""
    if not errors.is_key(key):
        return jnp.asarray(np.array(key))
    data = jnp.asarray(np.array(jax.random.key_data(key)))
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(key))


def shard(mesh: Mesh | None, batch: Any, size: int) -> Any:
    """A batch spread over the mesh; one that it does not divide is computed by every device."""
    if mesh is None or size % mesh.size:
        return batch
    sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    return jax.tree.map(lambda a: lax.with_sharding_constraint(a, sharding), batch)


def scatter(mesh: Mesh | None, batches: Any, own: bool) -> Any:
    """Stacked batches on the device, or spread over the mesh where it divides a batch.

    With `own` these are the parts of this process, and every process' parts together are a batch.
    """
    if mesh is None:
        return jax.device_put(batches)
    spread_out = NamedSharding(mesh, PartitionSpec(None, mesh.axis_names))

    def put(a: np.ndarray) -> jax.Array:
        if own:
            return jax.make_array_from_process_local_data(spread_out, a)
        divides = a.shape[1] % mesh.size == 0
        sharding = spread_out if divides else NamedSharding(mesh, PartitionSpec())
        return jax.make_array_from_callback(a.shape, sharding, lambda index: a[index])

    return jax.tree.map(
        lambda a: put(np.asarray(a, jax.dtypes.canonicalize_dtype(a.dtype))), batches
    )
