"""Hedberg's sub-sampling: sums of blocks with weights, and every K-th pixel alone."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide, contract, outer_sum
from jnn.rules.convolution.connections import Connections, canonical
from jnn.rules.core.rule import Example, rule
from jnn.rules.pooling.mean import spread, sums_of_windows
from jnn.rules.pooling.windows import Windows, image_example, on
from jnn.types import Setting


@rule
def weighted_subsample(
    x: jax.Array,
    alpha: jax.Array,
    b: jax.Array | None = None,
    *,
    factor: Setting,
    connections: Connections | np.ndarray | None = None,
    rest: str = "drop",
) -> jax.Array:
    """Weighted sums of blocks of K pixels an axis: `z_i = sum_j alpha_ji sum_block x_j + b_i`.

    With cross weights, (in, out), that is H-86. With single weights, (out,), it is
    `z_i = alpha_i sum_{j in D_i} sum_block x_j + b_i` (Table 6; H-87 leaves the sum over D_i out,
    which is right only where D_i = {i}: so it is without a table). A sum, not a mean. With S_j the
    block sums of x_j:

        dS_j = sum_i alpha_ji delta_i      dx_j = dS_j of the pixel's block, else 0   (H-88..93)
        dalpha_ji = sum delta_i S_j        db_i = sum delta_i                         (H-94..97)

    With single weights `dS_j = sum_{i in C_j} alpha_i delta_i` (H-92 has the cross rule for both)
    and `dalpha_i = sum delta_i sum_{j in D_i} S_j` (H-96 leaves the inner sum out).

    Saves: alpha, 1 hidden tensor, the sums of blocks, which are as much smaller than x as a block.

    Args:
      x: images, (N, *size, C).
      alpha: weights, cross (C, O) or single (O,).
      b: biases, (O,), or None.
      factor: K, pixels of a block along each axis, one number or one an axis.
      connections: a table of boolean constants, (input maps, output maps); None for all with cross
        weights, and for one to one with single weights. Cross weights outside the table count
        nothing, and have no gradient.
      rest: of pixels behind the last whole block: "drop" leaves them out, "error" refuses them.

    >>> x = jnp.ones((1, 5, 4, 2))
    >>> jnn.rules.weighted_subsample(x, jnp.array([0.5, 0.25]), factor=2)[0, 0, 0].tolist()
    [2.0, 1.0]
    """
    seen = _blocks(x, factor, rest)
    tile = (1, *seen.window, 1)
    sums = lax.reduce_window(as_wide(x), 0.0, lax.add, tile, tile, "VALID").astype(x.dtype)
    return _mixed_maps(sums, alpha, b, connections)


@weighted_subsample.forward
def weighted_subsample_forward(x, alpha, b, *, factor, connections, rest):
    seen = _blocks(x, factor, rest)
    sums = sums_of_windows(as_wide(x), seen).astype(x.dtype)
    return _mixed_maps(sums, alpha, b, connections), (seen, sums, alpha)


@weighted_subsample.backward
def weighted_subsample_backward(saved, delta, *, factor, connections, rest):
    seen, sums, alpha = saved
    table = None if connections is None else jnp.asarray(connections.table, delta.dtype)
    if alpha.ndim == 2:
        linked = alpha if table is None else alpha * table
        dsums = contract(delta, linked.T)  # H-88..91: sum_{i in C_j} alpha_ij delta_i
        dalpha = outer_sum(sums, delta)  # H-94, H-95
        dalpha = dalpha if table is None else dalpha * table
    else:
        weighted = delta * jnp.broadcast_to(alpha, delta.shape)
        dsums = weighted if table is None else contract(weighted, table.T)  # H-92, corrected
        read = sums if table is None else contract(sums, table)
        dalpha = _total(delta * read)  # H-96, corrected
    return spread(dsums, seen), dalpha, _total(delta)  # H-91, H-93: constant on a block; H-97


@weighted_subsample.tangent
def weighted_subsample_tangent(primals, tangents, *, factor, connections, rest):
    (x, alpha, b), (dx, dalpha, db) = primals, tangents
    seen = _blocks(x, factor, rest)
    sums, dsums = (sums_of_windows(as_wide(each), seen).astype(each.dtype) for each in (x, dx))
    z = _mixed_maps(sums, alpha, b, connections)
    dz = _mixed_maps(dsums, alpha, None, connections) + _mixed_maps(sums, dalpha, db, connections)
    return z, dz


@weighted_subsample.check
def weighted_subsample_check(x, alpha, b, *, factor, connections, rest):
    arrays = {"x": x, "alpha": alpha, **({} if b is None else {"b": b})}
    errors.floating("weighted_subsample", **arrays)
    seen = _blocks(x, factor, rest)
    errors.rank("weighted_subsample", "alpha", alpha, 1, 2)
    maps = x.shape[-1]
    table = canonical("weighted_subsample", connections, maps)
    outputs = alpha.shape[-1] if table is None else table.table.shape[1]
    if alpha.ndim == 1 and table is None:
        outputs = maps
    expected = (maps, outputs) if alpha.ndim == 2 else (outputs,)
    errors.shape("weighted_subsample", "alpha", alpha, expected,
                 "Weights are (in, out), or (out,) for one a map.")  # fmt: skip
    if b is not None:
        errors.shape("weighted_subsample", "b", b, (outputs,), "One bias an output map.")
    # What depends on the image is settled here; from here on `rest` has done its part.
    return {"factor": seen.window, "connections": table, "rest": "drop"}


@rule
def subsample(x: jax.Array, *, factor: Setting) -> jax.Array:
    """Every K-th pixel along each axis, from the first: `y[o] = x[K o]` (H-101, Table 8).

    A map of n pixels leaves ceil(n / K); Hedberg's floor would index a pixel that is not there.
    Delta returns to the pixels that were kept, and is zero elsewhere (H-102, H-103; the former has
    one layer's derivative twice).

    Saves: nothing.

    Args:
      x: images, (N, *size, C).
      factor: K, one number or one an axis.

    >>> jnn.rules.subsample(jnp.arange(5.0).reshape(1, 5, 1), factor=2).ravel().tolist()
    [0.0, 2.0, 4.0]
    """
    return x[(slice(None), *(slice(None, None, k) for k in _kept(x, factor).stride))]


@subsample.forward
def subsample_forward(x, *, factor):
    return subsample.parts.definition(x, factor=factor), _kept(x, factor)


@subsample.backward
def subsample_backward(kept, delta, *, factor):
    return (spread(delta, kept),)  # H-103: delta where K divides the pixel's place, else 0


@subsample.tangent
def subsample_tangent(primals, tangents, *, factor):
    (x,), (dx,) = primals, tangents
    kept = subsample.parts.definition
    return kept(x, factor=factor), kept(dx, factor=factor)


@subsample.check
def subsample_check(x, *, factor):
    return {"factor": _kept(x, factor).stride}


def _kept(x: jax.Array, factor: Setting) -> Windows:
    """Windows of one pixel, K pixels apart: ceil(n / K) of them."""
    return on("subsample", x, 1, factor, "valid", names=("factor", "factor"))


def _blocks(x: jax.Array, factor: Setting, rest: str) -> Windows:
    """Blocks of K pixels."""
    return on("weighted_subsample", x, factor, None, "valid", rest, ("factor", "factor"))


def _mixed_maps(
    sums: jax.Array,
    alpha: jax.Array,
    b: jax.Array | None,
    connections: Connections | np.ndarray | None,
) -> jax.Array:
    """Block sums (N, *places, in) to the maps (N, *places, out)."""
    table = None if connections is None else jnp.asarray(Connections(connections).table, sums.dtype)
    if alpha.ndim == 2:
        z = contract(sums, alpha if table is None else alpha * table)  # H-86
    else:
        read = sums if table is None else contract(sums, table)
        z = read * jnp.broadcast_to(alpha, read.shape)  # H-87, corrected
    return z if b is None else z + jnp.broadcast_to(b, z.shape)


def _total(delta: jax.Array) -> jax.Array:
    """The sum over samples and places, a number a map."""
    return delta.sum(range(delta.ndim - 1))


_TABLE = Connections([[True, False, True], [True, True, False]])


def _example(size, maps: int, alpha, biases: int | None, **settings):
    def make(random: np.random.Generator) -> Example:
        x = random.normal(size=(random.integers(1, 3), *size, maps))
        b = None if biases is None else random.normal(size=biases)
        return Example(x, random.normal(size=alpha), b, **settings)

    return make


weighted_subsample.example(_example((5, 2), 2, (2, 3), 3, factor=2, connections=_TABLE))
weighted_subsample.example(_example((4, 3), 2, (3,), 3, factor=(2, 1), connections=_TABLE))
weighted_subsample.example(_example((7,), 2, (2,), None, factor=6))
weighted_subsample.example(_example((2, 3, 2), 1, (1, 2), None, factor=2))


@weighted_subsample.extreme
def weighted_subsample_extreme(random: np.random.Generator) -> Example:
    return Example(1e3 * random.normal(size=(2, 4, 4, 2)), np.zeros((2, 3)), np.full(3, 1e4),
                   factor=2)  # fmt: skip


for _settings in (
    {"size": (5, 4), "channels": 4, "factor": 2},
    {"size": (7,), "channels": 1, "factor": 3},
    {"size": (3, 2, 4), "channels": 1, "factor": (2, 1, 3)},
):
    subsample.example(image_example(**_settings))


@subsample.extreme
def subsample_extreme(random: np.random.Generator) -> Example:
    return Example(1e4 * random.normal(size=(1, 4, 3, 1)), factor=2)
