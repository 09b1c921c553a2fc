"""Several devices: what each makes of its own samples, and how cotangents lie on all of them."""

import contextlib
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jnn.xla.control import differing, marked, within_shard_map

LEAST = 2**16  # Entries of a sum of which each device keeps a part: smaller ones are copied.


class Division(NamedTuple):
    """How a program's arrays lie on a mesh.

    Attributes:
      mesh: with axes whose sharding XLA completes.
      axes: those that divide a batch.
      over: those of `axes` that divide parameters too, which are gathered where they are used.
    """

    mesh: Mesh
    axes: tuple[str, ...]
    over: tuple[str, ...] = ()

    def parts(self, axes: tuple[str, ...]) -> int:
        """In how many parts some of the axes divide an array."""
        return math.prod(self.mesh.shape[axis] for axis in axes)


# A user context is part of jit's cache key. XLA divides most operations as their arguments are;
# this is for others: loops over samples, sorts, and parameters that it would gather too early.
_division: Any = jax.make_user_context(None)


def divided(how: Division | None) -> Any:
    """The context in which a program is laid out so; none where it is so anyway."""
    return contextlib.nullcontext() if how == _division.value else _division(how)


def division() -> Division | None:
    """How the program that is traced here is laid out; None on one device, and in `shard_map`."""
    return None if _division.value is None or within_shard_map() else _division.value


def parts_of(samples: int) -> int:
    """On how many devices so many samples lie, alike on each."""
    how = division()
    count = 1 if how is None else how.parts(how.axes)
    return count if samples and samples % count == 0 else 1


def own(samples: int) -> int:
    """How many of so many samples are a device's own."""
    return samples // parts_of(samples)


def divides_parameters() -> bool:
    """Whether each device keeps a part of the parameters, and of sums like them."""
    how = division()
    return how is not None and bool(how.over)


def by_device(function: Callable[..., Any], arrays: tuple[jax.Array, ...]) -> Any:
    """`function(*arrays)`, each device of its own samples: a pair, of each sample and sums.

    Sums over the devices are made once, behind all that a device does. Matrices are summed in the
    dtype of the first array, as autodiff sums the gradients of weights: half the bytes. Where
    parameters are divided, so are they, along the first axis that can be, whose parts need no
    padding on a TPU; one mesh axis after the other, since its links add up along a line of chips.
    """
    count = parts_of(len(arrays[0]))
    if count == 1:
        return function(*arrays)
    how, dtype = _division.value, arrays[0].dtype
    with _division(None):
        local = [jax.ShapeDtypeStruct((len(a) // count, *a.shape[1:]), a.dtype) for a in arrays]
        wide = jax.eval_shape(lambda *a: function(*a)[1], *local)
    along = jax.tree.map(partial(_axis_of, how), wide)

    def of_device(*arrays: jax.Array) -> Any:
        y, sums = function(*arrays)
        return y, jax.tree.map(lambda a, axis: _added(how, _narrow(a, dtype), axis), sums, along)

    rows: Any = PartitionSpec(how.axes)
    of_sums = jax.tree.map(lambda axis: PartitionSpec(*[None] * axis, *[how.over] * (axis >= 0)),
                           along)  # fmt: skip
    y, sums = jax.shard_map(
        of_device, mesh=how.mesh, in_specs=rows, out_specs=(rows, of_sums), axis_names=set(how.axes)
    )(*arrays)
    return y, jax.tree.map(lambda a, like: a.astype(like.dtype), sums, wide)


def _axis_of(how: Division, a: Any) -> int:
    """The axis of a sum along which its parts are divided; -1 where each device has all."""
    axes = [i for i, n in enumerate(a.shape) if n % how.parts(how.over) == 0]
    if not how.over or a.size < LEAST or not axes:
        return -1
    return axes[0]


def _added(how: Division, a: jax.Array, axis: int) -> jax.Array:
    if axis < 0:
        return lax.psum(a, how.axes)
    for name in how.over:
        a = lax.psum_scatter(a, name, scatter_dimension=axis, tiled=True)
    rest = tuple(name for name in how.axes if name not in how.over)
    return lax.psum(a, rest) if rest else a


def _narrow(a: jax.Array, dtype: Any) -> jax.Array:
    floating = jnp.issubdtype(a.dtype, jnp.floating) and jnp.issubdtype(dtype, jnp.floating)
    return a.astype(dtype) if floating and a.ndim > 1 else a


def by_batch(tree: Any) -> Any:
    """Arrays of samples, which stay divided: said where a loop carries them."""
    how = division()
    if how is None:
        return tree
    rows = NamedSharding(how.mesh, PartitionSpec(how.axes))
    return jax.tree.map(lambda a: lax.with_sharding_constraint(a, rows) if _divides(a) else a, tree)


def _divides(a: Any) -> bool:
    return jnp.ndim(a) > 0 and parts_of(len(a)) > 1


def gathered(tree: Any) -> Any:
    """Parameters, whole on each device from here on; their cotangents are divided as they were.

    Where that is said inside of a loop over layers, one layer's are there at a time.
    """
    how = division()
    return tree if how is None or not how.over else jax.tree.map(partial(_whole, how.mesh), tree)


def _copied(mesh: Mesh, a: jax.Array) -> jax.Array:
    return lax.with_sharding_constraint(a, NamedSharding(mesh, PartitionSpec()))


# Nothing is said of the cotangent: that of a constraint would be whole too.
_whole = jax.custom_vjp(_copied, nondiff_argnums=(0,))
_whole.defvjp(lambda mesh, a: (_copied(mesh, a), None), lambda mesh, _, delta: (delta,))


def vary_like(cotangent: jax.Array, like: Any) -> jax.Array:
    """Inside `shard_map`: an argument that all devices share gets the sum of their cotangents."""
    theirs = differing(like)
    if summed := differing(cotangent) - theirs:
        cotangent = jax.lax.psum(cotangent, tuple(sorted(summed)))
    return marked(cotangent, theirs)


def as_sharded(function: Callable[..., Any], types: Any) -> Callable[..., Any]:
    """On a mesh with explicit axes, cotangents are laid out as their arguments are."""
    shardings = jax.tree.map(
        lambda t: t.sharding if jnp.issubdtype(t.dtype, jnp.inexact) else None, types
    )
    axis_types = {kind for s in jax.tree.leaves(shardings) for kind in s.mesh.axis_types}
    if jax.sharding.AxisType.Explicit not in axis_types:
        return function
    return jax.sharding.auto_axes(function, out_sharding=shardings)


def laid_out_like(x: jax.Array, like: jax.Array) -> jax.Array:
    """On a mesh with explicit axes, an array made of nothing is laid out as its neighbour is."""
    sharding = jax.typeof(like).sharding
    explicit = jax.sharding.AxisType.Explicit in sharding.mesh.axis_types
    return jax.sharding.reshard(x, sharding) if explicit else x
