"""Normalisation as layers."""

import functools
import math
from collections.abc import Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from jnn import errors, rules
from jnn.arithmetic import as_wide
from jnn.layers.core.initialisers import Initialiser, check_initialisers, constant, zeros
from jnn.layers.core.layer import Apply, Init, check_dtype, described, fed, fed_by, layer, pure
from jnn.layers.core.ragged import ONE
from jnn.rules.normal.statistics import check_norm
from jnn.types import Batch, Key

ones = constant(1.0)


class NormParams(NamedTuple):
    """Scale and shift, a number a channel each; None where there is none.

    >>> params = jnn.layers.NormParams(jnp.full(2, 3.0), None)
    >>> jnn.layer_norm()(params, jnp.array([1.0, -1.0])).round(2).tolist()
    [3.0, -3.0]
    """

    scale: jax.Array | None
    shift: jax.Array | None


class Running(NamedTuple):
    """Running mean and variance of each channel, in float32: the state of `batch_norm`."""

    mean: jax.Array
    variance: jax.Array


@layer
@errors.gone(
    momentum="It is called beta, what is kept: beta=0.9 where PyTorch has momentum=0.1.",
    eps="It is called epsilon.",
)
def batch_norm(
    *,
    beta: float = 0.9,
    epsilon: float = 1e-5,
    scale: Initialiser | None = ones,
    shift: Initialiser | None = zeros,
    axis_name: Hashable | tuple[Hashable, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """Each channel with mean 0 and variance 1 over the batch, scaled and shifted.

    In training by the batch's own mean and variance, and the state follows them,

        state = beta state + (1 - beta) (mean, variance m / (m - 1))

    with m numbers a channel: the running variance is the unbiased one, as PyTorch has it (Flax's is
    not). In evaluation by the state, which stays. The state is float32 whatever the parameters are.

    In `serial(batch_norm(), relu(), conv(n, size))`, in training, only what comes in is stored: see
    `jnn.rules.norm_relu_conv`. So it is in `serial(conv(n, size), batch_norm())` where the
    convolution reads few maps: see `jnn.rules.conv_norm`.

    Args:
      beta: what is kept of the running mean and variance.
      epsilon: added to the variance.
      scale: initialiser of the scale, or None for a layer without.
      shift: initialiser of the shift, or None for a layer without.
      axis_name: under `shard_map`, the mesh axes over which the batch is shared out. On a mesh
        under `jit`, as in `fit`, a batch is one without it.
      dtype: of the parameters, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net, x = jnn.batch_norm(), jnp.array([[1.0], [3.0]])
    >>> params, state = net.init(jax.random.key(0), x)
    >>> y, state = net.apply(params, state, x, train=True)
    >>> y.round(2).tolist(), f"{state.mean[0]:.1f}, {state.variance[0]:.1f}"
    ([[-1.0], [1.0]], '0.2, 1.1')
    """
    errors.number("batch_norm", "beta", beta, low=0, high=1)
    errors.number("batch_norm", "epsilon", epsilon, low=0)
    check_initialisers("batch_norm", **_given(scale, shift))
    check_dtype("batch_norm", dtype)
    draw = _drawn("batch_norm", scale, shift, dtype)

    def init(key: Key, x: Batch) -> tuple[NormParams, Running]:
        channels = x.shape[-1:]
        params, _ = draw(key, x)
        return params, Running(jnp.zeros(channels, jnp.float32), jnp.ones(channels, jnp.float32))

    def apply(
        params: NormParams, state: Running, x: Batch, *, key: Key | None = None, train: bool = False
    ) -> tuple[Batch, Running]:
        del key
        x = normal_input("batch_norm", params, state, x, dtype)
        if not train:
            check_norm("batch_norm", x, *params, epsilon, 2)
            return _by_state(x, params, state, epsilon), state
        y, *found = rules.batch_norm(x, *params, epsilon=epsilon, axis_name=axis_name)
        return y, followed(state, found, x, beta, axis_name)

    return init, apply


def normal_input(function: str, params: Any, state: Any, x: Batch, dtype: Any) -> Batch:
    """The input of a batch normalisation, whose parameters and state are what they should be."""
    _expect(function, params)
    if not isinstance(state, Running):
        expected = "the running mean and variance"
        errors.fail(function, "state", expected, described(state),
                    "Made by init; in evaluation call net(params, x, state).")  # fmt: skip
    return _fed(x, params, dtype)


def followed(state: Running, found: Any, x: Batch, beta: float, axis_name: Any) -> Running:
    """The state after a batch x, of whose channels mean and variance were `found`."""
    names = axis_name if isinstance(axis_name, tuple) else (axis_name,) if axis_name else ()
    count = math.prod(x.shape[:-1]) * math.prod(lax.axis_size(name) for name in names)
    mean, variance = (lax.stop_gradient(a) for a in found)
    new = mean, variance * (count / max(count - 1, 1))
    return Running(*(beta * a + (1 - beta) * b.astype(a.dtype)
                     for a, b in zip(state, new, strict=True)))  # fmt: skip


def _by_state(x: jax.Array, params: NormParams, state: Running, epsilon: float) -> jax.Array:
    """In evaluation, an affine map of each channel."""
    wide = as_wide(x)
    factor = lax.rsqrt(state.variance + epsilon).astype(wide.dtype)
    if params.scale is not None:
        factor = factor * as_wide(params.scale)
    y = wide - jnp.broadcast_to(state.mean.astype(wide.dtype), x.shape)
    y = y * jnp.broadcast_to(factor, x.shape)
    if params.shift is not None:
        y = y + jnp.broadcast_to(as_wide(params.shift), x.shape)
    return y.astype(x.dtype)


@functools.partial(layer, sees=ONE)
@errors.gone(eps="It is called epsilon.")
def layer_norm(
    *,
    epsilon: float = 1e-5,
    scale: Initialiser | None = ones,
    shift: Initialiser | None = zeros,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """Each row, the last axis, with mean 0 and variance 1, scaled and shifted.

    Args:
      epsilon: added to the variance.
      scale: initialiser of the scale, or None for a layer without.
      shift: initialiser of the shift, or None for a layer without.
      dtype: of the parameters, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net = jnn.serial(jnn.dense(16), jnn.layer_norm(), jnn.relu())
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 3)))
    >>> jax.tree.map(jnp.shape, params[1])
    NormParams(scale=(16,), shift=(16,))
    """
    errors.number("layer_norm", "epsilon", epsilon, low=0)
    check_initialisers("layer_norm", **_given(scale, shift))
    check_dtype("layer_norm", dtype)

    def apply(params: NormParams, x: jax.Array) -> jax.Array:
        _expect("layer_norm", params)
        return rules.layer_norm(_fed(x, params, dtype), *params, epsilon=epsilon)

    return _drawn("layer_norm", scale, shift, dtype), pure(apply)


@functools.partial(layer, sees=ONE)
@errors.gone(eps="It is called epsilon.")
def rms_norm(
    *, epsilon: float = 1e-6, scale: Initialiser | None = ones, dtype: DTypeLike | None = None
) -> tuple[Init, Apply]:
    """Each row, the last axis, over its root mean square, scaled.

    Args:
      epsilon: added to the mean square.
      scale: initialiser of the scale, or None for a layer without.
      dtype: of the parameters, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net = jnn.rms_norm()
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 2)))
    >>> params.scale.shape, net(params, jnp.array([[3.0, -3.0]])).round(2).tolist()
    ((2,), [[1.0, -1.0]])
    """
    errors.number("rms_norm", "epsilon", epsilon, low=0)
    check_initialisers("rms_norm", **_given(scale, None))
    check_dtype("rms_norm", dtype)

    def apply(params: NormParams, x: jax.Array) -> jax.Array:
        _expect("rms_norm", params)
        return rules.rms_norm(_fed(x, params, dtype), params.scale, epsilon=epsilon)

    return _drawn("rms_norm", scale, None, dtype), pure(apply)


@layer
@errors.gone(eps="It is called epsilon.", num_groups="It is called groups.")
def group_norm(
    groups: int,
    *,
    epsilon: float = 1e-5,
    scale: Initialiser | None = ones,
    shift: Initialiser | None = zeros,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """Each group of channels of a sample with mean 0 and variance 1, scaled and shifted.

    With as many groups as channels that is instance normalisation.

    Args:
      groups: into how many, all of one size, the channels are split.
      epsilon: added to the variance.
      scale: initialiser of the scale, or None for a layer without.
      shift: initialiser of the shift, or None for a layer without.
      dtype: of the parameters, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net = jnn.serial(jnn.conv(8, 3), jnn.group_norm(4), jnn.relu())
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((2, 9, 9, 3)))
    >>> net(params, jnp.zeros((2, 9, 9, 3))).shape
    (2, 7, 7, 8)
    """
    errors.positive_integer("group_norm", "groups", groups)
    errors.number("group_norm", "epsilon", epsilon, low=0)
    check_initialisers("group_norm", **_given(scale, shift))
    check_dtype("group_norm", dtype)

    def apply(params: NormParams, x: jax.Array) -> jax.Array:
        _expect("group_norm", params)
        return rules.group_norm(_fed(x, params, dtype), *params, groups=groups, epsilon=epsilon)

    return _drawn("group_norm", scale, shift, dtype), pure(apply)


def _given(scale: Initialiser | None, shift: Initialiser | None) -> dict[str, Initialiser]:
    return {n: i for n, i in {"scale": scale, "shift": shift}.items() if i is not None}


def _drawn(function: str, scale: Initialiser | None, shift: Initialiser | None, dtype: Any) -> Init:
    """The `init` of a layer with scale and shift, as far as there are initialisers of them."""

    def init(key: Key, x: Batch) -> tuple[NormParams, tuple[()]]:
        channels, taken = fed_by(function, x, dtype)
        keys = jax.random.split(key)
        return NormParams(*(None if draw is None else draw(k, (channels,), taken)
                            for draw, k in zip((scale, shift), keys, strict=True))), ()  # fmt: skip

    return init


def _fed(x: Batch, params: NormParams, dtype: Any) -> Batch:
    weights = next((a for a in params if a is not None), jnp.zeros((), dtype or jnp.float32))
    return fed(x, weights, dtype)


def _expect(function: str, params: Any) -> None:
    if not isinstance(params, NormParams):
        errors.fail(function, "params", "NormParams", described(params), "Make them by init.")
