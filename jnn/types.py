"""What passes between the rooms, by name: what an annotation says of a tree, and of settings.

Most are trees of arrays, of which Python can say no more than that; the name says which.

>>> jnn.types.Setting
int | tuple[int, ...]
"""

from typing import Any, TypeAlias

import jax

Params: TypeAlias = Any
"""What is trained: a tree of floating arrays, as `init` draws it."""

Grads: TypeAlias = Any
"""The derivative of a loss in each of the parameters: a tree of their structure."""

Updates: TypeAlias = Any
"""What an optimizer adds to the parameters: a tree of their structure."""

State: TypeAlias = Any
"""What a layer, an optimizer or a solver keeps from call to call: a tree of arrays, often `()`."""

Batch: TypeAlias = Any
"""Samples, or what a network makes of them: arrays of which the first axis counts samples."""

Key: TypeAlias = jax.Array
"""A random key, as `jax.random.key` makes it."""

Shape: TypeAlias = tuple[int, ...]
"""The sizes of an array's axes."""

Setting: TypeAlias = int | tuple[int, ...]
"""A number for each spatial axis, or one for all."""

Padding: TypeAlias = str | int | tuple[int | tuple[int, int], ...]
"""Pixels around an image: a name, one number, one an axis, or a pair (before, after) an axis."""
