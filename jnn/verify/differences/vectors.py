"""Functions of pytrees as functions of float64 vectors, evaluated at many of them at once."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.verify.differences.slopes import EPS
from jnn.xla.programs import equations


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Within this context JAX computes in float64, products included."""
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield


class Vectors:
    """The floating leaves of a tree as one vector; the other leaves stay as they are."""

    def __init__(self, tree: Any, name: str):
        paths, self.structure = jax.tree_util.tree_flatten_with_path(tree)
        self.paths = [name + jax.tree_util.keystr(path) for path, _ in paths]
        self.leaves = [leaf for _, leaf in paths]
        self.floating = [i for i, leaf in enumerate(self.leaves) if errors.is_floating(leaf)]
        self.shapes = [np.shape(self.leaves[i]) for i in self.floating]
        self.ends = np.cumsum([0, *map(_size, self.shapes)])
        self.size = int(self.ends[-1])

    def ravel(self, tree: Any, function: str, what: str) -> jax.Array:
        """The floating leaves of a tree of this structure, as a vector; its other leaves drop."""
        try:
            leaves = self.structure.flatten_up_to(tree)
        except (ValueError, TypeError) as error:
            got = jax.tree.structure(tree)
            errors.fail(function, what, f"of structure {self.structure}", got, str(error))
        for i, shape in zip(self.floating, self.shapes, strict=True):
            if leaves[i] is None or np.shape(leaves[i]) != shape:
                got = errors.describe(leaves[i])
                errors.fail(function, what, f"of shape {shape} at {self.paths[i]}", got)
        parts = [jnp.asarray(leaves[i], jnp.float64).ravel() for i in self.floating]
        return jnp.concatenate(parts) if parts else jnp.zeros(0)

    def unravel(self, vector: Any, rest: str = "kept") -> Any:
        """The tree of a vector; its other leaves are kept, or are tangents that do not move."""
        leaves = self.leaves
        if rest == "still":
            leaves = [np.zeros(np.shape(leaf), jax.dtypes.float0) for leaf in leaves]
        leaves = list(leaves)
        for k, (i, shape) in enumerate(zip(self.floating, self.shapes, strict=True)):
            leaves[i] = vector[self.ends[k] : self.ends[k + 1]].reshape(shape)
        return self.structure.unflatten(leaves)

    def entry(self, index: int) -> str:
        """What a user would write for one entry of the vector, e.g. `x['w'][3, 1]`."""
        k = int(np.searchsorted(self.ends, index, side="right")) - 1
        place = np.unravel_index(index - self.ends[k], self.shapes[k])
        path = self.paths[self.floating[k]]
        return path + (f"[{', '.join(map(str, place))}]" if self.shapes[k] else "")

    def parts(self) -> Iterator[tuple[str, slice]]:
        """Each floating leaf's name and where it lies in the vector."""
        for k, i in enumerate(self.floating):
            yield self.paths[i], slice(self.ends[k], self.ends[k + 1])


class FlatFunction:
    """`f(x, *args)` as a function of rows of float64; make it, and call it, under `float64()`."""

    def __init__(self, test: str, f: Callable[..., Any], x: Any, args: tuple[Any, ...]):
        self.test = test
        self.inputs = Vectors(x, "x")
        if not self.inputs.floating:
            expected = "a tree with floating leaves"
            remedy = "Nothing else has slopes."
            errors.fail(test, "x", expected, errors.describe(x), remedy, TypeError)
        self.x = np.asarray(self.inputs.ravel(x, test, "x"))
        self.args = jax.tree.map(_widen, args)

        def of_vector(vector: jax.Array) -> Any:
            return f(self.inputs.unravel(vector), *self.args)

        try:
            program, self.y = jax.make_jaxpr(of_vector, return_shape=True)(self.x)
        except (TypeError, ValueError) as error:
            error.add_note(
                f"{test} runs f in float64. Arrays that f closes over are not cast: pass them in "
                "`x`, or in `args` if they are to be held fixed."
            )
            raise
        self.eps = max([EPS, *_spacings(program)])
        self.outputs = Vectors(self.y, "f(x)")
        self.m, self.n = self.outputs.size, self.inputs.size
        self.vector = lambda vector: self.outputs.ravel(of_vector(vector), test, "f(x)")
        self.rows = rowwise(self.vector, self.n + self.m)

    @functools.cached_property
    def nearby(self) -> np.ndarray:
        """The values at x, and at four points close by."""
        beside = 0.01 * np.random.default_rng(0).uniform(-1, 1, (4, self.n))
        return self.rows(self.x + np.concatenate([np.zeros((1, self.n)), beside]))

    @property
    def centre(self) -> np.ndarray:
        """The value at x."""
        return self.nearby[0]

    @property
    def scale(self) -> np.ndarray:
        """The size of the values near x."""
        return np.max(np.abs(self.nearby), axis=0, initial=0.0, where=np.isfinite(self.nearby))

    def pull(self, vjp: Callable[..., Any] | None) -> Callable[[np.ndarray], np.ndarray]:
        """Rows u to rows J^T u, by `vjp(x, u, *args)` or by JAX."""

        def cotangent(u: jax.Array, x: jax.Array) -> jax.Array:
            if vjp is None:
                return jax.vjp(self.vector, x)[1](u)[0]
            given = vjp(self.inputs.unravel(x), self.outputs.unravel(u, "still"), *self.args)
            return self.inputs.ravel(given, self.test, "the derivative")

        return rowwise(cotangent, self.n + self.m, self.x)

    def push(self, jvp: Callable[..., Any]) -> Callable[[np.ndarray], np.ndarray]:
        """Rows v to rows J v, by `jvp(x, v, *args)`."""

        def tangent(v: jax.Array, x: jax.Array) -> jax.Array:
            given = jvp(self.inputs.unravel(x), self.inputs.unravel(v, "still"), *self.args)
            return self.outputs.ravel(given, self.test, "the derivative")

        return rowwise(tangent, self.n + self.m, self.x)


def rowwise(
    function: Callable[..., Any], width: int, *held: Any
) -> Callable[[np.ndarray], np.ndarray]:
    """`function(vector, *held)` for rows of vectors: chunks of one shape, so compiled once."""
    program = jax.jit(jax.vmap(function, (0, *[None] * len(held))))
    chunk = int(np.clip(2**18 // max(width, 1), 1, 128))

    def evaluate(rows: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            count = len(part)
            if count < chunk:
                part = np.pad(part, ((0, chunk - count), (0, 0)), mode="edge")
            parts.append(np.asarray(program(part, *held), np.float64)[:count])
        return np.concatenate(parts)

    return evaluate


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=int))


def _widen(leaf: Any) -> Any:
    return jnp.asarray(leaf, jnp.float64) if errors.is_floating(leaf) else leaf


def _spacings(program: Any) -> Iterator[float]:
    """The epsilon of every floating dtype that is computed in."""
    for equation in equations(program):
        for result in equation.outvars:
            if jnp.issubdtype(getattr(result.aval, "dtype", jnp.int32), jnp.floating):
                yield float(jnp.finfo(result.aval.dtype).eps)
