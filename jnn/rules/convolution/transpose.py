"""The transposed convolution: the sum of a convolution read backwards."""

import jax
import numpy as np

from jnn import errors
from jnn.rules.convolution.conv import correlation, sum_of_bias, with_bias
from jnn.rules.convolution.geometry import Geometry, per_axis, reach, transposed_size
from jnn.rules.convolution.products import filter_delta, input_delta, rotated, value
from jnn.rules.core.rule import Example, rule
from jnn.types import Padding, Setting


@rule
def conv_transpose(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array | None = None,
    *,
    stride: Setting = 1,
    padding: Padding = "valid",
    dilation: Setting = 1,
    groups: int = 1,
) -> jax.Array:
    """The transpose of `conv`, of the same filter: `y_j[q] = sum_i sum_u x_i[(q - u) / s] w_ij[u]`.

    This is the sum that hands a convolution's delta back to its input (D-45, H-63..75). It turns
    the output's size of that convolution into its input's. Its own derivative is that
    convolution's value, and its filter gradient with the roles of image and delta exchanged:

        dx = conv(delta, w)        dw = sum_p x_i[p] delta_j[s p + u]        db = sum delta

    Saves: x, w. Both are inputs, which the caller keeps alive anyway; nothing is added to them.

    Args:
      x: images, (N, *size, C).
      w: the filters of the convolution whose transpose this is, which leads from O maps to C:
        (*window, O / groups, C).
      b: biases, (O,), or None.
      stride: as that convolution's. It spreads the image by as much.
      padding: as that convolution's: "valid" gives (size - 1) stride + reach pixels, "same"
        stride times the image, and so many pixels of padding so many less.
      dilation: as that convolution's.
      groups: as that convolution's.

    >>> x, w = jnp.ones((8, 7, 7, 32)), jnp.ones((2, 2, 16, 32))
    >>> jnn.rules.conv_transpose(x, w, stride=2).shape
    (8, 14, 14, 16)
    """
    g = _geometry(x, w, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return with_bias(correlation(x, rotated(w, groups), (1,) * g.axes, g.backwards.padding,
                                 lhs_dilation=g.stride, rhs_dilation=g.dilation,
                                 feature_group_count=groups), b)  # fmt: skip


@conv_transpose.forward
def conv_transpose_forward(x, w, b, **settings):
    g = _geometry(x, w, **settings)
    return with_bias(input_delta(x, w, setting=g), b), (x, w, g)


@conv_transpose.backward
def conv_transpose_backward(saved, delta, **settings):
    x, w, g = saved
    return value(delta, w, setting=g), filter_delta(delta, x, setting=g), sum_of_bias(delta)


@conv_transpose.tangent
def conv_transpose_tangent(primals, tangents, **settings):
    (x, w, b), (dx, dw, db) = primals, tangents

    def product(x, w):
        return conv_transpose_forward(x, w, None, **settings)[0]

    return with_bias(product(x, w), b), with_bias(product(dx, w) + product(x, dw), db)


def _geometry(x, w, *, stride, padding, dilation, groups) -> Geometry:
    """That of the convolution whose transpose this is: its image is the result."""
    axes = x.ndim - 2
    window = tuple(w.shape[:axes])
    image, both = transposed_size(x.shape[1:-1], reach(window, dilation), stride, padding)
    return Geometry(image, window, stride, both, dilation, groups)


@conv_transpose.check
def conv_transpose_check(x, w, b, *, stride, padding, dilation, groups):
    errors.floating("conv_transpose", x=x, w=w, **({} if b is None else {"b": b}))
    errors.rank("conv_transpose", "x", x, 3, 4, 5)
    axes, channels = x.ndim - 2, x.shape[-1]
    stride = per_axis("conv_transpose", "stride", stride, axes)
    dilation = per_axis("conv_transpose", "dilation", dilation, axes)
    errors.positive_integer("conv_transpose", "groups", groups)
    errors.rank("conv_transpose", "w", w, axes + 2)
    if channels % groups:
        errors.fail("conv_transpose", "groups", f"a divisor of the {channels} maps", groups)
    errors.shape(
        "conv_transpose", "w", w, (*w.shape[:-1], channels),
        f"Filters are (*window, O / groups, C), and `x` is {errors.describe(x)}.",
    )  # fmt: skip
    if not all(w.shape[:axes]):
        expected = "a filter of at least one entry an axis"
        errors.fail("conv_transpose", "w", expected, errors.describe(w))
    if b is not None:
        errors.shape("conv_transpose", "b", b, (w.shape[-2] * groups,), "One bias a map.")
    span = reach(w.shape[:axes], dilation)
    size, both = transposed_size(x.shape[1:-1], span, stride, padding)
    if min(size) < 1:
        errors.fail("conv_transpose", "padding", "smaller than the image that results", padding)
    padding = padding if padding == "same" else both
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": int(groups)}


@conv_transpose.example
def conv_transpose_example(random: np.random.Generator) -> Example:
    n, height, width, c, o = random.integers(1, 4, 5)
    stride, window = random.integers(1, 4, 2), random.integers(1, 4, 2)
    x, w = random.normal(size=(n, height, width, c)), random.normal(size=(*window, o, c))
    return Example(x, w, random.normal(size=o), stride=tuple(map(int, stride)))


@conv_transpose.example
def conv_transpose_example_groups(random: np.random.Generator) -> Example:
    x, w = random.normal(size=(2, 4, 4)), random.normal(size=(3, 3, 4))
    return Example(x, w, np.ones(6), stride=2, padding="same", dilation=2, groups=2)


@conv_transpose.extreme
def conv_transpose_extreme(random: np.random.Generator) -> Example:
    x = 1e4 * random.normal(size=(2, 3, 3, 2))
    return Example(x, np.zeros((3, 3, 2, 2)), 1e4 * random.normal(size=2), padding=1)
