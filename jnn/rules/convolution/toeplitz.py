"""Convolutions as matrices: the dense layer with tied weights that a convolution is.

They are large and mostly zero, for tests and for seeing; `jnn.rules.conv` computes.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.rules.convolution.conv import conv_check, geometry
from jnn.types import Padding, Setting


def toeplitz(w: jax.Array, size: int) -> jax.Array:
    """The Toeplitz matrix of X-135, `T[i, j] = w[i - j]`, of shape (size + m - 1, size).

    `T a` is the full convolution of `a` with `w`, in which the filter is flipped. Xu prints it as
    the operator of X-127, the valid correlation; that one is `convolution_matrix`, transposed.

    >>> jnn.rules.toeplitz(jnp.array([1, 2, 3]), 2)
    Array([[1, 0],
           [2, 1],
           [3, 2],
           [0, 3]], dtype=int32)
    """
    w = jnp.asarray(w)
    errors.rank("toeplitz", "w", w, 1)
    errors.positive_integer("toeplitz", "size", size)
    entry = np.arange(size + w.size - 1)[:, None] - np.arange(size)
    return jnp.take(w, np.where(entry < 0, w.size, entry), mode="fill", fill_value=0)


def convolution_matrix(
    w: jax.Array,
    size: tuple[int, ...],
    *,
    stride: Setting = 1,
    padding: Padding = "valid",
    rest: str = "error",
    dilation: Setting = 1,
    groups: int = 1,
) -> jax.Array:
    """The weights by which a dense layer does what `conv` does: D-36, D-37 and X-135.

    With all axes of a sample in one, in C order (D-41), `affine(x, matrix)` is `conv(x, w)`; and
    the delta times the transposed matrix is the cotangent of the input (X-136). An entry is
    `w[b - j s]` where that lies in the filter, else zero (D-36).

    Args:
      w: filters, (*window, C / groups, O).
      size: the image's pixels on each axis.
      stride: as for `conv`; so are the rest.
      padding: see there.
      rest: see there.
      dilation: see there.
      groups: see there.

    Returns:
      A matrix of shape (pixels C, places O).

    >>> jnn.rules.convolution_matrix(jnp.array([1.0, 2.0]).reshape(2, 1, 1), (3,)).T.tolist()
    [[1.0, 2.0, 0.0], [0.0, 1.0, 2.0]]
    """
    w = jnp.asarray(w)
    *window, inputs, outputs = w.shape
    axes = len(window)
    x: Any = jax.ShapeDtypeStruct((1, *size, inputs * groups), w.dtype)
    settings = conv_check(
        x, w, None, stride=stride, padding=padding, rest=rest, dilation=dilation, groups=groups,
        connections=None,
    )  # fmt: skip
    del settings["connections"]
    g = geometry(x, w, rest=rest, **settings)
    # Whether the u-th entry of the filter, laid on a place, lies on a pixel; an array an axis.
    hits = [
        np.arange(n)[:, None, None] == np.arange(o)[:, None] * s + np.arange(k) * d - before
        for n, o, k, s, d, (before, _) in zip(
            g.image, g.places, g.window, g.stride, g.dilation, g.padding, strict=True
        )
    ]
    member = np.kron(np.eye(groups), np.ones((inputs, outputs // groups)))
    filters = jnp.tile(w, (1,) * axes + (groups, 1)) * jnp.asarray(
        member.reshape((1,) * axes + member.shape), w.dtype
    )
    pixel, place, entry = "abc"[:axes], "ijk"[:axes], "uvw"[:axes]
    terms = [f"{a}{i}{u}" for a, i, u in zip(pixel, place, entry, strict=True)]
    matrix = jnp.einsum(
        f"{','.join(terms)},{entry}yz->{pixel}y{place}z",
        *(jnp.asarray(hit, w.dtype) for hit in hits),
        filters,
    )
    return matrix.reshape(int(np.prod(size)) * inputs * groups, -1)
