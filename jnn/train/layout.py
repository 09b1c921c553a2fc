"""How a run lies on several devices: batches, parameters and optimizer state over a mesh.

The program is the same as on one device; XLA adds the sums and the gathers that it needs. With
`jax.distributed` the mesh may span processes, each of which calls `fit` with the same arguments.
"""

import fnmatch
import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jnn import errors
from jnn.optim.selection import paths_of, unmatched
from jnn.rules.core.sharded import Division
from jnn.setting import show
from jnn.value import constructor

Axes = PartitionSpec | tuple[Any, ...]
Rules = Mapping[str, Axes] | tuple[tuple[str, Axes], ...] | Callable[[str, Any], Axes | None]


@dataclass(frozen=True, repr=False)
class Layout:
    """Which axes of a mesh of devices divide the batch, and which divide which parameters.

    `fit(sharding=layout)` trains so: parameters, gradients and the optimizer's state stay divided
    through all of the run. Data parallel is a layout without `params`, fully sharded is
    `jnn.train.fully_sharded(mesh)`, tensor parallel takes `jnn.models.tensor_parallel(net)`.

    >>> mesh = jax.make_mesh((1, 1), ("data", "model"))
    >>> layout = jnn.train.Layout(mesh, params={"*/w": (None, "model")})
    >>> params, _ = jnn.serial(jnn.dense(8), jnn.dense(2)).init(jax.random.key(0), jnp.ones((4, 3)))
    >>> specs = layout.specs(params)
    >>> tuple(specs[0].w.spec), tuple(specs[0].b.spec)
    ((None, 'model'), ())
    >>> adam = jnn.adam()
    >>> state = jax.eval_shape(adam.init, params)
    >>> update = jax.jit(adam.update, in_shardings=(specs, layout.specs(params, state), specs))

    Attributes:
      mesh: the devices, `jax.make_mesh((4, 2), ("data", "model"))`.
      batch: the axis of the mesh, or several, over which the samples of a batch are divided.
      params: from patterns of paths, as `jnn.optim.freeze` takes them, to the mesh's axes that
        divide each axis of the array, a `PartitionSpec` or a tuple such as `(None, "model")`. The
        first pattern that fits decides; what none fits is copied to each device. Or a function of
        (path, leaf) that returns such a tuple, or None.
    """

    mesh: Mesh
    batch: str | tuple[str, ...] = "data"
    params: Rules = ()

    def __post_init__(self) -> None:
        if not isinstance(self.mesh, Mesh):
            expected = 'a mesh of devices, e.g. jax.make_mesh((8,), ("data",))'
            errors.fail("Layout", "mesh", expected, repr(self.mesh), kind=TypeError)
        # Of axes whose sharding XLA completes.
        automatic = (AxisType.Auto,) * len(self.mesh.axis_names)
        mesh = Mesh(self.mesh.devices, self.mesh.axis_names, axis_types=automatic)
        object.__setattr__(self, "mesh", mesh)
        batch = (self.batch,) if isinstance(self.batch, str) else tuple(self.batch)
        object.__setattr__(self, "batch", batch)
        self._check_axes("batch", batch)
        if not callable(self.params):
            object.__setattr__(self, "params", _rules(self.params))
            for pattern, axes in self.params:
                self._check_axes(f"params[{pattern!r}]", axes)

    def __repr__(self) -> str:
        batch = self.batch[0] if len(self.batch) == 1 else self.batch
        shown = [repr(self.mesh), *([] if batch == "data" else [f"batch={batch!r}"])]
        if self.divides:
            rules = self.params if callable(self.params) else dict(self.params)
            shown.append(f"params={show(rules)}")
        return f"Layout({', '.join(shown)})"

    def __reduce__(self) -> NoReturn:
        remedy = "Send what it is made of, and make the mesh where it is used."
        errors.fail("Layout", "mesh", "without devices to be pickled", "a mesh of this process'",
                    remedy, pickle.PicklingError)  # fmt: skip

    @property
    def divides(self) -> bool:
        """Whether any parameter may be divided."""
        return callable(self.params) or bool(self.params)

    @property
    def parts(self) -> int:
        """In how many parts a batch is divided."""
        return math.prod(self.mesh.shape[name] for name in self.batch)

    @property
    def own(self) -> int:
        """How many of these parts are on devices of this process."""
        index = self.batches.addressable_devices_indices_map((self.parts,))
        return len(set(map(str, index.values())))

    @property
    def copied(self) -> NamedSharding:
        """That of an array of which each device has a copy."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def batches(self) -> NamedSharding:
        """That of a batch, whose samples are divided."""
        return NamedSharding(self.mesh, PartitionSpec(self.batch))

    @property
    def division(self) -> Division:
        """What rules and `repeat` are told of it: parameters that the batch's axes divide are
        gathered where they are used; what other axes divide is multiplied in parts.
        """
        if callable(self.params):  # Which may name any axis.
            used = set(self.mesh.axis_names)
        else:
            used = {name for _, axes in self.params for part in axes for name in _names(part)}
        batch = tuple(self.batch)
        over = tuple(name for name in batch if name in used) if used <= {*batch} else ()
        return Division(self.mesh, batch, over)

    def specs(self, params: Any, tree: Any = None) -> Any:
        """A `NamedSharding` for each parameter, or for each leaf of a tree that goes with them.

        In such a tree, an optimizer's state or all that a run carries, a part that is built as the
        parameters are lies as they do, leaf by leaf where the shapes agree; all else is copied.

        Args:
          params: arrays, or their shapes from `jax.eval_shape`.
          tree: the optimizer's state, or its shapes; None for the parameters themselves.
        """
        found = self._of_params(params)
        if tree is None:
            return found
        copied, none = self.copied, _is_none
        structure = jax.tree.structure(params, is_leaf=none)

        def alike(node: Any) -> bool:
            return jax.tree.structure(node, is_leaf=none) == structure

        def leaf(there: Any, param: Any, spec: Any) -> Any:
            if there is None:
                return None
            fits = param is not None and np.shape(there) == np.shape(param)
            return spec if fits else copied

        def part(node: Any) -> Any:
            if not alike(node):
                return copied
            return jax.tree.map(leaf, node, params, found, is_leaf=none)

        return jax.tree.map(part, tree, is_leaf=alike)

    def _of_params(self, params: Any) -> Any:
        leaves, structure = jax.tree.flatten(params)
        paths = paths_of(params)
        if not callable(self.params):
            for pattern, _ in self.params:
                if paths and not any(fnmatch.fnmatchcase(path, pattern) for path in paths):
                    unmatched("Layout", "params", pattern, params)

        def spec(path: str, leaf: Any) -> NamedSharding:
            if callable(self.params):
                axes = tuple(self.params(path, leaf) or ())
                self._check_axes(f"params('{path}')", axes)
            else:
                fitting = (axes for p, axes in self.params if fnmatch.fnmatchcase(path, p))
                axes = next(fitting, ())
            self._check_divides(path, leaf, axes)
            return NamedSharding(self.mesh, PartitionSpec(*axes))

        return structure.unflatten(map(spec, paths, leaves))

    def _check_axes(self, argument: str, axes: Any) -> None:
        """Axes of this mesh, each of them once."""
        names = [name for part in axes for name in _names(part)]
        for name in names:
            if name not in self.mesh.axis_names:
                expected = f"of the mesh's axes, {', '.join(map(repr, self.mesh.axis_names))}"
                remedy = "Name the axes of the mesh as jax.make_mesh was told, or make it anew."
                errors.fail("Layout", argument, expected, repr(name), remedy)
        if len(set(names)) < len(names):
            errors.fail("Layout", argument, "each of the mesh's axes once", repr(axes))

    def _check_divides(self, name: str, leaf: Any, axes: Any) -> None:
        shape = np.shape(leaf)
        if len(axes) > len(shape):
            expected = f"at most {len(shape)} axes for '{name}', {errors.describe(leaf)}"
            errors.fail("Layout", "params", expected, repr(axes))
        for i, part in enumerate(axes):
            parts = math.prod(self.mesh.shape[n] for n in _names(part))
            if shape[i] % parts:
                expected = f"axes that divide '{name}', {errors.describe(leaf)}"
                got = f"{parts} devices along {part!r} for its axis {i}, of {shape[i]}"
                remedy = "Choose a multiple of them, another axis, or None for a copy."
                errors.fail("Layout", "params", expected, got, remedy)


def fully_sharded(mesh: Mesh, least: int = 2**16) -> Layout:
    """The layout in which no device holds all: parameters are divided over the whole mesh.

    So are their gradients and the optimizer's state, and each batch. XLA gathers a layer's
    parameters where they are used, of `jnn.repeat` one layer's at a time, and adds gradients into
    the parts.

    >>> mesh = jax.make_mesh((1,), ("data",))
    >>> layout = jnn.train.fully_sharded(mesh, least=8)
    >>> params, _ = jnn.dense(4).init(jax.random.key(0), jnp.ones((2, 16)))
    >>> tuple(layout.specs(params).w.spec), tuple(layout.specs(params).b.spec)
    (('data', None), ())

    Args:
      mesh: the devices.
      least: entries of a parameter that is divided; smaller ones are copied, as are those without
        an axis that the mesh divides.
    """
    if isinstance(mesh, Mesh):  # What is none is told by `Layout`.
        errors.positive_integer("fully_sharded", "least", least)
        return Layout(mesh, tuple(mesh.axis_names), largest_axis(tuple(mesh.shape.items()), least))
    return Layout(mesh)


@constructor
def largest_axis(mesh: tuple[tuple[str, int], ...], least: int) -> Callable[[str, Any], Axes]:
    """The rule of `fully_sharded`: a parameter's largest axis over all axes of a mesh.

    >>> from jnn.train.layout import largest_axis
    >>> largest_axis((("data", 8),), 64)("0/w", jnp.ones((8, 24)))
    (None, 'data')
    """
    names = tuple(name for name, _ in mesh)
    parts = math.prod(size for _, size in mesh)

    def rule(path: str, leaf: Any) -> Axes:
        shape: tuple[int, ...] = np.shape(leaf)
        # The first axes of `RepeatedParams.each` are layers, which a loop takes one by one.
        layers = path.split("/").count("each")
        axes = [i for i in range(layers, len(shape)) if shape[i] % parts == 0]
        if math.prod(shape) < least or not axes:
            return ()
        chosen = max(axes, key=lambda i: shape[i])
        over = names if len(names) != 1 else names[0]
        return tuple(over if i == chosen else None for i in range(len(shape)))

    return rule


def layout_of(sharding: Any) -> Layout | None:
    """What `fit` was given: a layout, or a mesh, all of whose axes divide the batch."""
    if sharding is None or isinstance(sharding, Layout):
        return sharding
    if not isinstance(sharding, Mesh):
        expected = 'a Layout, or a mesh of devices, e.g. jax.make_mesh((8,), ("data",))'
        errors.fail("fit", "sharding", expected, repr(sharding), kind=TypeError)
    return Layout(sharding, tuple(sharding.axis_names))


def check_divides(layout: Layout | None, size: int, solves: bool) -> None:
    """Whether a run can do with divided parameters: batches of that size are divided too."""
    if layout is None or not layout.divides:
        return
    if solves:
        expected = "a mesh, or a Layout without `params`, for a solver"
        remedy = "To it all parameters are one vector. Give an optimizer such as jnn.adam()."
        errors.fail("fit", "sharding", expected, repr(layout), remedy)
    if size % layout.parts:
        over = " x ".join(repr(name) for name in layout.batch)
        expected = f"a multiple of {layout.parts}, in as many parts the layout divides a batch"
        remedy = f"Choose one, or fewer devices along {over}."
        errors.fail("fit", "batch_size", expected, f"batches of {size} at a time", remedy)


def _rules(params: Any) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """Patterns and axes, as they are compared."""
    pairs = tuple(params.items()) if isinstance(params, Mapping) else params
    found = []
    for pair in pairs if isinstance(pairs, tuple | list) else [pairs]:
        right = isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str)
        if not right or not isinstance(pair[1], PartitionSpec | tuple | list | None):
            expected = 'from patterns to axes, such as {"*/w": (None, "model")}'
            errors.fail("Layout", "params", expected, repr(pair), kind=TypeError)
        axes = (tuple(part) if isinstance(part, list) else part for part in pair[1] or ())
        found.append((pair[0], tuple(axes)))
    return tuple(found)


def _names(part: Any) -> tuple[str, ...]:
    """The mesh's axes that divide one axis of an array."""
    return () if part is None else part if isinstance(part, tuple) else (part,)


def _is_none(x: Any) -> bool:
    return x is None
