"""Augmentations of images: pure functions of a key and a batch, for `fit(..., augment=...)`.

Images are (samples, height, width, channels); each sample is changed by its own draw.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.value import constructor

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]


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
