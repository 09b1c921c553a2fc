"""The documents' rules, at sizes that a GPU meets."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.devices.case import Case, Struct, case
from jnn import rules

TILES, OVERLAPPING = {"window": 2}, {"window": 3, "stride": 2, "padding": "same"}


def cases(dtype: Any, quick: bool = False) -> Iterator[Case]:
    """Pooling, convolutions, activations, losses, radial and dense layers."""
    batch, pixels, maps, wide = (2, 8, 4, 8) if quick else (256, 32, 64, 4096)

    def of(*shape: int) -> Any:
        return Struct(shape, dtype)

    x, w, b = of(batch, pixels, pixels, maps), of(3, 3, maps, maps), of(maps)
    yield case("max_pool 2", rules.max_pool, _max_pool(2), x, **TILES)
    yield case("max_pool 3/2", rules.max_pool, _max_pool(3), x, **OVERLAPPING)
    yield case("mean_pool 2", rules.mean_pool, _mean_pool, x, **TILES)
    yield case("mean_pool 3/2", rules.mean_pool, None, x, **OVERLAPPING)
    yield case("weighted_subsample 2", rules.weighted_subsample, None, x, of(maps, maps), b,
               factor=2)  # fmt: skip
    for name, window, settings in (
        ("3x3", 3, {}),
        ("3x3 /2", 3, {"stride": 2}),
        ("1x1 /2", 1, {"stride": 2}),
        ("3x3 dilation 2", 3, {"dilation": 2}),
    ):
        filters = of(window, window, maps, maps)
        yield case(f"conv {name}", rules.conv, _conv(**settings), x, filters, b, padding="same",
                   **settings)  # fmt: skip
    patch = of(4, 4, maps, maps)
    yield case("conv 4x4 /4", rules.conv, _conv(stride=4, padding="VALID"), x, patch, b, stride=4)
    stem = of(batch // 4 or 1, 7 * pixels + 5, 7 * pixels + 5, 3), of(7, 7, 3, maps), b
    yield case("conv 7x7 /2", rules.conv, _conv(stride=2, padding=((3, 3),) * 2), *stem,
               stride=2, padding=3)  # fmt: skip
    for groups in (4 if maps > 4 else 2, maps):
        filters = of(3, 3, maps // groups, maps)
        yield case(f"conv 3x3 groups {groups}", rules.conv, _conv(groups=groups), x, filters, b,
                   padding="same", groups=groups)  # fmt: skip
    yield case("conv_transpose 2x2 /2", rules.conv_transpose, _transposed, x,
               of(2, 2, maps, maps), b, stride=2)  # fmt: skip
    yield case("rectified_conv", rules.rectified_conv, _rectified, x, w, b, padding="same")
    pooled = lambda *a: _max_pool(2)(_rectified(*a))  # noqa: E731
    yield case("rectified_conv pool 2", rules.rectified_conv, pooled, x, w, b, padding="same",
               pool=2)  # fmt: skip

    rows = of(2 * wide, wide)
    yield case("gelu", rules.gelu, lambda x: jax.nn.gelu(x, approximate=False), rows)
    yield case("silu", rules.silu, jax.nn.silu, rows)
    logits, labels = of(wide, 8 * wide), Struct((wide,), jnp.int32)
    yield case("softmax", rules.softmax, jax.nn.softmax, logits)
    yield case("softmax_cross_entropy", rules.softmax_cross_entropy, _cross_entropy, logits, labels)
    yield case("radial", rules.radial, _radial, of(wide, maps), of(wide // 4, maps), of(wide // 4))
    dense = of(wide, wide // 4), of(wide // 4, wide), of(wide)
    yield case("affine", rules.affine, lambda x, w, b: x @ w + b[None], *dense)


def _max_pool(window: int) -> Any:
    padding = "VALID" if window == 2 else "SAME"

    def pool(x: jax.Array) -> jax.Array:
        lowest = np.array(-np.inf, x.dtype)
        return lax.reduce_window(x, lowest, lax.max, (1, window, window, 1), (1, 2, 2, 1), padding)

    return pool


def _mean_pool(x: jax.Array) -> jax.Array:
    zero = np.zeros((), x.dtype)
    return lax.reduce_window(x, zero, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4


def _conv(stride: int = 1, dilation: int = 1, groups: int = 1, padding: Any = "SAME") -> Any:
    def conv(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        y = lax.conv_general_dilated(
            x, w, (stride,) * 2, padding, rhs_dilation=(dilation,) * 2,
            feature_group_count=groups, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        return y + b[None, None, None]

    return conv


def _rectified(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
    return jax.nn.relu(_conv()(x, w, b))


def _transposed(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_transpose(x, w, (2, 2), "VALID", dimension_numbers=dimensions) + b[None, None]


def _cross_entropy(logits: jax.Array, t: jax.Array) -> jax.Array:
    """As optax has it."""
    at = jnp.take_along_axis(logits, t[:, None], axis=-1)[:, 0]
    return jax.nn.logsumexp(logits, axis=-1) - at


def _radial(x: jax.Array, centres: jax.Array, beta: jax.Array) -> jax.Array:
    return jnp.exp(-beta[None] * jnp.linalg.norm(x[:, None] - centres[None], axis=-1))
