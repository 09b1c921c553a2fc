"""Images made larger, smaller, or laid out anew, as layers."""

import jax

from jnn import errors, rules
from jnn.layers.core.layer import Apply, Init, layer, pure, without_parameters
from jnn.rules.convolution.geometry import image_size, per_axis
from jnn.types import Setting


@layer
def resize(
    size: Setting | None = None,
    *,
    factor: Setting | None = None,
    method: str = "nearest",
    align: str | None = None,
) -> tuple[Init, Apply]:
    """Images of `size` pixels along each axis, or `factor` times as many; see the rule.

    Args:
      size: pixels along each axis, one number or one an axis.
      factor: instead of the size, how many times as many pixels, one number or one an axis.
      method: "nearest" or "linear".
      align: "starts" or "centres" for the nearest, "centres" or "corners" for linear; None for the
        first of both.

    >>> jnn.resize(factor=2)((), jnp.zeros((8, 14, 10, 6))).shape
    (8, 28, 20, 6)
    """
    if (size is None) == (factor is None):
        errors.fail("resize", "size", "given, or `factor`", f"size={size}, factor={factor}")

    def apply(params: tuple[()], x: jax.Array) -> jax.Array:
        del params
        to = size
        if factor is not None:
            image = image_size("resize", x)
            factors = per_axis("resize", "factor", factor, len(image))
            to = tuple(n * f for n, f in zip(image, factors, strict=True))
        return rules.resize(x, size=to, method=method, align=align)

    return without_parameters, pure(apply)


@layer
def pixel_shuffle(factor: Setting) -> tuple[Init, Apply]:
    """Channels become blocks of pixels, `factor` along each axis; see the rule of that name.

    >>> jnn.pixel_shuffle(2)((), jnp.zeros((8, 14, 14, 12))).shape
    (8, 28, 28, 3)
    """
    return without_parameters, pure(lambda params, x: rules.pixel_shuffle(x, factor=factor))


@layer
def pixel_unshuffle(factor: Setting) -> tuple[Init, Apply]:
    """Blocks of pixels become channels; see the rule of that name.

    >>> jnn.pixel_unshuffle(2)((), jnp.zeros((8, 28, 28, 3))).shape
    (8, 14, 14, 12)
    """
    return without_parameters, pure(lambda params, x: rules.pixel_unshuffle(x, factor=factor))
