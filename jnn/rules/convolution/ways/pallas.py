"""A convolution in Pallas whose tile comes from Algorithm 4; a candidate for GPUs.

Each program computes a tile of outputs of one sample, in all maps. It reads the pixels under the
tile with their margin, which caches keep from one entry of the filter to the next; the entries are
unrolled (H §9). Tests run it in Pallas' interpreter; on a GPU it has not been measured, which is
why no default names it: `jnn.tune` decides.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jnn.rules.convolution.geometry import Geometry, Pairs
from jnn.rules.convolution.products import value
from jnn.rules.convolution.work_size import work_size
from jnn.rules.core.product import Call

# What one group of threads has, on GPUs from Volta on: fast memory, and outputs of a tile.
MEMORY, GROUP = 2**16, 256


def suits_gpu(call: Call) -> bool:
    """Whether it is a plain convolution of images that a GPU's tiles can hold."""
    g: Geometry = call.setting
    if call.platform != "gpu" or g.axes != 2:
        return False
    channels = (call.shape(0)[-1], call.shape(1)[-1])
    plain = g.groups == 1 and g.unit and g.dense
    # The compiler multiplies blocks of 16 and more, of sizes that are powers of two.
    return plain and all(c >= 16 and c & (c - 1) == 0 for c in channels)


@value.implementation("pallas", suits=suits_gpu)
def value_pallas(x: jax.Array, w: jax.Array, g: Geometry) -> jax.Array:
    """H-60 over tiles of Algorithm 4."""
    return convolve(x, w, padding=g.padding)


def convolve(
    x: jax.Array,
    w: jax.Array,
    *,
    padding: Pairs = ((0, 0), (0, 0)),
    tiles: int = 128,
    interpret: bool = False,
) -> jax.Array:
    """The convolution of images with filters, `z_i[p] = sum_j sum_u x_j[p + u] w_ij[u]` (H-60).

    Args:
      x: images, (N, height, width, C).
      w: filters, (height, width, C, O).
      padding: zeros before and after, along each axis.
      tiles: how many there must be at least: the processors to keep busy.
      interpret: run on any machine, slowly.

    >>> x, w = jnp.ones((2, 6, 6, 3)), jnp.ones((3, 3, 3, 4))
    >>> convolve(x, w, interpret=True)[0, 0, 0].tolist()
    [27.0, 27.0, 27.0, 27.0]
    """
    from jax.experimental import pallas as pl  # Slow to import, and seldom needed.
    from jax.experimental.pallas import triton

    height, width = (n + sum(p) for n, p in zip(x.shape[1:3], padding, strict=True))
    window, outputs = (w.shape[0], w.shape[1]), w.shape[-1]
    pixel = x.dtype.itemsize * x.shape[-1]
    (rows, columns), extra, _ = work_size(
        (height, width), window, planes=x.shape[-1], tiles=-(-tiles // x.shape[0]), group=GROUP,
        memory=max(MEMORY, pixel * window[0] * window[1]), item=pixel, padding=15, powers=True,
    )  # fmt: skip
    ends = [(before, after + e) for (before, after), e in zip(padding, extra, strict=True)]
    x = jnp.pad(x, ((0, 0), *ends, (0, 0)))
    height, width = (n - f + 1 for n, f in zip(x.shape[1:3], window, strict=True))

    def kernel(x_ref, w_ref, z_ref):
        top, left = pl.program_id(1) * rows, pl.program_id(2) * columns
        total = jnp.zeros((rows * columns, outputs), jnp.float32)
        for u in range(window[0]):
            for v in range(window[1]):
                pixels = x_ref[0, pl.ds(top + u, rows), pl.ds(left + v, columns), :]
                total += jnp.dot(
                    pixels.reshape(rows * columns, -1), w_ref[u, v],
                    preferred_element_type=jnp.float32, precision=lax.Precision.HIGHEST,
                )  # fmt: skip
        z_ref[0] = total.reshape(rows, columns, outputs).astype(z_ref.dtype)

    z = pl.pallas_call(
        kernel,
        grid=(x.shape[0], height // rows, width // columns),
        in_specs=[
            pl.BlockSpec((1, *x.shape[1:]), lambda n, i, j: (n, 0, 0, 0)),
            pl.BlockSpec(w.shape, lambda n, i, j: (0, 0, 0, 0)),
        ],
        out_specs=pl.BlockSpec((1, rows, columns, outputs), lambda n, i, j: (n, i, j, 0)),
        out_shape=jax.ShapeDtypeStruct((x.shape[0], height, width, outputs), x.dtype),
        interpret=interpret,
        compiler_params=None if interpret else triton.CompilerParams(),
    )(x, w)
    return z[:, : height - extra[0], : width - extra[1]]
