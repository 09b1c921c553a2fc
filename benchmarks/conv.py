"""Every implementation of a convolution's products, against autodiff, over shapes of networks.

    python -m benchmarks.conv [GROUP ...] [--quick] [--seconds S] [--cpu-time] [--out FILE]

The defaults on a CPU, in jnn/rules/convolution/defaults.py, are taken from this table.
"""

import functools
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax

from benchmarks.report import agree, command, destination, markdown, options, publish
from jnn.measure import Clock, Program, Race, program, race
from jnn.rules import conv_transpose
from jnn.rules.convolution.geometry import Geometry, pairs
from jnn.rules.core.product import Call, products
from jnn.xla.platform import platforms


class Shape(NamedTuple):
    """A convolution: N x size x C by window to O maps."""

    batch: int
    size: int
    maps: tuple[int, int]
    window: int
    padding: Any = "same"
    stride: int = 1
    groups: int = 1
    transposed: bool = False  # Whether a transposed convolution is meant, which leads back.

    def __str__(self) -> str:
        extra = f" stride {self.stride}" * (self.stride > 1) + f" {self.padding}"
        kind = f" in {self.groups} groups" * (self.groups > 1)
        kind += " transposed" * self.transposed
        return (f"{self.batch}x{self.size}x{self.size}x{self.maps[0]} by {self.window}x"
                f"{self.window} to {self.maps[1]}{kind}{extra}")  # fmt: skip

    @property
    def geometry(self) -> Geometry:
        """That of the products."""
        image, window, stride = ((n,) * 2 for n in (self.size, self.window, self.stride))
        padding = pairs("conv", self.padding, image, window, stride)
        return Geometry(image, window, stride, padding, (1, 1), self.groups)

    def call(self, name: str) -> Call:
        """The call of that product."""
        g = self.geometry
        x = (self.batch, *g.image, self.maps[0])
        w = (*g.window, self.maps[0] // self.groups, self.maps[1])
        delta = (self.batch, *g.places, self.maps[1])
        shapes = {"conv.value": (x, w), "conv.input": (delta, w), "conv.filter": (x, delta)}[name]
        return Call(name, tuple((s, "float32") for s in shapes), g, platforms()[0])


GROUPS = {
    "lenet": (Shape(64, 28, (1, 32), 5, "valid"), Shape(64, 12, (32, 64), 5, "valid"),
              Shape(64, 28, (1, 32), 5), Shape(64, 14, (32, 64), 5)),
    "vgg": (Shape(64, 32, (3, 32), 3), Shape(64, 32, (32, 32), 3), Shape(64, 16, (32, 64), 3)),
    "vgg2": (Shape(64, 16, (64, 64), 3), Shape(64, 8, (64, 128), 3), Shape(64, 8, (128, 128), 3)),
    "resnet": (Shape(64, 32, (3, 16), 3), Shape(64, 32, (16, 16), 3), Shape(64, 16, (32, 32), 3),
               Shape(64, 8, (64, 64), 3)),
    "resnet2": (Shape(64, 32, (16, 32), 3, 1, stride=2), Shape(64, 16, (32, 64), 3, 1, stride=2),
                Shape(64, 32, (16, 32), 1, "valid", stride=2),
                Shape(64, 16, (32, 64), 1, "valid", stride=2)),
    "strided": (Shape(32, 32, (32, 64), 3, stride=2), Shape(32, 32, (32, 64), 1, stride=2),
                Shape(32, 32, (16, 32), 4, "valid", stride=2)),
    "groups": (Shape(32, 16, (64, 64), 3, groups=2), Shape(32, 16, (64, 64), 3, groups=8)),
    "transposed": (Shape(64, 33, (16, 32), 3, "valid", stride=2, transposed=True),
                   Shape(32, 32, (32, 64), 4, stride=2, transposed=True),
                   Shape(32, 16, (64, 64), 3, transposed=True)),
    "depthwise": (Shape(64, 32, (32, 32), 3, groups=32), Shape(32, 16, (128, 128), 5, groups=128)),
    "large": (Shape(16, 32, (16, 16), 9), Shape(4, 64, (8, 8), 15)),
}  # fmt: skip
NAMES = ("conv.value", "conv.input", "conv.filter")


class Row(NamedTuple):
    """One product of one shape."""

    shape: Shape
    name: str
    programs: dict[str, Program]
    times: Race
    default: str

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        seconds = {n: self.times.seconds(n) for n in self.programs}
        ours = sorted((n for n in seconds if n != "autodiff"), key=seconds.__getitem__)
        return (
            str(self.shape),
            self.name.removeprefix("conv."),
            f"{1e3 * seconds['autodiff']:.2f}",
            f"{self.default} {1e3 * seconds[self.default]:.2f}",
            f"{self.times.ratio('autodiff', self.default):.1f}",
            f"{(self.programs[self.default].temporaries or 0) / 2**20:.1f}",
            ", ".join(f"{n} {1e3 * seconds[n]:.2f}" for n in ours),
        )


HEAD = ("convolution", "product", "autodiff, ms", "default, ms", "times faster",
        "temporaries, MiB", "all, ms")  # fmt: skip


def autodiff(shape: Shape, name: str) -> Any:
    """What JAX makes of the same product."""
    g = shape.geometry
    settings: dict[str, Any] = {"stride": g.stride, "padding": g.padding,
                                "dilation": g.dilation, "groups": g.groups}  # fmt: skip
    image, kernel = (np.zeros(s, np.float32) for s, _ in shape.call("conv.value").arrays)
    if shape.transposed:  # Its value is "conv.input", its images are the other's deltas.

        def back(delta: Any, w: Any) -> Any:
            return conv_transpose.parts.definition(delta, w, **settings)

        delta = np.zeros(shape.call("conv.input").arrays[0][0], np.float32)
        return {
            "conv.input": back,
            "conv.value": lambda x, w: jax.vjp(lambda d: back(d, w), delta)[1](x)[0],
            "conv.filter": lambda x, d: jax.vjp(lambda w: back(d, w), kernel)[1](x)[0],
        }[name]

    def value(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x, w, settings["stride"], settings["padding"],
            dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=shape.groups,
        )  # fmt: skip

    if name == "conv.value":
        return value
    if name == "conv.input":
        return lambda delta, w: jax.vjp(lambda x: value(x, w), image)[1](delta)[0]
    return lambda x, delta: jax.vjp(lambda w: value(x, w), kernel)[1](delta)[0]


def measure(shape: Shape, name: str, seconds: float, clock: Clock) -> Row:
    """Races autodiff and all implementations, once they agree."""
    product, call = products[name], shape.call(name)
    random = np.random.default_rng(0)
    args = [random.standard_normal(s, np.float32) for s, _ in call.arrays]
    programs = {"autodiff": program(autodiff(shape, name), *args)}
    for candidate in product.candidates(call):
        programs[candidate] = program(
            functools.partial(product.compute, candidate, setting=call.setting), *args
        )
    agree(f"{name} of {shape}", programs)
    times = race(programs, budget=seconds, clock=clock)
    return Row(shape, name, programs, times, product.default(call))


NOTES = """\
Float32, compiled, medians of interleaved rounds. Autodiff is `jax.vjp` of XLA's convolution. The
input's delta of a strided convolution is the value of a transposed one, and its filter gradient
the transposed one's too: rows called so have autodiff's of the transposed one beside them."""


def rows(names: Sequence[str], chosen: Any) -> Iterator[Row]:
    """Each product of each shape."""
    for group in names:
        for shape in GROUPS[group][: 1 if chosen.quick else None]:
            small = shape._replace(batch=2, size=max(7, shape.window)) if chosen.quick else shape
            for name in NAMES:
                yield measure(small, name, chosen.seconds, chosen.clock)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures all groups of shapes, or those that are named."""
    parser = options(__doc__, "conv", *GROUPS)
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - set(GROUPS):
        parser.error(f"no group is called {', '.join(sorted(unknown))}")
    table = []
    for row in rows(chosen.names or tuple(GROUPS), chosen):
        table.append(row.cells())
        print("  ".join(table[-1]), flush=True)
    body = f"{NOTES}\n\n{markdown([HEAD, *table])}"
    publish("The products of a convolution", command(chosen, "conv"), body,
            destination(chosen, "conv"))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
