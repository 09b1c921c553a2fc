"""A product to tune: an inner product of squares, told in four ways, one of them wrong."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules.core.product import Product, products


class Toy(NamedTuple):
    product: Product
    rule: jnn.rules.Rule
    ran: list[str]


@pytest.fixture
def toy() -> Iterator[Toy]:
    """`power(x) = scale x^2`, its value and slope computed by products; `ran` tells by which."""
    ran: list[str] = []
    value = Product("toy.value", lambda call: "plain")
    slope = Product("toy.slope", lambda call: "plain")

    @value.implementation("plain")
    def value_plain(x, scale):
        ran.append("value plain")
        return scale * x**2

    @value.implementation("times")
    def value_times(x, scale):
        ran.append("value times")
        return scale * x * x

    @value.implementation("cubed")
    def value_cubed(x, scale):
        return scale * x**3

    @value.implementation("vector", suits=lambda call: len(call.shape(0)) == 1)
    def value_vector(x, scale):
        raise NotImplementedError("no vectors yet")

    @slope.implementation("plain")
    def slope_plain(x, delta, scale):
        ran.append("slope plain")
        return 2 * scale * x * delta

    @slope.implementation("sum")
    def slope_sum(x, delta, scale):
        ran.append("slope sum")
        return scale * (x + x) * delta

    @jnn.rule
    def power(x, *, scale=1.0):
        return scale * x**2

    @power.forward
    def forward(x, *, scale):
        return value(x, setting=scale), x

    @power.backward
    def backward(x, delta, *, scale):
        return (slope(x, delta, setting=scale),)

    yield Toy(value, power, ran)
    del products["toy.value"], products["toy.slope"]


@pytest.fixture
def x() -> jax.Array:
    return jnp.asarray(np.arange(1.0, 7.0).reshape(2, 3), jnp.float32)
