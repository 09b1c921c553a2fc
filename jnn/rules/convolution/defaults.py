"""Which implementation of a convolution's products runs where nothing is chosen."""

import math

from jnn.rules.core.product import Call

SMALL = 2**22  # Multiplications below which nothing is gained.


def default(call: Call) -> str:
    """Off the CPU, XLA's own convolution; on it, what `benchmarks.conv` measured best.

    The table is benchmarks/results/conv.md, of a machine with two cores; lines and volumes stand in
    cnn.md beside it. `jnn.tune` measures anew.
    """
    if call.platform != "cpu":
        return "lax"
    groups, stride = call.setting("groups"), call.setting("stride")
    window, inputs, outputs = _filter(call)
    if groups > 1:
        if inputs == 1:
            return "shifted"
        return "by_group" if groups <= 16 and _multiplications(call) >= SMALL else "lax"
    plain = set(call.setting("dilation")) == {1} and call.arrays[0][1] in ("float32", "float64")
    unit = set(stride) == {1}
    if not plain or _multiplications(call) < SMALL:
        return "lax"
    if len(stride) != 2:
        return _not_in_the_plane(call) if unit and max(window) > 1 else "lax"
    if math.prod(window) >= 81:
        return "fourier"
    if call.product == "conv.filter":
        if inputs <= 4 or not unit:
            return "rows"  # Where "lax" is as fast, it is not within a loop over samples.
        least = min(call.shape(1)[1:-1])
        many, wide = min(inputs, outputs) >= 32, max(inputs, outputs) >= 64
        if many and window == (3, 3) and wide:
            return "winograd4" if least >= 8 else "winograd"
        if many and window == (5, 5):
            return "winograd"
        return "wide_delta" if window == (3, 3) and (least >= 16 or outputs <= 64) else "im2col"
    fewer, forward = min(inputs, outputs), call.product == "conv.value"
    if not unit:
        if forward:
            few = inputs < 32 and max(window) > 3
            return "im2col" if few or math.prod(window) == 1 else "lax"
        return "phases" if max(window) > (1 if inputs <= 16 else 3) else "lax"
    if inputs <= 4 and not forward:
        return "spread"
    if fewer >= 128 or inputs == 1:
        return "lax"
    if any(before for before, _ in call.setting("padding")):
        return "overrun" if outputs >= 32 or not forward else "lax"
    return "im2col" if forward else "spread"


def _not_in_the_plane(call: Call) -> str:
    line, padding = len(call.setting("stride")) == 1, any(map(any, call.setting("padding")))
    if call.product == "conv.filter":
        return "rows" if line else "wide_delta"
    if line:
        return "lax"
    return "shifted_rows" if padding or call.product == "conv.value" else "spread"


def _filter(call: Call) -> tuple[tuple[int, ...], int, int]:
    """The filter's window, its input maps in a group and its output maps."""
    if call.product == "conv.filter":
        inputs = call.shape(0)[-1] // call.setting("groups")
        return call.setting("size"), inputs, call.shape(1)[-1]
    *window, inputs, outputs = call.shape(1)
    return tuple(window), inputs, outputs


def _multiplications(call: Call) -> int:
    """How many the definition takes, at most: at each place of the result one a filter entry."""
    window, inputs, outputs = _filter(call)
    places = call.shape(1 if call.product == "conv.filter" else 0)[:-1]
    return math.prod(places) * math.prod(window) * inputs * outputs
