"""Mean pooling: the mean of each window."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn.arithmetic import as_wide
from jnn.rules.core.rule import Example, rule
from jnn.rules.pooling.windows import Windows, image_example, on
from jnn.types import Padding, Setting
from jnn.xla.platform import is_for


@rule
def mean_pool(
    x: jax.Array,
    *,
    window: Setting,
    stride: Setting | None = None,
    padding: Padding = "valid",
    rest: str = "drop",
    count_padding: bool = False,
) -> jax.Array:
    """The mean of each window, channel by channel, in 1, 2 or 3 dimensions.

    Padding is not counted: at the edge the mean is that of the pixels that are there. With
    `count_padding` it is zeros that count, as PyTorch's `count_include_pad` has it by default. With
    the whole image for a window it is global pooling.

    It is Hedberg's weighted sub-sampling (H-86) with a weight of one over the pixels, so delta
    comes back divided by them, the same to each (H-88..93).

    Saves: nothing.

    Args:
      x: images, (N, *size, C).
      window: pixels along each axis, one number or one an axis.
      stride: from window to window, one number or one an axis; None for the window, which tiles.
      padding: "valid" for none, "same" for as many windows as pixels over the stride, rounded up,
        or pixels: one number, one an axis, or a pair (before, after) an axis.
      rest: of pixels behind the last whole window: "drop" leaves them out, which is Hedberg's
        floor, "error" refuses them. (A convolution refuses by default: Delmas' rule, D-35.)
      count_padding: whether the pixels of the padding count, as zeros.

    >>> x = jnp.arange(4.0).reshape(1, 2, 2, 1)
    >>> jnn.rules.mean_pool(x, window=2).ravel().tolist()
    [1.5]
    >>> jax.grad(lambda x: jnn.rules.mean_pool(x, window=2).sum())(x).ravel().tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    seen = on("mean_pool", x, window, stride, padding, rest)
    return _over_counts(_reduced(seen, as_wide(x)), seen, count_padding).astype(x.dtype)


@mean_pool.forward
def mean_pool_forward(x, *, window, stride, padding, rest, count_padding):
    seen = on("mean_pool", x, window, stride, padding, rest)
    return _over_counts(sums_of_windows(as_wide(x), seen), seen, count_padding).astype(
        x.dtype
    ), seen


@mean_pool.backward
def mean_pool_backward(seen, delta, *, window, stride, padding, rest, count_padding):
    share = _over_counts(as_wide(delta), seen, count_padding)
    return (spread(share, seen).astype(delta.dtype),)


@mean_pool.tangent
def mean_pool_tangent(primals, tangents, **settings):
    y, _ = mean_pool_forward(*primals, **settings)
    dy, _ = mean_pool_forward(*tangents, **settings)
    return y, dy


@mean_pool.check
def mean_pool_check(x, *, window, stride, padding, rest, count_padding):
    seen = on("mean_pool", x, window, stride, padding, rest)
    # What depends on the image is settled here; from here on `rest` has done its part.
    return {"window": seen.window, "stride": seen.stride, "padding": seen.padding, "rest": "drop"}


def sums_of_windows(x: jax.Array, seen: Windows) -> jax.Array:
    """The sum of each window."""
    return seen.sums(x) if is_for("cpu") else _reduced(seen, x)


def spread(delta: jax.Array, seen: Windows) -> jax.Array:
    """To each pixel the sum of what the windows that see it hold: the transpose of their sums."""
    if not is_for("cpu"):
        return _reduced_back(delta, seen)

    def term(place, delta):
        return jnp.where(seen.inside(place), delta, jnp.zeros_like(delta))

    return seen.back(term, delta)


def _reduced(seen: Windows, x: jax.Array) -> jax.Array:
    """The sum of each window, in one operation, which a GPU and a TPU have a kernel for."""
    around = ((0, 0), *seen.padding, (0, 0))
    return lax.reduce_window(x, 0.0, lax.add, (1, *seen.window, 1), (1, *seen.stride, 1), around)


def _reduced_back(delta: jax.Array, seen: Windows) -> jax.Array:
    """The transpose of that: sums of windows over deltas that lie a stride apart."""
    apart = [(0, 0, 0)]
    for n, w, s, o, (before, _) in zip(
        seen.image, seen.window, seen.stride, seen.places, seen.padding, strict=True
    ):
        first = w - 1 - before
        apart.append((first, n + w - 1 - first - (s * (o - 1) + 1), s - 1))
    delta = lax.pad(delta, jnp.zeros((), delta.dtype), [*apart, (0, 0, 0)])
    ones = (1,) * delta.ndim
    return lax.reduce_window(delta, 0.0, lax.add, (1, *seen.window, 1), ones, "VALID")


def _over_counts(x: jax.Array, seen: Windows, count_padding: bool) -> jax.Array:
    counts = np.array(math.prod(seen.window)) if count_padding else seen.counts
    if (counts == counts.flat[0]).all():
        return x / x.dtype.type(counts.flat[0])
    return x / jnp.broadcast_to(jnp.asarray(counts, x.dtype)[None], x.shape)


for _settings in (
    {"size": (5, 4), "channels": 4, "window": 2},  # A row remains.
    {"size": (5, 6), "channels": 1, "window": 3, "stride": 2, "padding": "same"},
    {"size": (6,), "channels": 2, "window": 6},  # Global.
    {"size": (3, 4, 2), "channels": 1, "window": 2, "stride": 1},
    {"size": (5, 4), "channels": 1, "window": 3, "padding": 1, "count_padding": True},
):
    mean_pool.example(image_example(**_settings))


@mean_pool.extreme
def mean_pool_extreme(random: np.random.Generator) -> Example:
    return Example(1e4 * random.normal(size=(2, 4, 4, 1)), window=2)
