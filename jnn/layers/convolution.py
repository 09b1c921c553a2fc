"""Convolutions as layers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jnn import errors, rules
from jnn.layers.core.initialisers import Initialiser, check_initialisers, glorot_uniform, zeros
from jnn.layers.core.layer import (
    Apply,
    Init,
    check_dtype,
    described,
    fed,
    fed_by,
    layer,
    pure,
)
from jnn.rules.convolution.connections import Connections, canonical
from jnn.rules.convolution.conv import FIT
from jnn.rules.convolution.geometry import RESTS, per_axis
from jnn.rules.core.rule import Rule
from jnn.rules.pointwise.activation import activation as chosen
from jnn.types import Batch, Key, Padding, Setting, Shape

Table = Connections | np.ndarray


class ConvParams(NamedTuple):
    """Filters w, as the rule takes them, and biases b (out,), or None for a layer without."""

    w: jax.Array
    b: jax.Array | None


@layer
@errors.gone(
    pool="Write serial(conv(...), relu(), max_pool(2)), which is one rule all the same.", **FIT
)
def conv(
    n: int,
    size: Setting,
    *,
    stride: Setting = 1,
    padding: Padding = "valid",
    rest: str = "error",
    dilation: Setting = 1,
    groups: int = 1,
    connections: Table | None = None,
    shared: bool = False,
    activation: str | Rule | None = None,
    bias: bool = True,
    weights: Initialiser = glorot_uniform,
    biases: Initialiser = zeros,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """A convolution to `n` maps by filters of so many pixels (D-35..39, H-60..62, X-126..138).

    In as many dimensions as the image has: examples are (N, *size, C). Filters of several sizes
    (Hedberg's Remark 3) are convolutions side by side:

        jnn.parallel(jnn.conv(4, 3, padding="same"), jnn.conv(4, 5, padding="same"),
                     combine="concatenate")

    In `serial(conv(n, size), relu(), max_pool(2))` no image is stored between the three: see
    `jnn.rules.rectified_conv`.

    Args:
      n: the number of output maps.
      size: pixels of a filter along each axis, one number or one an axis.
      stride: pixels from a place to the next, one number or one an axis.
      padding: "valid", "same", or pixels, as `jnn.rules.conv` takes them.
      rest: "error" refuses a filter whose steps do not end at the edge, "drop" leaves out what is
        behind the last. (Pooling drops by default; each has its document's rule.)
      dilation: pixels from an entry of the filter to the next.
      groups: into how many parts, which do not mix, channels are split.
      connections: a table, (input maps, n) booleans; filters are then one a link.
      shared: with a table, one filter an output map, laid on each map that it reads.
      activation: the name of an elementwise rule, or the rule; None for none.
      bias: whether there are biases.
      weights: initialiser of the filters. Where maps read a few others, their fans count those
        alone (with a table, as many as a map reads on average).
      biases: initialiser of the biases.
      dtype: of the parameters, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net = jnn.conv(6, 5)
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 28, 28, 1)))
    >>> jax.tree.map(jnp.shape, params), net(params, jnp.zeros((8, 28, 28, 1))).shape
    (ConvParams(w=(5, 5, 1, 6), b=(6,)), (8, 24, 24, 6))
    """
    errors.positive_integer("conv", "n", n)
    errors.positive_integer("conv", "groups", groups)
    errors.choice("conv", "rest", rest, RESTS)
    check_initialisers("conv", weights=weights, biases=biases)
    check_dtype("conv", dtype)
    step = chosen("conv", "identity" if activation is None else activation)
    if shared and connections is None:
        errors.fail("conv", "connections", "a table where filters are shared", None)
    if connections is not None:
        connections = Connections(connections)
        if connections.table.shape[1] != n:
            errors.fail("conv", "connections", f"a table to {n} maps", repr(connections))

    window: dict[str, Any] = {"stride": stride, "padding": padding, "rest": rest,
                              "dilation": dilation}  # fmt: skip

    def draw(key: Key, window: Shape, maps: int, dtype: Any) -> jax.Array:
        table = canonical("conv", connections, maps)
        if table is None:
            return grouped("conv", key, weights, window, maps, n, groups, dtype)
        if shared:
            return weights(key, (*window, 1, n), dtype)
        read = -(-table.links // n)
        return weights(key, (*window, read, n), dtype).reshape(*window, -1)[..., : table.links]

    def apply(params: ConvParams, x: jax.Array) -> jax.Array:
        expect("conv", params)
        x = fed(x, params.w, dtype)
        if step is rules.relu and connections is None:
            return rules.rectified_conv(x, *params, groups=groups, **window)
        return step(rules.conv(x, *params, groups=groups, connections=connections, **window))

    return convolving("conv", size, draw, biases if bias else None, n, dtype), pure(apply)


@layer
def conv_transpose(
    n: int,
    size: Setting,
    *,
    stride: Setting = 1,
    padding: Padding = "valid",
    dilation: Setting = 1,
    groups: int = 1,
    activation: str | Rule | None = None,
    bias: bool = True,
    weights: Initialiser = glorot_uniform,
    biases: Initialiser = zeros,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """The transpose of a convolution, to `n` maps; with a stride it enlarges the image.

    Settings are those of `conv`; see `jnn.rules.conv_transpose`.

    >>> net = jnn.conv_transpose(6, 2, stride=2)
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 7, 7, 16)))
    >>> params.w.shape, net(params, jnp.zeros((8, 7, 7, 16))).shape
    ((2, 2, 6, 16), (8, 14, 14, 6))
    """
    errors.positive_integer("conv_transpose", "n", n)
    errors.positive_integer("conv_transpose", "groups", groups)
    check_initialisers("conv_transpose", weights=weights, biases=biases)
    check_dtype("conv_transpose", dtype)
    step = chosen("conv_transpose", "identity" if activation is None else activation)

    def draw(key: Key, window: Shape, maps: int, dtype: Any) -> jax.Array:
        return grouped("conv_transpose", key, weights, window, maps, n, groups, dtype, turned=True)

    def apply(params: ConvParams, x: jax.Array) -> jax.Array:
        expect("conv_transpose", params)
        x = fed(x, params.w, dtype)
        return step(rules.conv_transpose(x, *params, stride=stride, padding=padding,
                                         dilation=dilation, groups=groups))  # fmt: skip

    return convolving("conv_transpose", size, draw, biases if bias else None, n, dtype), pure(apply)


def convolving(
    function: str,
    size: Setting,
    draw: Any,
    biases: Initialiser | None,
    n: int | None,
    dtype: DTypeLike | None,
) -> Init:
    """Filters by `draw(key, window, maps, dtype)`, and biases, as many as outputs: n, if given."""

    def init(key: Key, x: Batch) -> tuple[ConvParams, tuple[()]]:
        maps, taken = fed_by(function, x, dtype)
        errors.rank(function, "x", x, 3, 4, 5)
        for_weights, for_biases = jax.random.split(key)
        w = draw(for_weights, per_axis(function, "size", size, len(x.shape) - 2), maps, taken)
        b = None if biases is None else biases(for_biases, (n or w.shape[-1],), taken)
        return ConvParams(w, b), ()

    return init


def grouped(
    function: str,
    key: Key,
    weights: Initialiser,
    window: Shape,
    maps: int,
    n: int,
    groups: int,
    dtype: Any,
    *,
    turned: bool = False,
) -> jax.Array:
    """Filters (*window, maps / groups, n), each group drawn by itself so that its fans are right.

    `turned` ones are (*window, n / groups, maps), those of a transpose.
    """
    if maps % groups or n % groups:
        expected = f"a divisor of the {maps} input and {n} output maps"
        errors.fail(function, "groups", expected, groups)
    shape = (*window, maps // groups, n // groups)
    drawn = [
        weights(k, shape, dtype) for k in (jax.random.split(key, groups) if groups > 1 else [key])
    ]
    return jnp.concatenate([w.swapaxes(-1, -2) if turned else w for w in drawn], axis=-1)


def expect(function: str, params: Any) -> None:
    if not isinstance(params, ConvParams):
        errors.fail(function, "params", "ConvParams", described(params), "Make them by init.")
