"""The normalisation that a network's maker is asked for, by name or as a layer."""

import math

from jnn import errors
from jnn.layers.core.layer import Layer
from jnn.layers.normal import batch_norm, group_norm, layer_norm, rms_norm

Norm = str | Layer | None

GROUPS = 32  # Wu and He 2018.


# Of images, whose maps are many places each, and of rows.
IMAGES, ROWS = ("batch", "group"), ("batch", "layer", "rms")


def norm_layers(
    function: str, norm: Norm, size: int, names: tuple[str, ...] = IMAGES
) -> list[Layer]:
    """The norm of so many maps or features as a row of layers: of one, or of none.

    >>> from jnn.models.norms import norm_layers
    >>> norm_layers("resnet", "group", 16), norm_layers("resnet", None, 16)
    ([group_norm(8)], [])
    """
    if norm is None:
        return []
    if isinstance(norm, Layer):
        return [norm]
    errors.choice(function, "norm", norm, names)
    if norm == "group":  # A group of one map is that map by itself, another norm.
        return [group_norm(1 if size % 2 else math.gcd(GROUPS, size // 2))]
    return [{"batch": batch_norm, "layer": layer_norm, "rms": rms_norm}[norm]()]
