"""Augmentations of images: pure functions of a key and a batch, for `fit(..., augment=...)`.

Images are (samples, height, width, channels); each sample is changed by its own draw. One that is
a function of a key, inputs and targets returns both.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.value import constructor

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]
Mixing = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def augmented(augment: Any, key: jax.Array, x: Any, t: Any) -> tuple[Any, Any]:
    """Inputs and targets after an augmentation, or after several in turn."""
    if not isinstance(augment, tuple):
        if _takes_targets(augment):
            return augment(key, x, t)
        return augment(key, x), t
    for i, one in enumerate(augment):
        x, t = augmented(one, jax.random.fold_in(key, i), x, t)
    return x, t


def _takes_targets(augment: Any) -> bool:
    try:
        parameters = inspect.signature(augment).parameters.values()
    except ValueError:
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters) > 2


@constructor
def shift(pixels: int) -> Augmentation:
    """Moves images by up to that many whole pixels each way; what comes in at the edge is 0.

    >>> x = jnp.ones((5, 8, 8, 1))
    >>> y = jnn.train.shift(2)(jax.random.key(0), x)
    >>> y.shape, bool((y.sum((1, 2, 3)) >= 36).all())
    ((5, 8, 8, 1), True)
    """
    errors.positive_integer("shift", "pixels", pixels)

    def augment(key: jax.Array, x: jax.Array) -> jax.Array:
        errors.rank("shift", "x", x, 4)
        _, height, width, channels = x.shape
        padded = jnp.pad(x, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))
        starts = jax.random.randint(key, (len(x), 2), 0, 2 * pixels + 1)

        def window(image: jax.Array, start: jax.Array) -> jax.Array:
            corner = (start[0], start[1], jnp.zeros_like(start[0]))
            return jax.lax.dynamic_slice(image, corner, (height, width, channels))

        return jax.vmap(window)(padded, starts)

    return augment


@constructor
def flip(axis: int = 2) -> Augmentation:
    """Mirrors each image with probability one half: left and right, or axis 1 for up and down.

    >>> x = jnp.arange(4.0).reshape(1, 1, 4, 1)
    >>> keys = [jax.random.key(i) for i in range(8)]
    >>> sorted({jnn.train.flip()(key, x)[0, 0, 0, 0].item() for key in keys})
    [0.0, 3.0]
    """
    errors.choice("flip", "axis", axis, (1, 2))

    def augment(key: jax.Array, x: jax.Array) -> jax.Array:
        errors.rank("flip", "x", x, 4)
        turned = jax.random.bernoulli(key, 0.5, (len(x), 1, 1, 1))
        return jnp.where(jnp.broadcast_to(turned, x.shape), jnp.flip(x, axis), x)

    return augment


@constructor
def rotate(degrees: float) -> Augmentation:
    """Turns images about their centre by up to that many degrees, linearly interpolated.

    >>> x = jnp.zeros((1, 5, 5, 1)).at[0, 2, 2, 0].set(1.0)
    >>> y = jnn.train.rotate(30.0)(jax.random.key(0), x)
    >>> bool(jnp.isclose(y[0, 2, 2, 0], 1.0))  # The centre stays.
    True
    """
    errors.number("rotate", "degrees", degrees, low=0, high=180)

    def augment(key: jax.Array, x: jax.Array) -> jax.Array:
        errors.rank("rotate", "x", x, 4)
        errors.floating("rotate", x=x)
        n, height, width, _ = x.shape
        limit = jnp.deg2rad(jnp.float32(degrees))
        angles = jax.random.uniform(key, (n,), jnp.float32, -limit, limit)
        middle = jnp.array([(height - 1) / 2, (width - 1) / 2], jnp.float32)
        rows, columns = jnp.meshgrid(
            jnp.arange(height, dtype=jnp.float32) - middle[0],
            jnp.arange(width, dtype=jnp.float32) - middle[1], indexing="ij",
        )  # fmt: skip

        def turn(image: jax.Array, angle: jax.Array) -> jax.Array:
            cos, sin = jnp.cos(angle), jnp.sin(angle)
            # Each pixel takes what lies at its place turned back.
            there = [middle[0] + cos * rows - sin * columns, middle[1] + sin * rows + cos * columns]

            def channel(plane: jax.Array) -> jax.Array:
                return jax.scipy.ndimage.map_coordinates(plane, there, order=1)

            return jax.vmap(channel, 2, 2)(image)

        return jax.vmap(turn)(x.astype(jnp.float32), angles).astype(x.dtype)

    return augment


@constructor
def crop(least: float = 0.5) -> Augmentation:
    """A random window of each image, enlarged to the whole, linearly interpolated.

    >>> x = jnp.broadcast_to(jnp.arange(8.0)[:, None, None], (2, 8, 8, 1))
    >>> y = jnn.train.crop(0.5)(jax.random.key(0), x)
    >>> y.shape, bool((y.max((1, 2, 3)) - y.min((1, 2, 3)) < 7).all())  # Less is to be seen.
    ((2, 8, 8, 1), True)

    Args:
      least: the share of a side that the smallest window has; it is drawn between that and 1.
    """
    errors.number("crop", "least", least, low=1e-3, high=1)

    def augment(key: jax.Array, x: jax.Array) -> jax.Array:
        errors.rank("crop", "x", x, 4)
        errors.floating("crop", x=x)
        n, *sides, _ = x.shape
        draws = jax.random.uniform(key, (n, 3), jnp.float32)
        share = least + (1 - least) * draws[:, 0]

        def weights(share: jax.Array, place: jax.Array, size: int) -> jax.Array:
            """How much of each old pixel is in each new one, (new, old): a hat around each."""
            places = jnp.arange(size, dtype=jnp.float32)
            at = (places + 0.5) * share + place * (1 - share) * size - 0.5
            apart = jnp.clip(at, 0, size - 1)[:, None] - places[None]
            return jnp.maximum(0, 1 - jnp.abs(apart))

        rows, columns = (
            jax.vmap(functools.partial(weights, size=size))(share, draws[:, 1 + i])
            for i, size in enumerate(sides)
        )
        wide = jnp.einsum("nah,nhwc->nawc", rows, x.astype(jnp.float32))
        return jnp.einsum("nbw,nawc->nabc", columns, wide).astype(x.dtype)

    return augment


@constructor
def cutout(size: int) -> Augmentation:
    """Covers a square of so many pixels with zeros, about a random pixel of each image.

    >>> y = jnn.train.cutout(3)(jax.random.key(0), jnp.ones((5, 8, 8, 1)))
    >>> bool((y.sum((1, 2, 3)) >= 64 - 9).all()), bool((y.sum((1, 2, 3)) <= 64 - 4).all())
    (True, True)

    Args:
      size: of a side; what of it lies outside the image covers nothing.
    """
    errors.positive_integer("cutout", "size", size)

    def augment(key: jax.Array, x: jax.Array) -> jax.Array:
        errors.rank("cutout", "x", x, 4)
        n, height, width, _ = x.shape
        rows, columns = jax.random.split(key)

        def inside(key: jax.Array, length: int) -> jax.Array:
            begin = jax.random.randint(key, (n, 1), 0, length) - size // 2
            places = jnp.arange(length)[None]
            return (places >= begin) & (places < begin + size)

        covered = inside(rows, height)[:, :, None] & inside(columns, width)[:, None, :]
        return jnp.where(jnp.broadcast_to(covered[..., None], x.shape), jnp.zeros_like(x), x)

    return augment


@constructor
def colour(shift: float = 0.1, scale: float = 0.1) -> Augmentation:
    """Shifts and stretches each channel of each image: `x (1 + s) + d`, one s and d a channel.

    >>> y = jnn.train.colour(0.5, 0.0)(jax.random.key(0), jnp.zeros((4, 2, 2, 3)))
    >>> bool((jnp.abs(y) <= 0.5).all()), bool((y == y[:, :1, :1]).all()), bool((y != 0).all())
    (True, True, True)

    Args:
      shift: the largest |d|.
      scale: the largest |s|.
    """
    errors.number("colour", "shift", shift, low=0)
    errors.number("colour", "scale", scale, low=0, high=1)

    def augment(key: jax.Array, x: jax.Array) -> jax.Array:
        errors.rank("colour", "x", x, 4)
        errors.floating("colour", x=x)
        draws = jax.random.uniform(key, (2, len(x), 1, 1, x.shape[-1]), x.dtype, -1, 1)
        s, d = (jnp.broadcast_to(draw, x.shape) for draw in draws)
        return x + jnp.asarray(scale, x.dtype) * s * x + jnp.asarray(shift, x.dtype) * d

    return augment


@constructor
def mixup(classes: int | None = None, *, alpha: float = 0.2) -> Mixing:
    """Mixes each sample with another of its batch, and their targets alike (Zhang et al., 2018).

    `a x_i + (1 - a) x_j`, and the same of the targets, with a drawn for each sample from the beta
    distribution (alpha, alpha). Class indices become soft targets, which `softmax_cross_entropy`
    and the accuracy take. It has no weights to mix: a sample's weight stays as it was.

    >>> x, t = jnp.eye(2), jnp.array([0, 1])
    >>> x, t = jnn.train.mixup(2)(jax.random.key(0), x, t)
    >>> bool(jnp.allclose(t.sum(-1), 1)), bool(jnp.allclose(x, t))
    (True, True)

    Args:
      classes: how many there are, where targets are class indices.
      alpha: the smaller, the less is mixed.
    """
    if classes is not None:
        errors.positive_integer("mixup", "classes", classes)
    errors.number("mixup", "alpha", alpha, low=1e-3)

    def augment(key: jax.Array, x: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        errors.floating("mixup", x=x)
        if jnp.issubdtype(t.dtype, jnp.integer):
            if classes is None:
                remedy = "Targets are class indices: say how many classes there are."
                errors.fail("mixup", "classes", "a positive integer", None, remedy)
            t = jax.nn.one_hot(t, classes, dtype=x.dtype)
        order, draw = jax.random.split(key)
        other = jax.random.permutation(order, len(x))
        a = jax.random.beta(draw, alpha, alpha, (len(x),), jnp.float32)

        def mix(y: jax.Array) -> jax.Array:
            each = jnp.broadcast_to(a.reshape(-1, *[1] * (y.ndim - 1)), y.shape).astype(y.dtype)
            return each * y + (1 - each) * y[other]

        return mix(x), mix(t)

    return augment
