"""Which implementation of a convolution's products runs where nothing is chosen: a table.

The first row that holds for a call says the way; where none does, it is XLA's own convolution. A
gain is how many times faster than XLA's own it was, from the least to the most, in the runs of two
days behind the page named beside it, of a machine with two cores. Rows whose gain did not come
again are gone; a least below one is a single shape's on a single day. `jnn.tune` measures anew.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from jnn.rules.convolution.geometry import Geometry
from jnn.rules.core.product import Call

SMALL = 2**22  # Multiplications below which nothing is gained.


class Case(NamedTuple):
    """What a row may ask of a call.

    Attributes:
      g: the geometry.
      inputs: input maps of a group.
      outputs: output maps.
      half: whether its arrays are bfloat16, whose products a CPU has at twice the rate.
      multiplications: how many the definition takes, at most.
    """

    g: Geometry
    inputs: int
    outputs: int
    half: bool
    multiplications: int

    @property
    def plain(self) -> bool:
        """Whether there is much to do, by a filter without holes or groups."""
        return self.multiplications >= SMALL and self.g.dense and self.g.groups == 1

    @property
    def plane(self) -> bool:
        """Whether it is plain, and of images."""
        return self.plain and self.g.axes == 2

    @property
    def unit(self) -> bool:
        """Whether it is plain, of images, and at each pixel."""
        return self.plane and self.g.unit

    @property
    def padded(self) -> bool:
        """Whether zeros lie before the image."""
        return any(before > 0 for before, _ in self.g.padding)

    @property
    def pixels(self) -> int:
        """How many places there are in all samples."""
        return self.multiplications // (math.prod(self.g.window) * self.inputs * self.outputs)

    @property
    def maps(self) -> int:
        """The larger number of maps."""
        return max(self.inputs, self.outputs)

    @property
    def narrow(self) -> int:
        """The smaller number of maps."""
        return min(self.inputs, self.outputs)


class Row(NamedTuple):
    """A default on a CPU.

    Attributes:
      product: of which product.
      way: the implementation.
      when: for which calls.
      gain: how many times faster than XLA's own, from the least to the most that was measured.
      page: where, in benchmarks/results.
    """

    product: str
    way: str
    when: Callable[[Case], bool]
    gain: tuple[float, float]
    page: str = "conv.md"


VALUE, INPUT, FILTER = "conv.value", "conv.input", "conv.filter"

ROWS = (
    # Groups, which XLA's own takes one by one, far from any fast path.
    *(
        Row(product, "shifted", lambda c: c.g.groups > 1 and c.inputs == 1, (4.6, 28.0))
        for product in (VALUE, INPUT, FILTER)
    ),
    *(
        Row(product, "by_group",
            lambda c: 1 < c.g.groups <= 16 and c.multiplications >= SMALL, (2.4, 154.2))
        for product in (VALUE, INPUT, FILTER)
    ),
    # Large filters, whose transforms cost the same.
    *(
        Row(product, "fourier", lambda c: c.plane and math.prod(c.g.window) >= 81, (1.4, 7.0))
        for product in (VALUE, INPUT, FILTER)
    ),
    # Images in bfloat16, by products of it, where these are long; else its ways are float32's.
    Row(VALUE, "rows", lambda c: c.half and c.unit and c.inputs >= 32, (1.3, 3.6), "half.md"),
    Row(VALUE, "im2col", lambda c: c.half and c.plane and c.inputs >= 64, (1.9, 2.8), "half.md"),
    Row(INPUT, "rows",
        lambda c: c.half and c.unit and c.padded and c.outputs >= 32 and c.inputs > 4, (1.5, 2.3),
        "half.md"),
    Row(FILTER, "rows",
        lambda c: c.half and c.plane
        and not (c.g.window == (3, 3) and c.narrow >= 32 and c.maps >= 64
                 and min(c.g.places) >= 8 and c.pixels >= 16 * c.maps), (0.9, 5.0), "half.md"),
    # Images, by a filter that moves by one pixel.
    Row(VALUE, "overrun",
        lambda c: c.unit and c.padded and max(c.g.window) <= 3
        and c.inputs > 1 and c.narrow < 128 and c.outputs >= 32,
        (0.7, 2.0)),
    Row(VALUE, "rows",
        lambda c: c.unit and not c.padded and c.inputs > 1 and c.narrow < 128, (0.9, 1.6)),
    Row(INPUT, "spread", lambda c: c.unit and c.inputs <= 4, (1.1, 3.6)),
    Row(INPUT, "overrun",
        lambda c: c.unit and c.padded and max(c.g.window) <= 3 and 32 <= c.narrow < 128,
        (0.7, 1.7)),
    Row(INPUT, "spread", lambda c: c.unit and not c.padded and c.narrow < 128, (1.1, 1.5)),
    Row(FILTER, "rows", lambda c: c.plane and (c.inputs <= 4 or not c.g.unit), (0.7, 6.3)),
    # Winograd's, where tiles of 4 by 4 or 2 by 2 are at least as many as maps: with fewer, the sums
    # that make a filter of the products take longer than these.
    Row(FILTER, "winograd4",
        lambda c: c.plane and c.g.window == (3, 3) and c.narrow >= 32 and c.maps >= 64
        and min(c.g.places) >= 8 and c.pixels >= 16 * c.maps, (1.3, 2.7)),
    Row(FILTER, "winograd",
        lambda c: c.plane and c.narrow >= 32 and c.pixels >= 4 * c.maps
        and (c.g.window == (5, 5) or (c.g.window == (3, 3) and c.maps >= 64)), (0.8, 2.4)),
    Row(FILTER, "wide_delta",
        lambda c: c.plane and c.g.window == (3, 3)
        and (min(c.g.places) >= 16 or c.outputs <= 64), (1.3, 1.9)),
    Row(FILTER, "im2col", lambda c: c.plane and c.g.unit, (2.5, 2.5), "cnn.md"),
    # Images, by a stride.
    Row(INPUT, "phases",
        lambda c: c.plane and not c.g.unit and max(c.g.window) > (1 if c.inputs <= 16 else 3),
        (0.9, 2.9)),
    # Lines and volumes.
    Row(FILTER, "rows", lambda c: _beside(c) and c.g.axes == 1, (1.5, 1.5), "cnn.md"),
    Row(FILTER, "wide_delta", lambda c: _beside(c) and c.g.axes == 3, (5.1, 5.5), "cnn.md"),
    Row(VALUE, "shifted_rows", lambda c: _beside(c) and c.g.axes == 3, (5.1, 5.5), "cnn.md"),
    Row(INPUT, "shifted_rows",
        lambda c: _beside(c) and c.g.axes == 3 and any(map(any, c.g.padding)), (5.1, 5.5),
        "cnn.md"),
    Row(INPUT, "spread", lambda c: _beside(c) and c.g.axes == 3, (5.1, 5.5), "cnn.md"),
)  # fmt: skip


def row(call: Call) -> Row | None:
    """The row that holds for the call, None where XLA's own convolution runs."""
    if call.platform != "cpu":
        return None
    case = _case(call)
    return next((r for r in ROWS if r.product == call.product and r.when(case)), None)


def default(call: Call) -> str:
    """The way of that row; on a GPU the one that cuDNN has a program for."""
    if call.platform == "gpu" and call.product == INPUT and call.setting.groups == 1:
        return "exchanged"
    found = row(call)
    return found.way if found else "lax"


def _case(call: Call) -> Case:
    g: Geometry = call.setting
    if call.product == FILTER:
        inputs, outputs = call.shape(0)[-1] // g.groups, call.shape(1)[-1]
    else:
        inputs, outputs = call.shape(1)[-2:]
    places = call.shape(1 if call.product == FILTER else 0)[:-1]
    multiplications = math.prod(places) * math.prod(g.window) * inputs * outputs
    return Case(g, inputs, outputs, call.arrays[0][1] == "bfloat16", multiplications)


def _beside(c: Case) -> bool:
    return c.plain and c.g.axes != 2 and c.g.unit and max(c.g.window) > 1
