"""The network that the command line was asked for, tried on the data."""

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.layers.core.layer import Layer
from jnn.models.named import NETWORKS, OF_IMAGES, Named


def network(named: Named) -> Layer:
    """The network of that name, tried on the shape of a sample.

    >>> network(Named("mlp", (4,), 3, hidden=(8,)))
    serial(dense(8, activation='relu'), dense(3))
    """
    shape = " x ".join(map(str, named.input))
    if named.model in OF_IMAGES and len(named.input) != 3:
        known = ", ".join(name for name in NETWORKS if name not in OF_IMAGES)
        what = "images row by row" if named.model == "recurrent" else "images"
        got = f"{named.model}, which reads {what}"
        remedy = f"Where a row of {shape} numbers is an image, --image HEIGHTxWIDTH says so."
        errors.fail("train", "--model", f"{known} for a table", got, remedy)
    try:
        net = named.build()
        x = jax.ShapeDtypeStruct((1, *named.input), jnp.float32)
        params, _ = jax.eval_shape(net.init, jax.random.key(0), x)
        jax.eval_shape(net, params, x)
    except ValueError as error:
        remedy = "vgg and resnet read images of any size." if named.model in OF_IMAGES else ""
        remedy = "" if named.model == "recurrent" else remedy
        errors.fail("train", "--model", f"one that reads samples of {shape}",
                    f"{named.model}. {error}"[:-1], remedy)  # fmt: skip
    return net
