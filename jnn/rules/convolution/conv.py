"""Convolution as networks mean it, a cross-correlation: the filter is not flipped.

The documents index channels first, filters by (output, input). Here images are (N, *size, C) and
filters (*window, C, O): HWIO. A convolution has three products: its value and the cotangents of its
input and of its filter; `products` says how each is computed.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.convolution import linked
from jnn.rules.convolution.connections import Connections, canonical
from jnn.rules.convolution.geometry import Geometry, fitted, per_axis, reach
from jnn.rules.convolution.products import filter_delta, filters, images, input_delta, value
from jnn.rules.core.rule import Example, rule
from jnn.types import Padding, Setting
from jnn.xla.order import late

# What a setting was called before.
FIT = {"fit": 'It is called rest: "error" where it was "exact", "drop" where it was "floor".'}


@rule
@errors.gone(**FIT)
def conv(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array | None = None,
    *,
    stride: Setting = 1,
    padding: Padding = "valid",
    rest: str = "error",
    dilation: Setting = 1,
    groups: int = 1,
    connections: Connections | np.ndarray | None = None,
) -> jax.Array:
    """A filter laid on each place of an image: `z_i[p] = sum_j sum_u x_j[s p + u] w_ij[u] + b_i`.

    D-35..39, H-60..62 and X-126..138, in one, two or three dimensions; X-143 with several images.
    The stride s skips places, which is the convolution sub-sampled, and only what is kept is
    computed (Remarks 4, 5). Its derivative (D-43..47, H-63..79, X-144..146) has three parts:

        dx_j[q]  = sum_i sum_u delta_i[(q - u) / s] w_ij[u], of whole quotients
        dw_ij[u] = sum_p delta_i[p] x_j[s p + u]
        db_i     = sum_p delta_i[p]

    Without stride, dx is delta, padded by M - 1 for a filter of width M, correlated with the filter
    rotated by 180 degrees (H-72; the document prints one index for both grids, and pads by M).

    With a connection table, map i reads only the maps D_i (H-61, Remark 2) and cost shrinks with
    the table, if it is large: in blocks where maps read much alike, link by link where fewer than
    about one in thirty is there; small ones, as LeNet-5's, are computed whole. Filters are one a
    link, or one a map, laid on each map that it reads: the gradient of the latter sums over D_i
    (H-80, which prints C_i).

    Saves: x, w. Both are inputs, which the caller keeps alive anyway; nothing is added to them.

    Args:
      x: images, (N, *size, C).
      w: filters, (*window, C / groups, O). With `connections`, one a link, (*window, links), in
        the order of the table's links; or one a map, (*window, 1, O).
      b: biases, (O,), or None.
      stride: pixels from a place to the next, one number or one an axis.
      padding: "valid" for none, "same" for as many outputs as inputs (over the stride, rounded up),
        or pixels of zeros: one number, one an axis, or a pair (before, after) an axis.
      rest: of pixels behind the last place: "error" refuses a filter whose steps do not end at the
        edge, which is Delmas' rule (D-35), "drop" leaves them out. (Pooling drops by default, which
        is Hedberg's.)
      dilation: pixels from an entry of the filter to the next.
      groups: into how many parts, which do not mix, channels are split; as many as channels makes
        the convolution depthwise.
      connections: a table of boolean constants, (input maps, output maps).

    >>> x, w = jnp.ones((8, 28, 28, 1)), jnp.ones((5, 5, 1, 6))
    >>> jnn.rules.conv(x, w).shape, jnn.rules.conv(x, w, padding="same").shape
    ((8, 24, 24, 6), (8, 28, 28, 6))
    >>> jnn.rules.conv(x, w, stride=2)
    Traceback (most recent call last):
    ...
    ValueError: conv: `stride` must be a divisor of the 23 pixels ...
    """
    if connections is not None:
        w = linked.filters_of_all(w, Connections(connections), x.ndim - 2)
    return with_bias(correlation(x, w, stride, padding, rhs_dilation=dilation,
                                 feature_group_count=groups), b)  # fmt: skip


def correlation(
    x: jax.Array, w: jax.Array, stride: Any, padding: Any, **settings: Any
) -> jax.Array:
    """JAX's convolution of images with filters; half precisions are summed in float32."""
    axes = x.ndim - 2
    layout = lax.ConvDimensionNumbers(images(axes), filters(axes), images(axes))
    return lax.conv_general_dilated(
        as_wide(x), as_wide(w), stride, padding, dimension_numbers=layout, **settings
    ).astype(x.dtype)


def geometry(x: jax.Array, w: jax.Array, *, rest: str, **settings: Any) -> Geometry:
    """Where the filters of `w` lie on `x`, by settings that `conv_check` has seen."""
    del rest  # Done with: the padding is one that fits.
    return Geometry(tuple(x.shape[1:-1]), tuple(w.shape[: x.ndim - 2]), **settings)


@conv.forward
def conv_forward(x, w, b, *, connections, **settings):
    g = geometry(x, w, **settings)
    z = value(x, w, setting=g) if connections is None else linked.value(x, w, connections, g)
    return with_bias(z, b), (x, w, g)


@conv.backward
def conv_backward(saved, delta, *, connections, **settings):
    x, w, g = saved
    w = late(delta, w)  # Else rotated when the program begins.
    db = sum_of_bias(delta)  # D-46, H-81: db_i = sum_p delta_i[p]
    if connections is None:
        dx = input_delta(delta, w, setting=g)  # H-72, D-45
        dw = filter_delta(x, delta, setting=g)  # H-78, D-47
    else:
        dx = linked.input_delta(delta, w, connections, g)  # H-72, over C_j
        dw = linked.filter_delta(x, delta, w.shape, connections, g)  # H-78, H-80
    return dx, dw, db


@conv.tangent
def conv_tangent(primals, tangents, **settings):
    (x, w, b), (dx, dw, db) = primals, tangents

    def product(x, w):
        return conv_forward(x, w, None, **settings)[0]

    return with_bias(product(x, w), b), with_bias(product(dx, w) + product(x, dw), db)


def with_bias(z: jax.Array, b: jax.Array | None) -> jax.Array:
    """A number added to each map."""
    return z if b is None else z + jnp.broadcast_to(b, z.shape)


def sum_of_bias(delta: jax.Array) -> jax.Array:
    """The sum of each map, over places and samples."""
    return delta.sum(range(delta.ndim - 1))


@conv.check
def conv_check(x, w, b, *, stride, padding, rest, dilation, groups, connections):
    errors.floating("conv", x=x, w=w, **({} if b is None else {"b": b}))
    errors.rank("conv", "x", x, 3, 4, 5)
    axes, channels = x.ndim - 2, x.shape[-1]
    stride = per_axis("conv", "stride", stride, axes)
    dilation = per_axis("conv", "dilation", dilation, axes)
    errors.positive_integer("conv", "groups", groups)
    connections = canonical("conv", connections, channels)
    if connections is None:
        if w.ndim != x.ndim:
            expected = f"an array of rank {x.ndim}, (*window, C / groups, O)"
            remedy = f"`x` is {errors.describe(x)}: (N, *size, C)."
            errors.fail("conv", "w", expected, errors.describe(w), remedy)
        outputs = w.shape[-1]
        if channels % groups or outputs % groups:
            errors.fail("conv", "groups", f"a divisor of the {channels} input and {outputs} output "
                        "maps", groups)  # fmt: skip
        expected = (*w.shape[:axes], channels // groups, outputs)
        remedy = f"Filters are (*window, C / groups, O), and `x` is {errors.describe(x)}."
    else:
        if groups != 1:
            errors.fail("conv", "groups", "1 where a connection table is given", groups)
        outputs = connections.table.shape[1]
        links, maps = (connections.links,), (1, outputs)
        errors.rank("conv", "w", w, axes + 1, axes + 2)
        expected = (*w.shape[:axes], *(links if w.ndim == axes + 1 else maps))
        remedy = "Filters are one a link, (*window, links), or one a map, (*window, 1, O)."
    errors.shape("conv", "w", w, expected, remedy)
    if not all(w.shape[:axes]):
        errors.fail("conv", "w", "a filter of at least one entry an axis", errors.describe(w))
    if b is not None:
        errors.shape("conv", "b", b, (outputs,), "One bias a map.")
    span = reach(w.shape[:axes], dilation)
    padding = fitted("conv", padding, rest, x.shape[1:-1], span, stride)
    # What depends on the image is settled here; from here on `rest` has done its part.
    return {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": int(groups),
        "connections": connections,
    }  # fmt: skip


@conv.example
def conv_example(random: np.random.Generator) -> Example:
    """An image, a stride and an explicit padding that just fit."""
    kernel, steps = random.integers(1, 4, 2), random.integers(1, 4, 2)
    stride = random.integers(1, 3, 2)
    before, after = random.integers(0, 2, (2, 2))
    size = np.maximum((steps - 1) * stride + kernel - before - after, 1)
    after = after + (-(size + before + after - kernel)) % stride
    after = after + np.maximum(kernel - size - before - after, 0)
    n, c, o = random.integers(1, 4, 3)
    return Example(
        random.normal(size=(n, *size, c)), random.normal(size=(*kernel, c, o)),
        random.normal(size=o), stride=tuple(map(int, stride)),
        padding=tuple((int(p), int(q)) for p, q in zip(before, after, strict=True)),
    )  # fmt: skip


@conv.example
def conv_example_groups(random: np.random.Generator) -> Example:
    x, w = random.normal(size=(2, 7, 4)), random.normal(size=(3, 2, 6))
    return Example(x, w, stride=3, rest="drop", groups=2, padding="valid")


@conv.example
def conv_example_links(random: np.random.Generator) -> Example:
    x, b = random.normal(size=(2, 4, 3, 3)), random.normal(size=4)
    table = Connections.of([[0], [0, 1], [2, 0], [1, 0]], 3)
    return Example(x, random.normal(size=(2, 2, 7)), b, padding="same", connections=table)


@conv.example
def conv_example_maps(random: np.random.Generator) -> Example:
    table = Connections.of([[0, 2], [1]], 3)
    x, w = random.normal(size=(1, 6, 3)), random.normal(size=(2, 1, 2))
    return Example(x, w, random.normal(size=2), dilation=2, connections=table)


@conv.extreme
def conv_extreme(random: np.random.Generator) -> Example:
    x = 1e4 * random.normal(size=(2, 4, 4, 2))
    return Example(x, np.zeros((3, 3, 2, 2)), 1e4 * random.normal(size=2), padding=1)
